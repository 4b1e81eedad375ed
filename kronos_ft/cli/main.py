"""The `kronos-ft` command. Nothing heavy is imported until a command needs it."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ft_core.cli.program import late, load_function, run_command

if TYPE_CHECKING:
    from transformers import TrainingArguments

USAGE = """\
kronos-ft COMMAND [OPTIONS]

  finetune      fine-tune the tokenizer, then the predictor (and a quantile head) on your candles, in one folder
  tokenizer     fine-tune only the Kronos tokenizer
  predictor     fine-tune only the Kronos predictor, on the tokens of a tokenizer
  quantiles     train a direct quantile head on a predictor: the distribution of every horizon in one pass
  forecast      forecast sample paths of future bars, as a table and a chart
  calibrate     choose temperature and top_p of sampled paths on the validation split, for all later forecasts
  score         compare logged forecasts with the candles that came: coverage, CRPS, drift
  evaluate      forecast from many origins and compare with naive forecasts and other models
  ui            show forecasts, evaluation and report of a run on a local web page
  data check    validate candle files and list their defects; exit 1 if training would reject them
  data download download candles from an exchange or from zip archives
  find-lr       find the learning rate for your weights and data in short runs; draws the curve
  sweep         hyperparameter search for the tokenizer or predictor, with pruning and resuming
  demo          train, forecast and evaluate on the embedded BTC candles, in a few minutes
  report        diagnose a run and advise what to change, or compare several runs: Markdown and HTML
  push          push a model to the Hugging Face Hub, in one commit
  pull          download a model from the Hub, at one commit
  convert-config  convert a configuration of the published scripts to a YAML file for finetune --config

kronos-ft COMMAND --help lists the options of a command; kronos-ft --version prints the version.

examples:
  kronos-ft data download --exchange binance --symbol BTC/USDT --timeframe 1h --since 2018-01-01 --output btc.parquet
  kronos-ft data check btc.csv
  kronos-ft tokenizer --data btc.csv --output_dir runs/btc
  kronos-ft tokenizer --data sample --model tiny --from_scratch --dry_run
  kronos-ft finetune --data btc.csv --model small --tokenizer base --output_dir runs/btc-both
  kronos-ft predictor --data btc.csv --tokenizer runs/btc/best_model --model small --output_dir runs/btc-predictor
  kronos-ft forecast --data btc.csv --model runs/btc-both --plot forecast.png
  kronos-ft forecast --data btc.csv --model runs/btc-both --quantiles log.csv --append --drop_unfinished
  kronos-ft score log.csv --data btc.csv
  kronos-ft evaluate --data btc.csv --compare small finetuned=runs/btc-both --output_dir runs/evaluation
  kronos-ft ui runs/btc-both
  kronos-ft find-lr predictor --data btc.csv --model small --tokenizer base
  kronos-ft sweep tokenizer --data btc.csv --space space.yaml --trials 30 --output_dir runs/sweep
  kronos-ft report runs/btc --lang zh
  kronos-ft convert-config old.yaml --output new.yaml
  kronos-ft push runs/btc-predictor OWNER/NAME --private
"""

FINETUNE_USAGE = """\
kronos-ft finetune --data FILE [--output_dir RUN] [--resume | --overwrite | --dry_run] [--config FILE.yaml] [OPTIONS]

Fine-tunes the tokenizer (RUN/tokenizer), then the predictor on the tokens of the best tokenizer (RUN/predictor).
--resume continues the interrupted stage; a finished stage is not repeated.

  --stages NAMES           tokenizer predictor (default), or tokenizer predictor quantiles: adds a quantile head

  --tokenizer NAME         tokenizer to start from: base, 2k, Hub repository or folder (default base)
  --model NAME             predictor to start from: mini, small, base, Hub repository or folder (default small)
  --time_budget TIME       time for all stages together, such as 30m; chooses their steps (docs/how-long.md)
  --NAME VALUE             any other setting of `kronos-ft tokenizer` or `predictor`, for each stage that has it; the
                           quantile head takes only those on data, windows, seed, batch and run folder
  --tokenizer_NAME VALUE   the setting of the tokenizer stage only, such as --tokenizer_max_steps 2000
  --predictor_NAME VALUE   the setting of the predictor stage only, such as --predictor_learning_rate 4e-5
  --quantiles_NAME VALUE   the setting of the quantile head only, such as --quantiles_body full

`kronos-ft tokenizer --help`, `predictor --help` and `quantiles --help` list the settings. A YAML file uses the same
names.
"""

SWEEP_USAGE = """\
kronos-ft sweep tokenizer|predictor|quantiles --space SPACE.yaml [--trials N] [--output_dir DIR] [--resume] [OPTIONS]

