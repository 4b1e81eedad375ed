"""Walking through pages: every way in which exchanges read `since` and `limit` gives the same candles."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from kronos_ft.download.exchange_pages import walk
from kronos_ft.download.spans import Span

STEP = 10
EMPTY = np.empty((0, 7))


def table(times):
    return np.array([[time, *range(6)] for time in times], dtype=float).reshape(-1, 7)


def first_from(rows, size):
    """The first candles from a time on, as Binance."""
    return lambda since: rows[rows[:, 0] >= since][:size]


def of_a_range(rows, size):
    """Those of a span of `size` candles, none where none were traded, as Coinbase."""
    return lambda since: rows[(rows[:, 0] >= since) & (rows[:, 0] < since + size * STEP)]


def overlapping(rows, size):
    """With some of the candles before."""
    return lambda since: rows[rows[:, 0] >= since - 3 * STEP][:size]


def from_the_beginning(rows, size):
    """With all that came before."""
    return lambda since: rows[rows[:, 0] < since + size * STEP]


def short(rows, size):
    """Fewer than a page may hold."""
    return lambda since: rows[rows[:, 0] >= since][: size // 2]


KINDS = (first_from, of_a_range, overlapping, from_the_beginning, short)


def collect(fetch, span, size, cursor=None, before=EMPTY):
    pages = list(walk(fetch, span, size, span.start if cursor is None else cursor, before))
    return np.concatenate([rows for rows, _ in pages] or [EMPTY]), [cursor for _, cursor in pages]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(st.sets(st.integers(0, 120), max_size=100), st.integers(0, 60), st.integers(61, 140), st.integers(6, 20))
def test_every_candle_of_the_span_once(kind, places, first, last, size):
    rows = table(STEP * place for place in sorted(places))
    span = Span(first * STEP, last * STEP, STEP)
    found, cursors = collect(kind(rows, size), span, size)
    assert found[:, 0].tolist() == [time for time in rows[:, 0] if span.start <= time < span.end]
    assert cursors == sorted(set(cursors))
    assert cursors[-1] == span.end


@pytest.mark.parametrize("kind", KINDS)
def test_a_walk_goes_on_where_it_was_left(kind):
    rows = table(STEP * place for place in range(100) if place not in (30, 31, 47))
    span, size = Span(0, 900, STEP), 8
    whole, _ = collect(kind(rows, size), span, size)
    pages = list(walk(kind(rows, size), span, size, 0, EMPTY))
    for place, (before, cursor) in enumerate(pages, 1):
        rest, _ = collect(kind(rows, size), span, size, cursor, before)
        parts = [page for page, _ in pages[:place]]
        np.testing.assert_array_equal(np.concatenate([*parts, rest]), whole)


@pytest.mark.parametrize("begin", [0, 600])
def test_an_empty_page_of_an_exchange_that_sends_fewer_than_it_is_thought_to(begin):
    outage = range(600, 850)
    rows = table(STEP * place for place in range(begin, 2000) if place not in outage)
    found, cursors = collect(of_a_range(rows, 200), Span(0, 2000 * STEP, STEP), 500)
    assert found[:, 0].tolist() == rows[:, 0].tolist()
    assert len(cursors) < 25


def test_candles_that_change_from_page_to_page_are_kept_to_be_judged():
    rows = table(range(0, 400, STEP))
    changed = rows.copy()
    changed[9, 4] = 99.0
    asked = []

    def fetch(since):
        asked.append(since)
        return overlapping(rows if len(asked) == 1 else changed, 10)(since)

    found, _ = collect(fetch, Span(0, 300, STEP), 10)
    assert sorted(found[found[:, 0] == 90, 4].tolist()) == [3.0, 99.0]
    assert len(found) == 31


def test_an_exchange_that_ignores_since_ends():
    newest = table(range(5000, 5100, STEP))
    found, cursors = collect(lambda since: newest, Span(0, 5050, STEP), 10)
    assert found[:, 0].tolist() == [5000, 5010, 5020, 5030, 5040]
    assert cursors == [5050]
    found, cursors = collect(lambda since: newest, Span(0, 3000, STEP), 10)
    assert len(found) == 0
    assert cursors == [3000]
    oldest = table(range(0, 100, STEP))
    found, _ = collect(lambda since: oldest, Span(50, 1000, STEP), 10)
    assert found[:, 0].tolist() == [50, 60, 70, 80, 90]
