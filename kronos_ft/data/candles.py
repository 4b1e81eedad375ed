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

from .candle_table import CandleTable, TableWriter
from .columns import FEATURES, match_all, match_columns, plain_name
from .quality import AMOUNT, CLOSE, DEFECTS, HIGH, LOW, VOLUME, QualityReport, clean, derive_amount
from .readers import RawTable, read_tables
from .rhythm import market_of, missing_bars, modal_step
from .timestamps import parse_times, time_of_day

LOT_TOLERANCE = 0.05
SPARSE_SHARE = 0.8  # a table whose bars follow each other by one step less often than this is worth a remark
QUIET_SHARE = 0.2
STEP_PARTS, LEAST_PART, PREVAILS = 10, 20, 0.9


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
        table ([`CandleTable`], *optional*): the table of all symbols that times and values are rows of.
    """

    symbol: str
    timestamps: np.ndarray
    values: np.ndarray
    report: CandleReport
    table: CandleTable | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.timestamps)

    def to_frame(self) -> pd.DataFrame:
        """The candles as a DataFrame with a `timestamps` column."""
        return pd.DataFrame(self.values, columns=list(FEATURES)).assign(timestamps=self.timestamps)

    def missing_before(self) -> np.ndarray:
        """Bars missing right before each bar, by the modal step, shape `(N,)`; 0 for the first."""
        steps = np.diff(self.timestamps).astype("int64")
        return np.concatenate(([0], missing_bars(steps, self.report.step_seconds * 1e9)))


def _is_text(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype)


def _decimal_mark(frame: pd.DataFrame, names: list) -> str:
    """What marks decimals in the text columns of a table: decided once, from all of them.

    Raises:
        ValueError: when a comma may mark decimals or thousands.
    """
    cells = [frame[name].dropna().astype("string").str.strip() for name in names if _is_text(frame[name])]
    text = pd.concat(cells) if cells else pd.Series([], dtype="string")
    text = text[text.str.contains(",", regex=False)]
    if text.empty or text.str.contains(r",.*,|,.*\.", regex=True).any():
        return "."
    decimals = text.str.fullmatch(r"[+-]?(?:0|\d{4,}|\d[\d.]*\.\d{3}),\d+|[+-]?[\d.]+,(?:\d{1,2}|\d{4,})")
    if decimals.any():
        return ","
    raise ValueError(
        f"numbers like {text.iloc[0]!r} use a comma for decimals or for thousands, which cannot be told; write "
        "decimals with a point"
    )


def _numbers(column: pd.Series, decimal_mark: str) -> np.ndarray:
    if not _is_text(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    text = column.astype("string").str.strip()
    if decimal_mark == ",":
        text = text.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    else:
        text = text.str.replace(r"(?<=\d),(?=\d{3}(\D|$))", "", regex=True)
    return pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def _largest(values: np.ndarray) -> float:
    """Largest absolute value, 0 when there is none."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max()) if len(finite) else 0.0


