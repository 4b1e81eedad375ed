"""Candle tables: any source -> checked, time-sorted open, high, low, close, volume, amount in UTC.

Notable:
- Values are kept in float64: a window's statistics subtract prices that agree in their first digits.
- Gaps are measured against the modal step. A market that trades around the clock has next to none; a session market
  (stocks, FX) has one each night, which is not a fault.

Shapes: N bars; values (N, 6) in the order of `FEATURES`.
"""

import hashlib
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd

from .columns import FEATURES, match_columns
from .quality import AMOUNT, CLOSE, DEFECTS, HIGH, LOW, VOLUME, QualityReport, clean, derive_amount
from .readers import RawTable, read_tables
from .timestamps import parse_times

CONTINUOUS_COVERAGE = 0.9  # share of the expected bars from which on a market counts as trading around the clock
LOT_TOLERANCE = 0.05
SPARSE_SHARE = 0.8  # a table whose bars follow each other by one step less often than this is worth a remark
QUIET_SHARE = 0.2


@dataclass
class CandleReport:
    """What was found in one symbol's table.

    Attributes:
        quality ([`QualityReport`]): defects, duplicates and remarks.
        step_seconds (`float`): the modal step between bars.
        market (`str`): `continuous` (around the clock) or `session`.
        gaps (`int`): places where bars are missing; `missing_bars` how many in all; `longest_gap_seconds`.
    """

    name: str
    symbol: str
    row_word: str
    policy: str
    quality: QualityReport
    columns: dict[str, str] = field(default_factory=dict)
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
        """Reasons, one phrase each, for which the policy rejects the table; empty when it passes."""
        reasons = list(self.problems)
        if self.policy == "error":
            for kind, defect in self.quality.defects.items():
                rows = ", ".join(str(row) for row in defect.rows)
                more = ", ..." if defect.count > len(defect.rows) else ""
                word = self.row_word + ("s" if defect.count > 1 else "")
                reasons.append(
                    f"{DEFECTS[kind][0]} in {defect.count} row{'s' * (defect.count > 1)} ({word} {rows}{more})"
                )
        return reasons

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class CandleSeries:
    """Checked candles of one symbol.

    Attributes:
        symbol (`str`): name of the asset.
        timestamps (`np.ndarray` of `datetime64[ns]`, shape `(N,)`): UTC, strictly increasing.
        values (`np.ndarray` of float64, shape `(N, 6)`): in the order of `FEATURES`.
        report ([`CandleReport`]): what was found and done.
    """

    symbol: str
    timestamps: np.ndarray
    values: np.ndarray
    report: CandleReport

    def __len__(self) -> int:
        return len(self.timestamps)

    def to_frame(self) -> pd.DataFrame:
        """The candles as a DataFrame with a `timestamps` column."""
        return pd.DataFrame(self.values, columns=list(FEATURES)).assign(timestamps=self.timestamps)

    def missing_before(self) -> np.ndarray:
        """Bars missing right before each bar, by the modal step, shape `(N,)`; 0 for the first."""
        steps = np.diff(self.timestamps).astype("int64") / (self.report.step_seconds * 1e9)
        return np.concatenate(([0], np.maximum(np.round(steps).astype(np.int64) - 1, 0)))


