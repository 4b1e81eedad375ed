"""Forecasters that fit on the training split, and those that give targets themselves."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from kronos_ft.baselines.naive import Persistence
from kronos_ft.baselines.references import JUDGED, default_baselines
from kronos_ft.baselines.scaled import ScaledCone
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.evaluation.panel import Panel
from kronos_ft.evaluation.settings import EvaluationSettings, OriginPlan
from kronos_ft.evaluation.walk_forward import evaluate_forecasters
from kronos_ft.scoring.metrics import crps_loss, energy_loss
from kronos_ft.scoring.targets import CLOSE, TARGETS
from kronos_ft.windows.splits import split_bounds

PLAN = OriginPlan(lookback=30, horizon=6, step=3)
SETTINGS = EvaluationSettings(PLAN)


@dataclass
class Own:
    """Flat paths, and targets of its own: three quantiles of the close, and a constant volatility."""

    name: str = "own"
    volatility: float = 0.01
    fitted: list = field(default_factory=list)
    shape: tuple = (3,)
    names: tuple = ("close", "volatility")
    refuses: bool = False

    def fit(self, series, plan):
        if self.refuses:
            raise ValueError("too few bars")
        self.fitted.append((series, plan))

    def paths(self, series, origins, horizon):
        last = series.values[origins - 1, 3][:, None, None, None]
        return np.broadcast_to(last, (len(origins), 3, horizon, 4)).copy()

    def targets(self, series, origins, horizon):
        shape = (len(origins), *self.shape, horizon)
        close = np.broadcast_to(np.array([-0.01, 0.0, 0.01])[:, None], (len(origins), 3, horizon))
        values = {"close": close[:, : shape[1]], "volatility": np.full(shape, self.volatility)}
        return {name: values.get(name, values["close"]) for name in self.names}


@pytest.fixture(scope="module")
def both():
    return load_candles({"A": simulate_candles(900, seed=1), "B": simulate_candles(700, seed=2)})


def test_own_targets_replace_those_of_the_paths_and_score_as_quantiles(both):
    panel = Panel.build(both, "test", PLAN)
    found = panel.forecast(Own(), 7)
    assert found.exact == {"close", "volatility"}
    np.testing.assert_array_equal(np.unique(found.values[..., TARGETS.index("close")]), [-0.01, 0, 0.01])
    assert (found.values[..., TARGETS.index("volatility")] == 0.01).all()
    assert (found.values[..., TARGETS.index("high")] == 0).all()
    result = evaluate_forecasters(both, [Own()], SETTINGS, baselines=[Persistence()])
    samples = found.values[..., 3]
    truth = panel.truth[..., 3]
    assert result["scores"]["own"]["close"]["crps"]["overall"] == pytest.approx(
        crps_loss(truth, samples, exact=True).mean()
    )
    assert crps_loss(truth, samples).mean() < crps_loss(truth, samples, exact=True).mean()
    assert result["forecasters"]["own"]["exact"] == ["close", "volatility"]
    assert result["forecasters"]["persistence"]["exact"] == []


def test_the_energy_score_is_that_of_the_paths_where_targets_replace_their_closes(both):
    panel = Panel.build(both, "test", PLAN)
    cone = ScaledCone(lookback=30, num_paths=19)
    result = evaluate_forecasters(both, [Own(), cone], SETTINGS, baselines=[Persistence()])
    energy = {name: scores["close"]["energy"]["overall"] for name, scores in result["scores"].items()}
    closes = panel.truth[..., CLOSE]
    assert energy["own"] == energy["persistence"] == pytest.approx(np.linalg.norm(closes, axis=1).mean())
    paths = []
    for one, found in zip(both, panel.origins, strict=True):
        prices = cone.paths(one, found.indices, 6)[..., CLOSE]
        paths.append(np.log(prices / one.values[found.indices - 1, CLOSE][:, None, None]))
    assert energy["scaled cone"] == pytest.approx(energy_loss(closes, np.concatenate(paths), exact=True).mean())
    marginals = panel.forecast(cone)
    assert energy["scaled cone"] < energy_loss(closes, marginals.values[..., CLOSE], exact=True).mean()
    by_symbol = [result["symbols"][name]["scores"]["scaled cone"]["close"]["energy"]["overall"] for name in "AB"]
    assert np.average(by_symbol, weights=[len(one) for one in panel.origins]) == pytest.approx(energy["scaled cone"])


def test_targets_that_do_not_match_are_named(both):
    panel = Panel.build(both, "test", PLAN)
    with pytest.raises(ValueError, match=r"own, A: targets of close have shape \(8, 2, 6\), not \(8, 3, 6\) as the p"):
        panel.forecast(Own(shape=(2,)))
    with pytest.raises(ValueError, match="targets has 'spread', which is not a target; use open, high, low, close"):
        panel.forecast(Own(names=("spread",)))


@pytest.mark.fault(17)
@pytest.mark.parametrize("dates", [None, ["2020-01-15", "2020-01-22"]])
def test_fit_sees_the_training_split_alone_and_once(both, dates):
    model, reference = Own(), Own(name="reference")
    plan = replace(PLAN, dates=dates)
    evaluate_forecasters(both, [model], EvaluationSettings(plan), baselines=[reference])
    for one in (model, reference):
        ((series, seen),) = one.fitted
        assert (seen.lookback, seen.horizon) == (30, 6)
        for whole, part in zip(both, series, strict=True):
            end = split_bounds(whole, dates=dates)["train"][1]
            np.testing.assert_array_equal(part.values, whole.values[:end])
            assert part.timestamps[-1] == whole.timestamps[end - 1]
            assert part.table is None


def test_what_cannot_be_fitted(both):
    found = evaluate_forecasters(both, [Own()], SETTINGS, baselines=[Persistence(), Own(name="ref", refuses=True)])
    assert "ref is excluded: too few bars" in found["notes"]
    assert list(found["forecasters"]) == ["own", "persistence"]
    with pytest.raises(ValueError, match=r"^own: too few bars"):
        evaluate_forecasters(both, [Own(refuses=True)], SETTINGS)


def test_the_references_are_chosen_by_their_validation_losses(both):
    found = evaluate_forecasters(both, [Own()], SETTINGS)
    validation = Panel.build(both, "validation", PLAN)
    expected = {}
    for one in default_baselines(30):
        if hasattr(one, "num_paths"):
            if hasattr(one, "fit"):
                cut = []
                for whole in both:
                    end = split_bounds(whole)["train"][1]
                    cut.append(replace(whole, timestamps=whole.timestamps[:end], values=whole.values[:end]))
                one.fit(cut, PLAN)
            samples = validation.forecast(one)
            loss = crps_loss(validation.truth[..., 3], samples.values[..., 3], "close" in samples.exact)
            expected[one.name] = loss[:, -1].mean()
    assert found["references"]["close"]["losses"] == pytest.approx(expected)
    assert found["references"]["close"]["name"] == min(expected, key=expected.get)
    assert set(found["references"]) == set(JUDGED)
    assert set(found["references"]["range"]["losses"]) == {one.name for one in default_baselines(30)}
    assert set(found["references"]["volume"]["losses"]) == {"persistence", "seasonal naive", "scaled cone"}


@pytest.mark.fault(17)
def test_bars_from_the_first_test_origin_on_change_no_reference(both):
    """Fits and the choice of the reference are settled before the test split."""
    frame = simulate_candles(900, seed=5)
    end = split_bounds(load_candles({"A": frame})[0])["validation"][1]
    changed = frame.copy()
    growth = np.exp(np.random.default_rng(0).normal(0, 0.1, len(frame) - end).cumsum())
    for column in ("open", "high", "low", "close"):
        changed.loc[end:, column] *= growth
    changed.loc[end:, ["volume", "amount"]] *= 5.0
    found = [
        evaluate_forecasters(load_candles({"A": table}), [Own()], SETTINGS)["references"] for table in (frame, changed)
    ]
    assert found[0] == found[1]
