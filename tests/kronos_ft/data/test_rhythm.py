"""Step and market before an origin are those of a table that ends there."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from kronos_ft.data.candles import inspect_candles, load_candles
from kronos_ft.data.rhythm import RECENT_BARS, market_of, missing_bars, rhythm_before
from kronos_ft.data.sources import simulate_candles

HOUR = 3600 * 10**9
FRAME = simulate_candles(400, seed=4)


def times_of(steps):
    """Hours from one bar to the next -> times."""
    return np.datetime64("2024-01-01", "ns") + np.cumsum([0, *steps]) * np.timedelta64(1, "h")


@settings(max_examples=60)
@given(st.lists(st.sampled_from([1, 1, 1, 1, 2, 15, 16, 64]), min_size=2, max_size=399), st.data())
def test_the_rhythm_before_an_origin_is_that_of_a_table_that_ends_there(steps, data):
    times = times_of(steps)
    origin = data.draw(st.integers(2, len(times)))
    (known,) = inspected_at(times[:origin])
    assert rhythm_before(times, origin) == (known.report.step_seconds, known.report.market)
    later = times.copy()
    later[origin:] = times[origin - 1] + np.arange(1, len(times) - origin + 1) * np.timedelta64(5, "m")
    assert rhythm_before(later, origin) == rhythm_before(times, origin)


def inspected_at(times):
    return inspect_candles({"S": FRAME[: len(times)].assign(timestamps=times)})


def test_an_office_hours_future_makes_no_session_of_the_past():
    """Around the clock first, office hours later: the whole table counts as a session market."""
    days = pd.bdate_range("2020-02-03 09:00", periods=200)
    office = [day + pd.Timedelta(hours=hour) for day in days for hour in range(8)]
    table = simulate_candles(500 + len(office)).assign(
        timestamps=[*pd.date_range("2020-01-01", periods=500, freq="h"), *office]
    )
    series = load_candles(table)[0]
    assert series.report.market == "session"
    assert rhythm_before(series.timestamps, 500) == (3600.0, "continuous")
    assert rhythm_before(series.timestamps, len(series)) == (3600.0, "session")


def test_only_recent_bars_count():
    minutes = np.arange(RECENT_BARS) * np.timedelta64(1, "m")
    start = np.datetime64("2020-01-01", "ns")
    times = np.concatenate((start + np.arange(50_000) * np.timedelta64(5, "m"), np.datetime64("2021-01-01") + minutes))
    assert rhythm_before(times, len(times)) == (60.0, "continuous")
    assert rhythm_before(times, 50_000) == (300.0, "continuous")


def test_missing_bars_are_whole_steps():
    steps = np.array([1.0, 1.2, 1.5, 2.0, 5.0, 0.3]) * HOUR
    assert missing_bars(steps, HOUR).tolist() == [0, 0, 1, 1, 4, 0]


@pytest.mark.parametrize(
    ("steps", "market"),
    [
        ([1] * 200, "continuous"),
        ([1] * 100 + [300] + [1] * 100, "continuous"),  # one long outage
        (([1] * 7 + [17]) * 20, "session"),
        (([1] * 99 + [2]) * 20, "continuous"),  # next to nothing is missing
    ],
)
def test_gaps_that_recur_make_a_session(steps, market):
    assert market_of(np.array(steps) * HOUR, HOUR) == market


@pytest.mark.parametrize("origin", [0, 1])
def test_one_bar_shows_no_step(origin):
    with pytest.raises(ValueError, match=f"only {origin} bars before the origin; at least 2 are needed"):
        rhythm_before(times_of([1, 1]), origin)
