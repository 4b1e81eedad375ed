"""The `kronos-ft data` commands: check and download."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ft_core.cli.options import ExactParser
from ft_core.cli.program import nearest_or_all
from ft_core.io.secrets import without_secrets

if TYPE_CHECKING:
    from ..data.candles import CandleSeries

USAGE = """\
kronos-ft data ACTION [OPTIONS]

  check      validate candle files and list their defects; exit 1 if training would reject them
  download   download candles from an exchange (ccxt) or from zip archives into one Parquet or CSV file

kronos-ft data ACTION --help lists the options of an action.

examples:
  kronos-ft data check btc.csv
  kronos-ft data download --exchange binance --symbol BTC/USDT --timeframe 1h --since 2018-01-01 --output btc.parquet
  kronos-ft data download --archive FOLDER --symbol BTCUSDT --timeframe 1h --since 2018-01-01 --output btc.parquet
"""

DOWNLOAD_NOTE = """\
Downloads candles with an opening time at or after --since and before --until, without the unfinished candle (by the
clock of the source). OUTPUT.source.json next to the output records the source. Exit codes: 0 complete; 1 written, but
candles are missing or duplicated, or training would reject rows; 2 not written (downloaded candles are kept for
--resume); 130 interrupted. The terms of the exchange define how the candles may be used.
"""


def run_check(argv: Sequence[str]) -> int:
    """`kronos-ft data check`: validates candle files; returns 1 if the policy would reject them."""
    parser = ExactParser(
        prog="kronos-ft data check", description="Validates candles and lists defects; exits 1 if they are rejected."
    )
    parser.add_argument("source", nargs="+", help="CSV or Parquet files, a folder, a glob, or a Hub data set")
    parser.add_argument("--policy", default="error", choices=["error", "drop", "repair"], help="as in training")
    parser.add_argument("--timezone", default="UTC", help="time zone of times without a UTC offset")
    parser.add_argument("--columns", help="names of columns that are not recognised: time=Datum,close=Schluss")
    parser.add_argument("--lookback_window", type=int, default=90, help="bars (default 90)")
    parser.add_argument("--predict_window", type=int, default=10, help="bars (default 10)")
    options = parser.parse_args(argv)

    if options.lookback_window < 2 or options.predict_window < 0:
        raise ValueError(
            f"lookback_window={options.lookback_window} and predict_window={options.predict_window} are too small; "
            "use at least 2 and 0"
        )
    from ..data.candles import inspect_candles
    from ..data.check import check

    bars = options.lookback_window, options.predict_window
    passes = True
    for source in options.source:
        series = inspect_candles(source, options.policy, options.timezone, options.columns)
        lines, fine = check(series, sum(bars) + 1)
        if fine:
            lines += _windows_lines(series, *bars)
        print("\n".join(lines))
        passes &= fine
    return 0 if passes else 1


def _windows_lines(series: list["CandleSeries"], lookback: int, horizon: int) -> list[str]:
    """The windows of training and validation with the default shares, or why training needs other settings."""
    from ..training.arguments import DataArguments
    from ..training.quantile_arguments import QuantileDataArguments
    from ..windows.dataset import WindowDataset, WindowShape

    every, lines = DataArguments.validation_stride, []
    together = "all tables together: " * (len(series) > 1)
    uses = {"training": horizon, "the quantile head": max(horizon, QuantileDataArguments.predict_window)}
    for use, bars in uses.items():
        shape = WindowShape(lookback, bars)
        try:
            train = WindowDataset(series, "train", shape, embargo=shape.length)
            validation = WindowDataset(series, "validation", replace(shape, stride=every), embargo=shape.length)
        except ValueError as error:
            return [*lines, f"  WARNING   {together}for {use}, {error}"]
        lines.append(f"  windows   {len(train):,} to train on, {len(validation):,} for validation (every {every} bars)")
    return lines[:1]


def _download_parser() -> ExactParser:
    parser = ExactParser(
        prog="kronos-ft data download",
        description="Downloads candles from an exchange or from zip archives.",
        epilog=DOWNLOAD_NOTE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--exchange", metavar="NAME", help="name of the exchange in ccxt, such as binance, kraken, okx")
    where.add_argument(
        "--archive",
        metavar="FOLDER_OR_URL",
        help="zip archives as on data.binance.vision: a folder (searched recursively) or a URL",
    )
    parser.add_argument(
        "--symbol",
        nargs="+",
        required=True,
        help="BTC/USDT (exchange) or BTCUSDT (archive); several symbols share one file with a symbol column",
    )
    parser.add_argument("--timeframe", required=True, help="interval of a candle: 1m, 5m, 1h, 1d, ...")
    parser.add_argument("--since", required=True, metavar="TIME", help="first opening time, e.g. 2018-01-01 (UTC)")
    parser.add_argument(
        "--until", metavar="TIME", help="end of the opening times, exclusive (default: all finished candles)"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="a .parquet or .csv file")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted download into this output")
    parser.add_argument(
        "--overwrite", action="store_true", help="start over; an old output stays until the new one is complete"
    )
    parser.add_argument("--allow_gaps", action="store_true", help="exit 0 even if candles are missing")
    parser.add_argument("--api_url", metavar="URL", help="testnet or mirror to use instead of the exchange")
    return parser


def run_download(argv: Sequence[str]) -> int:
    """`kronos-ft data download`: downloads candles from an exchange or an archive; returns 1 if candles are missing."""
    options = _download_parser().parse_args(argv)
    symbols = [name for word in options.symbol for name in word.split(",") if name]
    twice = next((name for name in symbols if symbols.count(name) > 1), None)
    if twice or not symbols:
        raise ValueError(
            f"symbol {twice} is given twice; pass it once" if twice else "symbol is empty; pass e.g. BTC/USDT"
        )
    if options.archive and options.api_url:
        raise ValueError("--api_url needs --exchange; pass the URL of an archive as --archive URL")
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
    if argv[0] not in ACTIONS:
        raise ValueError(f"data {argv[0]!r} is not an action; {nearest_or_all(argv[0], ACTIONS)}")
    return ACTIONS[argv[0]](argv[1:])
