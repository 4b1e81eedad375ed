"""Every defect is found with its row, and each policy does what it says."""

import numpy as np
import pytest

from kronos_ft.data.candles import inspect_candles, load_candles
from kronos_ft.data.sources import simulate_candles

ROWS = 300
SPARED = 5  # isolated wicks that may be a crash of the market


def frame():
    return simulate_candles(ROWS, seed=2)


def broken(kind):
    """A table with one kind of defect, and the file lines that have it (header is line 1)."""
    table = frame()
    column = table.columns.get_loc
    if kind == "not_a_number":
        table.iloc[10, column("open")] = np.nan
        return table, [12]
    if kind == "infinite":
        table.iloc[20, column("high")] = np.inf
        return table, [22]
    if kind == "price_not_positive":
        table.iloc[30, column("low")] = -1.0
        return table, [32]
    if kind == "negative_volume":
        table.iloc[40, column("volume")] = -5.0
        return table, [42]
    if kind == "contradiction":
        table.iloc[50, column("high")] = table.iloc[50][["open", "close"]].min() * 0.99
        return table, [52]
    if kind == "swapped_volume":
        rows = [60, 61]
        table.loc[rows, ["volume", "amount"]] = table.loc[rows, ["amount", "volume"]].to_numpy()
        return table, [62, 63]
    if kind == "conflicting_duplicate":
        table.loc[70, "timestamps"] = table.loc[69, "timestamps"]
        return table, [71, 72]
    if kind == "isolated_wick":
        rows = [80, 110, 140, 170, 200, 230]
        table.iloc[rows, column("high")] *= 5
        return table, [row + 2 for row in rows]
    assert kind == "unreadable_time"
    table["timestamps"] = table["timestamps"].astype(str)
    table.loc[90, "timestamps"] = "soon"
    return table, [92]


KINDS = (
    "not_a_number", "infinite", "price_not_positive", "negative_volume", "contradiction", "swapped_volume",
    "conflicting_duplicate", "isolated_wick", "unreadable_time",
)  # fmt: skip


@pytest.fixture(params=KINDS)
def defect(request, tmp_path):
    table, lines = broken(request.param)
    path = tmp_path / "c.csv"
    table.to_csv(path, index=False)
    return request.param, path, lines


@pytest.mark.fault(18)
def test_error_names_the_rows_and_the_remedy(defect):
    kind, path, lines = defect
    with pytest.raises(
        ValueError,
        match=rf"\(lines? {', '.join(map(str, lines[:5]))}(, \.\.\.)?(, e\.g\. 'soon')?\); correct the data, or set",
    ) as error:
        load_candles(path)
    assert "\n" not in str(error.value)
    found = inspect_candles(path)[0].report.quality.defects
    assert {name: (one.count, one.rows) for name, one in found.items()} == {kind: (len(lines), lines[:5])}


def test_drop_removes_just_those_rows(defect):
    kind, path, lines = defect
    dropped = load_candles(path, policy="drop")[0]
    if kind == "isolated_wick":
        lines = lines[SPARED:]
    good = np.delete(np.arange(ROWS), [line - 2 for line in lines])
    expected = broken(kind)[0].iloc[good]
    assert (dropped.timestamps == frame()["timestamps"].to_numpy()[good]).all()
    np.testing.assert_allclose(dropped.values[:, :4], expected[["open", "high", "low", "close"]])


def test_repair_leaves_valid_candles(defect):
    kind, path, lines = defect
    repaired = load_candles(path, policy="repair")[0]
    opened, high, low, close, volume, amount = repaired.values.T
    assert np.isfinite(repaired.values).all()
    assert (low > 0).all()
    assert (low <= np.minimum(opened, close)).all()
    assert (high >= np.maximum(opened, close)).all()
    assert (volume >= 0).all()
    assert (amount >= 0).all()
    lost = {"conflicting_duplicate": 1, "unreadable_time": 1}.get(kind, 0)
    assert len(repaired) == ROWS - lost
    untouched = np.delete(np.arange(ROWS), [line - 2 for line in lines])
    kept = np.isin(repaired.timestamps, frame()["timestamps"].to_numpy()[untouched])
    np.testing.assert_allclose(repaired.values[kept], frame().iloc[untouched, 1:])


def test_repair_restores_what_was_only_displaced(tmp_path):
    table, _ = broken("swapped_volume")
    repaired = load_candles(table, policy="repair")[0]
    np.testing.assert_allclose(repaired.values, frame().iloc[:, 1:])


def test_repair_invents_no_price():
    table = frame()
    table.loc[5, ["open", "high", "low", "close"]] = np.nan
    repaired = load_candles(table, policy="repair")[0]
    assert len(repaired) == ROWS - 1
    assert table["timestamps"][5].to_datetime64() not in repaired.timestamps


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.inf, 1e300, 1e80])
def test_numbers_that_overflow_are_named_without_a_warning_of_numpy(value):
    """A volume of 1e300 times a price, or the variance of its window, would be infinite."""
    for column in ("close", "volume", "amount"):
        table = frame()
        table.loc[7, column] = value
        table.loc[7, "volume"] *= column != "close"
        for source in (table, table.drop(columns="amount")) if column != "amount" else (table,):
            with pytest.raises(ValueError, match=r"infinite or overflowing value in 1 row \(row 7\)"):
                load_candles(source)
            for policy, bars in (("drop", ROWS - 1), ("repair", ROWS - (column == "close"))):
                loaded = load_candles(source, policy=policy)[0]
                assert len(loaded) == bars
                assert np.isfinite(loaded.values).all()


