"""Symbols of unequal span: what is pooled for one lies before its test, and crossing splits are told."""

import numpy as np
import pandas as pd
import pytest

from kronos_ft.baselines.bootstrap import VolatilityCone
from kronos_ft.baselines.naive import Persistence
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.evaluation.panel import Panel
from kronos_ft.evaluation.settings import EvaluationSettings, OriginPlan
from kronos_ft.evaluation.walk_forward import evaluate_forecasters, regimes_of
from kronos_ft.scoring.regimes import REGIMES

PLAN = OriginPlan(lookback=30, horizon=6, step=3)
MODEL = VolatilityCone(lookback=20, num_paths=25, seed=3, name="model")


def frames(days, short=360, growth=1.0):
    """A symbol with few validation origins, and a longer one that starts days later; its last part may be wilder."""
    old, young = simulate_candles(short, seed=1), simulate_candles(1200, seed=2)
    young["timestamps"] = young["timestamps"] + pd.Timedelta(days=days)
    for column in ("open", "high", "low", "close"):
        young.loc[900:, column] = young.loc[900:, column] ** growth
    return {"old": old, "young": young}


def evaluate(series, plan=PLAN):
    return evaluate_forecasters(series, [MODEL], EvaluationSettings(plan), baselines=[Persistence()])


def test_horizons_that_end_before_the_first_test_origin_are_known():
    series = load_candles(frames(-25))
    test, validation = (Panel.build(series, split, PLAN) for split in ("test", "validation"))
    for one, found, known in zip(series, test.origins, validation.known_before(test), strict=True):
        first = one.timestamps[found.indices[0]]
        row = 0
        for other, origins in zip(series, validation.origins, strict=True):
            for origin in origins.indices:
                assert known[row] == (other.timestamps[origin + 5] < first)
                row += 1
        assert row == len(known)
    assert 0 < validation.known_before(test)[0].sum() < len(validation)


@pytest.mark.fault(17)
def test_a_later_change_of_another_symbol_reaches_nothing_pooled():
    """The other symbol's validation lies after this one's test: borders and offsets must not depend on it."""
    found = [evaluate(load_candles(frames(0, growth=growth))) for growth in (1.0, 1.4)]
    borders = [one["regimes"]["borders"] for one in found]
    assert borders[0]["old"] == borders[1]["old"]
    assert borders[0]["young"] != borders[1]["young"]
    offsets = [one["calibration"]["model"]["targets"]["close"]["offsets"] for one in found]  # of the first symbol
    np.testing.assert_array_equal(*offsets)
    assert any("set --split_dates" in note for note in found[0]["notes"])


def test_without_anything_before_its_test_a_symbol_has_no_regime():
    series = load_candles(frames(0, short=240))  # its validation is shorter than the embargo
    plan = OriginPlan(lookback=30, horizon=6, step=3, ratios=(0.6, 0.1, 0.3))
    found = evaluate(series, plan)
    assert "old" not in found["regimes"]["borders"]
    tested = found["data"]["old"]["test"]["origins"]
    assert tested > 0
    assert sum(found["regimes"][name]["origins"] for name in REGIMES) == found["origins"]["test"] - tested
    (note,) = [note for note in found["notes"] if note.startswith("no validation forecast ends before")]
    assert "first test origin of old: no calibration and no volatility regimes" in note
    regime = regimes_of(series, Panel.build(series, "test", plan), plan)[1]
    assert (regime[:tested] == -1).all()
    assert (regime[tested:] >= 0).all()
    assert f"{tested} test origins have no validation origin before them" in found["calibration"]["model"]["notes"][0]


def test_dates_split_all_symbols_alike():
    plan = OriginPlan(lookback=30, horizon=6, step=3, dates=["2020-01-08", "2020-01-12"])
    found = evaluate(load_candles(frames(0)), plan)
    assert not any("--split_dates" in note for note in found["notes"])
