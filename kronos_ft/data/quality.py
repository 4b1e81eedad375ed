"""Finds defects in candles and applies the policy: reject, drop or repair.

Notable:
- A defect is a row that cannot be a candle (low above the body, price of zero, two different bars at one time, ...).
  Policy `error` (the default) rejects the table; `drop` removes the rows; `repair` corrects them where this needs no
  invented price.
- A remark (gaps, zero volume, flat bars, a few isolated wicks) is reported and never changes a value.
- No look-ahead: the checks and corrections of a bar depend only on bars up to its own time. The bars before a forecast
  origin are the same as if the table had been cleaned at that time.

Shapes: N rows; values (N, 6) hold open, high, low, close, volume, amount.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from .columns import FEATURES

POLICIES = ("error", "drop", "repair")
OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT = range(6)

LARGEST = 1e75  # larger values would overflow in volume x price or in a variance
ROUNDING = 1e-6  # a high below the body by less than this share of the price is a rounding error of the source
SWAP_FACTOR = 2.0  # amount / (volume x price) this far from 1 is not a rounding error
SWAP_SLACK = 1e-3  # the mean price paid may be outside its bar by this share, because amounts are rounded
SWAP_EVIDENT_SHARE = 0.75  # real tables in one unit reach 0.97 and more
# An isolated wick extends beyond its bar's body and the previous close by more than 20 typical bar ranges and 2 % of
# the price. Seven years of hourly BTC have none; ten years of hourly GBP/USD have two, one of them the flash crash of
# 2016-10-07.
WICK_RANGES = 20.0
WICK_SHARE_OF_PRICE = 0.02
WICK_NEIGHBOURHOOD = 101  # bars
WICK_HISTORY = 50  # the first bars have too little history and are not checked
MANY_ROWS = 1e-4  # above this share of rows, rolling medians over the table are faster than one median per row
# If the isolated wicks so far exceed both this count and this share of the rows so far, they are a fault of the feed,
# not a crash of the market, and the wicks from there on are corrected. Earlier wicks stay: correcting them would use
# information from later bars.
WICK_REJECT_SHARE = 0.001
WICK_REJECT_COUNT = 5

_FROM_OTHERS = "derived from the bar's other values; row dropped if it has no close"
DEFECTS: dict[str, tuple[str, str]] = {
    # kind: (description, what `repair` does)
    "unreadable_time": ("time cannot be read", "row dropped"),
    "not_a_number": ("value missing or not a number", _FROM_OTHERS),
    "infinite": ("infinite or overflowing value", _FROM_OTHERS),
    "price_not_positive": ("price zero or negative", _FROM_OTHERS),
    "negative_volume": ("volume or amount negative", "set to 0"),
    "swapped_volume": ("volume and amount swapped", "swapped back"),
    "contradiction": ("low or high contradicts open and close", "widened to contain open and close"),
    "conflicting_duplicate": ("different bars at one time", "last one kept"),
    "isolated_wick": ("wick far outside its bar and the previous bar", "cut to the body and the previous close"),
}


@dataclass
class Defect:
    """Rows with the same defect: their number, the first row numbers, the action taken, and an unreadable cell."""

    count: int
    rows: list[int]
    action: str
    example: str = ""


@dataclass
class QualityReport:
    """Defects by kind, and counts of changes."""

    rows_read: int
    rows_kept: int = 0
    was_sorted: bool = True
    exact_duplicates: int = 0
    defects: dict[str, Defect] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        counts = ", ".join(f"{kind} {one.count:,}" for kind, one in self.defects.items())
        return f"QualityReport: {self.rows_kept:,} of {self.rows_read:,} rows kept; defects: {counts or 'none'}"

    def add(self, kind: str, mask: np.ndarray, rows: np.ndarray, policy: str) -> None:
        """Records the rows under `mask`, if any."""
        if not mask.any():
            return
        action = {"error": "rejected", "drop": "row dropped", "repair": DEFECTS[kind][1]}[policy]
        self.defects[kind] = Defect(int(mask.sum()), [int(row) for row in np.sort(rows[mask])[:5]], action)


@dataclass
class CleanTable:
    """Candles after the policy: `times` int64 nanoseconds (N,), `values` float64 (N, 6), source row numbers `rows`."""

    times: np.ndarray
    values: np.ndarray
    rows: np.ndarray

    def keep(self, mask: np.ndarray) -> "CleanTable":
        """Selects rows by a boolean mask or by index; returns the table itself if the mask is all True."""
        if mask.dtype == bool and mask.all():
            return self
        return CleanTable(self.times[mask], self.values[mask], self.rows[mask])


def mean_price(values: np.ndarray) -> np.ndarray:
    """Mean of open, high, low and close, shape `(N,)`."""
    return values[:, OPEN : CLOSE + 1].mean(axis=1)


def derive_amount(values: np.ndarray) -> np.ndarray:
    """Amount as the published model derives it: volume times the mean of the four prices, shape `(N,)`."""
    with np.errstate(over="ignore", invalid="ignore"):  # a later check finds infinite rows
        return values[:, VOLUME] * mean_price(values)


def contradictions(values: np.ndarray) -> np.ndarray:
    """Rows whose high is below, or whose low is above, the open or close, beyond rounding errors."""
    body_top = np.maximum(values[:, OPEN], values[:, CLOSE])
    body_bottom = np.minimum(values[:, OPEN], values[:, CLOSE])
    slack = ROUNDING * np.abs(values[:, CLOSE])
    return (values[:, HIGH] < body_top - slack) | (values[:, LOW] > body_bottom + slack)


def swapped_volume(values: np.ndarray, whole_table: bool = False) -> np.ndarray:
    """Rows whose volume and amount are swapped; `values` in time order.

    The check needs a table in which the mean price paid (amount / volume, or the inverse if swapped) is inside the bar
    in most rows so far. With volumes in lots or amounts in another currency, a swap cannot be recognised. The first
    bars of such a table may fit by chance; with `whole_table`, most rows of the whole table must fit as well.
    """
    volume, amount, prices = values[:, VOLUME], values[:, AMOUNT], values[:, : CLOSE + 1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        lowest, highest = prices.min(axis=1) * (1 - SWAP_SLACK), prices.max(axis=1) * (1 + SWAP_SLACK)
        evident = np.zeros(len(values), dtype=bool)
        for paid in (amount / volume, volume / amount):
            evident |= (lowest <= paid) & (paid <= highest)
        comparable = np.cumsum(evident) >= SWAP_EVIDENT_SHARE * np.cumsum((volume > 0) & (amount > 0))
        if whole_table:
            comparable &= comparable[-1:]
        price = mean_price(values)
        ratio = np.abs(np.log(amount / (volume * price)))
        swapped = np.abs(np.log(volume / (amount * price)))
        return comparable & (ratio > np.log(SWAP_FACTOR)) & (swapped < np.log(SWAP_FACTOR))


def _reach(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Highest and lowest of each bar's open, close and previous close."""
    before = np.concatenate((values[:1, OPEN], values[:-1, CLOSE]))
    prices = np.stack((values[:, OPEN], values[:, CLOSE], before))
    return prices.max(axis=0), prices.min(axis=0)


