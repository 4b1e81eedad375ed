"""Candle tables: any source -> validated open, high, low, close, volume, amount, sorted by UTC time.

Notable:
- Values are float64: window statistics subtract prices that differ only in their last digits.
- Gaps are measured in multiples of the modal step. A continuous market has few gaps; a session market (stocks, FX) has
  one every night, which is not a defect.

Shapes: N bars; values (N, 6) in the order of `FEATURES`.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .candle_table import CandleTable, TableWriter
from .columns import FEATURES, NAMED_UTC, ColumnNames, match_all, parse_columns, plain_name, unit_factor
from .numbers import decimal_mark, is_empty, parse_numbers
from .quality import AMOUNT, CLOSE, DEFECTS, HIGH, LOW, VOLUME, QualityReport, clean, derive_amount
from .readers import RawTable, files_of, read_tables
from .rhythm import closings, duration, market_of, missing_bars, modal_step, step_change
from .timestamps import parse_times, time_of_day

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Map = Callable[[Callable, Iterable], Iterable]  # `map`, or one that shares the calls among processes

LOT_TOLERANCE = 0.05
SAME_AS_UTC = ("UTC", "ETC/UTC", "GMT", "ETC/GMT", "Z")
SPARSE_SHARE = 0.8  # remark if fewer bars than this share follow the previous bar by exactly one step
QUIET_SHARE = 0.2
SHOWN_BARS = 200  # of a picture


@dataclass
class CandleReport:
    """Findings about one symbol's table.

    Attributes:
        quality ([`QualityReport`]): defects, duplicates and remarks.
        step_seconds (`float`): the modal step between bars.
        market (`str`): `continuous` (around the clock) or `session`.
        unused (`list` of `str`): columns without a meaning.
        gaps (`int`): number of gaps; `missing_bars` is the total number of bars missing in them.
    """

    name: str
    symbol: str
    row_word: str
    policy: str
    quality: QualityReport
    columns: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    first: str = ""
    last: str = ""
    step_seconds: float = 0.0
    market: str = "continuous"
    gaps: int = 0
    missing_bars: int = 0
    longest_gap_seconds: float = 0.0
    irregular_steps: int = 0
    zero_volume_share: float = 0.0
    flat_share: float = 0.0
    problems: list[str] = field(default_factory=list)

    def rejections(self) -> list[str]:
        """Reasons why the policy rejects the table; empty if it passes."""
        reasons = list(self.problems)
        if self.policy == "error":
            for kind, defect in self.quality.defects.items():
                rows = ", ".join(str(row) for row in defect.rows)
                more = ", ..." if defect.count > len(defect.rows) else ""
                word = self.row_word + ("s" if defect.count > 1 else "")
                reasons.append(
                    f"{DEFECTS[kind][0]} in {defect.count} row{'s' * (defect.count > 1)} ({word} {rows}{more}"
                    f"{', e.g. ' + defect.example if defect.example else ''})"
                )
        return reasons

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return asdict(self)

    def __repr__(self) -> str:
        quality = self.quality
        defects = ", ".join(f"{DEFECTS[kind][0]} in {one.count:,} rows" for kind, one in quality.defects.items())
        return (
            f"CandleReport of {self.symbol}: {quality.rows_kept:,} of {quality.rows_read:,} rows, one bar every "
            f"{duration(self.step_seconds)}, {self.market} market\n{self.gaps:,} gaps with {self.missing_bars:,} bars "
            f"missing; defects: {defects or 'none'}; remarks: {len(quality.remarks)}"
        )


@dataclass(frozen=True)
class CandleSeries:
    """Validated candles of one symbol.

    Attributes:
        symbol (`str`): name of the asset.
        timestamps (`np.ndarray` of `datetime64[ns]`, shape `(N,)`): UTC, strictly increasing.
        values (`np.ndarray` of float64, shape `(N, 6)`): in the order of `FEATURES`.
        report ([`CandleReport`]): findings and corrections.
        table ([`CandleTable`], *optional*): the table of all symbols; `timestamps` and `values` are slices of it.
    """

    symbol: str
    timestamps: np.ndarray
    values: np.ndarray
    report: CandleReport
    table: CandleTable | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.timestamps)

    def __repr__(self) -> str:
        span, missing = "", self.report.missing_bars
        if len(self):
            first, last = (str(time.astype("datetime64[m]")).replace("T", " ") for time in self.timestamps[[0, -1]])
            span = f" every {duration(self.report.step_seconds)}, {first} to {last} UTC"
        gaps = f", {missing:,} bars missing" if missing else ""
        return f"CandleSeries {self.symbol}: {len(self):,} bars{span}{gaps}"

    def plot(self, ax: "Axes | None" = None, *, bars: int = SHOWN_BARS) -> "Axes":
        """Draws the last candles.

        Args:
            ax (`matplotlib.axes.Axes`, *optional*): to draw on; by default new axes of a new figure, which a notebook
                shows.
            bars (`int`): number of candles.

        Returns:
            the axes; `ax.figure.savefig(FILE)` writes them.

        Raises:
            ValueError: fewer than one bar to draw.
        """
        from ft_core.io.figures import INK, draw_candles, label_times, new_axes

        shown = min(bars, len(self))
        if shown < 1:
            raise ValueError(f"bars={bars} of {len(self)} leaves no candle to draw; use 1 or more")
        if ax is None:
            title = f"{self.symbol}: {shown:,} bars of {duration(self.report.step_seconds)}"
            ax = new_axes(10, 4, title, inline=True)
        draw_candles(ax, np.arange(shown), self.values[-shown:])
        ticks = np.unique(np.linspace(0, shown - 1, 7).round().astype(int))
        label_times(ax, ticks, self.timestamps[-shown:][ticks])
        ax.set_xlim(-1, shown)
        ax.autoscale(axis="y")
        ax.autoscale_view(scalex=False)
        ax.set_ylabel("price", fontsize=9, color=INK)
        return ax

    def to_frame(self) -> pd.DataFrame:
        """The candles as a DataFrame with a `timestamps` column."""
        return pd.DataFrame(self.values, columns=list(FEATURES)).assign(timestamps=self.timestamps)

    def missing_before(self) -> np.ndarray:
        """Number of bars missing directly before each bar, shape `(N,)`; 0 for the first bar."""
        steps = np.diff(self.timestamps).astype("int64")
        return np.concatenate(([0], missing_bars(steps, self.report.step_seconds * 1e9)))


def _is_zero(column: pd.Series, numbers: np.ndarray) -> bool:
    """Whether every cell that has content is the number 0."""
    if np.isnan(numbers).any():
        numbers = numbers[column.notna().to_numpy()]
    return bool((numbers == 0).all())


def _unreadable(names: dict, frame: pd.DataFrame, found: dict[str, np.ndarray]) -> str:
    """The first cell with content that is not a number, with its column; empty if there is none."""
    for name, numbers in found.items():
        if not np.isnan(numbers).any():
            continue
        column = frame[names[name]]
        cells = column[np.isnan(numbers) & column.notna().to_numpy()].astype("string").str.strip()
        cells = cells[cells != ""]
        if len(cells):
            return f"{name} {cells.iloc[0][:20]!r}"
    return ""


def _values_of(frame: pd.DataFrame, columns: dict, remarks: list[str]) -> tuple[np.ndarray, bool, str]:
    """Returns the six columns, missing ones derived; whether the amount is from the source; an unreadable cell."""
    mark = decimal_mark([frame[columns[name]] for name in FEATURES if name in columns])
    factors = {name: unit_factor(columns[name]) for name in FEATURES if name in columns}
    found = {name: parse_numbers(frame[columns[name]], mark, factor) for name, factor in factors.items()}
    remarks += [
        f"the numbers of {columns[name]} are multiplied by {factor:,.0f}, the unit in its name"
        for name, factor in factors.items()
        if factor != 1
    ]
    if "volume" in found and _is_zero(frame[columns["volume"]], found["volume"]):
        for name, ticks in match_all(frame.columns, "volume").items():
            numbers = parse_numbers(frame[ticks], mark)
            if not _is_zero(frame[ticks], numbers):
                remarks.append(f"the volume column is all 0: column {name} is used instead")
                columns["volume"], found["volume"] = ticks, numbers
                break
    for name in ("volume", "amount"):
        if name in found and np.isnan(found[name]).all() and is_empty(frame[columns[name]]):
            remarks.append(f"the {name} column is empty")
            del found[name]
    values = np.zeros((len(frame), len(FEATURES)))
    for position, name in enumerate(FEATURES):
        if name in found:
            values[:, position] = found[name]
    both = "amount" in found and "volume" in found
    if both and _is_zero(frame[columns["amount"]], found["amount"]) and np.nan_to_num(found["volume"]).any():
        remarks.append("the amount column is all 0, the volume column is not: amount derived as volume x mean price")
        del found["amount"]
    elif "volume" not in found and "amount" in found:
        with np.errstate(divide="ignore", invalid="ignore"):
            values[:, VOLUME] = values[:, AMOUNT] / values[:, : CLOSE + 1].mean(axis=1)
        remarks.append("no volume column: volume derived as amount / mean price")
    elif "volume" not in found:
        remarks.append("no volume column: volume and amount set to 0")
    elif "amount" not in found:
        remarks.append("no amount column: amount derived as volume x mean price")
    unreadable = _unreadable(columns, frame, found)
    if "amount" in found:
        return values, "volume" in found, unreadable
    values[:, AMOUNT] = derive_amount(values)
    return values, False, unreadable


def _describe(series: CandleSeries, has_amount: bool) -> None:
    """Fills in the report's figures on steps, gaps, volume and shape."""
    report, values = series.report, series.values
    if len(series) < 2:
        report.problems.append(f"only {len(series)} usable bars; at least 2 are needed")
        return
    steps = np.diff(series.timestamps).astype("int64")
    modal = modal_step(steps)
    report.step_seconds = modal / 1e9
    report.first, report.last = (str(series.timestamps[i].astype("datetime64[s]")) for i in (0, -1))
    missing = series.missing_before()
    report.gaps, report.missing_bars = int((missing > 0).sum()), int(missing.sum())
    report.longest_gap_seconds = float(steps.max() / 1e9) if report.gaps else 0.0
    report.irregular_steps = int((steps % modal != 0).sum())
    report.market = market_of(steps, modal)
    report.zero_volume_share = float((values[:, VOLUME] == 0).mean())
    report.flat_share = float((values[:, HIGH] == values[:, LOW]).mean())
    if (change := step_change(steps, modal)) is not None:
        before, after = (f"{step / 60e9:g} min" for step in (steps[:change].min(), steps[change:].min()))
        report.problems.append(
            f"the time between bars changes from {before} to {after} at {str(series.timestamps[change])[:16]} "
            "(cut the data there, or resample it to one step)"
        )
    remarks = report.quality.remarks
    adjacent = float((steps == modal)[~closings(series.timestamps, modal)].mean())
    if adjacent < SPARSE_SHARE:
        remarks.append(
            f"only {adjacent:.0%} of the bars follow the previous bar by one step: windows span unequal lengths of "
            "time; resample to longer bars, e.g. 5 or 15 times as long"
        )
    if report.zero_volume_share > QUIET_SHARE:
        remarks.append(
            f"{report.zero_volume_share:.0%} of the bars have no volume: volume and amount carry little information"
        )
    if np.ptp(values[:, CLOSE]) == 0:
        report.problems.append(f"the close is constant at {values[0, CLOSE]:g}; a model cannot learn from it")
    if has_amount:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = values[:, AMOUNT] / derive_amount(values)
        typical = float(np.nanmedian(ratio[np.isfinite(ratio)])) if np.isfinite(ratio).any() else 1.0
        if abs(typical - 1) > LOT_TOLERANCE:
            remarks.append(
                f"the median amount is {typical:.4g} x volume x price (volume in lots, or amount in another currency)"
            )


