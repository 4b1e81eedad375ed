"""Times in every notation that exports use."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from kronos_ft.data.timestamps import calendar_features, parse_times, time_of_day

EXPECTED = pd.date_range("2023-05-01 09:30", periods=20, freq="30min", tz="UTC")
SECONDS = EXPECTED.as_unit("s").astype("int64")


def check(values, **kwargs):
    parsed = parse_times(pd.Series(values), **kwargs)
    assert parsed.tolist() == EXPECTED.tolist()


@pytest.mark.parametrize("factor", [1, 10**3, 10**6, 10**9])
@pytest.mark.parametrize("kind", [int, str])
def test_epochs_by_magnitude(factor, kind):
    check([kind(second * factor) for second in SECONDS])


def test_fractions_of_seconds_are_kept_exactly():
    parsed = parse_times(pd.Series([1682933400.25, 1682933400.5]))
    assert (parsed.iloc[1] - parsed.iloc[0]).value == 250_000_000


FORMS = ("%Y%m%d%H%M", "%Y%m%d%H%M%S", "%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M", "%d/%m/%Y %H:%M")


@pytest.mark.parametrize("form", FORMS)
def test_written_dates(form):
    if form.startswith("%d"):  # day and month are told apart by a day above 12
        days = pd.date_range("2023-05-10", periods=20, freq="D")
        assert parse_times(pd.Series(days.strftime(form))).dt.day.tolist() == days.day.tolist()
    else:
        check(EXPECTED.strftime(form))


def test_dates_in_digits():
    parsed = parse_times(pd.Series([20190102, 20190103]))
    assert parsed.dt.strftime("%F").tolist() == ["2019-01-02", "2019-01-03"]


def test_unpadded_dates():
    assert parse_times(pd.Series(["2019/11/26 9:35"])).iloc[0] == pd.Timestamp("2019-11-26 09:35", tz="UTC")


def test_offsets_and_zones_become_utc():
    check(EXPECTED.tz_convert("Asia/Shanghai").strftime("%Y-%m-%dT%H:%M:%S%z"))
    check(EXPECTED.tz_convert("America/New_York"))
    check(EXPECTED.tz_convert("Asia/Shanghai").tz_localize(None), timezone="Asia/Shanghai")


@pytest.mark.parametrize("ending", ["+08", "+0800", " +08:00", "+8", ".000+08", " UTC", " GMT", " utc", "Z"])
def test_zones_as_databases_and_exchanges_write_them(ending):
    """`+08` is how PostgreSQL writes an offset; pandas alone takes it for a zone that the rest does not have."""
    zone = "Asia/Shanghai" if "8" in ending else "UTC"
    check(EXPECTED.tz_convert(zone).strftime("%Y-%m-%d %H:%M:%S") + ending, timezone="America/New_York")


def test_a_zone_that_cannot_be_read_is_refused():
    for times in (["2023-05-01 09+08"], ["2023-05-01 09+08", "2023-05-01 09:30"]):
        with pytest.raises(ValueError, match=r"09\+08' have a time zone that cannot be read"):
            parse_times(pd.Series(times))


def test_times_of_arrow():
    check(pd.Series(EXPECTED).astype("timestamp[ns, tz=UTC][pyarrow]"))
    check(pd.Series(EXPECTED.tz_localize(None)).astype("timestamp[ms][pyarrow]"))


def test_unreadable_times_become_nat():
    assert parse_times(pd.Series(["2023-05-01", "soon", None])).isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    "cell", ["09:00", "9:00:30", "now", "today", "12:30", "2021", "2021Q2", "1e3", "Monday", "05/01/2023", "Jan 5 2021"]
)
def test_a_time_without_a_date_or_of_another_form_is_unreadable(cell):
    """pandas would take today's date, or the first of a month, for the missing part."""
    others = ["2023-05-13 09:30", "2023-05-13 10:00", "2023-05-14"]
    assert parse_times(pd.Series([*others, cell])).isna().tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    "times", [[None, None], ["09:00", "09:01"], ["2021Q2", "2021Q3"], ["now", "now"], ["9" * 10**6] * 2]
)
def test_a_column_without_dates_is_unreadable(times):
    assert parse_times(pd.Series(times)).isna().all()


@pytest.mark.parametrize(
    "form",
    ["%b %d, %Y %H:%M", "%d-%b-%Y %H:%M", "%d %B %Y %H:%M", "%a %b %d %Y %H:%M:%S", "%Y.%m.%d %H:%M", "%Y%m%d %H:%M"],
)
def test_names_of_months_and_points(form):
    check(EXPECTED.strftime(form))


def test_months():
    assert parse_times(pd.Series(["2021-01", "2021-02"])).dt.month.tolist() == [1, 2]


@pytest.mark.parametrize("value", ["25:00", "-1:00", "1 day", "1" * 10**6])
def test_no_time_of_day(value):
    assert time_of_day(pd.Series(["09:30", value])).isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["01/02/2023", "02/02/2023"], "are ambiguous: day or month first; write them as YYYY-MM-DD"),
        (["13/01/20", "02/01/20"], "have a two-digit year; write them as YYYY-MM-DD"),
        (["13/01/2020", "01/13/2020"], "mix day-first and month-first dates"),
    ],
)
def test_ambiguous_dates_are_refused(times, message):
    with pytest.raises(ValueError, match=message):
        parse_times(pd.Series(times))


def test_each_row_tells_its_own_epoch_unit():
    """Two archives joined, one in milliseconds and one in microseconds."""
    check([second * (10**3 if row % 3 else 10**6) for row, second in enumerate(SECONDS)])


def test_numbers_that_are_no_time_become_nat():
    values = [float(SECONDS[0]), float("inf"), 43831.0, 0.0, -5.0, 1e300, 99999999999999.0]
    assert parse_times(pd.Series(values)).isna().tolist() == [False, *[True] * 6]
    far = parse_times(pd.Series(["2023-05-01", "9999-12-31", "0001-01-01"]))
    assert far.isna().tolist() == [False, True, True]


def test_the_zone_holds_for_every_notation_without_offset():
    expected = pd.Timestamp("2023-05-13 01:30", tz="UTC")
    for value in (20230513093000, "13-05-2023 09:30", "2023-05-13 09:30", pd.Timestamp("2023-05-13 09:30")):
        assert parse_times(pd.Series([value]), timezone="Asia/Shanghai").iloc[0] == expected
    mixed = parse_times(pd.Series(["2023-05-13 09:30", "2023-05-13 09:30+00:00"]), timezone="Asia/Shanghai")
    assert mixed.dt.hour.tolist() == [1, 9]


def test_time_of_day_in_every_notation():
    for values in (["9:30", "15:00"], ["09:30:00", "15:00:00"], [93000, 150000], [930.0, 1500.0]):
        assert (time_of_day(pd.Series(values)) / pd.Timedelta(1, "h")).tolist() == [9.5, 15.0]


def test_unknown_zone():
    with pytest.raises(ValueError, match="timezone='Mars/Base' is not known"):
        parse_times(pd.Series(["2023-05-01"]), timezone="Mars/Base")


@settings(max_examples=50, deadline=None)
@given(st.integers(946684800, 4102444800))
def test_calendar_features_of_any_time(second):
    moment = pd.Timestamp(second, unit="s")
    features = calendar_features(np.array([moment.to_datetime64()], dtype="datetime64[ns]"))
    assert features.tolist() == [[moment.minute, moment.hour, moment.weekday(), moment.day, moment.month]]