def isolated_wicks(values: np.ndarray) -> np.ndarray:
    """Bars whose high or low is far outside their body and the previous close (time-sorted, positive prices).

    The typical range is the larger of two medians: that of the recent bars before, and that of all bars before with a
    range above 0. The first `WICK_HISTORY` bars are not checked.
    """
    top, bottom = _reach(values)
    logs = np.log(values[:, : CLOSE + 1])
    wick = np.maximum(logs[:, HIGH] - np.log(top), np.log(bottom) - logs[:, LOW])
    if not (wick > WICK_SHARE_OF_PRICE).any():
        return np.zeros(len(values), dtype=bool)
    far = np.flatnonzero(wick > WICK_SHARE_OF_PRICE)
    ranges = logs[:, HIGH] - logs[:, LOW]
    far = far[wick[far] > WICK_RANGES * _medians_before(ranges, far, WICK_NEIGHBOURHOOD)]
    # the median over the full history is expensive; only few candidates are left here
    far = far[wick[far] > WICK_RANGES * _medians_before(np.where(ranges > 0, ranges, np.nan), far)]
    found = np.zeros(len(values), dtype=bool)
    found[far] = True
    return found


def _medians_before(ranges: np.ndarray, rows: np.ndarray, count: int | None = None) -> np.ndarray:
    """Median of the `count` ranges before each of `rows` (of all ranges before if `count` is None), ignoring NaN.

    With `count`: NaN where fewer than `WICK_HISTORY` values exist. Without: 0 where no value exists.
    """
    if len(rows) > max(len(ranges) * MANY_ROWS, 8):
        every = pd.Series(ranges)
        medians = every.expanding() if count is None else every.rolling(count, min_periods=WICK_HISTORY)
        medians = medians.median().shift(1)
        return (medians.fillna(0.0) if count is None else medians).to_numpy()[rows]
    found = np.full(len(rows), np.nan if count else 0.0)
    for place, row in enumerate(rows.tolist()):
        before = ranges[max(row - count, 0) if count else 0 : row]
        before = before[~np.isnan(before)]
        if len(before) >= (WICK_HISTORY if count else 1):
            found[place] = np.median(before)
    return found


