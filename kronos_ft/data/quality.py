"""Finds what is wrong with candles, row by row, and applies the policy: reject, drop or repair.

Notable:
- A defect contradicts what a candle is (low above the body, price of zero, two different bars at one time, ...). The
  default policy rejects the table; `drop` removes the rows; `repair` mends what it can without inventing a price.
- A remark (gaps, zero volume, flat bars, a few isolated wicks) is reported and never changes a value.

Shapes: N rows; values (N, 6) hold open, high, low, close, volume, amount.
"""

from dataclasses import dataclass, field

import numpy as np

from .columns import FEATURES

POLICIES = ("error", "drop", "repair")
OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT = range(6)

LARGEST = 1e75  # beyond it volume x price, or a variance, would overflow
ROUNDING = 1e-6  # a high below the body by less than this share of the price is a rounding of the source
SWAP_FACTOR = 2.0  # amount / (volume x price) this far from 1 is not a rounding
SWAP_AGREEMENT = 1.2  # this close to 1 it is volume times price
SWAP_AGREEING_SHARE = 0.2
# An isolated wick leaves its bar's body and the close before by more than 20 typical bar ranges and 2 % of the price.
# Seven years of BTC hours have none; ten years of GBP/USD hours have two, one of them the flash crash of 2016-10-07.
WICK_RANGES = 20.0
WICK_SHARE_OF_PRICE = 0.02
WICK_NEIGHBOURHOOD = 101  # bars
# More isolated wicks than this share of the rows, and than so many, are a fault of the feed, not a crash of the market.
WICK_REJECT_SHARE = 0.001
WICK_REJECT_COUNT = 5

DEFECTS: dict[str, tuple[str, str]] = {
    # kind: (what it is, how `repair` mends it)
    "unreadable_time": ("time cannot be read", "row dropped"),
    "not_a_number": ("value missing or not a number", "taken from the bar's other values, row dropped without a close"),
    "infinite": ("infinite or overflowing value", "taken from the bar's other values, row dropped without a close"),
    "price_not_positive": ("price zero or negative", "taken from the bar's other values, row dropped without a close"),
    "negative_volume": ("volume or amount negative", "set to 0"),
    "swapped_volume": ("volume and amount swapped", "swapped back"),
    "contradiction": ("low or high contradicts open and close", "widened to hold open and close"),
    "conflicting_duplicate": ("different bars at one time", "last one kept"),
    "isolated_wick": ("wick far outside its bar and the bar before", "cut to the body and the close before"),
}


@dataclass
class Defect:
    """Rows that share a defect: how many, where the first of them are, and what was done."""

    count: int
    rows: list[int]
    action: str


@dataclass
class QualityReport:
    """Defects by kind, and counts of what was changed."""

    rows_read: int
    rows_kept: int = 0
    was_sorted: bool = True
    exact_duplicates: int = 0
    defects: dict[str, Defect] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def add(self, kind: str, mask: np.ndarray, rows: np.ndarray, policy: str) -> None:
        """Records the rows under `mask`; does nothing when there are none."""
        if not mask.any():
            return
        action = {"error": "rejected", "drop": "row dropped", "repair": DEFECTS[kind][1]}[policy]
        self.defects[kind] = Defect(int(mask.sum()), [int(row) for row in np.sort(rows[mask])[:5]], action)


@dataclass
class CleanTable:
    """Candles after the policy: `times` int64 nanoseconds (N,), `values` float64 (N, 6), `rows` (N,) of the source."""

    times: np.ndarray
    values: np.ndarray
    rows: np.ndarray

    def keep(self, mask: np.ndarray) -> "CleanTable":
        return CleanTable(self.times[mask], self.values[mask], self.rows[mask])


def mean_price(values: np.ndarray) -> np.ndarray:
    """Mean of open, high, low and close, shape `(N,)`."""
    return values[:, OPEN : CLOSE + 1].mean(axis=1)


def derive_amount(values: np.ndarray) -> np.ndarray:
    """Amount as published: volume times the mean of the four prices, shape `(N,)`."""
    with np.errstate(over="ignore", invalid="ignore"):  # of rows that are found to be infinite later on
        return values[:, VOLUME] * mean_price(values)


def contradictions(values: np.ndarray) -> np.ndarray:
    """Rows whose high is below, or whose low is above, the open or close (beyond rounding)."""
    body_top = np.maximum(values[:, OPEN], values[:, CLOSE])
    body_bottom = np.minimum(values[:, OPEN], values[:, CLOSE])
    slack = ROUNDING * np.abs(values[:, CLOSE])
    return (values[:, HIGH] < body_top - slack) | (values[:, LOW] > body_bottom + slack)


