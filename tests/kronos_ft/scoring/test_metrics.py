"""Each score against brute force or another library; edge cases are None with a reason."""

import json

import numpy as np
import pytest
from scipy import stats

from kronos_ft.scoring import metrics
from kronos_ft.scoring.figures import plain


@pytest.fixture(scope="module")
def cases():
    generator = np.random.default_rng(5)
    return 0.01 * generator.standard_normal((40, 3)), 0.01 * generator.standard_normal((40, 21, 3))


def everything(truth, paths):
    return {
        "point": metrics.point_errors(truth, paths, np.full(truth.shape[1], 0.01)),
        "pinball": metrics.pinball(truth, paths),
        "crps": metrics.crps(truth, paths),
        "bands": metrics.coverage_and_width(truth, paths),
        "pit": metrics.pit(truth, paths),
        "direction": metrics.directional_accuracy(truth, paths),
        "ic": metrics.information_coefficient(truth, paths),
        "rank_ic": metrics.rank_ic(truth, paths),
    }


def test_point_errors_bar_by_bar(cases):
    truth, paths = cases
    scale = np.array([0.01, 0.02, 0.03])
    found = metrics.point_errors(truth, paths, scale)
    errors = [[abs(truth[n, h] - sorted(paths[n, :, h])[10]) for h in range(3)] for n in range(40)]
    squares = [[(truth[n, h] - sum(paths[n, :, h]) / 21) ** 2 for h in range(3)] for n in range(40)]
    np.testing.assert_allclose(found["mae"].by_horizon, np.mean(errors, axis=0))
    np.testing.assert_allclose(found["rmse"].by_horizon, np.sqrt(np.mean(squares, axis=0)))
    np.testing.assert_allclose(found["mase"].by_horizon, np.mean(errors, axis=0) / scale)
    assert found["mae"].overall == pytest.approx(np.mean(errors))
    assert found["rmse"].overall == pytest.approx(np.sqrt(np.mean(squares)))
    by_row = metrics.point_errors(truth, paths, np.broadcast_to(scale, (40, 3)))
    assert by_row["mase"] == found["mase"]


def test_crps_is_the_fair_estimator(cases):
    truth, paths = cases
    found = metrics.crps_loss(truth, paths)
    for n, h in ((0, 0), (7, 1), (39, 2)):
        x, y = paths[n, :, h], truth[n, h]
        between = sum(abs(a - b) for a in x for b in x) / (21 * 20)
        assert found[n, h] == pytest.approx(np.mean(np.abs(x - y)) - between / 2)
    assert metrics.crps(truth, paths).by_horizon == pytest.approx(found.mean(axis=0).tolist())


def test_crps_does_not_reward_more_paths():
    """In expectation the normal distribution's own score, 0.5642, for 4 paths as for 64."""
    generator = np.random.default_rng(0)
    truth = generator.standard_normal((20_000, 1))
    for number in (4, 64):
        found = metrics.crps(truth, generator.standard_normal((20_000, number, 1))).overall
        assert found == pytest.approx(1 / np.sqrt(np.pi), abs=0.012)


def test_pinball_bar_by_bar(cases):
    truth, paths = cases
    found = metrics.pinball(truth, paths, (0.1, 0.5))
    # of 21 paths the quantile 0.1 is at place 2.2: a fifth of the way from the 2nd to the 3rd smallest
    total = 0.0
    for n in range(40):
        second, third = sorted(paths[n, :, 0])[1:3]
        error = truth[n, 0] - (second + 0.2 * (third - second))
        total += 0.1 * error if error > 0 else -0.9 * error
    assert found[0.1].by_horizon[0] == pytest.approx(total / 40)
    assert found[0.5].overall == pytest.approx(metrics.point_errors(truth, paths)["mae"].overall / 2)
    assert found["mean"].overall == pytest.approx((found[0.1].overall + found[0.5].overall) / 2)