def _values_of(frame: pd.DataFrame, columns: dict, remarks: list[str]) -> tuple[np.ndarray, bool]:
    """Six columns of numbers, deriving what is absent; says whether the amount is the source's own."""
    mark = _decimal_mark(frame, [columns[name] for name in FEATURES if name in columns])
    found = {name: _numbers(frame[columns[name]], mark) for name in FEATURES if name in columns}
    if "volume" in found and _largest(found["volume"]) == 0:
        for name, ticks in match_all(frame.columns, "volume").items():
            numbers = _numbers(frame[ticks], ".")
            if _largest(numbers) > 0:
                remarks.append(f"the volume column is all 0: {name} is used")
                columns["volume"], found["volume"] = ticks, numbers
                break
    for name in ("volume", "amount"):
        if name in found and not np.isfinite(found[name]).any():
            remarks.append(f"the {name} column is empty")
            del found[name]
    values = np.zeros((len(frame), len(FEATURES)))
    for position, name in enumerate(FEATURES):
        if name in found:
            values[:, position] = found[name]
    if "amount" in found and "volume" in found and _largest(values[:, AMOUNT]) == 0 < _largest(values[:, VOLUME]):
        remarks.append("the amount column is all 0 while volume is not: derived as volume x mean price")
        del found["amount"]
    elif "volume" not in found and "amount" in found:
        with np.errstate(divide="ignore", invalid="ignore"):
            values[:, VOLUME] = values[:, AMOUNT] / values[:, : CLOSE + 1].mean(axis=1)
        remarks.append("no volume column: derived as amount / mean price")
    elif "volume" not in found:
        remarks.append("no volume column: volume and amount are 0")
    elif "amount" not in found:
        remarks.append("no amount column: derived as volume x mean price")
    if "amount" in found:
        return values, "volume" in found
    values[:, AMOUNT] = derive_amount(values)
    return values, False


def _step_change(steps: np.ndarray, modal: int) -> int | None:
    """Where bars of one length give way to bars of another: the first of the parts in which another step prevails."""
    parts = np.array_split(np.arange(len(steps)), STEP_PARTS)
    if len(parts[0]) < LEAST_PART:
        return None
    usual = [(steps[part] == modal).mean() for part in parts]
    few = [len(np.unique(steps[part])) < len(part) / 4 for part in parts]
    other = [share < 1 - PREVAILS and one for share, one in zip(usual, few, strict=True)]
    same = [share > PREVAILS for share in usual]
    if not any(other) or not any(same):
        return None
    as_usual_first = same.index(True) < other.index(True)
    part = parts[other.index(True) if as_usual_first else same.index(True)]
    before = np.flatnonzero((steps[: part[0]] == modal) == as_usual_first)
    return int(before[-1]) + 1


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
    if (change := _step_change(steps, modal)) is not None:
        before, after = (f"{step / 60e9:g} min" for step in (steps[:change].min(), steps[change:].min()))
        report.problems.append(
            f"the time between bars changes from {before} to {after} at {str(series.timestamps[change])[:16]} "
            "(cut the data there, or resample it to one step)"
        )
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
    remarks: list[str] = []
    try:
        parsed = _times_of(frame, columns, timezone)
        values, has_amount = _values_of(frame, columns, remarks)
    except ValueError as error:
        raise ValueError(f"{table.name}: {error}") from error
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


def _times_of(frame: pd.DataFrame, columns: dict, timezone: str) -> pd.Series:
    """UTC times of a table; a date column and a time-of-day column are joined, as MetaTrader and Stooq write them."""
    names = {plain_name(name): name for name in frame.columns}
    if columns["time"] != names.get("date") or "time" not in names:
        return parse_times(frame[columns["time"]], timezone)
    dates = parse_times(frame[names["date"]])
    if (dates.dt.normalize() != dates).any():
        return parse_times(frame[columns["time"]], timezone)
    return parse_times(dates.dt.tz_localize(None) + time_of_day(frame[names["time"]]), timezone)


def inspect_candles(source: object, policy: str = "error", timezone: str = "UTC") -> list[CandleSeries]:
    """Reads and checks every table of a source without rejecting defects: they are in each series' report.

    Args and errors as in [`load_candles`].
    """
    writer, reports = TableWriter(), []
    for raw in read_tables(source):
        one = _series_of(raw, policy, timezone)
        writer.add(one.timestamps, one.values)
        reports.append(one.report)
    table, rows = writer.finish()
    return [
        CandleSeries(report.symbol, table.timestamps[row], table.values[row], report, table)
        for report, row in zip(reports, rows, strict=True)
    ]


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
        digest.update(np.ascontiguousarray(one.timestamps.astype("int64", copy=False)).data)
        digest.update(np.ascontiguousarray(one.values).data)
    return digest.hexdigest()
