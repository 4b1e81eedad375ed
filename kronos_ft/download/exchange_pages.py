"""Fetches an exchange's candles page by page, for all interpretations of `since` and `limit`.

Notable:
- Exchanges differ. Some return the first candles from a time on, some those of a range that may be empty, some always
  their newest candles, and some repeat candles of the previous page. The walk continues after the last new candle. If
  there is none, it advances by the length of one page, so it always ends. This length is the longest page so far (at
  least `FEW` candles), not the documented limit: a real page may be shorter, and candles would be skipped.
- Candles equal to those of the previous page are dropped. All other candles within the span are kept, including
  duplicates: `findings` judges them at the end.
"""

from collections.abc import Callable, Iterator

import numpy as np

from .spans import Span

FEW = 100  # candles; no exchange is known to have shorter pages
Fetch = Callable[[int], np.ndarray]


def walk(fetch: Fetch, span: Span, size: int, cursor: int, before: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Yields the new candles of each page, with the time at which the next request starts.

    Args:
        fetch: returns candles from a time on, float64 `(n, 7)` in time order; may return others as well.
        span: the span to fetch.
        size: documented candles per page; the maximum advance after an empty page.
        cursor: start: `span.start`, or the next time of an interrupted walk.
        before: the previous page, `(n, 7)`; empty at the beginning.
    """
    longest = max(len(before), FEW)  # longest page so far
    while cursor < span.end:
        page = fetch(cursor)
        longest = max(longest, len(page))
        if len(page) and page[0, 0] >= span.end:  # no candle left in the span
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
    """Rows of the span from the cursor on, and rows that contradict the previous page."""
    inside = page[(page[:, 0] >= span.start) & (page[:, 0] < span.end)]
    known = {row.tobytes() for row in before}
    times = set(before[:, 0].tolist())
    keep = [
        (row[0] >= cursor or row[0] in times) and row.tobytes() not in known for row in np.ascontiguousarray(inside)
    ]
    return inside[np.array(keep, dtype=bool)]