def _series_of(table: RawTable, policy: str, timezone: str) -> CandleSeries:
    frame, columns = table.frame, table.columns
    remarks: list[str] = []
    try:
        parsed = _times_of(frame, columns, timezone)
        values, has_amount, unreadable = _values_of(frame, columns, remarks)
    except ValueError as error:
        raise ValueError(f"{table.name}: {error}") from error
    if plain_name(columns["time"]) in NAMED_UTC and timezone.upper() not in SAME_AS_UTC:
        remarks.append(
            f"the column {columns['time']} is named as UTC, but times without an offset are read as {timezone}"
        )
    readable = parsed.notna().to_numpy()
    times = parsed.fillna(pd.Timestamp(0, tz="UTC")).astype("int64").to_numpy(dtype=np.int64)
    cleaned, quality = clean(
        times, values, frame.index.to_numpy(), readable=readable, has_amount=has_amount, policy=policy
    )
    quality.remarks[:0] = remarks
    if "not_a_number" in quality.defects:
        quality.defects["not_a_number"].example = unreadable
    if "unreadable_time" in quality.defects and (cells := frame[columns["time"]][~readable].dropna()).size:
        quality.defects["unreadable_time"].example = repr(str(cells.iloc[0])[:20])
    report = CandleReport(
        name=table.name,
        symbol=table.symbol,
        row_word=table.row_word,
        policy=policy,
        quality=quality,
        columns={meaning: str(name) for meaning, name in columns.items()},
        unused=[str(name) for name in frame.columns if name not in [*columns.values()]],
    )
    series = CandleSeries(table.symbol, cleaned.times.astype("datetime64[ns]"), cleaned.values, report)
    _describe(series, has_amount)
    return series


