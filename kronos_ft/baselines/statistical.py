"""AutoETS and AutoTheta of the package statsforecast, as reference forecasters (extra `statistical`).

Both are fitted to the log closes of each context, without a season: the log of a price has none that repeats. About 50
ms per origin and forecaster, after a first import of some seconds.

Shapes: N origins, P paths, H bars of the horizon; paths are (N, P, H, 4) in raw units.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from ..data.candles import CandleSeries
from ..scoring.targets import CLOSE
from .bar_shapes import bar_shapes, chain_shapes, drawn_blocks, with_marginals
from .forecaster import check_counts, usable_origins

MODELS = ("AutoETS", "AutoTheta")
LEVEL = 90


def _model(name: str) -> object:
    if name not in MODELS:
        raise ValueError(f"name={name!r} is not a model of statsforecast; use {' or '.join(MODELS)}")
    try:
        from statsforecast import models
    except ImportError as error:
        raise ValueError(f"{name} needs the package statsforecast; pip install 'kronos-ft[statistical]'") from error
    return getattr(models, name)(season_length=1)


@dataclass(frozen=True)
class Statistical:
    """A model of statsforecast; at each horizon a normal distribution with its mean and its 90 % interval.

    The dependence of the paths over time, and the shapes of their bars, are those of blocks of bars of the context.

    Attributes:
        name (`str`): AutoETS or AutoTheta.
        lookback (`int`): number of closes to fit; an origin needs one bar more.
        num_paths (`int`): number of paths and quantiles.
        block (`int`): bars per block.
        seed (`int`): seed of the blocks, together with the origin.

    Raises:
        ValueError: another name, or statsforecast is not installed.
    """

    name: str = "AutoETS"
    lookback: int = 400
    num_paths: int = 100
    block: int = 12
    seed: int = 0

    def __post_init__(self):
        check_counts(lookback=self.lookback, num_paths=self.num_paths, block=self.block)
        _model(self.name)

    def history(self, series: CandleSeries, origins: np.ndarray) -> np.ndarray:
        """Bars needed before each origin, shape `(N,)`."""
        return np.full(len(origins), self.lookback + 1, dtype=np.int64)

    def targets(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> dict[str, np.ndarray]:
        """Quantiles k / (P + 1) of the log return of the close, shape `(N, P, H)`."""
        origins = usable_origins(series, origins, horizon, self.lookback + 1)
        scores = ndtri(np.arange(1, self.num_paths + 1) / (self.num_paths + 1))
        found = np.zeros((len(origins), self.num_paths, horizon))
        for row, origin in enumerate(origins.tolist()):
            closes = np.log(series.values[origin - self.lookback : origin, CLOSE])
            if np.ptp(closes) == 0:
                continue  # a constant price is forecast to stay
            forecast = _model(self.name).forecast(y=closes, h=horizon, level=[LEVEL])
            width = np.asarray(forecast[f"hi-{LEVEL}"]) - np.asarray(forecast[f"lo-{LEVEL}"])
            deviation = width / (2 * ndtri((1 + LEVEL / 100) / 2))
            found[row] = np.asarray(forecast["mean"]) - closes[-1] + deviation * scores[:, None]
        return {"close": found}

    def paths(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Paths of shape `(N, P, H, 4)`, whose closes have the quantiles of `targets`."""
        closes = self.targets(series, origins, horizon)["close"]
        origins = np.asarray(origins, dtype=np.int64)
        shapes = np.empty((*closes.shape, 4))
        for row, origin in enumerate(origins.tolist()):
            generator = np.random.default_rng((self.seed, origin))
            drawn = drawn_blocks(generator, self.lookback, self.num_paths, horizon, self.block)
            past = bar_shapes(series, np.arange(origin - self.lookback, origin))
            shapes[row] = (past - past[:, CLOSE].mean())[drawn]
        return chain_shapes(with_marginals(shapes, closes), series.values[origins - 1, CLOSE])
