"""The evaluation as a whole: the right origins and figures, symbols apart and together, and no leak."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from kronos_ft.baselines.bootstrap import VolatilityCone
from kronos_ft.baselines.naive import Drift, Persistence, SeasonalNaive
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.evaluation.origins import find_origins
from kronos_ft.evaluation.panel import Panel
from kronos_ft.evaluation.settings import EvaluationSettings, OriginPlan
from kronos_ft.evaluation.walk_forward import evaluate_forecasters, regimes_of
from kronos_ft.scoring.metrics import crps
from kronos_ft.scoring.regimes import REGIMES, context_volatility
from kronos_ft.scoring.targets import TARGETS, VOLUME, path_targets, true_targets
from kronos_ft.windows.splits import split_bounds

PLAN = OriginPlan(lookback=30, horizon=6, step=3)
SETTINGS = EvaluationSettings(PLAN)
MODEL = VolatilityCone(lookback=20, num_paths=25, seed=3, name="model")


@dataclass(frozen=True)
class Prophet:
    """Knows the future, within the precision asked for: what an evaluation must recognise."""

    error: float = 0.0
    name: str = "prophet"

    def paths(self, series, origins, horizon):
        bars = series.values[origins[:, None] + np.arange(horizon), :4]
        noise = np.random.default_rng(int(origins[0])).normal(0, self.error, (len(origins), 20, horizon, 1))
        return bars[:, None] * np.exp(noise)


@pytest.fixture(scope="module")
def both():
    return load_candles({"A": simulate_candles(900, seed=1), "B": simulate_candles(700, seed=2)})


@pytest.fixture(scope="module")
def evaluation(both):
    return evaluate_forecasters(both, [MODEL, Prophet(1e-4)], SETTINGS)


def test_it_is_json_without_nan(evaluation):
    assert json.loads(json.dumps(evaluation, allow_nan=False)) == evaluation
    assert list(evaluation["forecasters"]) == [
        "model", "prophet",
        "persistence", "drift", "seasonal naive", "volatility cone", "scaled cone", "EWMA", "HAR-RV",
    ]  # fmt: skip


def test_pooled_figures_are_those_of_all_symbols_origins(both, evaluation):
    truths, paths, counts = [], [], {}
    for one in both:
        origins = find_origins(one, "test", PLAN).indices
        counts[one.symbol] = len(origins)
        truths.append(true_targets(one, origins, 6, 30))
        paths.append(path_targets(MODEL.paths(one, origins, 6), one.values[origins - 1, 3]))
    truth, drawn = np.concatenate(truths), np.concatenate(paths)
    assert "volume" not in evaluation["scores"]["model"]  # a cone does not forecast it
    for i, target in enumerate(TARGETS[:VOLUME]):
        whole = crps(truth[..., i], drawn[..., i])
        np.testing.assert_allclose(evaluation["scores"]["model"][target]["crps"]["by_horizon"], whole.by_horizon)
        for symbol, own_truth, own in zip(counts, truths, paths, strict=True):
            expected = crps(own_truth[..., i], own[..., i])
            found = evaluation["symbols"][symbol]["scores"]["model"][target]["crps"]
            np.testing.assert_allclose([found["last"], found["overall"]], [expected.by_horizon[-1], expected.overall])
    assert evaluation["origins"]["test"] == sum(counts.values())
    assert {symbol: one["origins"] for symbol, one in evaluation["symbols"].items()} == counts


def test_one_symbol_has_no_table_of_symbols(both):
    found = evaluate_forecasters(both[:1], [MODEL], SETTINGS, baselines=[Persistence()])
    assert found["symbols"] == {}
    whole = evaluate_forecasters(both, [MODEL], SETTINGS, baselines=[Persistence()])
    assert whole["symbols"]["A"]["skill"]["model"]["persistence"]["close"]["crps"]["skill"]["overall"] == pytest.approx(
        found["skill"]["model"]["persistence"]["close"]["crps"]["skill"]["overall"]
    )


def test_a_prophet_is_better_than_everything(evaluation):
    for reference in ("model", "persistence", "volatility cone"):
        found = evaluation["skill"]["prophet"][reference]["close"]["crps"]
        assert min(found["skill"]["by_horizon"]) > 0.9
        assert max(found["p_value"]["by_horizon"]) < 0.001
    assert "prophet" not in evaluation["skill"]["model"]
    returns = {name: one["total_return"] for name, one in evaluation["backtest"]["symbols"]["A"]["strategies"].items()}
    assert max(returns, key=returns.get) == "prophet"
    assert (
        evaluation["calibration"]["prophet"]["targets"]["close"]["levels"]["0.9"]["after"]["coverage"]["overall"] > 0.8
    )


def test_a_forecaster_against_itself_is_the_same(both):
    found = evaluate_forecasters(both[:1], [Persistence("flat")], SETTINGS, baselines=[Persistence()])
    outcome = found["skill"]["flat"]["persistence"]["close"]["absolute"]
    assert outcome["skill"]["overall"] == 0
    assert outcome["p_value"]["overall"] is None
    assert outcome["note"] == "the losses are identical"


def test_regimes_cover_all_origins_once(evaluation):
    regimes = evaluation["regimes"]
    assert sum(regimes[name]["origins"] for name in REGIMES) == evaluation["origins"]["test"]
    assert set(regimes["borders"]) == {"A", "B"}


def perturbed(frame, first):
    """The same candles with every bar from `first` on another one."""
    other = frame.copy()
    growth = np.exp(np.random.default_rng(first).normal(0, 0.1, len(frame) - first).cumsum())
    for column in ("open", "high", "low", "close"):
        other.loc[first:, column] *= growth
    other.loc[first:, ["volume", "amount"]] *= 5.0
    return other


@dataclass
class Keeping:
    """A forecaster that keeps its paths by origin."""

    inner: object
    kept: dict

    @property
    def name(self):
        return self.inner.name

    def paths(self, series, origins, horizon):
        found = self.inner.paths(series, origins, horizon)
        self.kept.update(zip(origins.tolist(), found, strict=True))
        return found


@pytest.mark.fault(17)
def test_nothing_at_or_after_the_first_test_origin_reaches_forecasts_calibration_or_regimes():
    """Perturbs every bar from the first test origin on; whatever was settled before it must not change."""
    frame = simulate_candles(900, seed=5)
    first = int(find_origins(load_candles({"A": frame})[0], "test", PLAN).indices[0])
    outcomes, forecasts = [], []
    for table in (frame, perturbed(frame, first)):
        kept = [Keeping(one, {}) for one in (MODEL, Drift(lookback=30), SeasonalNaive(season=24))]
        outcomes.append(evaluate_forecasters(load_candles({"A": table}), kept[:1], SETTINGS, baselines=kept[1:]))
        forecasts.append([one.kept for one in kept])
    for before, after in zip(*forecasts, strict=True):
        known = [origin for origin in before if origin <= first]
        assert len(known) > 30
        for origin in known:
            np.testing.assert_array_equal(before[origin], after[origin])
        assert not np.allclose(before[first + 3], after[first + 3])
    before, after = outcomes
    assert before["regimes"]["borders"] == after["regimes"]["borders"]
    for name in ("model", "drift", "seasonal naive"):
        for target in before["calibration"][name]["targets"]:
            offsets = [one["calibration"][name]["targets"][target]["offsets"] for one in outcomes]
            assert offsets[0] == offsets[1]
    assert set(before["calibration"]["seasonal naive"]["targets"]) == set(TARGETS)
    assert before["scores"]["seasonal naive"]["volume"]["mae"] != after["scores"]["seasonal naive"]["volume"]["mae"]
    assert before["scores"]["model"]["close"]["mae"] != after["scores"]["model"]["close"]["mae"]


@pytest.mark.fault(17)
@pytest.mark.parametrize("position", [0, 7, 20])
@pytest.mark.fault(17)
def test_an_origins_regime_is_settled_before_it(position):
    frame = simulate_candles(900, seed=5)
    origin = int(find_origins(load_candles({"A": frame})[0], "test", PLAN).indices[position])
    regimes, volatilities = [], []
    for table in (frame, perturbed(frame, origin)):
        series = load_candles({"A": table})
        test = Panel.build(series, "test", PLAN)
        regimes.append(regimes_of(series, test, PLAN)[1])
        volatilities.append(context_volatility(series[0], test.origins[0].indices, PLAN.lookback))
    np.testing.assert_array_equal(*(one[: position + 1] for one in regimes))
    np.testing.assert_array_equal(*(one[: position + 1] for one in volatilities))
    assert (volatilities[0][position + 1 :] != volatilities[1][position + 1 :]).all()


@pytest.mark.fault(17)
def test_the_scale_of_mase_comes_from_training_alone():
    frame = simulate_candles(900, seed=5)
    end = split_bounds(load_candles({"A": frame})[0])["train"][1]
    ratios = []
    for table in (frame, perturbed(frame, end)):
        found = evaluate_forecasters(load_candles({"A": table}), [SeasonalNaive()], SETTINGS, baselines=[])
        scores = found["scores"]["seasonal naive"]
        figures = [[scores[target][name]["by_horizon"] for target in TARGETS[1:]] for name in ("mae", "mase")]
        ratios.append(np.divide(*figures))
    np.testing.assert_allclose(*ratios)


def test_batches_change_nothing(both):
    found = [
        evaluate_forecasters(both[:1], [MODEL], replace(SETTINGS, batch_size=size), baselines=[Persistence()])
        for size in (1, 7, 1000)
    ]
    assert found[0] == found[1] == found[2]


def test_thinned_origins_keep_their_forecasts_and_are_told(both):
    plan = replace(PLAN, max_origins=20)
    kept = Keeping(MODEL, {}), Keeping(MODEL, {})
    evaluate_forecasters(both[:1], [kept[0]], SETTINGS, baselines=[])
    thinned = evaluate_forecasters(both[:1], [kept[1]], EvaluationSettings(plan), baselines=[])
    for origin, paths in kept[1].kept.items():
        np.testing.assert_array_equal(paths, kept[0].kept[origin])
    assert thinned["origins"] == {"test": 20, "validation": 20}
    assert "test: 20 of 31 origins, subsampled evenly (max_origins=20)" in thinned["notes"]


def test_progress_counts_the_models_forecasts(both):
    seen = []
    evaluate_forecasters(both, [MODEL], SETTINGS, progress=lambda done, total: seen.append((done, total)))
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_without_validation_there_is_no_calibration(both):
    plan = replace(PLAN, ratios=(0.7, 0.0, 0.3))
    found = evaluate_forecasters(both, [MODEL], EvaluationSettings(plan))
    assert found["calibration"] == {}
    assert found["regimes"] == {}
    assert "the validation split contains no origin: no calibration, no volatility regimes" in found["notes"]


def test_too_few_paths_for_a_band_are_told(both):
    few = evaluate_forecasters(both, [replace(MODEL, num_paths=9)], SETTINGS, baselines=[Persistence()])
    assert "model: 9 paths give intervals of at most 80%" in few["notes"]
    assert not any("at most" in note for note in evaluate_forecasters(both, [MODEL], SETTINGS)["notes"])


def test_what_cannot_be_evaluated(both):
    with pytest.raises(ValueError, match="two forecasters have the name 'persistence'"):
        evaluate_forecasters(both, [Persistence()], SETTINGS)
    with pytest.raises(ValueError, match="no candles to evaluate on"):
        evaluate_forecasters([], [MODEL], SETTINGS)
    mixed = [both[0], *load_candles({"C": simulate_candles(900, step="30min")})]
    with pytest.raises(ValueError, match=r"time steps are mixed \(C 1800 s, A 3600 s\); evaluate symbols of each step"):
        evaluate_forecasters(mixed, [MODEL], SETTINGS)
    with pytest.raises(ValueError, match="batch_size=0 is below 1"):
        EvaluationSettings(PLAN, batch_size=0)
    with pytest.raises(ValueError, match=r"^long, A: origin .* needs 2001 bars before"):
        evaluate_forecasters(both, [Drift(lookback=2000, name="long")], SETTINGS)
