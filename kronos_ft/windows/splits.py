"""Whether one symbol's training or validation lies in the future of another symbol's test."""

from collections.abc import Mapping, Sequence

from ..data.candles import CandleSeries

Bounds = Mapping[str, tuple[int, int]]  # split to first and last (excluded) bar


def crossing_splits(series: Sequence[CandleSeries], bounds: Mapping[str, Bounds]) -> str | None:
    """A sentence on symbols of unequal span whose splits cross in time, or None.

    Shares are taken of each symbol on its own. Markets move together, so that bars of the same days in another symbol
    tell of a test before it begins.

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
    others = f" ({len(crossing)} symbols in all are tested on times that others know)" if len(crossing) > 1 else ""
    return (
        f"training and validation of {latest} reach to {str(ends[latest])[:10]}, past the start of test of {tested} on "
        f"{str(starts[tested])[:10]}{others}; set --split_dates to split all symbols at the same times"
    )
