"""The `kronos-ft data` commands: check and download."""

import argparse
import difflib
from collections.abc import Callable, Sequence
from pathlib import Path

from ft_core.cli.options import ExactParser
from ft_core.io.secrets import without_secrets

USAGE = """\
kronos-ft data ACTION [OPTIONS]

  check      read candle files, say what is wrong with them, exit 1 if they would be rejected
  download   fetch candles from an exchange (ccxt) or from zip archives, into one Parquet or CSV file

kronos-ft data ACTION --help lists the options of an action.

examples:
  kronos-ft data check btc.csv
  kronos-ft data download --exchange binance --symbol BTC/USDT --timeframe 1h --since 2018-01-01 --output btc.parquet
  kronos-ft data download --archive FOLDER --symbol BTCUSDT --timeframe 1h --since 2018-01-01 --output btc.parquet
"""

DOWNLOAD_NOTE = """\
Candles that opened at or after --since and before --until are fetched; the unfinished one is left out, by the source's
clock. Beside the output, OUTPUT.source.json tells where it comes from. Exit codes: 0 complete; 1 written, but candles
are missing or twice, or training would reject rows; 2 not written (what was fetched is kept for --resume); 130
interrupted. Who may use the candles, and for what, is for the exchange's terms to say.
"""


def run_check(argv: Sequence[str]) -> int:
    """`kronos-ft data check`: what was found in candle files; 1 when the policy would reject them."""
    parser = ExactParser(
        prog="kronos-ft data check", description="Reads candles and says what was found; exits 1 if they are rejected."
    )
    parser.add_argument("source", nargs="+", help="CSV or Parquet files, a folder, a glob, or a Hub data set")
    parser.add_argument("--policy", default="error", choices=["error", "drop", "repair"], help="as in training")
    parser.add_argument("--timezone", default="UTC", help="zone of times without an offset of their own")
    parser.add_argument("--lookback_window", type=int, default=90, help="bars (default 90)")
    parser.add_argument("--predict_window", type=int, default=10, help="bars (default 10)")
    options = parser.parse_args(argv)

    if options.lookback_window < 2 or options.predict_window < 0:
        raise ValueError(
            f"lookback_window={options.lookback_window} and predict_window={options.predict_window} make no window; "
            "use at least 2 and 0"
        )
    from ..data.candles import inspect_candles
    from ..data.check import check

    window = options.lookback_window + options.predict_window + 1
    passes = True
    for source in options.source:
        lines, fine = check(inspect_candles(source, options.policy, options.timezone), window)
        print("\n".join(lines))
        passes &= fine
    return 0 if passes else 1


def _download_parser() -> ExactParser:
    parser = ExactParser(
        prog="kronos-ft data download",
        description="Fetches candles from an exchange or from zip archives.",
        epilog=DOWNLOAD_NOTE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--exchange", metavar="NAME", help="ccxt's name of it, such as binance, kraken, okx")
    where.add_argument(
        "--archive",
        metavar="FOLDER_OR_URL",
        help="zip archives as on data.binance.vision, in a folder (at any depth) or behind an address",
    )
    parser.add_argument(
        "--symbol",
        nargs="+",
        required=True,
        help="BTC/USDT (exchange) or BTCUSDT (archive); several go into one file with a symbol column",
    )
    parser.add_argument("--timeframe", required=True, help="time of a candle: 1m, 5m, 1h, 1d, ...")
    parser.add_argument("--since", required=True, metavar="TIME", help="first opening time, e.g. 2018-01-01 (UTC)")
    parser.add_argument("--until", metavar="TIME", help="opening times before this (default: all finished candles)")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="a .parquet or .csv file")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted download into this output")
    parser.add_argument(
        "--overwrite", action="store_true", help="begin anew; an old output stays till the new is whole"
    )
    parser.add_argument("--allow_gaps", action="store_true", help="exit 0 although candles are missing")
    parser.add_argument("--api_url", metavar="URL", help="testnet or mirror to ask instead of the exchange")
    return parser


def run_download(argv: Sequence[str]) -> int:
    """`kronos-ft data download`: candles from an exchange or an archive into one file; 1 when something is missing."""
    options = _download_parser().parse_args(argv)
    symbols = [name for word in options.symbol for name in word.split(",") if name]
    twice = next((name for name in symbols if symbols.count(name) > 1), None)
    if twice or not symbols:
        raise ValueError(
            f"symbol {twice} is named twice; name it once" if twice else "symbol is empty; pass e.g. BTC/USDT"
        )
    if options.archive and options.api_url:
        raise ValueError("--api_url goes with --exchange; an archive's address is --archive URL")
    from ..download.download import download
    from ..download.output import check_output
    from ..download.spans import milliseconds

    check_output(options.output)
    since = milliseconds("since", options.since)
    until = None if options.until is None else milliseconds("until", options.until)
    common = (symbols, options.timeframe, since, until)
    if options.exchange:
        from ..download.exchange_source import ExchangeSource

        source = ExchangeSource(options.exchange, *common, options.api_url)
    else:
        from ..download.archive_source import ArchiveSource

        source = ArchiveSource(options.archive, *common)
    outcome = download(source, options.output, options.resume, options.overwrite)
    print(without_secrets("\n".join(outcome.lines)))
    return 1 if outcome.has_faults or (outcome.has_gaps and not options.allow_gaps) else 0


ACTIONS: dict[str, Callable[[Sequence[str]], int]] = {"check": run_check, "download": run_download}


def run_data(argv: Sequence[str]) -> int:
    """`kronos-ft data ACTION`.

    Raises:
        ValueError: an unknown action, with the nearest one, or bad input to an action.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    action = ACTIONS.get(argv[0])
    if action is None:
        close = difflib.get_close_matches(argv[0], ACTIONS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"use one of {', '.join(ACTIONS)}"
        raise ValueError(f"data {argv[0]!r} is no action; {hint}")
    return action(argv[1:])
