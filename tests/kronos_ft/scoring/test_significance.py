"""The Diebold-Mariano test against a computation by hand, statsmodels and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from kronos_ft.scoring.significance import diebold_mariano, holm


def moving_sums(generator, runs, number, overlap):
    """Differences with the correlation of forecasts that share `overlap` steps with each neighbour."""
    noise = np.cumsum(generator.standard_normal((runs, number + overlap + 1)), axis=1)
    return noise[:, overlap + 1 :] - noise[:, :number]


def test_by_hand():
    a = [1.0, 3.0, 2.0, 5.0, 4.0, 2.0, 1.0, 3.0, 6.0, 2.0]
    b = [2.0, 2.0, 4.0, 5.0, 6.0, 3.0, 1.0, 5.0, 7.0, 2.0]
    found = diebold_mariano(a, b, 1)
    d = [x - y for x, y in zip(a, b, strict=True)]
    mean = sum(d) / 10
    gamma = [sum((d[t] - mean) * (d[t - j] - mean) for t in range(j, 10)) / 10 for j in range(3)]
    variance = (gamma[0] + 2 * (2 / 3 * gamma[1] + 1 / 3 * gamma[2])) / 10
    h = 3
    statistic = mean / math.sqrt(variance) * math.sqrt((10 + 1 - 2 * h + h * (h - 1) / 10) / 10)
    assert found.lag == 2
    assert found.mean_difference == pytest.approx(-0.8)
    assert found.statistic == pytest.approx(statistic)
    assert found.p_value == pytest.approx(2 * stats.t.cdf(-abs(statistic), 9))
    swapped = diebold_mariano(b, a, 1)
    assert (swapped.statistic, swapped.p_value) == pytest.approx((-found.statistic, found.p_value))


def standard_error(difference, **covariance):
    import statsmodels.api as sm

    return sm.OLS(difference, np.ones(len(difference))).fit(**covariance).bse[0]


@pytest.mark.parametrize("pooling", ["one symbol", "groups", "times"])
def test_standard_errors_against_statsmodels(pooling):
    generator = np.random.default_rng(4)
    difference = moving_sums(generator, 3, 100, 4).ravel() + 0.4
    symbols, times = np.repeat(np.arange(3), 100), np.tile(np.arange(100), 3)
    kinds = {
        "one symbol": ("HAC", {}, {}, 300),
        "groups": ("hac-panel", {"groups": symbols}, {"groups": np.array(["c", "a", "b"])[symbols]}, 300),
        "times": ("hac-groupsum", {"time": times}, {"times": times}, 100),
    }
    kind, options, labels, number = kinds[pooling]
    found = diebold_mariano(difference, np.zeros(300), 4, **labels)
    covariance = {"maxlags": found.lag, "use_correction": False, **options}
    error = standard_error(difference, cov_type=kind, cov_kwds=covariance)
    h = found.lag + 1
    shrink = math.sqrt((number + 1 - 2 * h + h * (h - 1) / number) / number)
    assert found.observations == number
    assert found.statistic == pytest.approx(shrink * difference.mean() / error)


def test_groups_may_come_in_any_order():
    generator = np.random.default_rng(6)
    loss, symbols = generator.standard_normal(90), np.repeat([0, 1, 2], 30)
    mixed = np.argsort(np.tile(np.arange(30), 3), kind="stable")
    apart, interleaved = (
        diebold_mariano(loss[order], np.zeros(90), 2, groups=symbols[order]) for order in (np.arange(90), mixed)
    )
    assert apart.statistic == pytest.approx(interleaved.statistic)


@pytest.mark.parametrize(("number", "overlap", "most"), [(60, 0, 0.08), (200, 3, 0.11), (1000, 23, 0.11)])
def test_size_under_the_null(number, overlap, most):
    """A true null is rejected at 5 % about as often; without the lags it is in over 30 % of the runs."""
    differences = moving_sums(np.random.default_rng(8), 1000, number, overlap)
    rejected = np.mean([diebold_mariano(d, np.zeros(number), overlap).p_value < 0.05 for d in differences])
    assert 0.02 < rejected < most
    if overlap:
        assert np.mean(stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05) > 0.3


def test_symbols_that_move_together_count_once():
    """Two symbols with the same losses hold no more evidence than one: `times` knows, `groups` does not."""
    differences = moving_sums(np.random.default_rng(9), 400, 150, 0)
    twice, symbols, times = np.tile(differences, 2), np.repeat([0, 1], 150), np.tile(np.arange(150), 2)
    zero = np.zeros(300)
    pooled = np.mean([diebold_mariano(d, zero, 0, times=times).p_value < 0.05 for d in twice])
    naive = np.mean([diebold_mariano(d, zero, 0, groups=symbols).p_value < 0.05 for d in twice])
    assert pooled < 0.09
    assert naive > 0.12
    alone = diebold_mariano(differences[0], np.zeros(150), 0)
    assert diebold_mariano(twice[0], zero, 0, times=times).p_value == pytest.approx(alone.p_value)


def test_power():
    generator = np.random.default_rng(10)
    better = diebold_mariano(generator.standard_normal(300) ** 2, 1.5 * generator.standard_normal(300) ** 2 + 0.3, 0)
    assert better.statistic < 0
    assert better.p_value < 0.01


def test_undefined_cases_say_why():
    loss = np.arange(20.0)
    same = diebold_mariano(loss, loss, 1)
    assert (same.statistic, same.p_value, same.mean_difference) == (None, None, 0.0)
    assert same.note == "the losses are identical"
    shifted = diebold_mariano(loss * 0.1, loss * 0.1 + 0.1, 1)
    assert shifted.p_value is None
    assert shifted.note == "the losses differ by the same amount at every origin"
    short = diebold_mariano(loss, loss[::-1] * 2, 30)
    assert short.p_value is None
    assert short.note == "20 origins are too few for forecasts that overlap 30 others; 63 are needed"
    assert diebold_mariano([1.0], [2.0], 0).mean_difference == -1.0
    assert diebold_mariano([], [], 0).note == "no origins"
    edge = diebold_mariano(loss[:9], loss[:9] ** 2, 3)
    assert math.isfinite(edge.statistic)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="must be 1-dimensional and come from the same origins"):
        diebold_mariano(np.zeros(3), np.zeros(4), 0)
    with pytest.raises(ValueError, match="losses contain NaN or infinity"):
        diebold_mariano([np.nan], [0.0], 0)
    with pytest.raises(ValueError, match="horizon_overlap=-1 is negative"):
        diebold_mariano([1.0], [0.0], -1)
    with pytest.raises(ValueError, match="groups of shape"):
        diebold_mariano(np.ones(9), np.zeros(9), 0, groups=np.zeros(8))


def test_holm_by_hand():
    """4 x 0.01; 3 x 0.02; 2 x 0.03 = 0.06; 1 x 0.04, raised to the one before."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.4, 0.7]) == pytest.approx([0.8, 0.8])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_holm_is_that_of_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    values = np.random.default_rng(4).uniform(size=12) ** 3
    assert holm(values) == pytest.approx(multitest.multipletests(values, method="holm")[1])
