"""The targets of scoring: log returns of open, high, low and close, and realised volatility.

Log returns against the last known close are comparable between an asset priced at 60,000 and one priced at 0.6, so the
origins of several symbols can be pooled.

An origin is the index of the first bar to forecast; the last known close is the close of the bar before it.

Shapes: N origins, P paths, H bars of the horizon, 5 targets in the order of `TARGETS`.
"""

import numpy as np

from ..data.candles import CandleSeries

TARGETS = ("open", "high", "low", "close", "volatility")
CLOSE = 3
BLOCK_BARS = 1 << 16  # bars (of all horizons) per block: a training split may have millions


def check_origins(series: CandleSeries, origins: np.ndarray, history: int = 1, future: int = 0) -> np.ndarray:
    """Validates that each origin has enough bars before and after it; returns origins as int64.

    Args:
        origins (`np.ndarray` of integers, shape `(N,)`): indices of the first bars to forecast.
        history (`int`): bars needed before an origin.
        future (`int`): bars needed from the origin on.

    Raises:
        ValueError: an origin is not an index, or has too few bars.
    """
    found = np.asarray(origins)
    if found.ndim != 1 or not (np.issubdtype(found.dtype, np.integer) or found.size == 0):
        raise ValueError(
            f"origins of shape {found.shape} and type {found.dtype} must be a 1-dimensional array of bar indices"
        )
    found = found.astype(np.int64)
    for origin in found[(found < history) | (found > len(series) - future)][:1]:
        raise ValueError(
            f"origin {origin} of {series.symbol} needs {history} bars before it and {future} after, but there are "
            f"{len(series)} bars; use origins {history} to {len(series) - future}"
        )
    return found


def path_targets(paths: np.ndarray, last_close: np.ndarray) -> np.ndarray:
    """Targets of forecast paths.

    The first four are log(x[o + h] / close[o - 1]). Volatility at h is sqrt(sum_{i <= h} r_i^2), where r_i are the
    log returns from close to close, the first of them from the last known close.

    Args:
        paths (`np.ndarray` of shape `(N, P, H, 4)`): open, high, low, close in raw units.
        last_close (`np.ndarray` of shape `(N,)`): close of the bar before each origin.

    Returns:
        `np.ndarray` of float64, shape `(N, P, H, 5)`.

    Raises:
        ValueError: inconsistent shapes, a horizon of 0, or prices that are not positive.
    """
    paths = np.asarray(paths, dtype=np.float64)
    last = np.asarray(last_close, dtype=np.float64)
    if paths.ndim != 4 or paths.shape[3] != 4 or last.shape != paths.shape[:1]:
        raise ValueError(
            f"paths of shape {paths.shape} and last_close of shape {last.shape} must be (origins, paths, horizon, 4) "
            "and (origins,)"
        )
    if paths.shape[2] < 1:
        raise ValueError("horizon=0 is below 1; use 1 or more")
    for name, prices in (("paths", paths), ("last_close", last)):
        bad = ~(np.isfinite(prices) & (prices > 0))
        if bad.any():
            raise ValueError(
                f"{name} has {int(bad.sum())} prices that are not positive (the first is {prices[bad][0]:g}); log "
                "returns need positive prices"
            )
    returns = np.log(paths) - np.log(last)[:, None, None, None]
    steps = np.diff(returns[..., CLOSE], axis=2, prepend=0.0)
    volatility = np.sqrt(np.cumsum(np.square(steps), axis=2))
    return np.concatenate((returns, volatility[..., None]), axis=3)


def true_targets(series: CandleSeries, origins: np.ndarray, horizon: int) -> np.ndarray:
    """The true targets.

    Args:
        series ([`CandleSeries`]): one symbol's candles.
        origins (`np.ndarray` of integers, shape `(N,)`): indices of the first bars to forecast.
        horizon (`int`): bars to score.

    Returns:
        `np.ndarray` of float64, shape `(N, H, 5)`.

    Raises:
        ValueError: a horizon below 1, or an origin without a bar before it or `horizon` bars from it on.
    """
    if horizon < 1:
        raise ValueError(f"horizon={horizon} is below 1; use 1 or more")
    origins = check_origins(series, origins, 1, horizon)
    bars = origins[:, None] + np.arange(horizon)
    return path_targets(series.values[bars, :4][:, None], series.values[origins - 1, CLOSE])[:, 0]


def naive_scale(series: CandleSeries, bounds: tuple[int, int], horizon: int) -> np.ndarray:
    """Mean absolute error of the naive forecast on the training split: the denominator of MASE in [`point_errors`].

    The naive forecast is the last close, and the volatility of the last h bars for the next h. Row h is the error h + 1
    bars ahead, so at every horizon a MASE of 1 equals the naive forecast in training. Row 0 is the classical one-step
    scale; `scale[:1]` applies it to all horizons.

    Args:
        bounds (`tuple` of two `int`): first and last (excluded) bar of the training split.
        horizon (`int`): bars to score.

    Returns:
        `np.ndarray` of float64, shape `(H, 5)`.

    Raises:
        ValueError: the split is too short for one forecast.
    """
    first, end = bounds
    if horizon < 1 or end - first < 2 * horizon + 1:
        raise ValueError(
            f"the scale of MASE needs horizon >= 1 and a training split of 2 x horizon + 1 bars, got horizon={horizon} "
            f"and {end - first} bars; use more data or a shorter horizon"
        )
    everything = np.arange(first + horizon + 1, end - horizon + 1)
    total = np.zeros((horizon, len(TARGETS)))
    size = max(BLOCK_BARS // horizon, 1)
    for start in range(0, len(everything), size):
        origins = everything[start : start + size]
        future = true_targets(series, origins, horizon)
        closes = np.log(series.values[origins[:, None] - np.arange(horizon + 1) - 1, CLOSE])
        before = np.sqrt(np.cumsum(np.square(np.diff(closes, axis=1)), axis=1))
        errors = np.abs(future)
        errors[..., -1] = np.abs(future[..., -1] - before)
        total += errors.sum(axis=0)
    return total / len(everything)
