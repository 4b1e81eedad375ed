"""Scores and comparisons by target: against the functions they come from, and against brute force."""

import json

import numpy as np
import pytest

from kronos_ft.scoring.metrics import crps, energy_score
from kronos_ft.scoring.scores import OriginTimes, compare_losses, losses_of, score_targets, shorten, sorted_samples
from kronos_ft.scoring.significance import diebold_mariano
from kronos_ft.scoring.targets import CLOSE, TARGETS, VOLUME


@pytest.fixture(scope="module")
def drawn():
    generator = np.random.default_rng(0)
    truth = generator.normal(0, 0.01, (60, 6, 7))
    return truth, truth[:, None] + generator.normal(0, 0.02, (60, 20, 6, 7))


TIMES = OriginTimes(step=4, clock=np.arange(60))


def test_every_target_has_its_own_scores(drawn):
    truth, paths = drawn
    scores = score_targets(truth, paths, np.full(truth.shape, 0.01), TIMES)
    assert tuple(scores) == TARGETS
    assert scores["volatility"]["direction"] is scores["range"]["direction"] is None
    assert scores["close"]["energy"]["overall"] == energy_score(truth[..., 3], paths[..., 3]).overall
    for i, target in enumerate(TARGETS):
        median = np.median(paths[..., i], axis=1)
        np.testing.assert_allclose(scores[target]["mae"]["by_horizon"], np.abs(truth[..., i] - median).mean(axis=0))
        np.testing.assert_allclose(scores[target]["mase"]["overall"], scores[target]["mae"]["overall"] / 0.01)
        assert scores[target]["crps"]["by_horizon"] == crps(truth[..., i], paths[..., i]).by_horizon
    json.dumps(scores, allow_nan=False)


def test_scores_do_not_depend_on_the_order_of_the_samples(drawn):
    truth, paths = drawn
    found, energy = sorted_samples(paths), np.zeros(len(truth))
    np.testing.assert_array_equal(found, np.sort(paths, axis=1))
    np.testing.assert_allclose(losses_of(truth, found)["crps"], losses_of(truth, paths)["crps"], rtol=1e-12)
    close, sorted_close = (score_targets(truth, one, None, TIMES, energy=energy)["close"] for one in (paths, found))
    for name in ("mae", "rmse", "wql", "crps", "ic"):
        np.testing.assert_allclose(sorted_close[name]["by_horizon"], close[name]["by_horizon"], rtol=1e-12)
    assert sorted_close["pit"] == close["pit"]
    assert sorted_close["direction"] == close["direction"]


def test_short_scores_keep_the_last_horizon(drawn):
    truth, paths = drawn
    whole = score_targets(truth, paths, None, TIMES)["close"]
    short = shorten(whole)
    assert short["mae"] == {
        "overall": whole["mae"]["overall"],
        "note": None,
        "last": whole["mae"]["by_horizon"][-1],
    }
    assert short["bands"]["0.9"]["coverage"]["last"] == whole["bands"]["0.9"]["coverage"]["by_horizon"][-1]


def test_comparisons_are_paired_tests_of_the_losses(drawn):
    truth, paths = drawn
    worse = paths + np.random.default_rng(1).normal(0, 0.03, paths.shape)
    found = compare_losses(losses_of(truth, paths), losses_of(truth, worse), TIMES)["close"]["absolute"]
    a, b = (np.abs(truth[..., 3] - np.median(one[..., 3], axis=1)) for one in (paths, worse))
    np.testing.assert_allclose(found["skill"]["by_horizon"], 1 - a.mean(axis=0) / b.mean(axis=0))
    np.testing.assert_allclose(found["skill"]["overall"], 1 - a.mean() / b.mean())
    for horizon, overlap in ((1, 0), (4, 0), (5, 1), (6, 1)):
        test = diebold_mariano(a[:, horizon - 1], b[:, horizon - 1], overlap)
        assert found["p_value"]["by_horizon"][horizon - 1] == test.p_value
    assert found["p_value"]["overall"] == diebold_mariano(a.mean(axis=1), b.mean(axis=1), 1).p_value
    assert found["observations"] == 60