def _times_of(frame: pd.DataFrame, columns: dict, timezone: str) -> pd.Series:
    """UTC times of a table. Joins separate date and time-of-day columns, which MetaTrader and Stooq write."""
    names = {plain_name(name): name for name in frame.columns}
    if columns["time"] != names.get("date") or "time" not in names:
        return parse_times(frame[columns["time"]], timezone)
    if frame[names["time"]].astype("string").str.fullmatch(r"\d{12,17}").mean() > 0.5:  # with the date (baostock)
        return parse_times(frame[names["time"]], timezone)
    dates = parse_times(frame[names["date"]])
    if (dates.dt.normalize() != dates).any():
        return parse_times(frame[columns["time"]], timezone)
    return parse_times(dates.dt.tz_localize(None) + time_of_day(frame[names["time"]]), timezone)


def inspect_candles(
    source: object,
    policy: str = "error",
    timezone: str = "UTC",
    columns: ColumnNames | None = None,
    each: Map = map,
) -> list[CandleSeries]:
    """Like [`load_candles`], but records defects in each series' report instead of rejecting them."""
    writer, reports = TableWriter(), []
    check = partial(_series_of, policy=policy, timezone=timezone)
    for one in each(check, read_tables(source, parse_columns(columns))):
        writer.add(one.timestamps, one.values)
        reports.append(one.report)
    table, rows = writer.finish()
    return [
        CandleSeries(report.symbol, table.timestamps[row], table.values[row], report, table)
        for report, row in zip(reports, rows, strict=True)
    ]


