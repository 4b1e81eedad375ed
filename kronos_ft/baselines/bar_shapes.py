"""The shapes of bars, and paths as chains of shapes.

The shape of a bar is the log of its open, high, low and close divided by the previous close. Paths are chains of past
shapes, so low <= open, close <= high holds in each path as it holds in the data.

Shapes: N origins, P paths, H bars of the horizon; arrays of shapes end in 4 values: open, high, low, close.
"""

import numpy as np

from ..data.candles import CandleSeries
from ..scoring.targets import CLOSE

OPEN, HIGH, LOW = range(3)


def bar_shapes(series: CandleSeries, bars: np.ndarray) -> np.ndarray:
    """log(open, high, low, close of a bar / previous close), shape `bars.shape + (4,)`."""
    return np.log(series.values[bars, :4]) - np.log(series.values[bars - 1, CLOSE])[..., None]


def chain_shapes(shapes: np.ndarray, last_close: np.ndarray) -> np.ndarray:
    """Chains shapes to candles.

    Args:
        shapes (`np.ndarray` of shape `(N, P, H, 4)`): from [`bar_shapes`].
        last_close (`np.ndarray` of shape `(N,)`): the close before the first bar.
    """
    closes = np.cumsum(shapes[..., CLOSE], axis=2)
    before = np.concatenate((np.zeros_like(closes[:, :, :1]), closes[:, :, :-1]), axis=2)
    return np.exp(shapes + before[..., None]) * last_close[:, None, None, None]


def drawn_blocks(generator: np.random.Generator, bars: int, num_paths: int, horizon: int, block: int) -> np.ndarray:
    """Indices of past bars in blocks, shape `(P, H)`.

    Blocks are sampled with replacement and wrap around the end, so that all bars are equally likely.
    """
    starts = generator.integers(bars, size=(num_paths, -(-horizon // block), 1))
    return (starts + np.arange(block)).reshape(num_paths, -1)[:, :horizon] % bars


def with_marginals(shapes: np.ndarray, closes: np.ndarray) -> np.ndarray:
    """Shapes whose closes have given marginal distributions and the dependence over time of the given shapes.

    Ensemble copula coupling, here with past paths as the template (Schaake shuffle: Clark et al. 2004, The Schaake
    shuffle, Journal of Hydrometeorology 5): at each bar, the path of rank k gets the k-th smallest value. Gaps between
    close and open are kept, and so are the lengths of both wicks, so each bar stays a valid candle.

    Args:
        shapes (`np.ndarray` of shape `(N, P, H, 4)`): the template.
        closes (`np.ndarray` of shape `(N, P, H)`): values of log(close / last close), in any order along the paths.
    """
    template = np.cumsum(shapes[..., CLOSE], axis=2)
    ranks = np.argsort(np.argsort(template, axis=1, kind="stable"), axis=1)
    coupled = np.take_along_axis(np.sort(closes, axis=1), ranks, axis=1)
    result = shapes.copy()
    result[..., CLOSE] = np.diff(coupled, axis=2, prepend=0.0)
    for wick, outer in ((HIGH, np.maximum), (LOW, np.minimum)):
        length = shapes[..., wick] - outer(shapes[..., OPEN], shapes[..., CLOSE])
        result[..., wick] = outer(result[..., OPEN], result[..., CLOSE]) + length
    return result