def test_bands_cover_what_they_say_even_with_few_paths():
    generator = np.random.default_rng(2)
    truth, paths = generator.standard_normal((20_000, 1)), generator.standard_normal((20_000, 19, 1))
    found = metrics.coverage_and_width(truth, paths)
    for level in (0.5, 0.8, 0.9):
        assert found[level]["coverage"].overall == pytest.approx(level, abs=0.012)
        assert found[level]["coverage"].note is None
    lower, upper = metrics.path_bands(paths, [0.9])
    np.testing.assert_array_equal(lower[0], paths.min(axis=1))
    assert found[0.9]["width"].overall == pytest.approx((upper - lower).mean())
    few = metrics.coverage_and_width(truth, paths[:, :9])
    assert few[0.9]["coverage"].note == "9 paths give intervals of at most 80%"
    assert few[0.8]["coverage"].note is None


def test_pit_is_flat_for_a_right_distribution_also_with_ties():
    generator = np.random.default_rng(3)
    truth, paths = generator.integers(0, 4, (20_000, 2)) / 100, generator.integers(0, 4, (20_000, 6, 2)) / 100
    values = metrics.pit_values(truth, paths, np.random.default_rng(0))
    assert stats.kstest(values[:, 0], "uniform").pvalue > 0.01
    found = metrics.pit(truth, paths, bins=5)
    np.testing.assert_allclose(found.overall, 0.2, atol=0.01)
    np.testing.assert_allclose(np.sum(found.by_horizon, axis=1), 1)
    assert metrics.pit(truth, paths, bins=5) == found
    low = metrics.pit(np.full((50, 1), -9.0), generator.standard_normal((50, 99, 1)))
    assert low.by_horizon[0][0] == 1


@pytest.mark.parametrize(("hits", "trials"), [(0, 7), (7, 7), (30, 61), (501, 1000)])
def test_wilson_against_scipy(hits, trials):
    lower, upper = metrics.wilson_interval(np.array([hits]), np.array([trials]))
    expected = stats.binomtest(hits, trials).proportion_ci(method="wilson")
    assert (lower[0], upper[0]) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_directional_accuracy_leaves_out_and_counts_what_has_no_direction():
    truth = np.array([[1.0], [-1.0], [2.0], [0.0], [3.0], [0.0]]) / 100
    paths = np.array([[[1.0]], [[1.0]], [[0.5]], [[1.0]], [[0.0]], [[0.0]]]) / 100
    found = metrics.directional_accuracy(truth, paths)
    assert (found.counted, found.no_move, found.no_call) == ([3], [2], [1])
    assert found.accuracy.by_horizon == [pytest.approx(2 / 3)]
    expected = stats.binomtest(2, 3).proportion_ci(method="wilson")
    assert (found.lower.by_horizon[0], found.upper.by_horizon[0]) == pytest.approx((expected.low, expected.high))


def test_direction_is_the_medians(cases):
    truth, paths = cases
    found = metrics.directional_accuracy(truth, paths)
    hits = [(truth[n, 1] > 0) == ((paths[n, :, 1] > 0).sum() > 10) for n in range(40)]
    assert found.accuracy.by_horizon[1] == pytest.approx(np.mean(hits))


def test_overlapping_origins_widen_the_interval(cases):
    plainly, overlapping = (metrics.directional_accuracy(*cases, overlap=overlap) for overlap in (1, [1, 2, 4]))
    for h, (a, b) in enumerate(zip(plainly.lower.by_horizon, overlapping.lower.by_horizon, strict=True)):
        assert a > b or h == 0
    assert "fewer independent" in overlapping.lower.note
    with pytest.raises(ValueError, match="overlap=0 must be 1"):
        metrics.directional_accuracy(*cases, overlap=0)


def test_correlations_against_scipy(cases):
    truth, paths = cases
    truth = np.round(truth, 2)  # ties
    pearson, spearman = metrics.information_coefficient(truth, paths), metrics.rank_ic(truth, paths)
    for h in range(3):
        mean = paths[:, :, h].mean(axis=1)
        assert pearson.by_horizon[h] == pytest.approx(stats.pearsonr(truth[:, h], mean).statistic)
        assert spearman.by_horizon[h] == pytest.approx(stats.spearmanr(truth[:, h], mean).statistic)
    assert pearson.overall == pytest.approx(np.mean(pearson.by_horizon))
    tiny = metrics.information_coefficient(truth * 1e-200, paths * 1e-200)
    assert tiny.by_horizon == pytest.approx(pearson.by_horizon)


