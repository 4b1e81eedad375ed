"""What is settled before the first forecast: baselines without history, origins without future times."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest

from kronos_ft.baselines.bootstrap import VolatilityCone
from kronos_ft.baselines.forecaster import history_needed
from kronos_ft.baselines.garch import Garch
from kronos_ft.baselines.naive import Drift, Persistence, SeasonalNaive
from kronos_ft.baselines.references import default_baselines
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.evaluation.models import EvaluatedModel
from kronos_ft.evaluation.settings import EvaluationSettings, OriginPlan
from kronos_ft.evaluation.walk_forward import evaluate_forecasters
from kronos_ft.models.found_model import FoundModel

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
    found = evaluate_forecasters(series, [MODEL], SETTINGS, baselines=default_baselines(30, garch=True))
    assert list(found["forecasters"]) == [
        "model", "persistence", "drift", "seasonal naive", "volatility cone", "scaled cone", "EWMA", "HAR-RV",
    ]  # fmt: skip
    (note,) = [note for note in found["notes"] if "excluded: it needs" in note]
    assert note.startswith(
        "GARCH(1,1) is excluded: it needs 1100 bars before each origin, but 62 of 62 origins have fewer"
    )


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


class FlatPredictor:
    """Answers each context with paths at its last close."""

    found = FoundModel("flat", "flat", "")

    def predict_paths(self, candles, stamps, future_stamps, horizon, num_paths, **options):
        shape = (num_paths, horizon, 6)
        return [
            SimpleNamespace(paths=np.full(shape, one[-1, 3]), projected_share=0.0, spike_share=0.0) for one in candles
        ]


def without_pattern(monkeypatch, refused):
    """Future times that cannot be told where so many bars are known."""

    def infer(known, horizon, step_seconds, market):
        if refused(len(known)):
            raise ValueError("time steps are mixed")
        return known[-1] + np.arange(1, horizon + 1) * np.timedelta64(3600, "s")

    monkeypatch.setattr("kronos_ft.forecasting.context.future_timestamps", infer)


def test_origins_without_future_times_are_left_out_and_counted(series, monkeypatch):
    model = EvaluatedModel("kronos", FlatPredictor(), 30, 20)
    whole = evaluate_forecasters(series, [model], SETTINGS)
    without_pattern(monkeypatch, lambda known: known % 2 == 0)
    found = evaluate_forecasters(series, [model], SETTINGS)
    for split in ("test", "validation"):
        untold = found["data"]["A"][split]["untold"]
        assert untold in (15, 16)
        assert found["origins"][split] == whole["origins"][split] - untold
        assert f"{split}: {untold} origins excluded because their future times cannot be inferred" in found["notes"]
    assert not any("thinned" in note for note in found["notes"])
    assert evaluate_forecasters(series, [MODEL], SETTINGS)["origins"] == whole["origins"]  # it infers no times


def test_validation_without_future_times_leaves_no_calibration(series, monkeypatch):
    without_pattern(monkeypatch, lambda known: known < 765)
    found = evaluate_forecasters(series, [EvaluatedModel("kronos", FlatPredictor(), 30, 20)], SETTINGS)
    assert found["origins"]["validation"] == 0
    assert found["calibration"] == {}


def test_no_origin_with_future_times_is_refused_before_any_forecast(series, monkeypatch):
    without_pattern(monkeypatch, lambda known: True)
    with pytest.raises(ValueError, match="future times cannot be inferred at any test origin; A: time"):
        evaluate_forecasters(series, [EvaluatedModel("kronos", FlatPredictor(), 30, 20)], SETTINGS)
