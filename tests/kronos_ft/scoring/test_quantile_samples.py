"""Samples that are quantiles, coverage intervals and the weighted quantile loss, against independent references."""

import numpy as np
import pytest
from scipy import integrate, stats

from kronos_ft.scoring.metrics import coverage_and_width, crps, crps_loss, wql


@pytest.mark.parametrize("law", [stats.norm(0, 0.02), stats.t(3), stats.uniform()], ids=["normal", "t3", "uniform"])
def test_quantiles_score_as_their_distribution_and_fair_draws_as_theirs(law):
    """The expected CRPS of the true distribution is the integral of F (1 - F)."""
    low, high = law.support()
    expected = integrate.quad(lambda x: law.cdf(x) * (1 - law.cdf(x)), low, high)[0]
    truth = law.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
    samples = np.broadcast_to(law.ppf(np.arange(1, 101) / 101)[None, :, None], (20_000, 100, 1))
    assert crps(truth, samples, exact=True).overall == pytest.approx(expected, rel=1e-3)
    # what the fair estimator makes of quantiles: too good by one over their number
    assert crps(truth, samples).overall == pytest.approx(expected * 0.99, rel=2e-3)
    drawn = law.rvs((20_000, 10, 1), random_state=1)
    assert crps(truth, drawn).overall == pytest.approx(expected, rel=0.02)


def test_the_exact_estimator_is_the_integral_over_the_empirical_distribution():
    generator = np.random.default_rng(2)
    truth, samples = generator.normal(size=(4, 2)), generator.normal(size=(4, 7, 2))
    found = crps_loss(truth, samples, exact=True)
    for i, h in np.ndindex(4, 2):
        y, x = truth[i, h], np.sort(samples[i, :, h])
        edges = np.sort(np.concatenate((x, [y])))
        middle = (edges[1:] + edges[:-1]) / 2
        steps = (np.searchsorted(x, middle) / 7 - (middle >= y)) ** 2
        assert found[i, h] == pytest.approx((steps * np.diff(edges)).sum())


def test_coverage_has_the_wilson_interval_of_the_effective_number():
    generator = np.random.default_rng(3)
    truth, paths = generator.normal(size=(120, 2)), generator.normal(size=(120, 99, 2))
    found = coverage_and_width(truth, paths, overlap=[1, 1])[0.9]
    hits = round(found["coverage"].by_horizon[1] * 120)
    interval = stats.binomtest(hits, 120).proportion_ci(0.95, "wilson")
    assert [found[end].by_horizon[1] for end in ("lower", "upper")] == pytest.approx(list(interval))
    overlapping = coverage_and_width(truth, paths, overlap=[1, 4])[0.9]
    assert overlapping["effective"].by_horizon == [120, 30]
    assert overlapping["coverage"] == found["coverage"]
    widths = [one["upper"].by_horizon[1] - one["lower"].by_horizon[1] for one in (found, overlapping)]
    assert 1.7 * widths[0] < widths[1] < 2.1 * widths[0]
    assert coverage_and_width(truth, paths[:, :1])[0.9]["lower"].by_horizon == [None, None]


def test_wql_by_its_definition():
    generator = np.random.default_rng(4)
    truth, paths = generator.normal(size=(30, 2)), generator.normal(size=(30, 50, 2))
    levels, losses = np.arange(1, 10) / 10, np.zeros((9, 30, 2))
    for position, level in enumerate(levels):
        quantile = np.quantile(paths, level, axis=1, method="weibull")
        losses[position] = np.where(truth >= quantile, level * (truth - quantile), (1 - level) * (quantile - truth))
    expected = 2 * losses.sum(axis=1).mean(axis=0) / np.abs(truth).sum(axis=0)
    found = wql(truth, paths)
    np.testing.assert_allclose(found.by_horizon, expected)
    assert found.overall == pytest.approx(2 * losses.sum(axis=(1, 2)).mean() / np.abs(truth).sum())
    assert wql(np.zeros((3, 1)), np.ones((3, 5, 1))).by_horizon == [None]
    assert wql(np.empty((0, 1)), np.ones((0, 5, 1))).overall is None
