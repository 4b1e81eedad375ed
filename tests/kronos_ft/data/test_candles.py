"""What is derived and described: volume, amount, gaps, kinds of market, fingerprint."""

import numpy as np
import pandas as pd
import pytest

from kronos_ft.data.candles import fingerprint, inspect_candles, load_candles
from kronos_ft.data.check import check
from kronos_ft.data.sources import load_sample, simulate_candles


def sessions(days=40, bars_a_day=78):
    """A market that trades six and a half hours on weekdays."""
    table = simulate_candles(days * bars_a_day, seed=4)
    starts = pd.bdate_range("2024-01-01 14:30", periods=days)
    offsets = pd.to_timedelta(np.arange(bars_a_day) * 5, unit="min")
    return table.assign(timestamps=[start + offset for start in starts for offset in offsets])


def test_amount_and_volume_are_derived_where_absent():
    table = simulate_candles(50)
    mean = table[["open", "high", "low", "close"]].mean(axis=1)
    no_amount = load_candles(table.drop(columns="amount"))[0]
    np.testing.assert_allclose(no_amount.values[:, 5], table.volume * mean)
    neither = load_candles(table.drop(columns=["amount", "volume"]))[0]
    assert (neither.values[:, 4:] == 0).all()
    no_volume = load_candles(table.drop(columns="volume"))[0]
    np.testing.assert_allclose(no_volume.values[:, 4], table.amount / mean)
    zero_amount = load_candles(table.assign(amount=0))[0]
    np.testing.assert_allclose(zero_amount.values[:, 5], table.volume * mean)
    assert "amount column is all 0" in zero_amount.report.quality.remarks[0]


def test_gaps_against_the_modal_step():
    table = simulate_candles(500).drop(index=[100, 101, 102, 300])
    report = load_candles(table)[0].report
    assert (report.step_seconds, report.gaps, report.missing_bars) == (3600.0, 2, 4)
    assert report.longest_gap_seconds == 4 * 3600
    assert report.market == "continuous"


def test_session_markets_are_recognised():
    report = load_candles(sessions())[0].report
    assert report.market == "session"
    assert report.gaps == 39
    assert not report.rejections()


def test_one_long_outage_does_not_make_a_session_market():
    table = simulate_candles(600).drop(index=range(200, 300))
    assert load_candles(table)[0].report.market == "continuous"
    daily = simulate_candles(365 * 2, step="1D")
    weekdays = daily[daily.timestamps.dt.dayofweek < 5]
    (series,) = load_candles(weekdays)
    assert series.report.market == "session"
    assert series.report.quality.remarks == []


@pytest.mark.parametrize("step", ["30min", "1h", "4h", "1D"])
def test_bars_that_are_missing_at_random_are_no_closings(step):
    table = simulate_candles(900, step=step)
    (series,) = load_candles(table[np.random.default_rng(1).random(900) < 0.7])
    assert any("of the bars follow the previous bar by one step" in one for one in series.report.quality.remarks)


@pytest.mark.parametrize("hours", [(1, 2, 3, 5, 6), (2, 3, 6, 7)])
def test_nights_and_breaks_are_closings(hours):
    table = simulate_candles(3000, step="1h")
    (series,) = load_candles(table[table.timestamps.dt.hour.isin(hours) & (table.timestamps.dt.day_of_week < 5)])
    assert series.report.quality.remarks == []


def test_sparse_and_quiet_tables_are_remarked():
    table = simulate_candles(900)
    sparse = load_candles(table[np.random.default_rng(0).random(900) < 0.4])[0].report.quality.remarks
    assert any("of the bars follow the previous bar by one step" in remark for remark in sparse)
    quiet = load_candles(table.assign(volume=np.where(np.arange(900) % 2, table.volume, 0), amount=table.amount * 0))
    assert any("50% of the bars have no volume" in remark for remark in quiet[0].report.quality.remarks)


@pytest.mark.fault(19)
def test_constant_price_is_rejected():
    table = simulate_candles(200).assign(open=5.0, high=5.0, low=5.0, close=5.0)
    with pytest.raises(ValueError, match="the close is constant at 5; a model cannot learn from it"):
        load_candles(table)


@pytest.mark.fault(20)
def test_a_single_bar_is_rejected():
    with pytest.raises(ValueError, match="only 1 usable bars; at least 2 are needed"):
        load_candles(simulate_candles(1))


def test_lots_are_remarked():
    table = simulate_candles(200)
    remarks = load_candles(table.assign(volume=table.volume / 100))[0].report.quality.remarks
    assert any("the median amount is 100 x volume x price" in remark for remark in remarks)


def test_fingerprint_is_of_the_candles_not_of_the_file(tmp_path):
    table = simulate_candles(100)
    table.to_parquet(tmp_path / "X.parquet")
    first = fingerprint(load_candles({"X": table}))
    assert fingerprint(load_candles(tmp_path / "X.parquet")) == first
    table.loc[50, "close"] *= 1.0001
    table.loc[50, "high"] *= 1.001
    assert fingerprint(load_candles({"X": table})) != first


def test_the_embedded_sample():
    sample = load_sample()
    assert len(sample) == 1
    assert len(sample[0]) == 35_019
    report = sample[0].report
    assert (report.first, report.last) == ("2017-10-01T00:00:00", "2019-10-01T00:00:00")
    assert (report.gaps, report.missing_bars, report.market) == (9, 22, "continuous")
    assert not report.quality.defects


def test_check_describes_and_judges(tmp_path):
    table = simulate_candles(120)
    lines, passes = check(inspect_candles(table), 101)
    assert passes
    assert lines[-1] == "  OK        under policy error"
    lines, passes = check(inspect_candles(table), 121)
    assert not passes
    assert "120 usable bars are fewer than one window of 121" in lines[-1]
    table.loc[7, "low"] = 0.0
    lines, passes = check(inspect_candles(table), 101)
    assert not passes
    assert any("DEFECT    price zero or negative: 1 rows (row 7): rejected" in line for line in lines)
    lines, passes = check(inspect_candles(table, "drop"), 101)
    assert passes
    assert any("row dropped" in line for line in lines)


def test_a_table_whose_bars_change_their_length_is_refused():
    hourly = simulate_candles(900, seed=2)
    mixed = pd.concat([hourly[:400], hourly[400::4]], ignore_index=True)
    with pytest.raises(ValueError, match="the time between bars changes from 60 min to 240 min at 2020-01-17T16:00"):
        load_candles({"SIM": mixed})
    turned = pd.concat([hourly[:400:4], hourly[400:]], ignore_index=True)
    with pytest.raises(ValueError, match="changes from 240 min to 60 min at 2020-01-17T1"):
        load_candles({"SIM": turned})
    assert len(load_candles({"SIM": hourly})[0]) == 900


def test_a_check_shows_all_columns_and_the_last_bar_as_it_was_read():
    frame = simulate_candles(300).rename(columns={"timestamps": "Date", "volume": "Vol."})
    frame["Vol."] = "11.74K"
    lines, _ = check(inspect_candles(frame), 101)
    assert "  columns   time <- Date, open, high, low, close, volume <- Vol., amount" in lines
    (last,) = (line for line in lines if line.startswith("  last bar  "))
    assert f"{frame['Date'].iloc[-1]:%Y-%m-%d %H:%M:%S} UTC: open " in last
    assert ", volume 11,740, amount " in last