def test_constant_sides_have_no_correlation(cases):
    truth, paths = cases
    still = truth.copy()
    still[:, 1] = 0.1  # 40 x 0.1 is not 4 in floating point
    for score in (metrics.information_coefficient, metrics.rank_ic):
        found = score(still, paths)
        assert found.by_horizon[1] is None
        assert found.by_horizon[0] is not None
        assert found.note == "the truth is constant over the origins: no correlation"
        found = score(truth, np.full((40, 1, 3), 0.1))
        assert found.by_horizon == [None] * 3
        assert found.overall is None
        assert "the forecast is constant" in found.note


def test_skill(cases):
    truth, paths = cases
    loss, reference = metrics.crps_loss(truth, paths), metrics.absolute_loss(truth, np.zeros((40, 1, 3)))
    found = metrics.skill_score(loss, reference)
    assert found.by_horizon[2] == pytest.approx(1 - loss[:, 2].mean() / reference[:, 2].mean())
    assert metrics.skill_score(loss, loss).overall == 0
    assert metrics.skill_score(loss, np.zeros_like(loss)).note == "the error of the reference is zero"
    with pytest.raises(ValueError, match="must come from the same origins"):
        metrics.skill_score(loss, reference[1:])


@pytest.mark.parametrize("shape", [(1, 21, 3), (0, 21, 3), (40, 1, 3), (1, 1, 1), (2, 2, 1)])
def test_small_cases_are_json(shape, cases):
    number, paths, horizon = shape
    with np.errstate(all="raise"):
        found = plain(everything(cases[0][:number, :horizon], cases[1][:number, :paths, :horizon]))
    json.dumps(found, allow_nan=False)
    assert (found["crps"]["overall"] is None) == (number == 0)
    if number < 3:
        assert found["ic"]["note"] == f"{number} origins are too few for a correlation; at least 3"
    if paths == 1:
        assert found["crps"]["by_horizon"] == found["point"]["mae"]["by_horizon"]
        assert found["bands"]["0.9"]["coverage"]["note"] == metrics.ONE_PATH
        assert found["pit"]["by_horizon"] is None


def test_a_market_that_never_moves():
    with np.errstate(all="raise"):
        found = plain(everything(np.zeros((9, 2)), np.zeros((9, 5, 2))))
        mase = metrics.point_errors(np.zeros((9, 2)), np.zeros((9, 5, 2)), np.zeros(2))["mase"]
    json.dumps(found, allow_nan=False)
    assert found["direction"]["accuracy"]["by_horizon"] == [None, None]
    assert found["direction"]["lower"]["note"] == "no origin with a true and a forecast direction"
    assert found["direction"]["no_move"] == [9, 9]
    assert mase.overall is None
    assert "the naive error in training is zero" in mase.note


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="paths contains 1 values that are NaN or infinite"):
        metrics.crps(np.zeros((1, 1)), np.array([[[0.0], [np.nan]]]))
    with pytest.raises(ValueError, match=r"must be \(origins, horizon\) and \(origins, paths, horizon\)"):
        metrics.crps(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"levels=\[0.9, 0.5\] must be increasing values"):
        metrics.coverage_and_width(np.zeros((2, 1)), np.zeros((2, 2, 1)), [0.9, 0.5])


def test_mase_leaves_out_the_horizons_without_a_naive_error():
    truth, paths = np.ones((4, 3)), np.zeros((4, 1, 3))
    found = metrics.point_errors(truth, paths, np.array([0.0, 0.5, 2.0]))["mase"]
    assert found.by_horizon == [None, 2.0, 0.5]
    assert found.overall == 1.25
    assert "naive error in training is zero at bar 1:" in found.note
