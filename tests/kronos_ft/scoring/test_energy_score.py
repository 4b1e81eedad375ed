"""The energy score against sums over all pairs, other libraries, and what it is for: the dependence over time."""

import math
import tracemalloc

import numpy as np
import pytest
import scoringrules

from kronos_ft.baselines.bar_shapes import with_marginals
from kronos_ft.scoring import metrics
from kronos_ft.scoring.metrics import crps_loss, energy_loss, energy_score


@pytest.fixture(scope="module")
def cases():
    generator = np.random.default_rng(5)
    return 0.01 * generator.standard_normal((12, 4)), 0.01 * generator.standard_normal((12, 9, 4))


def by_pairs(y, x, divisor):
    """One origin, pair by pair in pure Python."""
    spread = sum(math.dist(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j)
    return sum(math.dist(a, y) for a in x) / len(x) - spread / (2 * divisor)


@pytest.mark.parametrize("block", [256, 4, 1])
def test_it_is_the_sum_over_pairs(cases, block, monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK_PATHS", block)
    truth, paths = cases
    for exact, divisor in ((False, 9 * 8), (True, 9 * 9)):
        expected = [by_pairs(y, x, divisor) for y, x in zip(truth.tolist(), paths.tolist(), strict=True)]
        np.testing.assert_allclose(energy_loss(truth, paths, exact), expected, rtol=1e-12)
        assert energy_score(truth, paths, exact).overall == pytest.approx(np.mean(expected))
    plain = scoringrules.es_ensemble(truth, paths, backend="numpy")
    np.testing.assert_allclose(energy_loss(truth, paths, exact=True), plain, rtol=1e-9)


def test_one_bar_is_the_crps_and_one_path_the_distance(cases):
    truth, paths = cases
    for exact in (False, True):
        found = energy_loss(truth[:, :1], paths[..., :1], exact)
        np.testing.assert_allclose(found, crps_loss(truth[:, :1], paths[..., :1], exact)[:, 0], rtol=1e-9)
        point = energy_loss(truth, paths[:, :1], exact)
        np.testing.assert_allclose(point, [math.dist(*pair) for pair in zip(truth, paths[:, 0], strict=True)])


def walks(generator, *shape):
    return generator.standard_normal(shape).cumsum(axis=-1)


def test_more_paths_are_no_advantage():
    generator = np.random.default_rng(1)
    truth = walks(generator, 4000, 6)
    few, many = (energy_loss(truth, walks(generator, 4000, count, 6)) for count in (4, 40))
    assert few.mean() == pytest.approx(many.mean(), abs=4 * (few - many).std() / 4000**0.5)
    biased = energy_loss(truth, walks(generator, 4000, 4, 6), exact=True)
    assert biased.mean() > 1.05 * many.mean()


def test_the_dependence_over_time_is_rewarded_although_every_horizon_has_the_same_crps():
    generator = np.random.default_rng(2)
    truth, paths = walks(generator, 1500, 8), walks(generator, 1500, 30, 8)
    shuffled = generator.permuted(paths, axis=1)
    np.testing.assert_allclose(crps_loss(truth, paths), crps_loss(truth, shuffled), atol=1e-9)
    joint, apart = energy_loss(truth, paths), energy_loss(truth, shuffled)
    assert (apart - joint).mean() > 4 * (apart - joint).std() / 1500**0.5
    assert energy_loss(truth, np.sort(paths, axis=1)).mean() > joint.mean()


def test_paths_with_quantiles_at_each_horizon_score_nearly_as_draws():
    generator = np.random.default_rng(3)
    truth, drawn = walks(generator, 2000, 12), walks(generator, 2000, 30, 12)
    marginals = np.quantile(walks(generator, 100_000, 12), np.arange(1, 31) / 31, axis=0)
    shapes = np.zeros((2000, 30, 12, 4))
    shapes[..., 3] = np.diff(drawn, axis=2, prepend=0.0)
    coupled = with_marginals(shapes, np.broadcast_to(marginals, drawn.shape))[..., 3].cumsum(axis=2)
    expected = energy_loss(truth, drawn).mean()
    exact, fair = (energy_loss(truth, coupled, exact).mean() for exact in (True, False))
    assert exact == pytest.approx(expected, rel=0.02)
    assert fair < exact


def test_many_paths_take_little_memory():
    generator = np.random.default_rng(4)
    truth, paths = generator.standard_normal((2, 24)), generator.standard_normal((2, 4000, 24))
    tracemalloc.start()
    energy_loss(truth, paths)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # all pairs of an origin at once take 4,000 x 4,000 x 8 bytes, 128 MB


def test_no_origins_and_wrong_shapes():
    found = energy_score(np.empty((0, 3)), np.empty((0, 5, 3)))
    assert (found.overall, found.by_horizon, found.note) == (None, [], "no origins")
    with pytest.raises(ValueError, match=r"must be \(origins, horizon\) and \(origins, paths, horizon\)"):
        energy_loss(np.zeros((2, 3)), np.zeros((2, 4, 5)))
