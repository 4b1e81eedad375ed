"""GARCH(1, 1) with filtered historical simulation, as a reference forecaster (extra `garch`).

Shapes: N origins, P paths, H bars of the horizon; paths are (N, P, H, 4) in raw units.
"""

from dataclasses import dataclass

import numpy as np

from ..data.candles import CandleSeries
from ..scoring.targets import CLOSE
from .bar_shapes import bar_shapes, chain_shapes
from .forecaster import check_counts, usable_origins


@dataclass(frozen=True)
class Garch:
    """GARCH(1, 1) with filtered historical simulation.

    s_t^2 = omega + alpha r_{t-1}^2 + beta s_{t-1}^2, fitted by `arch` (normal quasi-likelihood, mean 0). Paths sample
    past bars, each divided by its own volatility and multiplied by that of the path, so tails and candle shapes come
    from the market. As in [`~kronos_ft.baselines.bootstrap.VolatilityCone`], the mean return is subtracted.

    Attributes:
        lookback (`int`): number of returns to fit; an origin needs `lookback + refit_every` bars.
        num_paths (`int`): number of paths.
        refit_every (`int`): bars between two fits of the parameters, each on earlier bars; the volatility is updated up
            to the origin.
        seed (`int`): seed of the sampling, together with the origin.

    Raises:
        ValueError: `arch` is not installed.
    """

    lookback: int = 1000
    num_paths: int = 100
    refit_every: int = 100
    seed: int = 0
    name: str = "GARCH(1,1)"

    def __post_init__(self):
        check_counts(lookback=self.lookback, num_paths=self.num_paths, refit_every=self.refit_every)
        _arch_model()

    def history(self, series: CandleSeries, origins: np.ndarray) -> np.ndarray:
        """Bars needed before each origin, shape `(N,)`."""
        return np.full(len(origins), self.lookback + self.refit_every, dtype=np.int64)

    def paths(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Paths of shape `(N, P, H, 4)`."""
        origins = usable_origins(series, origins, horizon, self.lookback + self.refit_every)
        result = np.zeros((len(origins), self.num_paths, horizon, 4))
        fitted: dict[int, tuple[float, float, float]] = {}
        for row, origin in enumerate(origins):
            anchor = int(origin) - int(origin) % self.refit_every
            past = bar_shapes(series, np.arange(anchor - self.lookback, origin))
            returns = past[:, CLOSE]
            if not returns[: self.lookback].any():
                continue  # a constant price has no volatility
            if anchor not in fitted:
                fitted[anchor] = fit_garch(returns[: self.lookback])
            variances = follow_variance(returns, *fitted[anchor])
            generator = np.random.default_rng((self.seed, int(origin)))
            drawn = generator.integers(len(past), size=(self.num_paths, horizon))
            shocks = past / np.sqrt(variances[:-1, None])
            shocks -= shocks[:, CLOSE].mean()
            result[row] = _scaled_shocks(shocks[drawn], variances[-1], fitted[anchor])
        return chain_shapes(result, series.values[origins - 1, CLOSE])


def _arch_model() -> object:
    try:
        from arch import arch_model
    except ImportError as error:
        raise ValueError("the GARCH baseline needs the package arch; pip install 'kronos-ft[garch]'") from error
    return arch_model


def fit_garch(returns: np.ndarray) -> tuple[float, float, float]:
    """Fits omega, alpha, beta to returns, which must not all be 0.

    If the optimiser does not converge, returns 0, 0.06, 0.94 (RiskMetrics).
    """
    scale = float(np.sqrt(np.square(returns).mean()))  # the optimiser needs values near 1
    model = _arch_model()(returns / scale, mean="Zero", vol="GARCH", p=1, q=1, rescale=False)
    fit = model.fit(disp="off", show_warning=False)
    parameters = np.asarray(fit.params, dtype=np.float64)
    if fit.convergence_flag != 0 or not np.isfinite(parameters).all():
        return 0.0, 0.06, 0.94
    omega, alpha, beta = (float(value) for value in parameters)
    return omega * scale**2, alpha, beta


def follow_variance(returns: np.ndarray, omega: float, alpha: float, beta: float) -> np.ndarray:
    """Variance of each bar and of the next one, shape `(L + 1,)`; starts at the mean square."""
    from scipy.signal import lfilter  # slow to import

    squares = np.square(returns)
    driven = np.concatenate((squares.mean(keepdims=True), omega + alpha * squares))
    return lfilter([1.0], [1.0, -beta], driven)


def _scaled_shocks(shocks: np.ndarray, variance: float, parameters: tuple[float, float, float]) -> np.ndarray:
    """Shapes from shocks `(P, H, 4)`: each bar scaled by the volatility that follows from the bars before it."""
    omega, alpha, beta = parameters
    shapes, variances = np.empty_like(shocks), np.full(len(shocks), variance)
    for bar in range(shocks.shape[1]):
        shapes[:, bar] = shocks[:, bar] * np.sqrt(variances)[:, None]
        variances = omega + alpha * np.square(shapes[:, bar, CLOSE]) + beta * variances
    return shapes
