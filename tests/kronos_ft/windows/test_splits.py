"""Splits of symbols of unequal span: when they cross in time, and when they do not."""

import pandas as pd
import pytest

from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.runs.data import build_splits, describe_data
from kronos_ft.training.arguments import DataArguments
from kronos_ft.windows.augmentation import AugmentationArguments
from kronos_ft.windows.splits import crossing_splits, split_bounds


@pytest.fixture(scope="module")
def unequal():
    """`old` ends while `young` is still trained."""
    old, young = simulate_candles(900, seed=1), simulate_candles(900, seed=2)
    young["timestamps"] = young["timestamps"] + pd.Timedelta(days=20)
    return load_candles({"old": old, "young": young})


def crossing(series, **places):
    return crossing_splits(series, {one.symbol: split_bounds(one, **places) for one in series})


def test_shares_of_unequal_spans_cross(unequal):
    assert crossing(unequal) == (
        "training and validation of young reach to 2020-02-21, past the start of the test split of old on 2020-02-01: "
        "information about the test split leaks; set --split_dates to split all symbols at the same times"
    )
    assert crossing(unequal, embargo=20, dates=["2020-01-25", "2020-02-02"]) is None
    assert crossing(unequal[:1]) is None


def test_a_few_bars_less_are_covered_by_the_embargo():
    frame = simulate_candles(900, seed=1)
    series = load_candles({"A": frame, "B": frame.iloc[:-20]})
    assert crossing(series) is not None
    assert crossing(series, embargo=25) is None


def test_training_says_so(unequal):
    for settings, warned in (({}, True), ({"split_dates": ["2020-01-25", "2020-02-02"]}, False)):
        data = DataArguments(data="x", lookback_window=20, predict_window=4, **settings)
        lines = describe_data(unequal, build_splits(unequal, data, AugmentationArguments(), 0))
        assert any(line.startswith("WARNING     training and validation of young") for line in lines) == warned
