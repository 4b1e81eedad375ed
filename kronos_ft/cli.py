"""The `kronos-ft` command. Nothing heavy is imported until a command needs it."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from ft_core.command_line import one_line_errors, run_command
from ft_core.exact_options import ExactParser, check_variables

from .report_command import run_report_command

USAGE = """\
kronos-ft COMMAND [OPTIONS]

  finetune      fine-tune tokenizer and predictor on your candles, one after the other, in one folder
  tokenizer     fine-tune the Kronos tokenizer alone
  predictor     fine-tune the Kronos predictor on a tokenizer's tokens
  forecast      paths of the bars to come, as a table and a picture
  evaluate      forecast from many origins and compare with naive forecasts, or models with each other
  data check    read candle files, say what is wrong with them, exit 1 if they would be rejected
  report        say how a run went and what to change, or compare several runs: Markdown and HTML
  push          put a model on the Hugging Face Hub, in one commit

kronos-ft COMMAND --help lists the options of a command.

examples:
  kronos-ft data check btc.csv
  kronos-ft tokenizer --data btc.csv --preset optimized --output_dir runs/btc
  kronos-ft tokenizer --data sample --model tiny --from_scratch --dry_run
  kronos-ft finetune --data btc.csv --model small --tokenizer base --output_dir runs/btc-both
  kronos-ft predictor --data btc.csv --tokenizer runs/btc/best_model --model small --output_dir runs/btc-predictor
  kronos-ft forecast --data btc.csv --tokenizer DIR --model DIR --horizon 24 --plot forecast.png
  kronos-ft evaluate --data btc.csv --tokenizer DIR --compare base=DIR finetuned=DIR --output_dir runs/evaluation
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


def _print_run(metrics: dict, folder: str) -> None:
    from ft_core.run_folder import CURVES_FILE, REPORT_HTML

    from .training.finish import summary_table

    print(summary_table(metrics))
    print(f"curves             {os.path.join(folder, CURVES_FILE)}")
    print(f"report             {os.path.join(folder, REPORT_HTML)}")
    print(f"run folder         {folder}")


def run_tokenizer_command(words: Sequence[str]) -> int:
    """`kronos-ft tokenizer`: settings from preset, YAML and command line, then the whole run."""
    from ft_core.settings import parse_settings

    from .data.augmentation import AugmentationArguments
    from .training.arguments import DataArguments, KronosTokenizerArguments, ModelArguments
    from .training.presets import DEFAULT_PRESET, PRESETS
    from .training.tokenizer_run import run_tokenizer

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
    from ft_core.settings import parse_settings

    from .data.augmentation import AugmentationArguments
    from .training.arguments import DataArguments
    from .training.predictor_arguments import KronosArguments, PredictorModelArguments
    from .training.predictor_run import run_predictor
    from .training.presets import DEFAULT_PRESET, PREDICTOR_PRESETS

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
    from .training.finetune_run import STAGES, parse_finetune, run_finetune

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

    from ft_core.settings import parse_settings

    from .forecasting.evaluate_arguments import EvaluateArguments
    from .forecasting.evaluate_run import run_evaluation
    from .forecasting.evaluation_report import EVALUATION_FILE, REPORT_FILE, terminal_text

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

    from ft_core.settings import parse_settings

    from .forecasting.forecast_run import ForecastArguments, run_forecast

    (args,) = parse_settings((ForecastArguments,), words, program="kronos-ft forecast")
    logging.disable_progress_bar()
    run_forecast(args)
    if args.output:
        print(f"paths             {args.output}")
    if args.plot:
        print(f"picture           {args.plot}")
    return 0


def run_data_command(words: Sequence[str]) -> int:
    """`kronos-ft data check`: what was found in candle files; 1 when the policy would reject them."""
    parser = ExactParser(
        prog="kronos-ft data check", description="Reads candles and says what was found; exits 1 if they are rejected."
    )
    parser.add_argument("action", choices=["check"], help=argparse.SUPPRESS)
    parser.add_argument("source", nargs="+", help="CSV or Parquet files, a folder, a glob, or a Hub data set")
    parser.add_argument("--policy", default="error", choices=["error", "drop", "repair"], help="as in training")
    parser.add_argument("--timezone", default="UTC", help="zone of times without an offset of their own")
    parser.add_argument("--lookback_window", type=int, default=90, help="bars (default 90)")
    parser.add_argument("--predict_window", type=int, default=10, help="bars (default 10)")
    options = parser.parse_args(words)

    if options.lookback_window < 2 or options.predict_window < 0:
        raise ValueError(
            f"lookback_window={options.lookback_window} and predict_window={options.predict_window} make no window; "
            "use at least 2 and 0"
        )
    from .data.candles import inspect_candles
    from .data.check import check

    window = options.lookback_window + options.predict_window + 1
    passes = True
    for source in options.source:
        lines, fine = check(inspect_candles(source, options.policy, options.timezone), window)
        print("\n".join(lines))
        passes &= fine
    return 0 if passes else 1


def run_push_command(words: Sequence[str]) -> int:
    """`kronos-ft push DIR REPO`: a model folder, or the best model of a run, to the Hub."""
    from ft_core.push_command import FindModel, push_command

    def find_model() -> FindModel:
        from .push import kronos_model

        return kronos_model

    return push_command("kronos-ft", words, "best_model", find_model)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "finetune": run_finetune_command,
    "tokenizer": run_tokenizer_command,
    "predictor": run_predictor_command,
    "forecast": run_forecast_command,
    "evaluate": run_evaluate_command,
    "data": run_data_command,
    "report": run_report_command,
    "push": run_push_command,
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
