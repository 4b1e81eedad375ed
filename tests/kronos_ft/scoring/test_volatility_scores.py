"""Losses of variance forecasts against their formulas, and where they are undefined."""

import numpy as np
import pytest

from kronos_ft.scoring.volatility import qlike_loss, variance_loss, variance_scores

TRUTH = np.array([[0.01, 0.02], [0.03, 0.04], [0.0, 0.05]])
PATHS = np.array([[[0.01, 0.03], [0.02, 0.03]], [[0.03, 0.04], [0.03, 0.04]], [[0.01, 0.02], [0.02, 0.02]]])


def test_both_losses_by_their_formulas():
    qlike, squared = qlike_loss(TRUTH, PATHS), variance_loss(TRUTH, PATHS)
    for i, h in np.ndindex(3, 2):
        realised, forecast = TRUTH[i, h] ** 2, (PATHS[i, 0, h] ** 2 + PATHS[i, 1, h] ** 2) / 2
        assert squared[i, h] == pytest.approx((realised - forecast) ** 2)
        if realised:
            assert qlike[i, h] == pytest.approx(realised / forecast - np.log(realised / forecast) - 1)
    assert qlike[2, 0] == 0
    scores = variance_scores(TRUTH, PATHS)
    assert scores["qlike"].by_horizon[0] == pytest.approx(qlike[:2, 0].mean())  # the third origin has no move
    assert scores["mse"].by_horizon == pytest.approx(squared.mean(axis=0).tolist())


def test_the_true_variance_has_the_lowest_expected_loss():
    """Also if the realised variance is a noisy measure of it."""
    generator = np.random.default_rng(0)
    sigma = np.exp(generator.normal(-4, 0.5, 40_000))
    realised = sigma * np.sqrt(generator.chisquare(5, 40_000) / 5)
    for loss in (qlike_loss, variance_loss):
        means = [loss(realised[:, None], factor * sigma[:, None, None]).mean() for factor in (0.8, 1.0, 1.25)]
        assert means[1] == min(means)


def test_a_forecast_of_no_volatility_has_no_qlike():
    assert qlike_loss(TRUTH, np.zeros((3, 1, 2))) is None
    scores = variance_scores(TRUTH, np.zeros((3, 1, 2)))
    assert scores["qlike"].by_horizon == [None, None]
    assert scores["qlike"].note == "a forecast volatility is zero: QLIKE is infinite"
    assert scores["mse"].overall == pytest.approx(np.mean(TRUTH**4))
    still = variance_scores(TRUTH[:, ::-1], PATHS[..., ::-1])["qlike"]
    assert still.note == "1 origins without any move are left out"
    assert variance_scores(np.empty((0, 2)), np.empty((0, 3, 2)))["qlike"].by_horizon == [None, None]
