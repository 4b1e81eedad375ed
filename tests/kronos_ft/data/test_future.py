"""Times around the clock, of weeks and of months, and every refusal."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from kronos_ft.data.candles import load_candles
from kronos_ft.data.future import check_future, future_timestamps
from kronos_ft.data.sources import simulate_candles

DAY = 86400


def stamps(*args, **kwargs):
    return pd.date_range(*args, **kwargs).as_unit("ns").to_numpy()


@pytest.mark.parametrize("step", ["1s", "1min", "5min", "1h", "4h", "1D", "3D"])
def test_around_the_clock(step):
    times = stamps("2023-12-30 01:00", periods=60, freq=step)
    found = future_timestamps(times[:30], 30, pd.Timedelta(step).total_seconds(), "continuous")
    assert found.dtype == np.dtype("datetime64[ns]")
    np.testing.assert_array_equal(found, times[30:])


def test_takes_step_and_market_from_loaded_candles():
    series = load_candles(simulate_candles(200, step="30min"))[0]
    found = future_timestamps(series.timestamps, 3, series.report.step_seconds, series.report.market)
    np.testing.assert_array_equal(found, stamps(series.timestamps[-1], periods=4, freq="30min")[1:])


def test_an_outage_does_not_disturb():
    times = np.delete(stamps("2024-01-01", periods=500, freq="1h"), np.r_[100:180, 497:499])
    assert future_timestamps(times, 2, 3600, "continuous")[0] == times[-1] + np.timedelta64(1, "h")


@pytest.mark.fault(21)
@given(st.integers(2, 60), st.integers(1, 100), st.sampled_from(["7min", "1h", "1D", "7D"]), st.data())
def test_always_after_the_last_bar_and_increasing(bars, horizon, step, data):
    keep = data.draw(st.lists(st.booleans(), min_size=bars, max_size=bars))
    times = stamps("2024-01-01", periods=bars + 40, freq=step)[np.array([*keep, *[True] * 40])]
    for market in ("continuous", "session"):
        found = future_timestamps(times, horizon, pd.Timedelta(step).total_seconds(), market)
        assert found.shape == (horizon,)
        assert found[0] > times[-1]
        assert (np.diff(found) > np.timedelta64(0)).all()


@pytest.mark.parametrize("market", ["continuous", "session"])
@pytest.mark.parametrize("day", ["MON", "FRI", "SUN"])
def test_weeks_keep_their_weekday(day, market):
    times = stamps("2023-11-01", periods=40, freq=f"W-{day}")
    np.testing.assert_array_equal(future_timestamps(times[:20], 20, 7 * DAY, market), times[20:])


def test_a_week_that_ended_on_thursday_is_followed_by_a_friday():
    times = stamps("2024-01-01", periods=14, freq="W-FRI")
    moved = times[:13].copy()
    moved[-1] -= np.timedelta64(1, "D")  # Good Friday
    assert future_timestamps(moved, 1, 7 * DAY, "continuous")[0] == times[13]


def test_weeks_follow_a_clock_change():
    local = pd.date_range("2024-01-01", periods=30, freq="W-MON", tz="America/New_York")
    times = local.tz_convert("UTC").tz_localize(None).as_unit("ns").to_numpy()
    np.testing.assert_array_equal(future_timestamps(times[:15], 10, 7 * DAY, "continuous"), times[15:25])


@pytest.mark.parametrize("first", ["2023-01-15", "2022-09-03", "2024-01-20"])
@pytest.mark.parametrize("freq", ["MS", "ME", "BMS", "BME", "QS", "QE", "BQE", "YS", "YE"])
@pytest.mark.parametrize("hours", [0, 21])
def test_months_follow_the_calendar(freq, hours, first):
    times = stamps(first, periods=48, freq=freq) + np.timedelta64(hours, "h")
    steps = np.diff(times[:24]).astype("int64")
    values, counts = np.unique(steps, return_counts=True)
    step = values[counts.argmax()] / 1e9
    np.testing.assert_array_equal(future_timestamps(times[:24], 24, step, "continuous"), times[24:])


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Shanghai", "Europe/London"])
def test_months_that_begin_at_local_midnight(zone):
    local = pd.date_range("2023-01-01", periods=30, freq="MS", tz=zone)
    times = local.tz_convert("UTC").tz_localize(None).as_unit("ns").to_numpy()
    found = future_timestamps(times[:20], 10, 31 * DAY, "continuous")
    back = pd.DatetimeIndex(found, tz="UTC").tz_convert(zone)
    assert (abs(back.tz_localize(None) - local[20:].tz_localize(None)) <= pd.Timedelta("1h")).all()


def test_a_first_trading_day_that_is_a_holiday_does_not_disturb_the_rule():
    times = stamps("2023-01-01", periods=24, freq="BMS").copy()
    times[[0, 12]] += np.timedelta64(1, "D")
    expected = stamps("2025-01-01", periods=6, freq="BMS")
    np.testing.assert_array_equal(future_timestamps(times, 6, 31 * DAY, "continuous"), expected)


def test_two_months_and_the_end_of_february():
    times = np.array(["2023-11-30", "2023-12-30"], "datetime64[ns]")
    found = future_timestamps(times, 3, 30 * DAY, "continuous").astype("datetime64[D]").astype(str)
    assert found.tolist() == ["2024-01-30", "2024-02-29", "2024-03-30"]


def test_four_week_bars_are_not_months():
    times = stamps("2023-01-03", periods=30, freq="28D")
    np.testing.assert_array_equal(future_timestamps(times[:15], 15, 28 * DAY, "continuous"), times[15:])


GOOD = stamps("2024-01-01", periods=50, freq="1h")


@pytest.mark.parametrize("horizon", [0, -3, 1.5])
def test_refuses_horizons(horizon):
    with pytest.raises(ValueError, match=rf"horizon={horizon} must be a whole number of bars, at least 1"):
        future_timestamps(GOOD, horizon, 3600, "continuous")


@pytest.mark.parametrize("bars", [0, 1])
def test_refuses_too_few_bars(bars):
    with pytest.raises(ValueError, match=f"timestamps contains {bars} bars; at least 2"):
        future_timestamps(GOOD[:bars], 1, 3600, "session")


@pytest.mark.parametrize("order", [[0, 2, 1, 3], [0, 1, 1, 2]])
def test_refuses_unsorted_times(order):
    with pytest.raises(ValueError, match="not strictly increasing: 2024-01-01 01:00:00 at position 2 follows"):
        future_timestamps(GOOD[order], 1, 3600, "continuous")


def test_refuses_other_arguments():
    with pytest.raises(ValueError, match="market='stocks' is not known; use one of continuous, session"):
        future_timestamps(GOOD, 1, 3600, "stocks")
    for step in (0, -1, np.nan):
        with pytest.raises(ValueError, match="must be positive; pass the time between two bars"):
            future_timestamps(GOOD, 1, step, "session")
    with pytest.raises(ValueError, match="timestamps contains 1 missing times"):
        future_timestamps(np.append(GOOD, np.datetime64("NaT")), 1, 3600, "session")


@pytest.mark.parametrize("market", ["continuous", "session"])
def test_refuses_random_times_and_says_what_was_found(market):
    gaps = np.random.default_rng(0).integers(60, 7200, 400)
    times = np.datetime64("2024-01-01", "ns") + gaps.cumsum().astype("timedelta64[s]")
    with pytest.raises(ValueError, match=r"time steps are mixed: the last 399 are .* \(\d+%\), .*one bar length"):
        future_timestamps(times, 5, 3600, market)


def test_refuses_hours_followed_by_days():
    times = np.concatenate((GOOD, stamps("2024-01-05", periods=600, freq="1D")))
    with pytest.raises(ValueError, match=r"the last 500 are 1 d \(100%\), and only 0% are 1 h; pass"):
        future_timestamps(times, 5, 3600, "session")


def test_refuses_bars_that_repeat_at_no_weekly_time():
    every_other = stamps("2024-01-01", periods=60, freq="2B")
    with pytest.raises(ValueError, match=r"steps are mixed: .*bars of 2 d do not repeat at the same times of the week"):
        future_timestamps(every_other, 5, 2 * DAY, "session")


def test_accepts_a_future_of_any_kind():
    past = pd.Series(GOOD)
    for future in (future_timestamps(GOOD, 5, 3600, "continuous"), pd.Series(GOOD[-1:] + np.timedelta64(1, "D"))):
        check_future(past, future, len(future))
    check_future(past.dt.tz_localize("UTC"), pd.date_range("2024-01-04", periods=3, freq="1h", tz="Asia/Shanghai"))


def test_refuses_a_future_that_cannot_be():
    with pytest.raises(
        ValueError, match="begins at 2024-01-03 01:00:00, not after the last bar of the past at 2024-01"
    ):
        check_future(GOOD, GOOD[-1:])
    ahead = GOOD + np.timedelta64(50, "h")
    with pytest.raises(ValueError, match="contains 50 times for a horizon of 24 bars; pass one time per bar"):
        check_future(GOOD, ahead, 24)
    with pytest.raises(ValueError, match="future timestamps is not strictly increasing"):
        check_future(GOOD, ahead[::-1], 50)
    with pytest.raises(ValueError, match="future timestamps contains 1 missing times"):
        check_future(GOOD, [ahead[0], pd.NaT])
    with pytest.raises(ValueError, match="past timestamps is empty"):
        check_future(GOOD[:0], ahead)
    with pytest.raises(ValueError, match="begins at 2024-01-03 00:00:00, not after"):  # 08:00 in Shanghai
        check_future(GOOD, pd.date_range("2024-01-03 08:00", periods=3, freq="1h", tz="Asia/Shanghai"))