@pytest.mark.filterwarnings("error")
def test_a_volume_next_to_zero_overflows_no_ratio():
    table = frame().assign(volume=1e-320)
    assert len(load_candles(table)[0]) == ROWS


@pytest.mark.filterwarnings("error")
def test_a_table_without_a_readable_time_says_so_alone():
    with pytest.raises(ValueError, match="only 0 usable bars; at least 2 are needed; time cannot be read in 300 rows"):
        load_candles(frame().assign(timestamps="soon"))


def test_unsorted_rows_and_exact_duplicates_are_put_right_and_counted():
    table = frame()
    shuffled = table.iloc[[*range(ROWS - 1, -1, -1), 7, 7]]
    loaded = load_candles(shuffled)[0]
    np.testing.assert_allclose(loaded.values, table.iloc[:, 1:])
    assert loaded.report.quality.exact_duplicates == 2
    assert not loaded.report.quality.was_sorted


@pytest.mark.fault(18)
def test_text_in_a_number_column_is_reported_at_its_line(tmp_path):
    table = frame().astype({"close": "object"})
    table.loc[33, "close"] = "n/a?"
    table.to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(ValueError, match=r"value missing or not a number in 1 row \(line 35, e\.g\. close 'n/a\?'\)"):
        load_candles(tmp_path / "c.csv")


@pytest.mark.parametrize("bars", [300, 4000])
def test_a_few_wicks_are_remarked_not_rejected(bars):
    table = simulate_candles(bars, seed=2)
    table.loc[bars // 2, "low"] /= 3
    report = load_candles(table)[0].report
    assert not report.rejections()
    assert f"1 isolated wicks kept (first at {bars // 2})" in " ".join(report.quality.remarks)


def test_wicks_are_mended_from_the_one_on_that_is_too_many():
    """Those before stay, because at their time nobody could have told; a table that passes is never changed."""
    table, lines = broken("isolated_wick")
    repaired = load_candles(table, policy="repair")[0]
    differs = (repaired.values != table.iloc[:, 1:].to_numpy()).any(axis=1)
    assert np.flatnonzero(differs).tolist() == [lines[SPARED] - 2]
    report = repaired.report.quality
    assert report.defects["isolated_wick"].rows == [lines[SPARED] - 2]
    assert "5 isolated wicks kept (first at 80, 110, 140, 170, 200)" in " ".join(report.remarks)
    few = table.copy()
    few.loc[230, "high"] = frame().loc[230, "high"]
    for policy in ("error", "drop", "repair"):
        np.testing.assert_array_equal(load_candles(few, policy=policy)[0].values, few.iloc[:, 1:])


def test_a_rare_wick_in_a_long_table_stays_however_many_there_are():
    table = simulate_candles(9000, seed=2)
    table.loc[range(900, 9000, 1100), "low"] /= 2
    report = load_candles(table)[0].report.quality
    assert not report.defects
    assert "8 isolated wicks kept" in " ".join(report.remarks)


def test_the_first_bars_are_not_judged():
    table = frame()
    table.loc[range(0, 50, 5), "high"] *= 3
    np.testing.assert_array_equal(load_candles(table)[0].values, table.iloc[:, 1:])


@pytest.mark.parametrize("factor", [0.0316, 0.032])
def test_a_table_in_lots_or_thousands_is_not_taken_for_swapped(factor):
    """Volume in lots of 100 and amount in thousands, at prices where the swap would fit: Chinese daily bars."""
    table = frame()
    for name in ("open", "high", "low", "close"):
        table[name] *= factor
    table["volume"], table["amount"] = table.volume * 10, table.volume * table.close
    report = load_candles(table)[0].report
    assert not report.quality.defects
    assert any("the median amount is" in remark for remark in report.quality.remarks)


def test_a_table_swapped_throughout_is_found():
    """Mean prices paid lie inside the bars in every row: no row in the right order is needed to tell."""
    table = frame().rename(columns={"volume": "amount", "amount": "volume"})
    with pytest.raises(ValueError, match="volume and amount swapped in 300 rows"):
        load_candles(table)
    np.testing.assert_allclose(load_candles(table, policy="repair")[0].values, frame().iloc[:, 1:])


def test_rounding_is_no_contradiction():
    table = frame()
    table["high"] = np.maximum(table[["open", "close"]].max(axis=1) * (1 - 1e-9), table["high"])
    table.loc[3, "high"] = table.loc[3, ["open", "close"]].max() * (1 - 1e-8)
    assert not load_candles(table)[0].report.rejections()


def test_unknown_policy():
    with pytest.raises(ValueError, match="policy='guess' is not known; use one of error, drop, repair"):
        load_candles(frame(), policy="guess")
