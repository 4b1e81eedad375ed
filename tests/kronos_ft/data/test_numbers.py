"""Numbers as exports write them; what is not a number is a defect, never 0."""

import numpy as np
import pandas as pd
import pytest

from kronos_ft.data.candles import inspect_candles, load_candles
from kronos_ft.data.numbers import decimal_mark, parse_numbers
from kronos_ft.data.sources import simulate_candles

VOLUMES = np.array([76_700.0, 1_234.5, 3_200_000.0, 1_100_000_000.0])
WRITTEN = {
    "suffixes": ["76.70K", "1.2345K", "3.2M", "1.1B"],
    "small suffixes": ["76.7k", "1.2345k", "3.2m", "0.0011t"],
    "Chinese": ["7.67万", "0.12345万", "320万", "11亿"],
    "spaces": ["76 700", "1 234.5", "3 200 000", "1 100 000 000"],
    "no-break spaces": ["76\u00a0700", "1\u202f234.5", "3\u2009200\u2009000", "1\u00a0100\u00a0000\u00a0000"],
    "apostrophes": ["76'700", "1'234.5", "3’200’000", "1'100'000'000"],
    "commas": ["76,700", "1,234.5", "3,200,000", "1,100,000,000"],
    "points and commas": ["76.700", "1.234,5", "3.200.000", "1.100.000.000"],
    "suffixes after decimal commas": ["76,70K", "1,2345K", "3,2M", "1,1B"],
    "plain": ["76700", "1234.5", "3200000", "1.1e9"],
}
UNREADABLE = ["12%", "-", "--", "about 5", "5 6", "1'23", "K", "1KK", "0x10", "9" * 100]


@pytest.mark.parametrize("cells", WRITTEN.values(), ids=WRITTEN)
def test_the_same_numbers_in_every_notation(cells):
    column = pd.Series(cells)
    np.testing.assert_allclose(parse_numbers(column, decimal_mark([column])), VOLUMES, rtol=1e-12)


def test_a_minus_sign_and_missing_cells():
    column = pd.Series(["\u22121.5", "-1.5K", None, ""])
    np.testing.assert_array_equal(parse_numbers(column, "."), [-1.5, -1500, np.nan, np.nan])


def test_a_suffix_replaces_the_unit_of_the_column():
    assert parse_numbers(pd.Series(["2.5", "1.2亿", ""]), ".", 1e4).tolist()[:2] == [25_000, 1.2e8]
    assert parse_numbers(pd.Series([2.5, 3.0]), ".", 1e4).tolist() == [25_000, 30_000]


@pytest.mark.parametrize("cell", UNREADABLE)
def test_what_is_not_a_number(cell):
    assert np.isnan(parse_numbers(pd.Series(["1", cell]), ".")).tolist() == [False, True]


@pytest.mark.fault(18)
@pytest.mark.parametrize("cell", ["12%", "-", "about 5", "inf", "1'23"])
@pytest.mark.parametrize("column", ["volume", "amount"])
def test_a_column_that_cannot_be_read_is_a_defect_and_not_empty(cell, column, tmp_path):
    """A volume that became 0 would train a model without its volumes, and nothing would say so."""
    path = tmp_path / "c.csv"
    simulate_candles(40).assign(**{column: cell}).to_csv(path, index=False)
    named = "infinite or overflowing value in 40 rows" if cell == "inf" else f"in 40 rows .*, e.g. {column} "
    with pytest.raises(ValueError, match=named) as error:
        load_candles(path)
    assert cell == "inf" or repr(cell) in str(error.value)


@pytest.mark.parametrize("cell", [None, "", "  "])
def test_an_empty_column_is_not_a_defect(cell, tmp_path):
    path = tmp_path / "c.csv"
    simulate_candles(40).assign(volume=cell).drop(columns="amount").to_csv(path, index=False)
    series = load_candles(path)[0]
    assert "the volume column is empty" in series.report.quality.remarks
    assert not series.values[:, 4:].any()


def test_volumes_with_suffixes_reach_the_candles(tmp_path):
    path = tmp_path / "c.csv"
    frame = simulate_candles(40)
    frame.assign(volume=[f"{value / 1e3:.6f}K" for value in frame.volume]).to_csv(path, index=False)
    np.testing.assert_allclose(load_candles(path)[0].values[:, 4], frame.volume, rtol=1e-4)


def test_tick_volume_replaces_a_volume_of_zero_but_not_an_unreadable_one(tmp_path):
    path = tmp_path / "c.csv"
    frame = simulate_candles(40).drop(columns="amount").assign(tickvol=7)
    frame.assign(volume=0).to_csv(path, index=False)
    assert (load_candles(path)[0].values[:, 4] == 7).all()
    frame.assign(volume="12%").to_csv(path, index=False)
    assert "not_a_number" in inspect_candles(path)[0].report.quality.defects