@pytest.mark.parametrize("symbols", [1, 2])
@pytest.mark.parametrize(("step", "lags"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 0, 1, 1, 2, 2]), (4, [0, 0, 0, 0, 1, 1])])
def test_the_lag_is_the_number_of_later_origins_that_share_bars(monkeypatch, step, lags, symbols):
    """Forecasts h bars long from origins `step` bars apart: bars are shared as far as (h - 1) // step origins on."""
    asked = []

    def noting(loss, reference, overlap, **options):
        asked.append(overlap)
        return diebold_mariano(loss, reference, overlap, **options)

    monkeypatch.setattr("kronos_ft.scoring.scores.diebold_mariano", noting)
    for h in range(1, 7):
        shared = sum(1 for later in range(step, 100, step) if set(range(h)) & set(range(later, later + h)))
        assert lags[h - 1] == shared
    generator = np.random.default_rng(0)
    one, other = ({name: generator.normal(1, 0.2, (60, 6, 7)) for name in ("absolute", "crps")} for _ in range(2))
    found = compare_losses(one, other, OriginTimes(step, np.arange(60), symbols))["close"]["absolute"]
    between = [lag + (symbols > 1 and h > 0) for h, lag in enumerate(lags)]  # another symbol's origins lie between
    assert asked[:7] == [*between, between[-1]]  # by horizon, then over all of them
    assert found["lag"] == max(2 * between[-1], 3)


def test_symbols_that_move_together_count_once():
    generator = np.random.default_rng(0)
    loss, reference = generator.normal(1.0, 0.2, (100, 2, 7)), generator.normal(1.1, 0.2, (100, 2, 7))
    once = OriginTimes(4, np.arange(100))
    twice = OriginTimes(4, np.tile(np.arange(100), 2), symbols=2)

    def p_value(times, repeats):
        sides = ({name: np.tile(one, (repeats, 1, 1)) for name in ("absolute", "crps")} for one in (loss, reference))
        return compare_losses(*sides, times, [1])["close"]["crps"]["p_value"]["by_horizon"][0]

    np.testing.assert_allclose(p_value(twice, 2), p_value(once, 1))
    assert once.overlap(4) == 0
    assert twice.overlap(4) == 1
    assert twice.overlap(1) == 0
    assert twice.select(np.array([3, 103])).clock.tolist() == [3, 3]


def test_origins_without_volume_are_left_out_of_volume_alone(drawn):
    truth, paths = (values.copy() for values in drawn)
    whole = score_targets(truth, paths, None, TIMES)
    compared = compare_losses(losses_of(truth, paths), losses_of(truth, 2 * paths), TIMES)
    truth[40:, :, VOLUME] = paths[40:, ..., VOLUME] = np.nan
    found = score_targets(truth, paths, np.full(truth.shape, 0.01), TIMES)
    first = score_targets(truth[:40], paths[:40], None, TIMES.select(np.arange(40)))
    assert found["volume"]["crps"] == first["volume"]["crps"]
    for target in TARGETS[:VOLUME]:
        assert found[target]["crps"] == whole[target]["crps"]
    less = compare_losses(losses_of(truth, paths), losses_of(truth, 2 * paths), TIMES)
    assert {target: less[target] for target in TARGETS[:VOLUME]} == {
        target: compared[target] for target in TARGETS[:VOLUME]
    }
    outcome = less["volume"]["crps"]
    assert (outcome["origins"], compared["volume"]["crps"]["origins"]) == (40, 60)
    parts = [crps(truth[:40, :, VOLUME], factor * paths[:40, ..., VOLUME]) for factor in (1, 2)]
    skills = [1 - a / b for a, b in zip(parts[0].by_horizon, parts[1].by_horizon, strict=True)]
    assert outcome["skill"]["by_horizon"] == pytest.approx(skills)


def test_a_forecaster_without_volume_has_no_score_of_it(drawn):
    truth, paths = drawn[0], drawn[1].copy()
    paths[..., VOLUME] = np.nan
    assert tuple(score_targets(truth, paths, None, TIMES)) == TARGETS[:VOLUME]
    found = compare_losses(losses_of(truth, paths), losses_of(*drawn), TIMES)
    assert found["volume"] == {}
    assert set(found["close"]) >= {"absolute", "crps"}
    paths[..., CLOSE] = np.nan  # no other target may be missing
    with pytest.raises(ValueError, match="paths contains 7200 values that are NaN or infinite"):
        score_targets(truth, paths, None, TIMES)