def _refusal(report: CandleReport, others: int = 0) -> str:
    """Why a table is rejected, with the remedy; `others` more tables are rejected too."""
    remedy = ", or set the policy to drop or repair" if report.quality.defects and report.policy == "error" else ""
    more = f" (and {others} more tables)" if others else ""
    return f"{report.name}: {'; '.join(report.rejections())}{more}; correct the data{remedy}"


def _check_symbols(loaded: list[CandleSeries]) -> None:
    counts = Counter(series.symbol for series in loaded)
    twice = sorted(symbol for symbol, count in counts.items() if count > 1)
    if twice:
        raise ValueError(
            f"symbol {twice[0]} occurs in two tables; keep one file per symbol, or pass a dict of symbol to table"
        )


def load_candles(
    source: object,
    policy: str = "error",
    timezone: str = "UTC",
    columns: ColumnNames | None = None,
    each: Map = map,
) -> list[CandleSeries]:
    """Reads and validates candles.

    Args:
        source: a CSV (any delimiter, BOM, gzip) or Parquet file, a folder or glob of them (one symbol each), a Hugging
            Face data set or its name, a DataFrame, or a dict that maps symbols to any of these. A table with a symbol
            column is split by symbol.
        policy (`str`): what to do with defective rows: `error` rejects the table and lists the rows, `drop` removes
            the rows, `repair` corrects them where this needs no invented price.
        timezone (`str`): time zone of times without an offset.
        columns (`str` or `Mapping`, *optional*): names of columns that are not recognised: `time=Datum,close=Schluss`,
            or `{"time": "Datum", "close": "Schluss"}`.
        each (`Callable`): checks the tables; [`~ft_core.runs.shared_work.shared_map`] shares them among processes.

    Returns:
        `list` of [`CandleSeries`], one per symbol.

    Raises:
        ValueError: nothing found, an unreadable table, unknown columns, or a defect under policy `error`.
    """
    loaded = inspect_candles(source, policy, timezone, columns, each)
    rejected = [series.report for series in loaded if series.report.rejections()]
    if rejected:
        raise ValueError(_refusal(rejected[0], len(rejected) - 1))
    _check_symbols(loaded)
    return loaded


