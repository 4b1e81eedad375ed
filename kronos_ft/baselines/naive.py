"""Naive forecasters: the baselines of an evaluation.

Each has a `name` and `paths(series, origins, horizon)`, uses only bars before the origin, and forecasts each origin
independently of the others. Point forecasters return one path.

The shape of a bar is the log of its open, high, low and close divided by the previous close. Paths are chains of past
shapes, so low <= open, close <= high holds in each path as it holds in the data.

Shapes: N origins, P paths, H bars of the horizon, L bars of lookback; paths are (N, P, H, 4) in raw units.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..data.candles import CandleSeries
from ..data.rhythm import rhythm_before
from ..scoring.targets import CLOSE, check_origins

DAY_SECONDS = 86_400
YEAR_DAYS = 365.25


class Forecaster(Protocol):
    """Interface of a forecaster.

    A forecaster that needs more than one bar before an origin also has a method `history(series, origins)`, which
    returns the number of bars needed before each origin, shape `(N,)`. An evaluation calls it before any forecast.

    Attributes:
        name (`str`): shown in tables.
    """

    name: str

    def paths(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Forecasts open, high, low and close in raw units, shape `(N, P, H, 4)`, from bars before each origin."""
        ...


def history_needed(forecaster: Forecaster, series: CandleSeries, origins: np.ndarray) -> np.ndarray:
    """Bars that a forecaster needs before each origin, shape `(N,)`; 1 by default."""
    history = getattr(forecaster, "history", None)
    return np.ones(len(origins), dtype=np.int64) if history is None else history(series, origins)


def usable_origins(series: CandleSeries, origins: np.ndarray, horizon: int, history: int) -> np.ndarray:
    """Validates the horizon and that each origin has `history` bars before it; returns origins as int64."""
    if horizon < 1:
        raise ValueError(f"horizon={horizon} is below 1; use 1 or more")
    return check_origins(series, origins, history)


def check_counts(**settings: int) -> None:
    """Raises ValueError for the first setting that is not a positive whole number."""
    for name, value in settings.items():
        if int(value) != value or value < 1:
            raise ValueError(f"{name}={value} must be a whole number, 1 or more")


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


@dataclass(frozen=True)
class Persistence:
    """Every price of every bar is the last known close."""

    name: str = "persistence"

    def paths(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Paths of shape `(N, 1, H, 4)`."""
        origins = usable_origins(series, origins, horizon, 1)
        last = series.values[origins - 1, CLOSE]
        return np.broadcast_to(last[:, None, None, None], (len(origins), 1, horizon, 4)).copy()


@dataclass(frozen=True)
class Drift:
    """Continues the mean log return of the lookback; each bar opens at the previous close.

    Attributes:
        lookback (`int`): number of returns to average; an origin needs one bar more.
    """

    lookback: int = 400
    name: str = "drift"

    def __post_init__(self):
        check_counts(lookback=self.lookback)

    def history(self, series: CandleSeries, origins: np.ndarray) -> np.ndarray:
        """Bars needed before each origin, shape `(N,)`."""
        return np.full(len(origins), self.lookback + 1, dtype=np.int64)

    def paths(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Paths of shape `(N, 1, H, 4)`."""
        origins = usable_origins(series, origins, horizon, self.lookback + 1)
        last = series.values[origins - 1, CLOSE]
        slope = (np.log(last) - np.log(series.values[origins - 1 - self.lookback, CLOSE])) / self.lookback
        shapes = np.zeros((len(origins), 1, horizon, 4))
        shapes[..., 1] = np.maximum(slope, 0)[:, None, None]
        shapes[..., 2] = np.minimum(slope, 0)[:, None, None]
        shapes[..., CLOSE] = slope[:, None, None]
        return chain_shapes(shapes, last)


def season_bars(series: CandleSeries, origin: int) -> int:
    """Bars per season: a day for intraday bars, a week for daily bars, a year for longer bars.

    In a session market, a day is the median number of bars per day (UTC) before the origin, and a week has five days.
    Step and market are inferred only from the bars before the origin.

    Raises:
        ValueError: fewer than 2 bars before the origin.
    """
    step, market = rhythm_before(series.timestamps, origin)
    session = market == "session"
    if step > DAY_SECONDS:
        return max(round(YEAR_DAYS * DAY_SECONDS / step), 1)
    if step > DAY_SECONDS / 2:
        return 5 if session else 7
    if not session:
        return round(DAY_SECONDS / step)
    _, counts = np.unique(series.timestamps[:origin].astype("datetime64[D]"), return_counts=True)
    return max(int(np.median(counts)), 1)


@dataclass(frozen=True)
class SeasonalNaive:
    """Repeats the bar shapes (log changes, not prices) of one season ago.

    The prices of a day ago would be a poor forecast of a random walk; the changes contain what is seasonal in a market:
    the hours in which it moves. A horizon longer than one season repeats it.

    Attributes:
        season (`int`, *optional*): bars per season; inferred from the data if None ([`season_bars`]).
    """

    season: int | None = None
    name: str = "seasonal naive"

    def __post_init__(self):
        if self.season is not None:
            check_counts(season=self.season)

    def history(self, series: CandleSeries, origins: np.ndarray) -> np.ndarray:
        """Bars needed before each origin, shape `(N,)`."""
        return np.array([self.season or season_bars(series, origin) for origin in origins], dtype=np.int64) + 1

    def paths(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Paths of shape `(N, 1, H, 4)`."""
        origins = usable_origins(series, origins, horizon, 2)
        seasons = self.history(series, origins) - 1
        if len(origins):
            scarce = (origins - seasons).argmin()
            usable_origins(series, origins[[scarce]], horizon, int(seasons[scarce]) + 1)
        bars = origins[:, None] - seasons[:, None] + np.arange(horizon) % seasons[:, None]
        return chain_shapes(bar_shapes(series, bars)[:, None], series.values[origins - 1, CLOSE])


@dataclass(frozen=True)
class VolatilityCone:
    """Block bootstrap of past bars without drift: the volatility of the lookback, a mean return of zero.

    Blocks are sampled with replacement and wrap around the end of the lookback, so that all its bars are equally
    likely. The mean return of the lookback is subtracted from every bar: it is mostly noise, and [`Drift`] measures it.

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
        blocks = -(-horizon // self.block)
        for row, origin in enumerate(origins):
            generator = np.random.default_rng((self.seed, int(origin)))
            starts = generator.integers(self.lookback, size=(self.num_paths, blocks, 1))
            drawn = (starts + np.arange(self.block)).reshape(self.num_paths, -1)[:, :horizon] % self.lookback
            past = bar_shapes(series, np.arange(origin - self.lookback, origin))
            result[row] = (past - past[:, CLOSE].mean())[drawn]
        return chain_shapes(result, series.values[origins - 1, CLOSE])


@dataclass(frozen=True)
class Garch:
    """GARCH(1, 1) with filtered historical simulation.

    s_t^2 = omega + alpha r_{t-1}^2 + beta s_{t-1}^2, fitted by `arch` (normal quasi-likelihood, mean 0). Paths sample
    past bars, each divided by its own volatility and multiplied by that of the path, so tails and candle shapes come
    from the market. As in [`VolatilityCone`], the mean return is subtracted.

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
