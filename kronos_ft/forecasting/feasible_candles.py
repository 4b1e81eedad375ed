"""Corrects forecast bars that are not valid candles, and marks implausible ones.

Notable:
- A model predicts the six values of a bar independently; the high may be below the close. The projection changes only
  high, low, volume and amount. Open and close, by which forecasts are scored, stay.
- No tolerances: the result satisfies the constraints exactly, and a valid candle stays bit-identical.
- A spike is reported and never changed: it may be a correct forecast.

Shapes: bars (..., 6) in the order of `FEATURES`; L bars of context.
"""

import numpy as np

from ..data.columns import FEATURES
from ..data.quality import CLOSE, HIGH, LOW, OPEN, VOLUME


def _check_bars(name: str, bars: np.ndarray) -> np.ndarray:
    """Converts bars to floats; rejects wrong shapes and non-finite values."""
    bars = np.asarray(bars)
    if bars.ndim < 1 or bars.shape[-1] != len(FEATURES):
        raise ValueError(f"{name} has shape {bars.shape}; the last axis must contain {', '.join(FEATURES)}")
    if not np.issubdtype(bars.dtype, np.floating):
        bars = bars.astype(np.float64)
    bad = int((~np.isfinite(bars)).any(axis=-1).sum())
    if bad:
        raise ValueError(
            f"{name} contains NaN or infinity in {bad} of {bars[..., 0].size} bars; pass bars with six finite values"
        )
    return bars


def project_candles(paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Projects each bar onto the nearest valid candle with the same open and close.

    For fixed open o and close c, each constraint low <= min(o, c), high >= max(o, c), volume >= 0, amount >= 0 concerns
    one value. The nearest valid candle therefore clips each value separately:

        high' = max(high, o, c)    low' = min(low, o, c)    volume' = max(volume, 0)    amount' = max(amount, 0)

    Two alternatives are worse. If open and close were free as well, a high that is below the close by d would move up
    by d / 2 and pull the close down by d / 2. The rule high' = max(o, h, l, c), low' = min(o, h, l, c) changes more if
    low > high, and turns a wrong low into a new high.

    Each price of the result is a price of the input bar: positive prices stay positive, non-positive ones are not
    corrected.

    Args:
        paths (`np.ndarray` of shape `(..., 6)`): bars in the order of `FEATURES`.

    Returns:
        the projected copy, shape `(..., 6)`, and a bool mask of the changed bars, shape `(...)`.

    Raises:
        ValueError: the last axis is not 6 long, or a value is NaN or infinite.
    """
    paths = _check_bars("paths", paths)
    projected = paths.copy()
    top, bottom = (extreme(paths[..., OPEN], paths[..., CLOSE]) for extreme in (np.maximum, np.minimum))
    # where, not maximum: equal values and -0.0 keep their bits
    projected[..., HIGH] = np.where(paths[..., HIGH] < top, top, paths[..., HIGH])
    projected[..., LOW] = np.where(paths[..., LOW] > bottom, bottom, paths[..., LOW])
    projected[..., VOLUME:] = np.where(paths[..., VOLUME:] < 0, 0, paths[..., VOLUME:])
    return projected, (projected != paths).any(axis=-1)


def spikes(paths: np.ndarray, context: np.ndarray, k: float = 3.0) -> np.ndarray:
    """Marks bars with prices more than k context ranges away from the last close.

    A bar is a spike if its highest price is above `last_close + k * range` or its lowest price is below
    `last_close - k * range`, where `range` is the highest high minus the lowest low of the context. The highest and
    lowest of all four prices are used, because the high of a raw bar may be below its close.

    Args:
        paths (`np.ndarray` of shape `(..., 6)`): forecast bars.
        context (`np.ndarray` of shape `(L, 6)`): the candles before the forecast, L >= 1.
        k (`float`): maximum plausible distance, in context ranges.

    Returns:
        `np.ndarray` of bool, shape `(...)`.

    Raises:
        ValueError: a wrong shape, a NaN or infinite value, or a non-positive k.
    """
    paths, context = _check_bars("paths", paths), _check_bars("context", context)
    if context.ndim != 2 or not len(context):
        raise ValueError(f"context has shape {context.shape}; it must be (bars, {len(FEATURES)}) with at least 1 bar")
    if not 0 < k < np.inf:
        raise ValueError(f"k={k} must be positive and finite; use e.g. 3")
    reach = k * (context[:, HIGH].max() - context[:, LOW].min())
    last_close = context[-1, CLOSE]
    prices = paths[..., : CLOSE + 1]
    return (prices.max(axis=-1) > last_close + reach) | (prices.min(axis=-1) < last_close - reach)
