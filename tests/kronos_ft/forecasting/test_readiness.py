"""What is settled before the first forecast: baselines without history, origins without future times."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.forecasting.baselines import (
    Drift,
    Garch,
    Persistence,
    SeasonalNaive,
    VolatilityCone,
    history_needed,
)
from kronos_ft.forecasting.origins import OriginPlan
from kronos_ft.forecasting.walk_forward import EvaluationSettings, default_baselines, evaluate_forecasters

SETTINGS = EvaluationSettings(OriginPlan(lookback=30, horizon=6, step=3))
MODEL = VolatilityCone(lookback=20, num_paths=25, seed=3, name="model")


@dataclass
class Noting:
    """A forecaster that notes when it is asked."""

    inner: object
    asked: list = field(default_factory=list)

    @property
    def name(self):
        return self.inner.name

    def paths(self, series, origins, horizon):
        self.asked.append(self.name)
        return self.inner.paths(series, origins, horizon)


@pytest.fixture(scope="module")
def series():
    return load_candles({"A": simulate_candles(900, seed=1)})


def test_a_baseline_without_history_is_left_out_with_a_note(series):
    pytest.importorskip("arch")
    found = evaluate_forecasters(series, [MODEL], SETTINGS, baselines=default_baselines(SETTINGS, garch=True))
    assert list(found["forecasters"]) == ["model", "persistence", "drift", "seasonal naive", "volatility cone"]
    (note,) = [note for note in found["notes"] if "left out: it needs" in note]
    assert note.startswith("GARCH(1,1) is left out: it needs 1100 bars before each origin, which 62 of 62 lack")


@pytest.mark.parametrize(("lookback", "ready"), [(666, True), (667, False)])
def test_one_origin_without_history_is_enough(series, lookback, ready):
    """The first validation origin is bar 667: a lookback of 666 returns needs the 667 bars before it."""
    found = evaluate_forecasters(series, [MODEL], SETTINGS, baselines=[Drift(lookback), Persistence()])
    assert ("drift" in found["forecasters"]) == ready


def test_baselines_are_forecast_before_models_and_shown_after_them(series):
    asked = []
    model, baseline = Noting(MODEL, asked), Noting(Persistence(), asked)
    found = evaluate_forecasters(series, [model], SETTINGS, baselines=[baseline])
    assert asked == sorted(asked, key=("persistence", "model").index)
    assert list(found["forecasters"]) == ["model", "persistence"]


@pytest.mark.parametrize("market", ["continuous", "session"])
@pytest.mark.parametrize("kind", [Persistence, Drift, SeasonalNaive, VolatilityCone, Garch])
def test_the_history_asked_for_is_the_history_needed(series, kind, market):
    if kind is Garch:
        pytest.importorskip("arch")
    one = replace(series[0], report=replace(series[0].report, market=market))
    baseline = kind() if kind in (Persistence, SeasonalNaive) else kind(lookback=50)
    for origin in (20, 24, 25, 26, 50, 51, 149, 150):
        origins = np.array([origin])
        enough = origin >= history_needed(baseline, one, origins)[0]
        try:
            baseline.paths(one, origins, 3)
        except ValueError:
            assert not enough
        else:
            assert enough
