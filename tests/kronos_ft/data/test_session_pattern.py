"""The inferred bars are those that an exchange's own calendar has: its hours in its time zone, cut anywhere."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronos_ft.data.future import future_timestamps

HOUR = np.timedelta64(1, "h")


def utc(index):
    return index.tz_convert("UTC").tz_localize(None).as_unit("ns").to_numpy()


def local(bars, zone="America/New_York"):
    return utc(bars.tz_localize(zone))


def exchange(first, last, hours, step, zone, holidays=(), half_days=(), weekmask="1111100"):
    """Bars of an exchange: `hours` are (from, to) in local time, `to` excluded; half-days end at 13:00."""
    days = pd.DatetimeIndex(pd.bdate_range(first, last, freq="C", weekmask=weekmask, holidays=list(holidays)))
    bars = []
    for day in days:
        for start, end in hours:
            end = min(end, "13:00") if str(day.date()) in half_days else end
            bars.append(pd.date_range(f"{day.date()} {start}", f"{day.date()} {end}", freq=step, inclusive="left"))
    return local(bars[0].append(bars[1:]), zone)


def new_york(first="2024-01-02", last="2024-12-31", step="5min", **options):
    return exchange(first, last, [("09:30", "16:00")], step, "America/New_York", **options)


def shanghai(first="2024-01-02", last="2024-06-28", step="5min", **options):
    return exchange(first, last, [("09:30", "11:30"), ("13:00", "15:00")], step, "Asia/Shanghai", **options)


def currencies(first="2024-01-07", last="2024-12-29", step="1h"):
    """Sunday 17:00 to Friday 17:00 in New York."""
    bars = pd.date_range(f"{first} 01:00", last, freq=step)
    week_hour = bars.weekday * 24 + bars.hour
    return local(bars[(week_hour < 4 * 24 + 17) | (week_hour >= 6 * 24 + 17)])


def futures(first="2024-01-07", last="2024-12-29", step="30min"):
    """Sunday 18:00 to Friday 17:00 in New York with an hour's rest at 17:00 each day."""
    bars = pd.date_range(first, last, freq=step)
    week_hour = bars.weekday * 24 + bars.hour
    return local(bars[((week_hour < 4 * 24 + 17) | (week_hour >= 6 * 24 + 18)) & (bars.hour != 17)])


def sydney(first="2024-01-02", last="2024-12-31", step="10min"):
    return exchange(first, last, [("10:00", "16:00")], step, "Australia/Sydney")


def riyadh(first="2024-01-02", last="2024-08-30", step="15min"):
    return exchange(first, last, [("10:00", "15:00")], step, "Asia/Riyadh", weekmask="1111001")


MARKETS = {
    "new_york_5min": (new_york, "5min"),
    "new_york_1h": (new_york, "1h"),
    "new_york_4h": (new_york, "4h"),
    "shanghai_5min": (shanghai, "5min"),
    "shanghai_1h": (shanghai, "1h"),
    "currencies_1h": (currencies, "1h"),
    "currencies_4h": (currencies, "4h"),
    "futures_30min": (futures, "30min"),
    "sydney_10min": (sydney, "10min"),
    "riyadh_15min": (riyadh, "15min"),
}


def seconds(step):
    return pd.Timedelta(step).total_seconds()


def clock_changes(times):
    """Days on which the clock of New York or Sydney changed."""
    days = pd.date_range(times[0].astype("datetime64[D]"), times[-1].astype("datetime64[D]") + 2, freq="D", tz="UTC")
    offsets = np.stack(
        [[day.utcoffset() for day in days.tz_convert(z)] for z in ("America/New_York", "Australia/Sydney")]
    )
    return days.tz_localize(None).to_numpy()[1:][(np.diff(offsets) != pd.Timedelta(0)).any(axis=0)]


def crosses_clock_change(changes, last, end):
    return ((changes >= last - 30 * HOUR) & (changes <= end + 30 * HOUR)).any()


