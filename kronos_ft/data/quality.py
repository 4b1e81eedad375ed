"""Finds what is wrong with candles, row by row, and applies the policy: reject, drop or repair.

Notable:
- A defect contradicts what a candle is (low above the body, price of zero, two different bars at one time, ...). The
  default policy rejects the table; `drop` removes the rows; `repair` mends what it can without inventing a price.
- A remark (gaps, zero volume, flat bars, a few isolated wicks) is reported and never changes a value.
- Whether and how a bar is judged or changed depends on bars up to its own time alone: what comes out for the bars
  before a forecast origin is what would have come out at that time.

Shapes: N rows; values (N, 6) hold open, high, low, close, volume, amount.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from .columns import FEATURES

POLICIES = ("error", "drop", "repair")
OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT = range(6)

LARGEST = 1e75  # beyond it volume x price, or a variance, would overflow
ROUNDING = 1e-6  # a high below the body by less than this share of the price is a rounding of the source
SWAP_FACTOR = 2.0  # amount / (volume x price) this far from 1 is not a rounding
SWAP_SLACK = 1e-3  # a mean price paid may lie outside its bar by this share: amounts are rounded
SWAP_EVIDENT_SHARE = 0.75  # real tables in one unit show 0.97 and more
# An isolated wick leaves its bar's body and the close before by more than 20 typical bar ranges and 2 % of the price.
# Seven years of BTC hours have none; ten years of GBP/USD hours have two, one of them the flash crash of 2016-10-07.
WICK_RANGES = 20.0
WICK_SHARE_OF_PRICE = 0.02
WICK_NEIGHBOURHOOD = 101  # bars
WICK_HISTORY = 50  # bars before the first that is judged
MANY_ROWS = 1e-4  # share of rows from which on medians of all are faster than those of each
# More isolated wicks up to a bar than this share of the rows up to it, and than so many, are a fault of the feed, not a
# crash of the market: from there on they are mended. Those before stay, because nobody could have known.
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
        """The rows under a boolean mask, or at places; the table itself where all are kept."""
        if mask.dtype == bool and mask.all():
            return self
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


def swapped_volume(values: np.ndarray, whole: bool = False) -> np.ndarray:
    """Rows, in time order, whose amount and volume only make sense the other way round.

    Only while the mean price paid, amount / volume one way or the other, lies inside their bars in most of the rows so
    far: in lots, thousands or another currency the two cannot be told apart. The first bars of a table in lots may fit
    by chance; with `whole`, the rows of the whole table must fit as well.
    """
    volume, amount, prices = values[:, VOLUME], values[:, AMOUNT], values[:, : CLOSE + 1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        lowest, highest = prices.min(axis=1) * (1 - SWAP_SLACK), prices.max(axis=1) * (1 + SWAP_SLACK)
        evident = np.zeros(len(values), dtype=bool)
        for paid in (amount / volume, volume / amount):
            evident |= (lowest <= paid) & (paid <= highest)
        told = np.cumsum(evident) >= SWAP_EVIDENT_SHARE * np.cumsum((volume > 0) & (amount > 0))
        if whole:
            told &= told[-1:]
        price = mean_price(values)
        ratio = np.abs(np.log(amount / (volume * price)))
        swapped = np.abs(np.log(volume / (amount * price)))
        return told & (ratio > np.log(SWAP_FACTOR)) & (swapped < np.log(SWAP_FACTOR))


def _reach(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Highest and lowest price of each bar's body and the close before it: nothing from after the bar."""
    before = np.concatenate((values[:1, OPEN], values[:-1, CLOSE]))
    prices = np.stack((values[:, OPEN], values[:, CLOSE], before))
    return prices.max(axis=0), prices.min(axis=0)


