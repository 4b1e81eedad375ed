"""Gaps, duplicates and uneven candles, against counting by hand."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from kronos_ft.download.findings import find, is_amount
from kronos_ft.download.spans import Span, milliseconds, span_of, step_of, text_of

HOUR = 3_600_000


@given(st.sets(st.integers(0, 60), min_size=1), st.integers(61, 70))
def test_every_missing_candle_is_in_one_gap(places, end):
    rows = np.array([[place * HOUR, 1, 1, 1, 1, 1, 1] for place in sorted(places)], dtype=float)
    found = find("X", rows, Span(0, end * HOUR, HOUR))
    missing = [time for first, last, count in found.gaps for time in range(first, last + 1, HOUR)]
    assert missing == [place * HOUR for place in range(min(places), end) if place not in places]
    assert found.missing == len(missing)
    assert found.starts_late == (min(places) > 0)


def test_many_gaps_are_named_in_part():
    rows = np.array([[2 * place * HOUR, 1, 1, 1, 1, 1, 1] for place in range(9)], dtype=float)
    (line,) = find("X", rows, Span(0, 17 * HOUR, HOUR)).lines()
    assert line.startswith("8 gaps, 8 candles missing: 1970-01-01 01:00 (1), 1970-01-01 03:00 (1), ")
    assert line.endswith(", ... and 3 more")


def test_candles_off_the_timeframe():
    rows = np.array([[time, 1, 1, 1, 1, 1, 1] for time in (0, HOUR, 2 * HOUR + 60_000, 3 * HOUR)], dtype=float)
    found = find("X", rows, Span(0, 4 * HOUR, HOUR))
    assert found.uneven == [2 * HOUR + 60_000, 3 * HOUR]
    assert "2 candles with misaligned opening times: 1970-01-01 02:01, 1970-01-01 03:00" in found.lines()


def test_what_an_amount_is():
    rows = np.array([[0, 10, 12, 9, 11, 5, 5 * 10.5], [HOUR, 10, 12, 9, 11, 0, 0]])
    assert is_amount(rows)
    for wrong in (5.0, 5 * 20.0, np.nan):
        other = rows.copy()
        other[0, 6] = wrong
        assert not is_amount(other)


def test_times_and_timeframes():
    assert [step_of(text) for text in ("1s", "15m", "4h", "1d", "1w")] == [
        1000,
        900_000,
        4 * HOUR,
        24 * HOUR,
        168 * HOUR,
    ]
    assert milliseconds("since", "2018-01-01") == 1_514_764_800_000
    assert milliseconds("since", "2018-01-01T08:00+08:00") == 1_514_764_800_000
    assert milliseconds("since", "1514764800000") == 1_514_764_800_000
    assert text_of(1_514_764_800_000) == "2018-01-01 00:00"
    for text in ("1M", "1mo", "0h", "h", "1 h", ""):
        with pytest.raises(ValueError, match=r"is not valid"):
            step_of(text)
    with pytest.raises(ValueError, match=r"since='01/02/2018': times like .* are ambiguous: day or month first"):
        milliseconds("since", "01/02/2018")


@pytest.mark.parametrize(("now", "last"), [(10 * HOUR, 9), (10 * HOUR - 1, 8), (10 * HOUR + 1, 9)])
def test_a_candle_is_finished_when_its_time_is_over(now, last):
    span = span_of(0, None, HOUR, now, "a clock")
    assert [place for place in range(20) if place * HOUR < span.end][-1] == last
