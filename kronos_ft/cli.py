"""The `kronos-ft` command. Nothing heavy is imported until a command needs it."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

USAGE = """\
kronos-ft COMMAND [OPTIONS]

  tokenizer     fine-tune the Kronos tokenizer on your candles
  data check    read candle files, say what is wrong with them, exit 1 if they would be rejected

kronos-ft COMMAND --help lists the options of a command.

examples:
  kronos-ft data check btc.csv
  kronos-ft tokenizer --data btc.csv --preset optimized --output_dir runs/btc
  kronos-ft tokenizer --data sample --model tiny --from_scratch --dry_run
"""


class _OneLineParser(argparse.ArgumentParser):
    """Raises what it would print as a usage message of several lines."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see --help")


def run_tokenizer_command(words: Sequence[str]) -> int:
    """`kronos-ft tokenizer`: settings from preset, YAML and command line, then the whole run."""
    from ft_core.run_folder import CURVES_FILE
    from ft_core.settings import parse_settings

    from .data.augmentation import AugmentationArguments
    from .training.arguments import DataArguments, KronosTokenizerArguments, ModelArguments
    from .training.finish import summary_table
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
        print(summary_table(metrics))
        print(f"curves             {os.path.join(args.output_dir, CURVES_FILE)}")
        print(f"run folder         {args.output_dir}")
    return 0


def run_data_command(words: Sequence[str]) -> int:
    """`kronos-ft data check`: what was found in candle files; 1 when the policy would reject them."""
    parser = _OneLineParser(
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


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"tokenizer": run_tokenizer_command, "data": run_data_command}


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; bad input becomes one line on standard error and exit code 2."""
    words = list(sys.argv[1:] if words is None else words)
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0 if words else 2
    command = COMMANDS.get(words[0])
    if command is None:
        import difflib

        close = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"use one of {', '.join(COMMANDS)}"
        print(f"kronos-ft: {words[0]!r} is not a command; {hint}", file=sys.stderr)
        return 2
    if os.environ.get("KRONOS_FT_TRACEBACK"):
        return command(words[1:])
    try:
        return command(words[1:])
    except (ValueError, OSError, ImportError) as error:
        print(f"kronos-ft: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("kronos-ft: interrupted; go on with --resume", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
