"""Scores of variance forecasts: QLIKE and squared error, against the realised variance.

The forecast is the mean of the samples' squared volatility, the optimal point for both losses. Both rank forecasts of
the true variance correctly even though the realised variance is a noisy measure of it (Patton 2011, Volatility forecast
comparison using imperfect volatility proxies, Journal of Econometrics 160).

Shapes: N origins, P paths, H bars of the horizon.
"""

import numpy as np

from .figures import Figures
from .metrics import NO_ORIGINS, checked, mean_figures

ZERO_FORECAST = "a forecast volatility is zero: QLIKE is infinite"


def _variances(truth: np.ndarray, paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, paths = checked(truth, paths)
    return np.square(truth), np.square(paths).mean(axis=1)


def qlike_loss(truth: np.ndarray, paths: np.ndarray) -> np.ndarray | None:
    """s / f - log(s / f) - 1 for realised variance s and forecast variance f, shape `(N, H)`.

    0 where s is 0, where the logarithm is undefined for every forecast. None if f is 0 where s is not.

    Args:
        truth (`np.ndarray` of shape `(N, H)`), paths (`np.ndarray` of shape `(N, P, H)`): realised volatilities.
    """
    realised, forecast = _variances(truth, paths)
    moved = realised > 0
    if (forecast[moved] <= 0).any():
        return None
    ratio = realised[moved] / forecast[moved]
    loss = np.zeros_like(realised)
    loss[moved] = ratio - np.log(ratio) - 1
    return loss


def variance_loss(truth: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """(s - f)^2 for realised variance s and forecast variance f, shape `(N, H)`."""
    realised, forecast = _variances(truth, paths)
    return np.square(realised - forecast)


def variance_scores(truth: np.ndarray, paths: np.ndarray) -> dict[str, Figures]:
    """`qlike` and `mse` of the variance forecast; QLIKE leaves out origins without any move.

    Args:
        truth (`np.ndarray` of shape `(N, H)`), paths (`np.ndarray` of shape `(N, P, H)`): realised volatilities.
    """
    truth, paths = checked(truth, paths)
    loss, mse = qlike_loss(truth, paths), mean_figures(variance_loss(truth, paths))
    if loss is None:
        return {"qlike": Figures.undefined(truth.shape[1], ZERO_FORECAST), "mse": mse}
    counted = (truth > 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = loss.sum(axis=0) / counted
    still = int((truth[:, -1] == 0).sum()) if len(truth) else 0
    note = f"{still} origins without any move are left out" if still else None
    return {"qlike": Figures.of(means, NO_ORIGINS, note=note), "mse": mse}
