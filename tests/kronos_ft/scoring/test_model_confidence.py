"""The model confidence set and the SPA test on losses whose order is known."""

import sys

import numpy as np
import pytest

from kronos_ft.scoring.model_confidence import surviving_models
from kronos_ft.scoring.scores import OriginTimes


@pytest.fixture(scope="module")
def losses():
    generator = np.random.default_rng(0)
    common = generator.gamma(2, 1, 300)
    return {
        "best": common - 0.3 + generator.normal(0, 0.3, 300),
        "close": common - 0.28 + generator.normal(0, 0.3, 300),
        "reference": common + generator.normal(0, 0.3, 300),
        "worst": common + 0.5 + generator.normal(0, 0.3, 300),
    }


TIMES = OriginTimes(6, np.arange(300))


def test_those_clearly_worse_leave_the_set(losses):
    pytest.importorskip("arch")
    found = surviving_models(losses, ["best", "close"], "reference", TIMES, 24)
    assert found["survivors"] == ["best", "close"]
    assert found["p_values"]["worst"] <= found["p_values"]["reference"] < 0.1
    assert found["spa"]["reference"] == "reference"
    assert found["spa"]["p_value"] < 0.05
    assert surviving_models(losses, ["best", "close"], "reference", TIMES, 24) == found
    worse = surviving_models(losses, ["worst"], "reference", TIMES, 24)
    assert worse["spa"]["p_value"] > 0.3


def test_symbols_of_one_time_count_once(losses):
    """Four symbols with the same losses are no more evidence than one."""
    pytest.importorskip("arch")
    once = {name: loss[:100] for name, loss in losses.items()}
    repeated = {name: np.tile(loss, 4) for name, loss in once.items()}
    single = surviving_models(once, ["best"], "reference", OriginTimes(6, np.arange(100)), 6)
    four = surviving_models(repeated, ["best"], "reference", OriginTimes(6, np.tile(np.arange(100), 4), 4), 6)
    assert four["survivors"] == single["survivors"]
    assert four["spa"]["p_value"] == pytest.approx(single["spa"]["p_value"], abs=0.05)


def test_equal_forecasters_share_a_p_value(losses):
    pytest.importorskip("arch")
    found = surviving_models({**losses, "twin": losses["best"].copy()}, ["best", "twin"], None, TIMES, 6)
    assert found["p_values"]["twin"] == found["p_values"]["best"]
    assert found["spa"] is None
    alone = surviving_models({"a": losses["best"], "b": losses["best"]}, ["a"], "b", TIMES, 6)
    assert alone["note"] == "all forecasters have the same losses"


def test_without_enough_origins_or_the_package_a_note_says_so(losses, monkeypatch):
    few = {name: loss[:10] for name, loss in losses.items()}
    note = surviving_models(few, ["best"], "reference", OriginTimes(1, np.arange(10)), 6)["note"]
    assert note == "10 origins are too few for the model confidence set; 24 needed"
    monkeypatch.setitem(sys.modules, "arch.bootstrap", None)
    found = surviving_models(losses, ["best"], "reference", TIMES, 6)
    assert "pip install 'kronos-ft[garch]'" in found["note"]
    assert found["survivors"] is None