def swapped_volume(values: np.ndarray) -> np.ndarray:
    """Rows whose amount and volume only make sense the other way round.

    Only in a table where amount is volume times price in a good part of the rows: in lots, thousands or another
    currency the two cannot be told apart.
    """
    if not len(values):
        return np.zeros(0, dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        price = mean_price(values)
        ratio = np.abs(np.log(values[:, AMOUNT] / (values[:, VOLUME] * price)))
        swapped = np.abs(np.log(values[:, VOLUME] / (values[:, AMOUNT] * price)))
        if not (ratio < np.log(SWAP_AGREEMENT)).mean() >= SWAP_AGREEING_SHARE:
            return np.zeros(len(values), dtype=bool)
        return (ratio > np.log(SWAP_FACTOR)) & (swapped < np.log(SWAP_FACTOR))


def _reach(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Highest and lowest price of each bar's body and the close before it: nothing from after the bar."""
    before = np.concatenate((values[:1, OPEN], values[:-1, CLOSE]))
    prices = np.stack((values[:, OPEN], values[:, CLOSE], before))
    return prices.max(axis=0), prices.min(axis=0)


def isolated_wicks(values: np.ndarray) -> np.ndarray:
    """Bars whose high or low lies far outside their body and the close before (time-sorted, positive prices).

    The typical range is the median of the bars before, so that no bar is judged by what follows it; but never less
    than that of the table's bars that moved at all.
    """
    if len(values) < WICK_NEIGHBOURHOOD:
        return np.zeros(len(values), dtype=bool)
    top, bottom = _reach(values)
    wick = np.maximum(np.log(values[:, HIGH] / top), np.log(bottom / values[:, LOW]))
    suspects = np.flatnonzero(wick > WICK_SHARE_OF_PRICE)
    ranges = np.log(values[:, HIGH] / values[:, LOW])
    first = np.clip(suspects - WICK_NEIGHBOURHOOD, 0, len(values) - WICK_NEIGHBOURHOOD)
    typical = np.median(ranges[first[:, None] + np.arange(WICK_NEIGHBOURHOOD)], axis=1)
    moved = ranges[ranges > 0]
    typical = np.maximum(typical, np.median(moved) if len(moved) else 0.0)
    mask = np.zeros(len(values), dtype=bool)
    mask[suspects[wick[suspects] > WICK_RANGES * typical]] = True
    return mask


def _mend_prices(values: np.ndarray, bad: np.ndarray) -> None:
    """Replaces bad open, high and low by what the bar's other prices allow; rows without a close stay bad."""
    opens = bad[:, OPEN] & ~bad[:, CLOSE]
    values[opens, OPEN] = values[opens, CLOSE]
    for column, extreme in ((HIGH, np.maximum), (LOW, np.minimum)):
        rows = bad[:, column] & ~bad[:, CLOSE]
        values[rows, column] = extreme(values[rows, OPEN], values[rows, CLOSE])


def _check_values(table: CleanTable, has_amount: bool, policy: str, report: QualityReport) -> CleanTable:
    """Defects that one row shows by itself."""
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
        swapped = swapped_volume(table.values)
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


def _sort_and_deduplicate(table: CleanTable, policy: str, report: QualityReport) -> CleanTable:
    """Time order; exact duplicates removed, conflicting ones by policy."""
    report.was_sorted = bool((np.diff(table.times) >= 0).all())
    order = np.argsort(table.times, kind="stable")
    if not report.was_sorted:
        table = table.keep(order)
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
    count = int(wicks.sum())
    if count <= max(WICK_REJECT_COUNT, WICK_REJECT_SHARE * len(wicks)):
        if count:
            first = ", ".join(str(row) for row in table.rows[wicks][:3])
            report.remarks.append(f"{count} isolated wicks left as they are (first at {first}): a crash or a bad tick")
        return table
    report.add("isolated_wick", wicks, table.rows, policy)
    if policy == "drop":
        return table.keep(~wicks)
    top, bottom = _reach(table.values)
    table.values[wicks, HIGH] = np.minimum(table.values[wicks, HIGH], top[wicks])
    table.values[wicks, LOW] = np.maximum(table.values[wicks, LOW], bottom[wicks])
    return table


def check_policy(policy: str) -> None:
    """Raises ValueError for a policy that does not exist."""
    if policy not in POLICIES:
        raise ValueError(f"policy={policy!r} is not known; use one of {', '.join(POLICIES)}")


def clean(
    times: np.ndarray, values: np.ndarray, rows: np.ndarray, *, readable: np.ndarray, has_amount: bool, policy: str
) -> tuple[CleanTable, QualityReport]:
    """Checks every row, applies the policy and sorts by time.

    Under `error` the table comes out as `repair` would leave it, with the defects in the report: the caller rejects it,
    and a description of the whole table still makes sense.

    Args:
        times (`np.ndarray` of int64, shape `(N,)`): nanoseconds since 1970 UTC.
        values (`np.ndarray` of float64, shape `(N, 6)`): as in the source; changed in place by `repair`.
        rows (`np.ndarray` of int, shape `(N,)`): row numbers of the source, for messages.
        readable (`np.ndarray` of bool, shape `(N,)`): rows whose time could be read.
        has_amount (`bool`): the amount is the source's own, not derived.
        policy (`str`): one of `error`, `drop`, `repair`.

    Raises:
        ValueError: for another policy.
    """
    check_policy(policy)
    assert values.shape[1] == len(FEATURES)
    report = QualityReport(rows_read=len(times))
    report.add("unreadable_time", ~readable, rows, policy)
    table = CleanTable(times, values, rows).keep(readable)
    table = _check_values(table, has_amount, policy, report)
    table = _sort_and_deduplicate(table, policy, report)
    table = _check_wicks(table, policy, report)
    report.rows_kept = len(table.times)
    return table, report
