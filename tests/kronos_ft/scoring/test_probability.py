"""Scores of the probability that the price rises, against scikit-learn and in expectation."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss, log_loss as sklearn_log_loss

from kronos_ft.scoring.probability import brier_loss, log_loss, probability_scores, probability_up, reliability


@pytest.fixture(scope="module")
def drawn():
    generator = np.random.default_rng(1)
    return generator.normal(size=(400, 2)), generator.normal(generator.normal(0, 0.5, (400, 1, 2)), 1, (400, 25, 2))


def test_ties_count_half():
    paths = np.array([[[0.1], [-0.1], [0.0], [0.2]]])
    assert probability_up(paths) == pytest.approx(np.array([[0.625]]))
    assert (probability_up(np.zeros((3, 1, 2))) == 0.5).all()
    # an unchanged price is half of a rise: the loss of 0.5 is 0
    assert brier_loss(np.zeros((1, 1)), np.zeros((1, 1, 1))) == 0


def test_brier_and_log_score_are_those_of_scikit_learn(drawn):
    truth, paths = drawn
    up = (paths > 0).mean(axis=1)
    exact = brier_loss(truth, paths, exact=True)
    smoothed = ((paths > 0).sum(axis=1) + 0.5) / 26
    for h in (0, 1):
        rose = truth[:, h] > 0
        assert exact[:, h].mean() == pytest.approx(brier_score_loss(rose, up[:, h]))
        assert log_loss(truth, paths)[:, h].mean() == pytest.approx(sklearn_log_loss(rose, smoothed[:, h]))


def test_the_fair_brier_score_does_not_depend_on_the_number_of_paths():
    generator = np.random.default_rng(2)
    chance = generator.uniform(0.3, 0.7, 60_000)[:, None]
    truth = np.where(generator.random(chance.shape) < chance, 1.0, -1.0)
    expected = np.mean(chance * (1 - chance))
    for number in (2, 10):
        paths = np.where(generator.random((60_000, number, 1)) < chance[:, None], 1.0, -1.0)
        assert brier_loss(truth, paths).mean() == pytest.approx(expected, abs=0.003)
        plain = brier_loss(truth, paths, exact=True).mean()
        assert plain == pytest.approx(expected * (1 + 1 / number), abs=0.003)


def test_reliability_by_bins(drawn):
    truth, paths = drawn
    found = reliability(truth, paths, overlap=2)
    up, rose = (paths[..., -1] > 0).mean(axis=1), truth[:, -1] > 0
    assert sum(found["count"]) == 400
    for i in range(10):
        inside = (up >= i / 10) & ((up < (i + 1) / 10) | (i == 9))
        assert found["count"][i] == inside.sum()
        if inside.any():
            assert found["forecast"][i] == pytest.approx(up[inside].mean())
            assert found["observed"][i] == pytest.approx(rose[inside].mean())
    full = int(np.argmax(found["count"]))
    number = found["count"][full]
    assert found["lower"][full] < found["observed"][full] < found["upper"][full]
    narrow = reliability(truth, paths)
    interval = stats.binomtest(round(narrow["observed"][full] * number), number).proportion_ci(0.95, "wilson")
    assert [narrow["lower"][full], narrow["upper"][full]] == pytest.approx(list(interval))


def test_no_origins_and_empty_bins():
    empty = probability_scores(np.empty((0, 2)), np.empty((0, 3, 2)))
    assert empty["brier"].overall is None
    assert empty["reliability"]["count"] == [0] * 10
    sure = reliability(np.ones((5, 1)), np.ones((5, 3, 1)))
    assert sure["count"] == [0] * 9 + [5]
    assert sure["observed"][0] is None
    assert sure["observed"][-1] == 1
