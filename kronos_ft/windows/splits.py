"""Splits of candles in time: training, validation and test."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..data.candles import CandleSeries

SPLITS = ("train", "validation", "test")
SESSION_GAPS = 4  # a window may span a holiday, but not an outage of weeks
LONG_GAP_QUANTILE = 0.95


Bounds = Mapping[str, tuple[int, int]]  # split to first and last (excluded) bar


def crossing_splits(series: Sequence[CandleSeries], bounds: Mapping[str, Bounds]) -> str | None:
    """A warning if the training or validation of one symbol overlaps in time with the test of another, or None.

    Ratios split each symbol separately, so splits of symbols with different spans can overlap in time. Markets move
    together: training bars of another symbol on the same days leak information about the test split.

    Args:
        series (`Sequence` of [`CandleSeries`]): the symbols.
        bounds (`Mapping` of symbol to bounds by split): from [`split_bounds`].
    """
    ends, starts = {}, {}
    for one in series:
        own = bounds[one.symbol]
        known = [end for first, end in (own["train"], own["validation"]) if first < end]
        if known:
            ends[one.symbol] = one.timestamps[max(known) - 1]
        first, end = own["test"]
        if first < end:
            starts[one.symbol] = one.timestamps[first]
    crossing = {
        tested: [symbol for symbol, end in ends.items() if symbol != tested and end >= start]
        for tested, start in starts.items()
    }
    crossing = {tested: symbols for tested, symbols in crossing.items() if symbols}
    if not crossing:
        return None
    tested = min(crossing, key=starts.__getitem__)
    latest = max(crossing[tested], key=ends.__getitem__)
    others = f" ({len(crossing)} test splits are affected)" if len(crossing) > 1 else ""
    return (
        f"training and validation of {latest} reach to {str(ends[latest])[:10]}, past the start of the test split of "
        f"{tested} on {str(starts[tested])[:10]}{others}: information about the test split leaks; set --split_dates to "
        "split all symbols at the same times"
    )


def split_bounds(
    series: CandleSeries,
    ratios: Sequence[float] = (0.7, 0.15, 0.15),
    dates: Sequence[str] | None = None,
    embargo: int = 0,
) -> dict[str, tuple[int, int]]:
    """Ranges of bars of the three splits, in time order.

    Args:
        series ([`CandleSeries`]): one symbol's candles.
        ratios (`Sequence[float]`): shares of train, validation and test; their sum is 1.
        dates (`Sequence[str]`, *optional*): first day of validation and of test, instead of ratios.
        embargo (`int`): bars to skip at the start of validation and of test.

    Returns:
        `dict` of split name to (first, end) bar, `end` excluded.

    Raises:
        ValueError: ratios that do not sum to 1, dates out of order or unreadable.
    """
    if embargo < 0:
        raise ValueError(f"embargo={embargo} is negative; use 0 or more bars")
    if dates is not None:
        try:
            first = [np.datetime64(str(date), "ns") for date in dates]
        except ValueError as error:
            raise ValueError(f"split_dates={list(dates)} cannot be read ({error}); write them as YYYY-MM-DD") from error
        if len(first) != 2 or not first[0] < first[1]:
            raise ValueError(
                f"split_dates={list(dates)} must be two increasing dates: the first day of validation and of test"
            )
        borders = [int(np.searchsorted(series.timestamps, date)) for date in first]
    else:
        if len(ratios) != 3 or not min(ratios) >= 0 or not abs(sum(ratios) - 1) <= 1e-6:
            raise ValueError(f"split_ratios={list(ratios)} must be three shares with sum 1; use e.g. 0.7 0.15 0.15")
        borders = [round(len(series) * ratios[0]), round(len(series) * (ratios[0] + ratios[1]))]
    ends = [0, *borders, len(series)]
    bounds = {}
    for position, name in enumerate(SPLITS):
        start = ends[position] + (embargo if position else 0)
        bounds[name] = (min(start, ends[position + 1]), ends[position + 1])
    return bounds


def too_long_gaps(series: CandleSeries, max_gap: int | None, train_end: int) -> np.ndarray:
    """Whether a gap longer than `max_gap` is directly before each bar, bool of shape `(N,)`.

    Args:
        series ([`CandleSeries`]): one symbol's candles.
        max_gap (`int`, *optional*): as in [`WindowShape`]; by default derived from the gaps in the training split.
        train_end (`int`): first bar after the training split. If the training split has no gap, all gaps are used.
    """
    missing = series.missing_before()
    if max_gap is None:
        max_gap = 0
        if series.report.market == "session":
            known = missing[:train_end] if missing[:train_end].any() else missing
            max_gap = int(SESSION_GAPS * np.quantile(known[known > 0], LONG_GAP_QUANTILE))
    return missing > max_gap
