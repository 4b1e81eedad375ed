"""Volume as a target: judged where it is defined, left out with a note elsewhere, and nothing else changes."""

import dataclasses
import json

import numpy as np
import pytest

from kronos_ft.baselines.bootstrap import VolatilityCone
from kronos_ft.baselines.naive import SeasonalNaive
from kronos_ft.baselines.references import default_baselines
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.evaluation.origins import find_origins
from kronos_ft.evaluation.panel import Panel
from kronos_ft.evaluation.report import markdown, terminal_text
from kronos_ft.evaluation.settings import EvaluationSettings, OriginPlan
from kronos_ft.evaluation.usable_origins import judged_volume
from kronos_ft.evaluation.verdict import verdicts
from kronos_ft.evaluation.walk_forward import evaluate_forecasters
from kronos_ft.scoring.metrics import crps
from kronos_ft.scoring.targets import TARGETS, VOLUME, true_targets
from kronos_ft.windows.splits import split_bounds

PLAN = OriginPlan(lookback=30, horizon=6, step=3)
SETTINGS = EvaluationSettings(PLAN)
CONE = VolatilityCone(lookback=20, num_paths=15, seed=3, name="cone model")


class WithVolume:
    """The paths of a cone, with a volume column drawn around the volumes of the last bars."""

    name = "with volume"

    def __init__(self, missing=()):
        self.missing = missing

    def paths(self, series, origins, horizon):
        prices = CONE.paths(series, origins, horizon)
        volumes = np.empty(prices.shape[:3])
        for row, origin in enumerate(origins):
            drawn = np.random.default_rng(int(origin)).integers(1, 21, volumes.shape[1:])
            volumes[row] = series.values[origin - drawn, 4]
        return np.concatenate((prices, volumes[..., None]), axis=3)

    def targets(self, series, origins, horizon):
        if not self.missing:
            return {}
        volume = np.zeros((len(origins), 15, horizon))
        volume[np.isin(origins, self.missing)] = np.nan
        return {"volume": volume}


def market(seed, volume=None, bars=900):
    table = simulate_candles(bars, seed=seed)
    if volume is not None:
        table["volume"] *= volume
        table["amount"] *= volume
    return table


@pytest.fixture(scope="module")
def both():
    return load_candles({"A": market(1), "B": market(2, bars=700)})


@pytest.fixture(scope="module")
def evaluation(both):
    return evaluate_forecasters(both, [CONE, WithVolume()], SETTINGS)


def test_forecasters_with_volume_are_judged_by_it(both, evaluation):
    scored = {name for name, scores in evaluation["scores"].items() if "volume" in scores}
    assert scored == {"with volume", "persistence", "seasonal naive", "scaled cone"}
    truth, samples = [], []
    for one in both:
        origins = find_origins(one, "test", PLAN).indices
        truth.append(true_targets(one, origins, 6, 30)[..., VOLUME])
        volumes = WithVolume().paths(one, origins, 6)[..., 4]
        usual = np.array([one.values[origin - 30 : origin, 4].mean() for origin in origins])
        samples.append(np.log(volumes.cumsum(axis=2) / np.arange(1, 7) / usual[:, None, None]))
    expected = crps(np.concatenate(truth), np.concatenate(samples))
    assert evaluation["scores"]["with volume"]["volume"]["crps"]["by_horizon"] == pytest.approx(expected.by_horizon)
    persistence = evaluation["scores"]["persistence"]["volume"]["mae"]["by_horizon"]
    assert persistence == pytest.approx(np.abs(np.concatenate(truth)).mean(axis=0))
    assert "volume" in evaluation["calibration"]["with volume"]["targets"]
    assert "volume" not in evaluation["calibration"]["cone model"]["targets"]


def test_a_sentence_on_volume_and_range(evaluation):
    said = verdicts(evaluation)
    best = evaluation["references"]["volume"]["name"]
    named = best if best in ("persistence", "seasonal naive") else f"the {best}'s"
    assert said["volume"].startswith("volume, 6 bars: with volume's volume forecast (CRPS) is ")
    assert f" {named} (skill " in said["volume"]
    assert said["range"].startswith("range, 6 bars: with volume's range forecast (CRPS) is ")
    assert "with volume 的成交量预测（按 CRPS）" in verdicts(evaluation, "zh")["volume"]
    assert "with volume 的振幅预测（按 CRPS）" in verdicts(evaluation, "zh")["range"]
    alone = evaluate_forecasters(load_candles({"A": market(1)}), [CONE], SETTINGS)
    assert "volume" not in verdicts(alone)
    assert "range" in verdicts(alone)
    report = markdown(evaluation)
    assert any(line.startswith("| volume |") for line in report.splitlines())
    assert said["volume"] in report