Hyperparameter search: each trial is a complete run of `kronos-ft tokenizer`, `predictor` or `quantiles`. SPACE.yaml:

  learning_rate: {low: 1e-5, high: 1e-3, log: true}
  weight_decay: [0.0, 0.05, 0.1]
  augment_noise: [true, false]

Other settings apply to all trials. The results in DIR: best.yaml, trials.csv, importance.png and sweep.json.
`kronos-ft sweep tokenizer --help` lists the options.
"""

FIND_LR_USAGE = """\
kronos-ft find-lr tokenizer|predictor|quantiles --data FILE [--output_dir DIR] [OPTIONS of the run]

Finds the learning rate in short runs of the same model, data, batch and precision: a range test, then trials that are
compared on validation data. Prints the words to put on the command line and writes find_lr.json and find_lr.png to DIR
(default runs/find-lr-STAGE); no weights are kept. `--learning_rate auto` of a run does the same search before training.
`kronos-ft find-lr tokenizer --help` lists the options.
"""


def _print_run(metrics: dict | None, args: "TrainingArguments") -> None:
    """Prints the output files of a finished run on the main process; nothing after a dry run."""
    if metrics is None or args.process_index:
        return
    from ft_core.runs.folder import CURVES_FILE, REPORT_HTML

    from ..runs.finish import summary_table

    print(summary_table(metrics))
    print(f"curves             {os.path.join(args.output_dir, CURVES_FILE)}")
    print(f"report             {os.path.join(args.output_dir, REPORT_HTML)}")
    print(f"run folder         {args.output_dir}")


def run_training_command(argv: Sequence[str], stage: str) -> int:
    """`kronos-ft tokenizer|predictor|quantiles`: parses preset, YAML and command line, then runs the training."""
    from ft_core.cli.option_table import read_table
    from ft_core.cli.settings import build_settings, read_options
    from ft_core.io.files import check_data_file
    from ft_core.runs.record_schema import with_recorded_preset

    from ..training.presets import DEFAULT_PRESET, STAGE_PRESETS

    options, presets = read_table("kronos_ft", stage), STAGE_PRESETS[stage]
    given = read_options(options, argv, presets=presets, default_preset=DEFAULT_PRESET, program=f"kronos-ft {stage}")
    given = with_recorded_preset(given, presets, Path(given.get("output_dir") or f"runs/{stage}"))
    check_data_file(given.get("data") or "")
    from ..training.quantile_arguments import STAGE_TYPES

    settings = build_settings(STAGE_TYPES[stage], given)
    run = load_function(f"kronos_ft.runs.{stage}:run_{stage}")
    _print_run(run(*settings), settings[-1])
    return 0


def _plain_settings(command: str, argv: Sequence[str], kind: type) -> object:
    """Settings of a command without presets, whose dataclass imports nothing heavy."""
    from ft_core.cli.option_table import read_table
    from ft_core.cli.settings import build_settings, read_options

    given = read_options(read_table("kronos_ft", command), argv, program=f"kronos-ft {command}")
    (args,) = build_settings((kind,), given)
    args.check_files()
    return args


def run_finetune_command(argv: Sequence[str]) -> int:
    """`kronos-ft finetune`: all stages, with settings for all or one of them."""
    if not argv or "-h" in argv or "--help" in argv:
        print(FINETUNE_USAGE)
        return 0 if argv else 2
    from ft_core.io.files import check_data_file

    from ..runs.routing import read_finetune

    check_data_file(read_finetune(argv)[1]["predictor"].get("data") or "")
    from ..runs.both import parse_finetune, run_finetune

    settings = parse_finetune(argv)
    metrics = run_finetune(settings)
    if metrics is not None and settings.predictor[-1].process_index == 0:
        for stage in settings.stages():
            print(f"\n{stage}")
            _print_run(metrics[stage], getattr(settings, stage)[-1])
    return 0


def run_evaluate_command(argv: Sequence[str]) -> int:
    """`kronos-ft evaluate`: walk-forward evaluation of one model or several."""
    from ..evaluation.arguments import EvaluateArguments

    args = _plain_settings("evaluate", argv, EvaluateArguments)
    from transformers.utils import logging

    from ..evaluation.report import EVALUATION_FILE, REPORT_FILE, terminal_text
    from ..evaluation.run import run_evaluation

    logging.disable_progress_bar()  # transformers' own, of loading weights
    evaluation = run_evaluation(args, share=True)
    if evaluation:  # only the main process of a launch has it
        print(terminal_text(evaluation, args.verbose))
        print(f"scores      {os.path.join(args.output_dir, EVALUATION_FILE)}")
        print(f"report      {os.path.join(args.output_dir, REPORT_FILE)}")
    return 0


def run_forecast_command(argv: Sequence[str]) -> int:
    """`kronos-ft forecast`: sample paths of future bars, as a table and a chart."""
    from ..forecasting.arguments import ForecastArguments

    args = _plain_settings("forecast", argv, ForecastArguments)
    from transformers.utils import logging

    from ft_core.io.console import echo

    from ..daily.run import run_forecast

    logging.disable_progress_bar()
    run_forecast(args, share=True)
    for name, file in (("paths", args.output), ("quantiles", args.quantiles), ("picture", args.plot)):
        if file:
            echo(f"{name:18}{file}")
    return 0


def run_sweep_command(argv: Sequence[str]) -> int:
    """`kronos-ft sweep tokenizer|predictor|quantiles`: hyperparameter search."""
    from ft_core.sweep.command import sweep_command

    from ..training.presets import DEFAULT_PRESET, STAGE_PRESETS

    return sweep_command("kronos-ft", argv, STAGE_PRESETS, DEFAULT_PRESET, "kronos_ft.runs.sweep", SWEEP_USAGE)


def run_calibrate_command(argv: Sequence[str]) -> int:
    """`kronos-ft calibrate RUN --data FILE`: temperature and top_p of sampled paths, chosen on the validation split."""
    from ..forecasting.arguments import CalibrateArguments

    if argv and not argv[0].startswith("-"):
        argv = ["--model", *argv]
    args = _plain_settings("calibrate", argv, CalibrateArguments)
    from transformers.utils import logging

    from ..runs.calibration import run_calibration

    logging.disable_progress_bar()
    run_calibration(args, share=True)
    return 0


def run_find_lr_command(argv: Sequence[str]) -> int:
    """`kronos-ft find-lr tokenizer|predictor|quantiles`: the learning rate for these weights and data."""
    from ft_core.training.find_lr.command import find_lr_command

    from ..training.presets import DEFAULT_PRESET, STAGE_PRESETS

    def types_of(stage: str) -> tuple[type, ...]:
        from ..training.quantile_arguments import STAGE_TYPES

        return STAGE_TYPES[stage]

    def find(stage: str, settings: tuple) -> object:
        run = load_function(f"kronos_ft.runs.{stage}:run_{stage}")
        return run(*settings, checked=True, only_find_rate=True)

    return find_lr_command("kronos-ft", argv, STAGE_PRESETS, DEFAULT_PRESET, find, types_of, FIND_LR_USAGE)


def _checked(command: str, run: Callable[[Sequence[str]], int]) -> Callable[[Sequence[str]], int]:
    """A command that first answers names of the published scripts in the file of its `--config`."""

    def checked(argv: Sequence[str]) -> int:
        if any(word.startswith("--config") for word in argv):
            from .published_names import check_config_names

            check_config_names(argv, command)
        return run(argv)

    return checked


RESUMABLE = ("finetune", "tokenizer", "predictor", "quantiles", "sweep", "data download")
COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "finetune": _checked("finetune", run_finetune_command),
    "tokenizer": _checked("tokenizer", partial(run_training_command, stage="tokenizer")),
    "predictor": _checked("predictor", partial(run_training_command, stage="predictor")),
    "quantiles": _checked("quantiles", partial(run_training_command, stage="quantiles")),
    "forecast": _checked("forecast", run_forecast_command),
    "calibrate": _checked("calibrate", run_calibrate_command),
    "score": late("kronos_ft.cli.score:run_score_command"),
    "evaluate": _checked("evaluate", run_evaluate_command),
    "ui": late("kronos_ft.cli.ui:run_ui_command"),
    "data": late("kronos_ft.cli.data:run_data"),
    "find-lr": _checked("find-lr", run_find_lr_command),
    "sweep": _checked("sweep", run_sweep_command),
    "demo": late("kronos_ft.cli.demo:demo_command"),
    "report": late(
        "ft_core.report.command:report_command",
        program="kronos-ft",
        known="kronos_ft.report.views",
        unpack="kronos_ft.report.published_log:unpack_log",
    ),
    "push": late(
        "ft_core.hub.commands:push_command",
        program="kronos-ft",
        kept="best_model",
        find_model="kronos_ft.hub.push:kronos_model",
        forecasts=True,
    ),
    "pull": late(
        "ft_core.hub.commands:pull_command", program="kronos-ft", check="kronos_ft.hub.push:check_kronos_folder"
    ),
    "convert-config": late("kronos_ft.cli.convert_config:run_convert_config"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; bad input becomes one line on standard error and exit code 2."""
    return run_command("kronos-ft", USAGE, COMMANDS, argv, "continue with --resume", RESUMABLE)


if __name__ == "__main__":
    sys.exit(main())
