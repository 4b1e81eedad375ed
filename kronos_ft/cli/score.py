"""`kronos-ft score`: logged quantile forecasts against the candles that came."""

from collections.abc import Sequence
from pathlib import Path

from ft_core.cli.options import ExactParser

SCORED = "scored"
SCORE_FILE, ROWS_FILE = "score.json", "scored.csv"
WIDTH = 20
LOSSES = ("crps_bp", "reference_crps_bp", "skill", "p_value", "wql", "brier")


def _parser() -> ExactParser:
    parser = ExactParser(
        prog="kronos-ft score",
        description="Compares the forecasts in a quantile file of kronos-ft forecast with the candles that came: "
        "coverage of the intervals, CRPS against a reference, probability of a rise, drift. Exit code 1 if "
        "coverage drifts.",
    )
    parser.add_argument("log", metavar="LOG", help="file of kronos-ft forecast --quantiles: .csv or .parquet")
    parser.add_argument("--data", required=True, metavar="FILE", help="the candles, as for kronos-ft forecast")
    parser.add_argument("--policy", default="error", help="how to handle invalid rows: error, drop or repair")
    parser.add_argument("--timezone", default="UTC", help="time zone of times without a UTC offset (default UTC)")
    parser.add_argument("--columns", help="names of columns that are not recognised: time=Datum,close=Schluss")
    parser.add_argument(
        "--window", type=int, default=50, metavar="N", help="newest forecasts that are tested for drift (default 50)"
    )
    parser.add_argument(
        "--output_dir", metavar="DIR", help=f"write {SCORE_FILE} and {ROWS_FILE} (every row) there, replacing them"
    )
    return parser


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _row(name: str, one: dict) -> str:
    """A line of the table: counts, coverage with its interval, losses."""
    shares = ""
    for found in one["coverage"].values():
        span = f" [{_cell(found['low'], '.0%')}, {_cell(found['high'], '.0%')}]" if found["low"] is not None else ""
        shares += f"{_cell(found['share'], '.1%') + span:>20}"
    losses = [
        (one["crps_bp"], ".1f"),
        (one["reference_crps_bp"], ".1f"),
        (one["skill"], "+.1%"),
        (one["p_value"], ".2g"),
    ]
    losses += [(one["wql"], ".3f"), (one["brier"], ".3f")]
    cells = "".join(f"{_cell(value, form):>10}" for value, form in losses)
    return f"{name[:WIDTH]:{WIDTH}}{one['forecasts']:>10,}{one['independent']:>7,}{shares}{cells}"


def score_lines(found: dict) -> list[str]:
    """The scores of a log as text, for the terminal.

    Args:
        found (`dict`): from [`~kronos_ft.daily.score.score_log`].
    """
    counts = {name: count for name, count in found["rows"].items() if count or name in ("scored", "pending")}
    lines = [f"bars              {', '.join(f'{count:,} {name}' for name, count in counts.items())}"]
    heads = "".join(f"{f'in {level:.0%} [95 % CI]':>20}" for level in (0.5, 0.8, 0.9))
    names = ("CRPS bp", "reference", "skill", "p", "WQL", "Brier")
    header = f"{'symbol':{WIDTH}}{'forecasts':>10}{'apart':>7}{heads}{''.join(f'{name:>10}' for name in names)}"
    if not found["rows"][SCORED]:
        return [*lines, "nothing to score yet: the forecast bars are not in these data; try again when they have come"]
    for model, scores in found["models"].items():
        lines += [f"model             {model[:16]}", header]
        lines += [_row(symbol, one) for symbol, one in scores["symbols"].items()]
        lines += [_row("all symbols", scores["all"])] if scores["all"] else []
        for one in scores["drift"]:
            lines.append(
                f"WARNING     drift: the {one['level']:.0%} interval of {one['symbol']} covered {one['covered']} of "
                f"its last {one['forecasts']} forecasts, outside {one['low']} to {one['high']}: train again"
            )
        if scores["revised"]:
            lines.append(
                f"WARNING     the close at the origin of {scores['revised']:,} forecasts is another one in these data: "
                "prices were revised, adjusted, or unfinished when they were forecast"
            )
        if scores["late"]:
            lines.append(
                f"WARNING     forecasts made in hindsight, after their first bar had ended: {scores['late']:,}; they "
                "prove nothing about forecasts in advance"
            )
    lines.append(f"reference         {found['reference']}")
    lines.append("apart             forecasts that do not overlap; the intervals (95 % CI) count only these")
    return lines


def run_score_command(argv: Sequence[str]) -> int:
    """`kronos-ft score LOG --data FILE`: prints and writes the scores; exit code 1 if the coverage drifts.

    Raises:
        ValueError: a log or candles that cannot be used, or without a common symbol.
    """
    options = _parser().parse_args(argv)
    from ft_core.io.files import check_data_file, write_file, write_json
    from ft_core.io.spreadsheet import neutral_frame
    from ft_core.runs.folder import check_writable

    check_data_file(options.data)
    from ..daily.joined import join_log
    from ..daily.quantile_log import read_log
    from ..daily.score import score_log
    from ..data.sources import load_source

    log, folder = read_log(Path(options.log)), Path(options.output_dir) if options.output_dir else None
    if not len(log):
        raise ValueError(
            f"{options.log} contains no forecast; run kronos-ft forecast --quantiles {options.log} --append"
        )
    if folder is not None:
        check_writable(folder)
    series = load_source(options.data, options.policy, options.timezone, options.columns)
    known, logged = {one.symbol for one in series}, sorted(log["symbol"].unique())
    if not known & set(logged):
        raise ValueError(
            f"{options.log} has forecasts of {', '.join(logged[:3])}, but {options.data} has candles of "
            f"{', '.join(sorted(known)[:3])}; pass the candles of the same symbols (a file without a symbol column has "
            "the symbol of its name: rename it)"
        )
    joined = join_log(log, series)
    found = score_log(joined, options.window)
    for line in score_lines(found):
        print(line)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / SCORE_FILE, found)
        cells = neutral_frame(joined)
        write_file(folder / ROWS_FILE, lambda temporary: cells.to_csv(temporary, index=False))
        print(f"scores            {folder / SCORE_FILE}\nrows              {folder / ROWS_FILE}")
    return 1 if any(one["drift"] for one in found["models"].values()) else 0