def counted(found):
    """All parts of an evaluation without volume."""
    without = json.loads(json.dumps(found, allow_nan=False))

    def strip(tree):
        if isinstance(tree, dict):
            return {key: strip(value) for key, value in tree.items() if key not in ("volume", "notes", "exact")}
        return [strip(value) for value in tree] if isinstance(tree, list) else tree

    return strip(without)


@pytest.mark.parametrize("missing", [["B"], ["A", "B"]])
def test_symbols_without_volume_change_nothing_else(missing, evaluation):
    tables = {"A": (1, 900), "B": (2, 700)}
    silent = {name: market(seed, 0.0 if name in missing else None, bars) for name, (seed, bars) in tables.items()}
    for drop in (False, True):
        given = {
            name: table.drop(columns=["volume", "amount"]) if drop and name in missing else table
            for name, table in silent.items()
        }
        found = evaluate_forecasters(load_candles(given), [CONE, WithVolume()], SETTINGS)
        assert f"volume is not judged for {', '.join(missing)}: the candles have no volume" in found["notes"]
        assert counted(found) == counted(evaluation)
        if missing == ["A", "B"]:
            assert all("volume" not in scores for scores in found["scores"].values())
            assert "volume" not in found["references"]
            assert "volume" not in verdicts(found)
        else:
            alone = evaluate_forecasters(load_candles({"A": market(1)}), [WithVolume()], SETTINGS)
            pooled, own = (one["scores"]["with volume"]["volume"]["crps"] for one in (found, alone))
            assert pooled == own
            origins = found["skill"]["with volume"]["persistence"]["volume"]["crps"]["origins"]
            assert origins == alone["origins"]["test"] < found["origins"]["test"]
            assert f"Diebold-Mariano test, {origins} origins" in verdicts(found)["volume"]
            assert "volume" not in found["symbols"]["B"]["scores"]["with volume"]
        assert markdown(found)
        assert terminal_text(found, verbose=True)


def test_a_symbol_with_undefined_logarithms_is_left_out_whole():
    """One bar without trades after a test origin; a lookback without trades, in which two earlier origins lie."""
    frame = market(1)
    one = load_candles({"A": frame})[0]
    test, validation = (find_origins(one, split, PLAN).indices for split in ("test", "validation"))
    for rows, undefined in ((slice(test[4], test[4]), 1), (slice(validation[2] - 30, validation[2] - 1), 3)):
        table = frame.copy()
        table.loc[rows, ["volume", "amount"]] = 0.0
        series = load_candles({"A": table, "B": market(2)})
        panels, notes = judged_volume([Panel.build(series, split, PLAN) for split in ("test", "validation")])
        total = sum(len(panel.origins[0]) for panel in panels)
        assert notes == [
            f"volume is not judged for A: {undefined} of {total} origins have no volume in their lookback or in the "
            "first bars after it, where its logarithm is undefined"
        ]
        for panel in panels:
            of_a, of_b = panel.rows
            assert np.isnan(panel.truth[of_a, :, VOLUME]).all()
            assert np.isfinite(panel.truth[of_b]).all()
            assert np.isfinite(panel.truth[..., :VOLUME]).all()


def test_a_volume_at_some_origins_only_is_refused(both):
    origin = int(find_origins(both[0], "test", PLAN).indices[3])
    with pytest.raises(ValueError, match="with volume: the forecast of volume is missing or not finite at 1 of "):
        evaluate_forecasters(both[:1], [WithVolume(missing=[origin])], SETTINGS)


@pytest.mark.fault(17)
def test_bars_from_the_origin_on_change_no_reference_of_range_or_volume(both):
    """All targets of all default references, fitted on the training split."""
    whole = both[0]
    end = split_bounds(whole)["train"][1]
    origin = int(find_origins(whole, "test", PLAN).indices[7])
    values = whole.values.copy()
    values[origin:, :4] *= 1.3
    values[origin:, 1] *= 1.2
    values[origin:, 4:] *= 9.0
    changed = dataclasses.replace(whole, values=values)
    for reference in [*default_baselines(30), SeasonalNaive(season=5)]:
        if hasattr(reference, "fit"):
            cut = {"timestamps": whole.timestamps[:end], "values": whole.values[:end], "table": None}
            reference.fit([dataclasses.replace(whole, **cut)], PLAN)
        found = []
        for one in (whole, changed):
            origins = find_origins(whole, "test", PLAN)
            panel = Panel.of([one], [dataclasses.replace(origins, indices=origins.indices[7:9])], 6, 30)
            samples = panel.forecast(reference).values
            found.append(samples)
        np.testing.assert_array_equal(found[0][0], found[1][0])
        assert np.isfinite(found[0][..., :VOLUME]).all()
        has_volume = reference.name in ("persistence", "seasonal naive", "scaled cone")
        assert np.isfinite(found[0][..., VOLUME]).all() == has_volume
        assert len(TARGETS) == found[0].shape[-1]