def _mend_prices(values: np.ndarray, bad: np.ndarray) -> None:
    """Replaces bad open, high and low by the bar's other prices; rows without a close stay bad."""
    opens = bad[:, OPEN] & ~bad[:, CLOSE]
    values[opens, OPEN] = values[opens, CLOSE]
    for column, extreme in ((HIGH, np.maximum), (LOW, np.minimum)):
        rows = bad[:, column] & ~bad[:, CLOSE]
        values[rows, column] = extreme(values[rows, OPEN], values[rows, CLOSE])


def _check_values(table: CleanTable, has_amount: bool, policy: str, report: QualityReport) -> CleanTable:
    """Finds defects within one row, and swapped volume and amount."""
    values = table.values
    prices = values[:, : CLOSE + 1]
    missing, infinite = np.isnan(values), np.abs(values) > LARGEST
    with np.errstate(invalid="ignore"):
        not_positive = (prices <= 0) & ~infinite[:, : CLOSE + 1]
        negative = (values[:, VOLUME:] < 0) & ~infinite[:, VOLUME:]
    report.add("not_a_number", missing.any(axis=1), table.rows, policy)
    report.add("infinite", infinite.any(axis=1), table.rows, policy)
    report.add("price_not_positive", not_positive.any(axis=1), table.rows, policy)
    report.add("negative_volume", negative.any(axis=1), table.rows, policy)
    bad = missing | infinite
    bad[:, : CLOSE + 1] |= not_positive
    bad[:, VOLUME:] |= negative
    if policy == "drop":
        table = table.keep(~bad.any(axis=1))
    else:
        _mend_prices(values, bad[:, : CLOSE + 1])
        values[bad[:, VOLUME], VOLUME] = 0.0
        usable = ~bad[:, CLOSE]
        derived = (bad[:, AMOUNT] | bad[:, VOLUME])[usable]
        table = table.keep(usable)
        table.values[derived, AMOUNT] = derive_amount(table.values[derived])

    if has_amount:
        swapped = swapped_volume(table.values, whole_table=policy == "error")
        report.add("swapped_volume", swapped, table.rows, policy)
        if policy != "drop":
            table.values[swapped, VOLUME], table.values[swapped, AMOUNT] = (
                table.values[swapped, AMOUNT],
                table.values[swapped, VOLUME],
            )
        else:
            table = table.keep(~swapped)
    wrong = contradictions(table.values)
    report.add("contradiction", wrong, table.rows, policy)
    if policy == "drop":
        return table.keep(~wrong)
    table.values[wrong, HIGH] = table.values[wrong, : CLOSE + 1].max(axis=1)
    table.values[wrong, LOW] = table.values[wrong, : CLOSE + 1].min(axis=1)
    return table


