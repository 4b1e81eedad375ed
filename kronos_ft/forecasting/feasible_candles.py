"""Makes forecast bars candles that can exist, and points out the ones that are hard to believe.

Notable:
- A model emits six numbers a bar, each on its own; nothing forces the high above the close. The projection moves the
  high and the low only: open and close are what a forecast is read and scored by, and an error in the high must not
  leak into them.
- Nothing is compared with a tolerance: a maximum returns one of its operands, so the result meets the limits exactly,
  and a candle that meets them already keeps every bit.
- A spike is reported and never altered: it may be the forecast.

Shapes: bars (..., 6) in the order of `FEATURES`; L bars of context.
"""

import numpy as np

from ..data.columns import FEATURES
from ..data.quality import CLOSE, HIGH, LOW, OPEN, VOLUME


def _check_bars(name: str, bars: np.ndarray) -> np.ndarray:
    """The bars as floats, checked for shape and for values that are no numbers."""
    bars = np.asarray(bars)
    if bars.ndim < 1 or bars.shape[-1] != len(FEATURES):
        raise ValueError(f"{name} has shape {bars.shape}; the last axis must hold {', '.join(FEATURES)}")
    if not np.issubdtype(bars.dtype, np.floating):
        bars = bars.astype(np.float64)
    bad = int((~np.isfinite(bars)).any(axis=-1).sum())
    if bad:
        raise ValueError(
            f"{name} holds NaN or infinity in {bad} of {bars[..., 0].size} bars; a candle has six finite values"
        )
    return bars


def project_candles(paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moves each bar to the nearest candle with the same open and close.

    With open o and close c held, the limits low <= min(o, c), high >= max(o, c), volume >= 0, amount >= 0 bind one
    value each, so the nearest point (Euclidean, and in every other norm of the moves) moves each value to its own limit
    or not at all:

        high' = max(high, o, c)    low' = min(low, o, c)    volume' = max(volume, 0)    amount' = max(amount, 0)

    The nearest point with all four prices free would share the move: a high below the close by d would go up by d / 2
    and take the close down by d / 2. The rule high' = max(o, h, l, c), low' = min(o, h, l, c) keeps open and close too,
    but moves more where the low lies above the high, and turns a wrong low into a new high.

    Every price of the result is one of the bar's own prices: positive prices stay positive, and a price that was not
    positive is not made so.

    Args:
        paths (`np.ndarray` of shape `(..., 6)`): bars in the order of `FEATURES`.

    Returns:
        the projected copy, shape `(..., 6)`, and which bars were moved at all, bool of shape `(...)`.

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
    """Marks bars whose prices lie beyond k times the context's range around its last close.

    A bar is a spike when its highest price is above `last_close + k * range` or its lowest price is below
    `last_close - k * range`, where `range` is the highest high minus the lowest low of the whole context. The highest
    and lowest of the four prices are taken, which are high and low in a projected bar, so that a raw bar cannot hide
    its close behind a wrong high. In a context without any range every bar that moves is a spike.

    Args:
        paths (`np.ndarray` of shape `(..., 6)`): forecast bars.
        context (`np.ndarray` of shape `(L, 6)`): the candles before the forecast, L >= 1.
        k (`float`): how many ranges are believable.

    Returns:
        `np.ndarray` of bool, shape `(...)`.

    Raises:
        ValueError: a shape does not fit, a value is NaN or infinite, or k is not positive.
    """
    paths, context = _check_bars("paths", paths), _check_bars("context", context)
    if context.ndim != 2 or not len(context):
        raise ValueError(f"context has shape {context.shape}; it must be (bars, {len(FEATURES)}) with at least 1 bar")
    if not 0 < k < np.inf:
        raise ValueError(f"k={k} must be positive and finite; 3 marks bars three context ranges away")
    reach = k * (context[:, HIGH].max() - context[:, LOW].min())
    last_close = context[-1, CLOSE]
    prices = paths[..., : CLOSE + 1]
    return (prices.max(axis=-1) > last_close + reach) | (prices.min(axis=-1) < last_close - reach)
