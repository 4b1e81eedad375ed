"""The `kronos-ft` command. Nothing heavy is imported until a command needs it."""

import os
import sys
from collections.abc import Callable, Sequence

from ft_core.cli.options import check_variables
from ft_core.cli.program import one_line_errors, run_command
from ft_core.report.command import report_command

USAGE = """\
kronos-ft COMMAND [OPTIONS]

  finetune      fine-tune tokenizer and predictor on your candles, one after the other, in one folder
  tokenizer     fine-tune the Kronos tokenizer alone
  predictor     fine-tune the Kronos predictor on a tokenizer's tokens
  forecast      paths of the bars to come, as a table and a picture
  evaluate      forecast from many origins and compare with naive forecasts, or models with each other
  ui            a page to look at forecasts, the evaluation and the report of a run
  data check    read candle files, say what is wrong with them, exit 1 if they would be rejected
  data download fetch candles from an exchange or from zip archives
  sweep         search over settings of tokenizer or predictor, with trials pruned and resumable
  demo          all of it on the embedded BTC candles, in a few minutes
  report        say how a run went and what to change, or compare several runs: Markdown and HTML
  push          put a model on the Hugging Face Hub, in one commit
  pull          fetch a model from the Hub into a folder, at one commit

kronos-ft COMMAND --help lists the options of a command.

examples:
  kronos-ft data download --exchange binance --symbol BTC/USDT --timeframe 1h --since 2018-01-01 --output btc.parquet
  kronos-ft data check btc.csv
  kronos-ft tokenizer --data btc.csv --output_dir runs/btc
  kronos-ft tokenizer --data sample --model tiny --from_scratch --dry_run
  kronos-ft finetune --data btc.csv --model small --tokenizer base --output_dir runs/btc-both
  kronos-ft predictor --data btc.csv --tokenizer runs/btc/best_model --model small --output_dir runs/btc-predictor
  kronos-ft forecast --data btc.csv --tokenizer DIR --model DIR --horizon 24 --plot forecast.png
  kronos-ft evaluate --data btc.csv --tokenizer DIR --compare base=DIR finetuned=DIR --output_dir runs/evaluation
  kronos-ft ui runs/btc-both
  kronos-ft sweep tokenizer --data btc.csv --space space.yaml --trials 30 --output_dir runs/sweep
  kronos-ft report runs/btc --lang zh
  kronos-ft push runs/btc-predictor OWNER/NAME --private
"""

FINETUNE_USAGE = """\
kronos-ft finetune --data FILE [--output_dir RUN] [--resume | --overwrite | --dry_run] [--config FILE.yaml] [OPTIONS]

Fine-tunes the tokenizer into RUN/tokenizer, then the predictor on the tokens of its best model into RUN/predictor.
--resume goes on in the stage that was interrupted; a finished stage is not repeated.

  --tokenizer NAME         tokenizer to start from: base, 2k, Hub repository or folder (default base)
  --model NAME             predictor to start from: mini, small, base, Hub repository or folder (default small)
  --NAME VALUE             any other setting of `kronos-ft tokenizer` or `predictor`, for every stage that has it
  --tokenizer_NAME VALUE   that setting of the tokenizer stage alone, such as --tokenizer_max_steps 2000
  --predictor_NAME VALUE   that of the predictor stage alone, such as --predictor_learning_rate 4e-5

`kronos-ft tokenizer --help` and `kronos-ft predictor --help` list the settings. A YAML file takes the same names.
"""

SWEEP_USAGE = """\
kronos-ft sweep tokenizer|predictor --space SPACE.yaml [--trials N] [--output_dir DIR] [--resume] [OPTIONS]

Searches over settings: each trial is a whole run of `kronos-ft tokenizer` or `predictor`. SPACE.yaml:

  learning_rate: {low: 1e-5, high: 1e-3, log: true}
  weight_decay: [0.0, 0.05, 0.1]
  augment_noise: [true, false]

Any setting of the runs holds for all trials. DIR ends with best.yaml, trials.csv, importance.png and sweep.json.
`kronos-ft sweep tokenizer --help` lists the options.
"""


def _print_run(metrics: dict, folder: str) -> None:
    from ft_core.runs.folder import CURVES_FILE, REPORT_HTML

    from ..runs.finish import summary_table

    print(summary_table(metrics))
    print(f"curves             {os.path.join(folder, CURVES_FILE)}")
    print(f"report             {os.path.join(folder, REPORT_HTML)}")
    print(f"run folder         {folder}")


def run_tokenizer_command(words: Sequence[str]) -> int:
    """`kronos-ft tokenizer`: settings from preset, YAML and command line, then the whole run."""
    from ft_core.cli.settings import parse_settings

    from ..runs.tokenizer import run_tokenizer
    from ..training.arguments import DataArguments, KronosTokenizerArguments, ModelArguments
    from ..training.presets import DEFAULT_PRESET, PRESETS
    from ..windows.augmentation import AugmentationArguments

    model, data, augmentation, args = parse_settings(
        (ModelArguments, DataArguments, AugmentationArguments, KronosTokenizerArguments),
        words,
        presets=PRESETS,
        default_preset=DEFAULT_PRESET,
        program="kronos-ft tokenizer",
    )
    metrics = run_tokenizer(model, data, augmentation, args)
    if metrics is not None and args.process_index == 0:
        _print_run(metrics, args.output_dir)
    return 0


