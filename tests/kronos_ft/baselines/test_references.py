"""The reference to beat is the best on the validation split, whatever the test split says."""

import numpy as np
import pytest

from kronos_ft.baselines.references import JUDGED, choose_references, default_baselines, mean_losses
from kronos_ft.scoring.metrics import crps
from kronos_ft.scoring.scores import losses_of
from kronos_ft.scoring.targets import RANGE, VOLUME


def losses(close, volatility, up, spread=None, volume=None):
    return dict(zip(JUDGED, (close, volatility, up, spread, volume), strict=True))


VALIDATION = {
    "persistence": losses(0.1, None, 0.25, 2.0, 0.4),
    "cone": losses(0.9, 0.5, 0.26, 0.5, 0.5),
    "har": losses(1.0, 0.3, 0.27, 0.4),
}
TEST = {
    "persistence": losses(0.1, None, 0.3, 0.1, 0.6),
    "cone": losses(0.9, 0.2, 0.2, 0.3, 0.5),
    "har": losses(0.5, 0.9, 0.27, 0.2),
}
PATHS = {"persistence": 1, "cone": 100, "har": 100}


def test_validation_decides_and_the_close_needs_a_distribution():
    found = choose_references(PATHS, VALIDATION, TEST)
    assert {judged: one["name"] for judged, one in found.items()} == {
        "close": "cone", "volatility": "har", "probability up": "persistence", "range": "har", "volume": "persistence",
    }  # fmt: skip
    assert found["volume"]["losses"] == {"persistence": 0.4, "cone": 0.5}
    assert found["close"]["losses"] == {"cone": 0.9, "har": 1.0}
    assert {one["split"] for one in found.values()} == {"validation"}
    assert (found["volatility"]["target"], found["volatility"]["loss"]) == ("volatility", "qlike")


def test_without_validation_origins_the_test_split_decides():
    nothing = {name: losses(None, None, None) for name in PATHS}
    found = choose_references(PATHS, nothing, TEST)
    assert {judged: (one["name"], one["split"]) for judged, one in found.items()} == {
        "close": ("har", "test"), "volatility": ("cone", "test"), "probability up": ("cone", "test"),
        "range": ("persistence", "test"), "volume": ("cone", "test"),
    }  # fmt: skip
    assert choose_references({"persistence": 1}, nothing, nothing) == {}


def test_mean_losses_are_those_of_the_last_horizon():
    generator = np.random.default_rng(0)
    truth, paths = np.abs(generator.normal(size=(20, 3, 7))), np.abs(generator.normal(size=(20, 9, 3, 7)))
    truth[15:, :, VOLUME] = np.nan  # origins of a symbol without volume
    every = losses_of(truth, paths)
    found = mean_losses(every)
    assert found["close"] == pytest.approx(every["crps"][:, 2, 3].mean())
    assert found["volatility"] == pytest.approx(every["qlike"][:, 2].mean())
    assert found["probability up"] == pytest.approx(every["brier"][:, 2].mean())
    assert found["range"] == pytest.approx(every["crps"][:, 2, RANGE].mean())
    assert found["volume"] == pytest.approx(crps(truth[:15, :, VOLUME], paths[:15, ..., VOLUME]).by_horizon[2])
    still = np.zeros((20, 1, 3, 7))
    still[..., VOLUME] = np.nan
    found = mean_losses(losses_of(truth, still))
    assert (found["volatility"], found["volume"]) == (None, None)
    assert mean_losses(losses_of(truth[:0], paths[:0])) == losses(None, None, None)


def test_default_references():
    names = [one.name for one in default_baselines(90, 3)]
    assert names == ["persistence", "drift", "seasonal naive", "volatility cone", "scaled cone", "EWMA", "HAR-RV"]
    pytest.importorskip("arch")
    assert default_baselines(90, garch=True)[-1].name == "GARCH(1,1)"
    assert {one.lookback for one in default_baselines(90, 3) if hasattr(one, "lookback")} == {90}