@pytest.mark.parametrize("name", MARKETS)
def test_every_cut_gives_the_exchanges_own_bars(name):
    """From the third week on, unless the clock changes between the last bar and the forecast's end."""
    make, step = MARKETS[name]
    times = make(step=step)
    changes, horizon = clock_changes(times), 90
    first = np.searchsorted(times, times[0] + np.timedelta64(15, "D"))
    checked = 0
    for origin in np.random.default_rng(0).integers(first, len(times) - horizon, 40):
        expected = times[origin : origin + horizon]
        if not crosses_clock_change(changes, times[origin - 1], expected[-1]):
            found = future_timestamps(times[:origin], horizon, seconds(step), "session")
            np.testing.assert_array_equal(found, expected, err_msg=str(times[origin - 1]))
            checked += 1
    assert checked >= 15


@pytest.mark.parametrize("bars", [1, 3, 40, 78, 100])
@pytest.mark.parametrize("monday", ["2024-03-11", "2024-11-04"])
def test_the_first_bars_after_a_clock_change_tell(monday, bars):
    times = new_york()
    origin = np.searchsorted(times, np.datetime64(monday)) + bars
    np.testing.assert_array_equal(future_timestamps(times[:origin], 200, 300, "session"), times[origin : origin + 200])


@pytest.mark.parametrize("sunday", ["2024-03-10", "2024-11-03"])
def test_currencies_after_a_clock_change(sunday):
    times = currencies()
    origin = np.searchsorted(times, np.datetime64(sunday)) + 10
    np.testing.assert_array_equal(future_timestamps(times[:origin], 240, 3600, "session"), times[origin : origin + 240])


def test_a_missing_first_hour_is_no_clock_change():
    times = currencies("2024-05-05", "2024-07-28")
    monday = np.searchsorted(times, np.datetime64("2024-07-14"))
    found = future_timestamps(np.delete(times, monday)[: monday + 20], 200, 3600, "session")
    np.testing.assert_array_equal(found, times[monday + 21 : monday + 221])


def test_holidays_and_half_days_are_not_learnt():
    """Christmas and New Year on the same weekday, half-days on the eves: the weeks after have full days."""
    closed = ["2024-11-28", "2024-12-25", "2025-01-01", "2025-01-20"]
    short = ["2024-11-29", "2024-12-24", "2024-12-31"]
    known = new_york("2024-10-01", "2025-01-31", holidays=closed, half_days=short)
    regular = new_york("2024-10-01", "2025-01-31")
    for day in pd.bdate_range("2024-12-02", "2025-01-17"):
        past = known[known < day.to_datetime64() + 17 * HOUR]
        expected = regular[regular > max(past[-1], day.to_datetime64())]
        found = future_timestamps(past, 300, 300, "session")
        skipped = found[0].astype("datetime64[D]") - past[-1].astype("datetime64[D]")
        if str(day.date()) not in [*closed, *short]:
            np.testing.assert_array_equal(found, expected[:300], err_msg=str(day))
        assert skipped <= np.timedelta64(3, "D")


def test_a_golden_week_without_a_bar_does_not_vote():
    closed = pd.bdate_range("2024-02-09", "2024-02-17").strftime("%F")
    times = shanghai("2024-01-02", "2024-03-15", holidays=closed)
    origin = np.searchsorted(times, np.datetime64("2024-02-20"))
    found = future_timestamps(times[:origin], 480, 300, "session")
    np.testing.assert_array_equal(found, times[origin : origin + 480])


@pytest.mark.parametrize(
    "hours", [[("09:30", "20:00")], [("09:30", "13:00")], [("04:00", "20:00")], [("11:00", "15:00")]]
)
def test_a_session_that_changed_three_weeks_ago_is_followed(hours):
    before = new_york("2024-05-01", "2024-06-28")
    after = exchange("2024-07-01", "2024-08-30", hours, "5min", "America/New_York")
    times = np.concatenate((before, after))
    origin = np.searchsorted(times, np.datetime64("2024-07-20"))
    np.testing.assert_array_equal(future_timestamps(times[:origin], 300, 300, "session"), times[origin : origin + 300])


