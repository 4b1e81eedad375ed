"""Walks through an exchange's candles page by page, whatever the exchange makes of `since` and `limit`.

Notable:
- Exchanges differ: some answer with the first candles from a time on, some with those of a range that may be empty,
  some with their newest candles whatever was asked, some repeat candles of the page before. The walk goes on from the
  last candle that came, or by one page's span where none did, so it always ends. Such a page is
  taken to span as many candles as came in one so far, or a few, not as many as the exchange is thought to send: it may
  span fewer, and what lies behind it would be lost.
- Candles that the page before had as well are dropped when they are equal. Everything else within the span is kept as
  it came, duplicates too: they are judged when all is there.
"""

from collections.abc import Callable, Iterator

import numpy as np

from .spans import Span

FEW = 100  # candles; no exchange is known to send fewer in a page
Fetch = Callable[[int], np.ndarray]


def walk(fetch: Fetch, span: Span, size: int, cursor: int, before: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """New candles page by page, each with the time to go on from.

    Args:
        fetch: candles from a time on, float64 `(n, 7)` in time order; may hold others than asked for.
        span: what to fetch.
        size: candles that a page may hold, the most that an empty one is taken to span.
        cursor: where to begin: `span.start`, or where an interrupted walk would have gone on.
        before: the page before, `(n, 7)`; empty at the beginning.
    """
    longest = max(len(before), FEW)  # candles that one page brought
    while cursor < span.end:
        page = fetch(cursor)
        longest = max(longest, len(page))
        if len(page) and page[0, 0] >= span.end:  # nothing between, or it would have come first
            cursor = span.end
            yield page[:0], cursor
            continue
        new = _new_rows(page, span, cursor, before)
        if len(new) and new[-1, 0] >= cursor:
            cursor = int(new[-1, 0]) + span.step
        else:
            cursor += min(size, longest) * span.step
        cursor = min(cursor, span.end)
        if len(new):
            before = new
        yield new, cursor


def _new_rows(page: np.ndarray, span: Span, cursor: int, before: np.ndarray) -> np.ndarray:
    """Rows of the span from the cursor on, and rows that contradict the page before."""
    inside = page[(page[:, 0] >= span.start) & (page[:, 0] < span.end)]
    known = {row.tobytes() for row in before}
    times = set(before[:, 0].tolist())
    keep = [
        (row[0] >= cursor or row[0] in times) and row.tobytes() not in known for row in np.ascontiguousarray(inside)
    ]
    return inside[np.array(keep, dtype=bool)]