def _numbers(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    text = column.astype("string").str.strip().str.replace(r"(?<=\d),(?=\d{3}(\D|$))", "", regex=True)
    return pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def _values_of(frame: pd.DataFrame, columns: dict, remarks: list[str]) -> tuple[np.ndarray, bool]:
    """Six columns of numbers, deriving what is absent; says whether the amount is the source's own."""
    values = np.zeros((len(frame), len(FEATURES)))
    for position, name in enumerate(FEATURES):
        if name in columns:
            values[:, position] = _numbers(frame[columns[name]])
    if "volume" not in columns and "amount" in columns:
        with np.errstate(divide="ignore", invalid="ignore"):
            values[:, VOLUME] = values[:, AMOUNT] / values[:, : CLOSE + 1].mean(axis=1)
        remarks.append("no volume column: derived as amount / mean price")
    elif "volume" not in columns:
        remarks.append("no volume column: volume and amount are 0")
    empty_amount = "amount" in columns and "volume" in columns and bool(np.nanmax(np.abs(values[:, AMOUNT])) == 0)
    if empty_amount and bool(np.nanmax(np.abs(values[:, VOLUME])) > 0):
        remarks.append("the amount column is all 0 while volume is not: derived as volume x mean price")
    elif "amount" in columns:
        return values, "volume" in columns
    elif "volume" in columns:
        remarks.append("no amount column: derived as volume x mean price")
    values[:, AMOUNT] = derive_amount(values)
    return values, False


def _describe(series: CandleSeries, has_amount: bool) -> None:
    """Fills in the report's figures on steps, gaps, volume and shape."""
    report, values = series.report, series.values
    if len(series) < 2:
        report.problems.append(f"only {len(series)} usable bars; at least 2 are needed")
        return
    steps = np.diff(series.timestamps).astype("int64")
    unique, counts = np.unique(steps, return_counts=True)
    modal = int(unique[counts.argmax()])
    report.step_seconds = modal / 1e9
    report.first, report.last = (str(series.timestamps[i].astype("datetime64[s]")) for i in (0, -1))
    missing = series.missing_before()
    report.gaps, report.missing_bars = int((missing > 0).sum()), int(missing.sum())
    report.longest_gap_seconds = float(steps.max() / 1e9) if report.gaps else 0.0
    report.irregular_steps = int((steps % modal != 0).sum())
    covered = len(series) / (len(series) + report.missing_bars)
    report.market = "continuous" if covered >= CONTINUOUS_COVERAGE else "session"
    report.zero_volume_share = float((values[:, VOLUME] == 0).mean())
    report.flat_share = float((values[:, HIGH] == values[:, LOW]).mean())
    remarks = report.quality.remarks
    adjacent = float((steps == modal).mean())
    if adjacent < SPARSE_SHARE:
        remarks.append(
            f"only {adjacent:.0%} of the bars follow the one before by one step: windows cover uneven spans of time; "
            "a longer bar (e.g. 5 or 15 times) would fill them"
        )
    if report.zero_volume_share > QUIET_SHARE:
        remarks.append(f"{report.zero_volume_share:.0%} of the bars have no volume: volume and amount carry little")
    if np.ptp(values[:, CLOSE]) == 0:
        report.problems.append(f"the close is constant at {values[0, CLOSE]:g}; a model has nothing to learn from it")
    if has_amount:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = values[:, AMOUNT] / derive_amount(values)
        typical = float(np.nanmedian(ratio[np.isfinite(ratio)])) if np.isfinite(ratio).any() else 1.0
        if abs(typical - 1) > LOT_TOLERANCE:
            remarks.append(f"amount is typically {typical:.4g} x volume x price (lots or another unit?)")


def _series_of(table: RawTable, policy: str, timezone: str) -> CandleSeries:
    frame = table.frame
    columns = match_columns(frame.columns)
    try:
        parsed = parse_times(frame[columns["time"]], timezone)
    except ValueError as error:
        raise ValueError(f"{table.name}: {error}") from error
    if "date" in {str(name).lower().strip("<>") for name in frame.columns}:
        parsed = _with_time_of_day(frame, columns, parsed, timezone)
    remarks: list[str] = []
    values, has_amount = _values_of(frame, columns, remarks)
    readable = parsed.notna().to_numpy()
    times = parsed.fillna(pd.Timestamp(0, tz="UTC")).astype("int64").to_numpy(dtype=np.int64)
    cleaned, quality = clean(
        times, values, frame.index.to_numpy(), readable=readable, has_amount=has_amount, policy=policy
    )
    quality.remarks[:0] = remarks
    report = CandleReport(
        name=table.name,
        symbol=table.symbol,
        row_word=table.row_word,
        policy=policy,
        quality=quality,
        columns={meaning: str(name) for meaning, name in columns.items()},
    )
    series = CandleSeries(table.symbol, cleaned.times.astype("datetime64[ns]"), cleaned.values, report)
    _describe(series, has_amount)
    return series


def _with_time_of_day(frame: pd.DataFrame, columns: dict, parsed: pd.Series, timezone: str) -> pd.Series:
    """Joins a date column and a time-of-day column, as MetaTrader writes them."""
    names = {str(name).lower().strip("<>"): name for name in frame.columns}
    if "time" not in names or names["date"] != columns["time"]:
        return parsed
    if (parsed.dt.normalize() != parsed).any():
        return parsed
    joined = frame[names["date"]].astype("string") + " " + frame[names["time"]].astype("string")
    return parse_times(joined, timezone)


def inspect_candles(source: object, policy: str = "error", timezone: str = "UTC") -> list[CandleSeries]:
    """Reads and checks every table of a source without rejecting defects: they are in each series' report.

    Args and errors as in [`load_candles`].
    """
    return [_series_of(table, policy, timezone) for table in read_tables(source)]


def load_candles(source: object, policy: str = "error", timezone: str = "UTC") -> list[CandleSeries]:
    """Reads candles and checks them.

    Args:
        source: a CSV (any delimiter, BOM, gzip) or Parquet file, a folder or glob of them (one symbol each), a Hugging
            Face data set or its name, a DataFrame, or a dict of symbol to any of these. A symbol column splits a table.
        policy (`str`): what happens to rows with a defect: `error` rejects the table and names them, `drop` removes
            them, `repair` mends what can be mended without inventing a price.
        timezone (`str`): zone of times that carry no offset of their own.

    Returns:
        `list` of [`CandleSeries`], one a symbol.

    Raises:
        ValueError: nothing found, a table that cannot be read, unknown columns, or a defect under `error`.
    """
    loaded = inspect_candles(source, policy, timezone)
    rejected = [(series.report, series.report.rejections()) for series in loaded]
    reasons = [f"{report.name}: {'; '.join(why)}" for report, why in rejected if why]
    if reasons:
        more = f" (and {len(reasons) - 1} more tables)" if len(reasons) > 1 else ""
        remedy = ", or pass policy drop or repair" if any(r.quality.defects for r, w in rejected if w) else ""
        raise ValueError(f"{reasons[0]}{more}; correct the data{remedy if policy == 'error' else ''}")
    symbols = [series.symbol for series in loaded]
    twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if twice:
        raise ValueError(f"symbol {twice[0]} comes from two tables; give each symbol one file, or name them in a dict")
    return loaded


def fingerprint(series: list[CandleSeries]) -> str:
    """SHA-256 over symbols, times and values: equal for equal candles, whatever file they came from."""
    digest = hashlib.sha256()
    for one in series:
        digest.update(one.symbol.encode())
        digest.update(np.ascontiguousarray(one.timestamps.astype("int64")).tobytes())
        digest.update(np.ascontiguousarray(one.values).tobytes())
    return digest.hexdigest()