def _sort(table: CleanTable, report: QualityReport) -> CleanTable:
    """Stable sort by time."""
    report.was_sorted = bool((np.diff(table.times) >= 0).all())
    return table if report.was_sorted else table.keep(np.argsort(table.times, kind="stable"))


def _deduplicate(table: CleanTable, policy: str, report: QualityReport) -> CleanTable:
    """Removes exact duplicates; applies the policy to conflicting ones."""
    same_time = np.zeros(len(table.times), dtype=bool)
    same_time[1:] = np.diff(table.times) == 0
    if not same_time.any():
        return table
    group = np.cumsum(~same_time) - 1
    first = np.flatnonzero(~same_time)
    differs = (table.values != table.values[first[group]]).any(axis=1)
    conflicting = np.bincount(group, weights=differs) > 0
    in_conflict = conflicting[group]
    exact = same_time & ~in_conflict
    report.exact_duplicates = int(exact.sum())
    report.add("conflicting_duplicate", in_conflict, table.rows, policy)
    keep = ~exact
    if policy != "drop":
        last = np.ones(len(group), dtype=bool)
        last[:-1] = group[1:] != group[:-1]
        keep &= ~in_conflict | last
    else:
        keep &= ~in_conflict
    return table.keep(keep)


def _check_wicks(table: CleanTable, policy: str, report: QualityReport) -> CleanTable:
    wicks = isolated_wicks(table.values)
    most = np.maximum(WICK_REJECT_COUNT, WICK_REJECT_SHARE * np.arange(1, len(wicks) + 1))
    faults = wicks & (np.cumsum(wicks) > most)
    if policy == "error" and faults.any():  # the table is rejected: list all its wicks
        report.add("isolated_wick", wicks, table.rows, policy)
    else:
        report.add("isolated_wick", faults, table.rows, policy)
        if left := int((wicks & ~faults).sum()):
            first = ", ".join(str(row) for row in table.rows[wicks & ~faults][:WICK_REJECT_COUNT])
            report.remarks.append(f"{left} isolated wicks kept (first at {first}): a crash of the market or a bad tick")
    if policy == "drop":
        return table.keep(~faults)
    top, bottom = _reach(table.values)
    table.values[faults, HIGH] = np.minimum(table.values[faults, HIGH], top[faults])
    table.values[faults, LOW] = np.maximum(table.values[faults, LOW], bottom[faults])
    return table


def check_policy(policy: str) -> None:
    """Raises ValueError for an unknown policy."""
    if policy not in POLICIES:
        raise ValueError(f"policy={policy!r} is not known; use one of {', '.join(POLICIES)}")


def clean(
    times: np.ndarray, values: np.ndarray, rows: np.ndarray, *, readable: np.ndarray, has_amount: bool, policy: str
) -> tuple[CleanTable, QualityReport]:
    """Sorts by time, checks every row and applies the policy.

    Under `error` the table is repaired and the report lists the defects: the caller rejects it, and can still describe
    the whole table.

    Args:
        times (`np.ndarray` of int64, shape `(N,)`): nanoseconds since 1970 UTC.
        values (`np.ndarray` of float64, shape `(N, 6)`): as in the source; not modified.
        rows (`np.ndarray` of int, shape `(N,)`): row numbers of the source, for messages.
        readable (`np.ndarray` of bool, shape `(N,)`): rows with a readable time.
        has_amount (`bool`): whether the amount comes from the source instead of being derived.
        policy (`str`): one of `error`, `drop`, `repair`.

    Raises:
        ValueError: for an unknown policy.
    """
    check_policy(policy)
    assert values.shape[1] == len(FEATURES)
    report = QualityReport(rows_read=len(times))
    report.add("unreadable_time", ~readable, rows, policy)
    table = CleanTable(times, values.copy(), rows).keep(readable)
    table = _sort(table, report)
    table = _check_values(table, has_amount, policy, report)
    table = _deduplicate(table, policy, report)
    table = _check_wicks(table, policy, report)
    report.rows_kept = len(table.times)
    return table, report