def test_a_single_saturday_is_not_learnt():
    times = np.sort(np.concatenate((new_york("2024-05-01", "2024-06-28"), np.array(["2024-06-22T15:00"], "M8[ns]"))))
    found = future_timestamps(times, 400, 300, "session")
    assert (pd.DatetimeIndex(found).weekday < 5).all()


def test_a_thin_market_gets_its_whole_session():
    """A bar in a third of the minutes: times that no bar stood at recently belong to the session all the same."""
    full = new_york("2024-05-01", "2024-08-30", step="1min")
    times = full[np.random.default_rng(0).random(len(full)) < 0.33]
    last = times[times < np.datetime64("2024-08-20")]
    found = future_timestamps(last, 1500, 60, "session")
    expected = full[(full > last[-1]) & (full <= found[-1])]
    assert np.isin(found, expected).all()
    assert np.isin(expected, found).mean() > 0.99


@pytest.mark.parametrize("bars", [100, 160, 200])
def test_days_not_seen_yet_are_like_those_that_were(bars):
    """Two days and a bit, from a Tuesday on: Thursday to Monday follow."""
    times = new_york("2024-06-04", "2024-06-21")
    np.testing.assert_array_equal(future_timestamps(times[:bars], 300, 300, "session"), times[bars : bars + 300])


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Shanghai", "Europe/London"])
@pytest.mark.parametrize("market", ["session", "continuous"])
def test_daily_stocks_skip_weekends(zone, market):
    """Stamped at local midnight; twelve bars are too few for `CandleReport` to tell a session market."""
    days = utc(pd.bdate_range("2024-05-06", "2024-08-30", tz=zone))
    for origin in (12, 13, 14, 15, 16, 50):
        found = future_timestamps(days[:origin], 25, 86400, market)
        np.testing.assert_array_equal(found, days[origin : origin + 25])


def test_daily_bar_of_a_half_day_is_not_followed_by_one_at_the_usual_close():
    days = utc(pd.bdate_range("2024-05-06", "2024-07-02", tz="America/New_York") + pd.Timedelta("16h"))
    days = np.append(days, np.datetime64("2024-07-03T17:00", "ns"))
    assert future_timestamps(days, 1, 86400, "session")[0] == np.datetime64("2024-07-04T20:00")


def measure(times, step, horizon, cuts):
    """Over many cuts, the share of inferred bars that came and of bars that came which were inferred."""
    came, foreseen = [], []
    for origin in np.random.default_rng(0).integers(len(times) // 10, len(times) - horizon, cuts):
        found = future_timestamps(times[:origin], horizon, step, "session")
        real = times[origin:]
        real = real[real <= found[-1]]
        came.append(np.isin(found, real).mean())
        foreseen.append(np.isin(real, found).mean())
    return np.mean(came), np.mean(foreseen)


@pytest.mark.parametrize(
    ("name", "step", "horizon", "expected_came", "expected_foreseen"),
    [
        ("us_cpay_5m_2024", 300, 78, 0.93, 0.998),  # 96.3 % of the bars of its own sessions exist
        ("us_cpay_5m_2024", 300, 390, 0.91, 0.995),
        ("gbpusd_1h_2012_2022", 3600, 24, 0.99, 0.998),
        ("gbpusd_1h_2012_2022", 3600, 120, 0.985, 0.998),
    ],
)
def test_hit_rate_on_real_markets(name, step, horizon, expected_came, expected_foreseen):
    folder = os.environ.get("KRONOS_FT_DATA")
    path = Path(folder or ".") / f"{name}.parquet"
    if not folder or not path.is_file():
        pytest.skip(f"set KRONOS_FT_DATA to a folder that holds {path.name}")
    times = pd.read_parquet(path)["timestamps"].to_numpy().astype("datetime64[ns]")
    came, foreseen = measure(times, step, horizon, cuts=100)
    assert came >= expected_came
    assert foreseen >= expected_foreseen