def load_usable(
    source: object,
    policy: str = "error",
    timezone: str = "UTC",
    columns: ColumnNames | None = None,
    each: Map = map,
) -> tuple[list[CandleSeries], list[str]]:
    """As [`load_candles`], but leaves out the tables that cannot be used.

    Returns:
        the usable series, and one line for each table that is left out: its name, the reason and the remedy.

    Raises:
        ValueError: no table can be used, or a symbol occurs twice.
    """
    files = files_of(source) if isinstance(source, str) else None
    parts = [source] if files is None else files

    def inspected(part: object) -> list[CandleSeries] | str:
        try:
            found = inspect_candles(part, policy, timezone, columns, each if len(parts) == 1 else map)
        except ValueError as error:
            return str(error)
        return found if len(parts) == 1 else [replace(one, table=None) for one in found]

    usable, refused = [], []
    for loaded in map(inspected, parts) if len(parts) == 1 else each(inspected, parts):
        if isinstance(loaded, str):
            refused.append(loaded)
            continue
        usable += [one for one in loaded if not one.report.rejections()]
        for report in (one.report for one in loaded if one.report.rejections()):
            named = report.symbol in report.name or len(loaded) == 1
            refused.append(_refusal(report) if named else f"{report.symbol} in {_refusal(report)}")
    if not usable:
        more = f" (and {len(refused) - 1} more tables)" if len(refused) > 1 else ""
        raise ValueError(refused[0] + more)
    _check_symbols(usable)
    return usable, refused


def fingerprint(series: list[CandleSeries]) -> str:
    """SHA-256 of symbols, times and values; independent of the file format."""
    digest = hashlib.sha256()
    for one in series:
        digest.update(one.symbol.encode())
        digest.update(np.ascontiguousarray(one.timestamps.astype("int64", copy=False)).data)
        digest.update(np.ascontiguousarray(one.values).data)
    return digest.hexdigest()