def run_predictor_command(words: Sequence[str]) -> int:
    """`kronos-ft predictor`: settings from preset, YAML and command line, then the whole run."""
    from ft_core.cli.settings import parse_settings

    from ..runs.predictor import run_predictor
    from ..training.arguments import DataArguments
    from ..training.predictor_arguments import KronosArguments, PredictorModelArguments
    from ..training.presets import DEFAULT_PRESET, PREDICTOR_PRESETS
    from ..windows.augmentation import AugmentationArguments

    model, data, augmentation, args = parse_settings(
        (PredictorModelArguments, DataArguments, AugmentationArguments, KronosArguments),
        words,
        presets=PREDICTOR_PRESETS,
        default_preset=DEFAULT_PRESET,
        program="kronos-ft predictor",
    )
    metrics = run_predictor(model, data, augmentation, args)
    if metrics is not None and args.process_index == 0:
        _print_run(metrics, args.output_dir)
    return 0


def run_finetune_command(words: Sequence[str]) -> int:
    """`kronos-ft finetune`: both stages, with settings for both or one of them."""
    if not words or "-h" in words or "--help" in words:
        print(FINETUNE_USAGE)
        return 0 if words else 2
    from ..runs.both import STAGES, parse_finetune, run_finetune

    settings = parse_finetune(words)
    metrics = run_finetune(settings)
    if metrics is not None and settings.predictor[-1].process_index == 0:
        for stage in STAGES:
            print(f"\n{stage}")
            _print_run(metrics[stage], os.path.join(settings.folder, stage))
    return 0


def run_evaluate_command(words: Sequence[str]) -> int:
    """`kronos-ft evaluate`: walk-forward evaluation of one model or several."""
    from transformers.utils import logging

    from ft_core.cli.settings import parse_settings

    from ..evaluation.arguments import EvaluateArguments
    from ..evaluation.report import EVALUATION_FILE, REPORT_FILE, terminal_text
    from ..evaluation.run import run_evaluation

    (args,) = parse_settings((EvaluateArguments,), words, program="kronos-ft evaluate")
    logging.disable_progress_bar()  # transformers' own, of loading weights
    evaluation = run_evaluation(args)
    print(terminal_text(evaluation))
    print(f"figures     {os.path.join(args.output_dir, EVALUATION_FILE)}")
    print(f"report      {os.path.join(args.output_dir, REPORT_FILE)}")
    return 0


def run_forecast_command(words: Sequence[str]) -> int:
    """`kronos-ft forecast`: paths of the bars to come, as a table and a picture."""
    from transformers.utils import logging

    from ft_core.cli.settings import parse_settings

    from ..forecasting.run import ForecastArguments, run_forecast

    (args,) = parse_settings((ForecastArguments,), words, program="kronos-ft forecast")
    logging.disable_progress_bar()
    run_forecast(args)
    if args.output:
        print(f"paths             {args.output}")
    if args.plot:
        print(f"picture           {args.plot}")
    return 0


def run_data_command(words: Sequence[str]) -> int:
    """`kronos-ft data check` and `kronos-ft data download`."""
    from .data import run_data

    return run_data(words)


def run_push_command(words: Sequence[str]) -> int:
    """`kronos-ft push DIR REPO`: a model folder, or the best model of a run, to the Hub."""
    from ft_core.hub.commands import FindModel, push_command

    def find_model() -> FindModel:
        from ..hub.push import kronos_model

        return kronos_model

    return push_command("kronos-ft", words, "best_model", find_model, forecasts=True)


def run_pull_command(words: Sequence[str]) -> int:
    """`kronos-ft pull REPO DIR`: a model of the Hub into a folder, at one commit."""
    from ft_core.hub.commands import CheckFolder, pull_command

    def find_check() -> CheckFolder:
        from ..hub.push import check_kronos_folder

        return check_kronos_folder

    return pull_command("kronos-ft", words, find_check)


def run_ui_command(words: Sequence[str]) -> int:
    """`kronos-ft ui RUN_OR_MODEL`: a page of forecasts, the evaluation and the report."""
    from .ui import run_ui_command

    return run_ui_command(words)


def run_sweep_command(words: Sequence[str]) -> int:
    """`kronos-ft sweep tokenizer|predictor`: a search over settings."""
    from ft_core.sweep.command import sweep_command

    def tokenizer() -> Callable:
        from ..runs.sweep import tokenizer_stage

        return tokenizer_stage

    def predictor() -> Callable:
        from ..runs.sweep import predictor_stage

        return predictor_stage

    return sweep_command("kronos-ft", words, {"tokenizer": tokenizer, "predictor": predictor}, SWEEP_USAGE)


def run_demo_command(words: Sequence[str]) -> int:
    """`kronos-ft demo`."""
    from .demo import demo_command

    return demo_command(words)


def run_report_command(words: Sequence[str]) -> int:
    """`kronos-ft report RUN [RUN ...] [--lang zh|en] [--output_dir DIR]`."""
    return report_command("kronos-ft", words, "kronos_ft.report.views")


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "finetune": run_finetune_command,
    "tokenizer": run_tokenizer_command,
    "predictor": run_predictor_command,
    "forecast": run_forecast_command,
    "evaluate": run_evaluate_command,
    "ui": run_ui_command,
    "data": run_data_command,
    "sweep": run_sweep_command,
    "demo": run_demo_command,
    "report": run_report_command,
    "push": run_push_command,
    "pull": run_pull_command,
}


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; bad input becomes one line on standard error and exit code 2."""
    interrupted = "go on with --resume"

    def run() -> int:
        check_variables()
        return run_command("kronos-ft", USAGE, COMMANDS, words, interrupted)

    return one_line_errors("kronos-ft", run, interrupted)


if __name__ == "__main__":
    sys.exit(main())
