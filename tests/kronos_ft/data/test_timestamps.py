"""Times in every notation that exports use."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos_ft.data.timestamps import calendar_features, parse_times

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


def test_unreadable_times_become_nat():
    assert parse_times(pd.Series(["2023-05-01", "soon", None])).isna().tolist() == [False, True, True]


def test_ambiguous_dates_are_refused():
    with pytest.raises(ValueError, match="do not tell day from month; write them as YYYY-MM-DD"):
        parse_times(pd.Series(["01/02/2023", "02/02/2023"]))


def test_unknown_zone():
    with pytest.raises(ValueError, match="timezone='Mars/Base' is not known"):
        parse_times(pd.Series(["2023-05-01"]), timezone="Mars/Base")


@settings(max_examples=50, deadline=None)
@given(st.integers(946684800, 4102444800))
def test_calendar_features_of_any_time(second):
    moment = pd.Timestamp(second, unit="s")
    features = calendar_features(np.array([moment.to_datetime64()], dtype="datetime64[ns]"))
    assert features.tolist() == [[moment.minute, moment.hour, moment.weekday(), moment.day, moment.month]]
