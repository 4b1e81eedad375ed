"""The targets of scoring: log returns of open, high, low and close, realised volatility, range, and volume.

Log returns against the last known close are comparable between an asset priced at 60,000 and one priced at 0.6, so the
origins of several symbols can be pooled. So is volume, as a log ratio to the mean volume of the lookback; it is NaN
where there is none.

An origin is the index of the first bar to forecast; the last known close is the close of the bar before it.

Shapes: N origins, P paths, H bars of the horizon, L bars of lookback, 7 targets in the order of `TARGETS`.
"""

import numpy as np

from ..data.candles import CandleSeries

TARGETS = ("open", "high", "low", "close", "volatility", "range", "volume")
HIGH, LOW, CLOSE, VOLATILITY, RANGE, VOLUME = 1, 2, 3, 4, 5, 6
BAR_VOLUME = 4  # column of a bar: open, high, low, close, volume
LEAST_VOLUME = 1e-3  # a forecast volume is at least this share of that of the lookback, as for the quantile head
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


def usual_volume(series: CandleSeries, origins: np.ndarray, lookback: int) -> np.ndarray:
    """Mean volume of the `lookback` bars before each origin, shape `(N,)`."""
    found = np.empty(len(origins))
    size = max(BLOCK_BARS // lookback, 1)
    for start in range(0, len(origins), size):
        bars = origins[start : start + size, None] - np.arange(1, lookback + 1)
        found[start : start + size] = series.values[bars, BAR_VOLUME].mean(axis=1)
    return found


def log_volume(volumes: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """log(mean volume of the next h bars / usual volume), of the shape of `volumes`.

    Args:
        volumes (`np.ndarray` of shape `(N, ..., H)`): volume of each bar from the origins on.
        usual (`np.ndarray` of shape `(N,)`): from [`usual_volume`].

    Returns:
        `np.ndarray` of float64: -inf where the volume is 0, NaN where the usual volume is not above 0.
    """
    usual = np.where(usual > 0, usual, np.nan).reshape(-1, *[1] * (volumes.ndim - 1))
    means = np.cumsum(volumes, axis=-1) / np.arange(1, volumes.shape[-1] + 1)
    with np.errstate(divide="ignore"):
        return np.log(means / usual)


def path_targets(paths: np.ndarray, last_close: np.ndarray, usual: np.ndarray | None = None) -> np.ndarray:
    """Targets of forecast paths.

    The first four are log(x[o + h] / close[o - 1]). Volatility at h is sqrt(sum_{i <= h} r_i^2), where r_i are the
    log returns from close to close, the first of them from the last known close. The range at h is
    log(max_{i <= h} high_i / min_{i <= h} low_i). Volume at h is that of [`log_volume`], at least log(0.001).

    Args:
        paths (`np.ndarray` of shape `(N, P, H, 4)`): open, high, low, close in raw units; or `(N, P, H, 5 or 6)`, with
            volume (and amount).
        last_close (`np.ndarray` of shape `(N,)`): close of the bar before each origin.
        usual (`np.ndarray` of shape `(N,)`, *optional*): mean volume of the lookback ([`usual_volume`]).

    Returns:
        `np.ndarray` of float64, shape `(N, P, H, 7)`; volume is NaN without volumes, or without a usual volume above 0.

    Raises:
        ValueError: inconsistent shapes, a horizon of 0, prices that are not positive, or volumes below 0.
    """
    paths = np.asarray(paths, dtype=np.float64)
    last = np.asarray(last_close, dtype=np.float64)
    if paths.ndim != 4 or paths.shape[3] not in (4, 5, 6) or last.shape != paths.shape[:1]:
        raise ValueError(
            f"paths of shape {paths.shape} and last_close of shape {last.shape} must be (origins, paths, horizon, 4) "
            "and (origins,)"
        )
    if paths.shape[2] < 1:
        raise ValueError("horizon=0 is below 1; use 1 or more")
    bars = paths[..., :BAR_VOLUME]
    for name, prices in (("paths", bars), ("last_close", last)):
        bad = ~(np.isfinite(prices) & (prices > 0))
        if bad.any():
            raise ValueError(
                f"{name} has {int(bad.sum())} prices that are not positive (the first is {prices[bad][0]:g}); log "
                "returns need positive prices"
            )
    logs = np.log(bars)
    found = np.full((*paths.shape[:3], len(TARGETS)), np.nan)
    found[..., :BAR_VOLUME] = logs - np.log(last)[:, None, None, None]
    steps = np.diff(found[..., CLOSE], axis=2, prepend=0.0)
    found[..., VOLATILITY] = np.sqrt(np.cumsum(np.square(steps), axis=2))
    highest, lowest = np.maximum.accumulate(logs[..., HIGH], axis=2), np.minimum.accumulate(logs[..., LOW], axis=2)
    found[..., RANGE] = highest - lowest
    if usual is not None and paths.shape[3] > BAR_VOLUME:
        volumes = paths[..., BAR_VOLUME]
        bad = ~(np.isfinite(volumes) & (volumes >= 0))
        if bad.any():
            raise ValueError(
                f"paths has {int(bad.sum())} volumes that are negative or not finite (the first is "
                f"{volumes[bad][0]:g}); leave the column out if volume is not forecast"
            )
        found[..., VOLUME] = np.maximum(log_volume(volumes, usual), np.log(LEAST_VOLUME))
    return found


def true_targets(series: CandleSeries, origins: np.ndarray, horizon: int, lookback: int | None = None) -> np.ndarray:
    """The true targets.

    Args:
        series ([`CandleSeries`]): one symbol's candles.
        origins (`np.ndarray` of integers, shape `(N,)`): indices of the first bars to forecast.
        horizon (`int`): bars to score.
        lookback (`int`, *optional*): bars before each origin, whose mean volume is the unit of volume.

    Returns:
        `np.ndarray` of float64, shape `(N, H, 7)`. Volume is NaN without a lookback, and where its logarithm is
        undefined: no volume in the lookback, or in all of the first bars.

    Raises:
        ValueError: a horizon below 1, or an origin without a bar (or `lookback` bars) before it or `horizon` bars from
            it on.
    """
    if horizon < 1:
        raise ValueError(f"horizon={horizon} is below 1; use 1 or more")
    origins = check_origins(series, origins, lookback or 1, horizon)
    bars = origins[:, None] + np.arange(horizon)
    found = path_targets(series.values[bars, :BAR_VOLUME][:, None], series.values[origins - 1, CLOSE])[:, 0]
    if lookback is not None:
        volume = log_volume(series.values[bars, BAR_VOLUME], usual_volume(series, origins, lookback))
        found[..., VOLUME] = np.where(np.isfinite(volume), volume, np.nan)
    return found


def naive_scale(series: CandleSeries, bounds: tuple[int, int], horizon: int, lookback: int | None = None) -> np.ndarray:
    """Mean absolute error of the naive forecast on the training split: the denominator of MASE in [`point_errors`].

    The naive forecast is the last close; the volatility and the range of the last h bars for the next h; the mean
    volume of the lookback. Row h is the error h + 1 bars ahead, so at every horizon a MASE of 1 equals the naive
    forecast in training. Row 0 is the classical one-step scale; `scale[:1]` applies it to all horizons.

    Args:
        bounds (`tuple` of two `int`): first and last (excluded) bar of the training split.
        horizon (`int`): bars to score.
        lookback (`int`, *optional*): as of [`true_targets`].

    Returns:
        `np.ndarray` of float64, shape `(H, 7)`; NaN for volume if no origin of the training split defines it.

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
    total, counts = np.zeros((horizon, len(TARGETS))), np.zeros((horizon, len(TARGETS)))
    size = max(BLOCK_BARS // horizon, 1)
    for start in range(0, len(everything), size):
        origins = everything[start : start + size]
        errors = np.abs(true_targets(series, origins, horizon))
        before = origins[:, None] - np.arange(horizon + 1) - 1
        closes = np.log(series.values[before, CLOSE])
        past = np.sqrt(np.cumsum(np.square(np.diff(closes, axis=1)), axis=1))
        errors[..., VOLATILITY] = np.abs(errors[..., VOLATILITY] - past)
        high, low = (np.log(series.values[before[:, :-1], column]) for column in (HIGH, LOW))
        past = np.maximum.accumulate(high, axis=1) - np.minimum.accumulate(low, axis=1)
        errors[..., RANGE] = np.abs(errors[..., RANGE] - past)
        if lookback is not None and (enough := origins - lookback >= first).any():
            errors[enough, :, VOLUME] = np.abs(true_targets(series, origins[enough], horizon, lookback)[..., VOLUME])
        known = np.isfinite(errors)
        total += np.where(known, errors, 0.0).sum(axis=0)
        counts += known.sum(axis=0)
    return np.divide(total, counts, out=np.full_like(total, np.nan), where=counts > 0)
