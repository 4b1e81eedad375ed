"""The volatility cone: a block bootstrap of the bars of the context.

Shapes: N origins, P paths, H bars of the horizon, L bars of lookback; paths are (N, P, H, 4) in raw units.
"""

from dataclasses import dataclass

import numpy as np

from ..data.candles import CandleSeries
from ..scoring.targets import CLOSE
from .bar_shapes import bar_shapes, chain_shapes, drawn_blocks
from .forecaster import check_counts, usable_origins


@dataclass(frozen=True)
class VolatilityCone:
    """Block bootstrap of past bars without drift: the volatility of the lookback, a mean return of zero.

    The mean return of the lookback is subtracted from every bar: it is mostly noise, and
    [`~kronos_ft.baselines.naive.Drift`] measures it.

    Attributes:
        lookback (`int`): number of past bars to sample from; an origin needs one bar more.
        num_paths (`int`): number of paths.
        block (`int`): bars per block; blocks preserve volatility clusters.
        seed (`int`): seed of the sampling, together with the origin.
    """

    lookback: int = 400
    num_paths: int = 100
    block: int = 12
    seed: int = 0
    name: str = "volatility cone"

    def __post_init__(self):
        check_counts(lookback=self.lookback, num_paths=self.num_paths, block=self.block)

    def history(self, series: CandleSeries, origins: np.ndarray) -> np.ndarray:
        """Bars needed before each origin, shape `(N,)`."""
        return np.full(len(origins), self.lookback + 1, dtype=np.int64)

    def paths(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Paths of shape `(N, P, H, 4)`."""
        origins = usable_origins(series, origins, horizon, self.lookback + 1)
        result = np.empty((len(origins), self.num_paths, horizon, 4))
        for row, origin in enumerate(origins):
            generator = np.random.default_rng((self.seed, int(origin)))
            drawn = drawn_blocks(generator, self.lookback, self.num_paths, horizon, self.block)
            past = bar_shapes(series, np.arange(origin - self.lookback, origin))
            result[row] = (past - past[:, CLOSE].mean())[drawn]
        return chain_shapes(result, series.values[origins - 1, CLOSE])