def isolated_wicks(values: np.ndarray) -> np.ndarray:
    """Bars whose high or low lies far outside their body and the close before (time-sorted, positive prices).

    The typical range is the median of the bars before, but never less than that of all bars before that moved. Neither
    it nor anything else looks at a bar after the one that is judged; the first `WICK_HISTORY` bars are not judged.
    """
    top, bottom = _reach(values)
    logs = np.log(values[:, : CLOSE + 1])
    wick = np.maximum(logs[:, HIGH] - np.log(top), np.log(bottom) - logs[:, LOW])
    if not (wick > WICK_SHARE_OF_PRICE).any():
        return np.zeros(len(values), dtype=bool)
    far = np.flatnonzero(wick > WICK_SHARE_OF_PRICE)
    ranges = logs[:, HIGH] - logs[:, LOW]
    far = far[wick[far] > WICK_RANGES * _medians_before(ranges, far, WICK_NEIGHBOURHOOD)]
    # few are left, of which most bars of a long table would have to be sorted
    far = far[wick[far] > WICK_RANGES * _medians_before(np.where(ranges > 0, ranges, np.nan), far)]
    found = np.zeros(len(values), dtype=bool)
    found[far] = True
    return found


def _medians_before(ranges: np.ndarray, rows: np.ndarray, count: int | None = None) -> np.ndarray:
    """Medians of the numbers among the `count` ranges before each of some rows, or among all before; shape of `rows`.

    NaN where the last `count` are fewer than `WICK_HISTORY`, 0 where there are none at all.
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
    """Replaces bad open, high and low by what the bar's other prices allow; rows without a close stay bad."""
    opens = bad[:, OPEN] & ~bad[:, CLOSE]
    values[opens, OPEN] = values[opens, CLOSE]
    for column, extreme in ((HIGH, np.maximum), (LOW, np.minimum)):
        rows = bad[:, column] & ~bad[:, CLOSE]
        values[rows, column] = extreme(values[rows, OPEN], values[rows, CLOSE])


def _check_values(table: CleanTable, has_amount: bool, policy: str, report: QualityReport) -> CleanTable:
    """Defects that one row shows by itself or, of volume and amount, beside the rows before."""
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
        swapped = swapped_volume(table.values, whole=policy == "error")
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
    """Time order; rows of one time stay in the order of the source."""
    report.was_sorted = bool((np.diff(table.times) >= 0).all())
    return table if report.was_sorted else table.keep(np.argsort(table.times, kind="stable"))


def _deduplicate(table: CleanTable, policy: str, report: QualityReport) -> CleanTable:
    """Exact duplicates removed, conflicting ones by policy."""
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
    if policy == "error" and faults.any():  # which says of the whole table what is wrong with it
        report.add("isolated_wick", wicks, table.rows, policy)
    else:
        report.add("isolated_wick", faults, table.rows, policy)
        if left := int((wicks & ~faults).sum()):
            first = ", ".join(str(row) for row in table.rows[wicks & ~faults][:WICK_REJECT_COUNT])
            report.remarks.append(f"{left} isolated wicks left as they are (first at {first}): a crash or a bad tick")
    if policy == "drop":
        return table.keep(~faults)
    top, bottom = _reach(table.values)
    table.values[faults, HIGH] = np.minimum(table.values[faults, HIGH], top[faults])
    table.values[faults, LOW] = np.maximum(table.values[faults, LOW], bottom[faults])
    return table


def check_policy(policy: str) -> None:
    """Raises ValueError for a policy that does not exist."""
    if policy not in POLICIES:
        raise ValueError(f"policy={policy!r} is not known; use one of {', '.join(POLICIES)}")


def clean(
    times: np.ndarray, values: np.ndarray, rows: np.ndarray, *, readable: np.ndarray, has_amount: bool, policy: str
) -> tuple[CleanTable, QualityReport]:
    """Sorts by time, checks every row and applies the policy.

    Under `error` the table comes out as `repair` would leave it, with the defects in the report: the caller rejects it,
    and a description of the whole table still makes sense.

    Args:
        times (`np.ndarray` of int64, shape `(N,)`): nanoseconds since 1970 UTC.
        values (`np.ndarray` of float64, shape `(N, 6)`): as in the source; left as they are.
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
    table = CleanTable(times, values.copy(), rows).keep(readable)
    table = _sort(table, report)
    table = _check_values(table, has_amount, policy, report)
    table = _deduplicate(table, policy, report)
    table = _check_wicks(table, policy, report)
    report.rows_kept = len(table.times)
    return table, report
