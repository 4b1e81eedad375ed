"""Reference distributions that are a scale times quantiles of the training split, and the volatility-scaled cone.

Notable:
- At each horizon and for each target, the forecast distribution is that of target / scale in the training split
  (stride 1, all symbols pooled), times the scale at the origin. The scale is known before the origin.
- Volume does not depend on that scale: its distribution is that of the log ratio in the training split. Only the scaled
  cone forecasts it, since it would be the same for all.
- Paths have these marginals for the close, and the dependence over time of blocks of past bars ([`with_marginals`]).

Shapes: N origins, P paths, H bars of the horizon, F features, 7 targets in the order of `TARGETS`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..data.candles import CandleSeries
from ..scoring.regimes import context_volatility
from ..scoring.targets import BAR_VOLUME, CLOSE, HIGH, LEAST_VOLUME, LOW, TARGETS, usual_volume
from ..windows.splits import too_long_gaps
from .bar_shapes import bar_shapes, chain_shapes, drawn_blocks, with_marginals
from .forecaster import FitPlan, check_counts, usable_origins

LEAST_WINDOWS = 100  # minimum training windows: fewer have no 1 % quantile
SCALED = tuple(name for name in TARGETS if name != "volume")
LEAST_STEP_SHARE = 0.1  # minimum variance of one bar of a path, as a share of the mean over the horizon


def squared_returns(series: CandleSeries) -> np.ndarray:
    """Squared log return of the close at each bar, shape `(bars,)`; 0 at the first bar."""
    return np.square(np.diff(np.log(series.values[:, CLOSE]), prepend=np.log(series.values[:1, CLOSE])))


def training_windows(series: CandleSeries, lookback: int, plan: FitPlan) -> np.ndarray:
    """Origins of all windows of the training split without a long gap, stride 1.

    Args:
        series ([`CandleSeries`]): the training split of one symbol.
        lookback (`int`): bars before an origin.
        plan ([`FitPlan`]): horizon and maximum gap.
    """
    origins = np.arange(lookback, len(series) - plan.horizon + 1)
    gaps = np.cumsum(too_long_gaps(series, plan.max_gap, len(series)))
    return origins[gaps[origins + plan.horizon - 1] == gaps[origins - lookback]] if len(origins) else origins


@dataclass
class ScaledForecaster(ABC):
    """A scale times the quantiles of target / scale in the training split; subclasses define the scale.

    Attributes:
        lookback (`int`): bars of context.
        num_paths (`int`): number of paths, and of quantiles of each target: sample k of P is the quantile k / (P + 1).
        block (`int`): bars per block of the paths' template.
        seed (`int`): seed of the paths, together with the origin.
    """

    lookback: int = 400
    num_paths: int = 100
    block: int = 12
    seed: int = 0
    name: str = "scaled"
    forecasts_volume: ClassVar[bool] = False
    # (6, H, P): quantiles of target / scale, in the order of `SCALED`
    _quantiles: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)
    # (H, P): quantiles of the log ratio of volume; None without volume
    _volumes: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)
    # standardised shapes of past bars by symbol, each (bars, 4)
    _bars: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self):
        check_counts(lookback=self.lookback, num_paths=self.num_paths, block=self.block)
        if self.lookback < 2:
            raise ValueError(f"lookback={self.lookback} has no return; use 2 or more bars")

    @abstractmethod
    def features(self, series: CandleSeries, origins: np.ndarray) -> np.ndarray:
        """Inputs of the scale, shape `(N, F)`, computed from the context alone."""

    def fit_scale(self, features: np.ndarray, volatility: np.ndarray, h: int) -> None:  # noqa: B027 - a hook
        """Fits the scale of h bars on the realised volatility of training windows, shape `(N,)`; nothing by default."""

    @abstractmethod
    def scale(self, features: np.ndarray, h: int) -> np.ndarray:
        """The scale of h bars, shape `(N,)`; 0 for a context without any move."""

    def history(self, series: CandleSeries, origins: np.ndarray) -> np.ndarray:
        """Bars needed before each origin, shape `(N,)`."""
        return np.full(len(origins), self.lookback, dtype=np.int64)

    def fit(self, series: Sequence[CandleSeries], plan: FitPlan) -> None:
        """Fits the quantiles of every target on the training split.

        Args:
            series (`Sequence` of [`CandleSeries`]): the training split of each symbol.
            plan ([`FitPlan`]): the horizon, and the maximum gap inside a window.

        Raises:
            ValueError: too few windows.
        """
        windows = [training_windows(one, self.lookback, plan) for one in series]
        number = sum(map(len, windows))
        if number < LEAST_WINDOWS:
            raise ValueError(
                f"the training split has {number} windows of {self.lookback} + {plan.horizon} bars without a long gap; "
                f"{self.name} needs {LEAST_WINDOWS}; use more data or a shorter lookback"
            )
        features = np.concatenate([self.features(*pair) for pair in zip(series, windows, strict=True)])
        prices = [np.log(one.values[:, :4]) for one in series]
        squares = [np.cumsum(squared_returns(one)) for one in series]
        quantiles = np.empty((len(SCALED), plan.horizon, self.num_paths))
        highest, lowest = np.full(number, -np.inf), np.full(number, np.inf)
        levels = np.arange(1, self.num_paths + 1) / (self.num_paths + 1)
        for h in range(1, plan.horizon + 1):
            spans = list(zip(squares, windows, strict=True))
            volatility = np.concatenate(
                [np.sqrt(np.maximum(total[o + h - 1] - total[o - 1], 0.0)) for total, o in spans]
            )
            self.fit_scale(features, volatility, h)
            scale = self.scale(features, h)
            moved = scale > 0
            if not moved.any():
                raise ValueError(f"the prices of the training split do not change; {self.name} needs changing prices")
            pairs = list(zip(prices, windows, strict=True))
            highest = np.maximum(highest, np.concatenate([log[o + h - 1, HIGH] for log, o in pairs]))
            lowest = np.minimum(lowest, np.concatenate([log[o + h - 1, LOW] for log, o in pairs]))
            known = {"volatility": volatility, "range": highest - lowest}
            for position, target in enumerate(SCALED):
                values = known.get(target)
                if values is None:
                    values = np.concatenate([log[o + h - 1, position] - log[o - 1, CLOSE] for log, o in pairs])
                ratios = values[moved] / scale[moved]
                quantiles[position, h - 1] = np.quantile(ratios, levels, method="weibull")
        self._quantiles = quantiles
        self._volumes = self._fitted_volumes(series, windows, levels, plan.horizon) if self.forecasts_volume else None
        self._bars = {one.symbol: bars for one in series if len(bars := self._standardised(one, plan))}

    def _fitted_volumes(
        self, series: Sequence[CandleSeries], windows: Sequence[np.ndarray], levels: np.ndarray, horizon: int
    ) -> np.ndarray | None:
        """Quantiles of the log ratio of volume, shape `(H, P)`; None with too few windows that have volume."""
        usual = [usual_volume(*pair, self.lookback) for pair in zip(series, windows, strict=True)]
        kept = [o[mean > 0] for o, mean in zip(windows, usual, strict=True)]
        usual = np.concatenate(usual)
        usual = usual[usual > 0]
        if len(usual) < LEAST_WINDOWS:
            return None
        total, found = np.zeros(len(usual)), np.empty((horizon, len(levels)))
        for h in range(1, horizon + 1):
            pairs = zip(series, kept, strict=True)
            total += np.concatenate([one.values[o + h - 1, BAR_VOLUME] for one, o in pairs])
            ratios = np.log(np.maximum(total / (h * usual), LEAST_VOLUME))
            found[h - 1] = np.quantile(ratios, levels, method="weibull")
        return found

    def _standardised(self, series: CandleSeries, plan: FitPlan) -> np.ndarray:
        """Shapes of the training bars, each divided by the scale of one bar before it; mean 0 and variance 1."""
        bars = np.arange(self.lookback, len(series))
        bars = bars[~too_long_gaps(series, plan.max_gap, len(series))[bars]]
        scale = self.scale(self.features(series, bars), 1)
        shapes = bar_shapes(series, bars[scale > 0]) / scale[scale > 0, None]
        if not len(shapes):
            return shapes
        shapes -= shapes[:, CLOSE].mean()
        deviation = shapes[:, CLOSE].std()
        return shapes / deviation if deviation > 0 else shapes[:0]

    def _scales(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> np.ndarray:
        """The scale of each horizon, shape `(N, H)`, after checks."""
        if self._quantiles is None:
            raise ValueError(f"{self.name} is not fitted; call fit with the training split first")
        longest = self._quantiles.shape[1]
        if horizon > longest:
            raise ValueError(f"horizon={horizon} is beyond the {longest} bars that {self.name} was fitted for")
        features = self.features(series, origins)
        return np.stack([self.scale(features, h) for h in range(1, horizon + 1)], axis=1)

    def targets(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> dict[str, np.ndarray]:
        """Samples of every target, each of shape `(N, P, H)`: its quantiles k / (P + 1), increasing along P.

        Raises:
            ValueError: not fitted, a longer horizon than fitted, or an origin without enough bars.
        """
        origins = usable_origins(series, origins, horizon, self.lookback)
        scales = self._scales(series, origins, horizon)
        tables = self._quantiles[:, :horizon].transpose(0, 2, 1)
        found = {target: table * scales[:, None] for target, table in zip(SCALED, tables, strict=True)}
        if self._volumes is not None:
            found["volume"] = np.broadcast_to(self._volumes[:horizon].T, found["close"].shape)
        return found

    def paths(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Paths of shape `(N, P, H, 4)`, whose closes have the quantiles of `targets`.

        Raises:
            ValueError: not fitted, a longer horizon than fitted, or an origin without enough bars.
        """
        origins = usable_origins(series, origins, horizon, self.lookback)
        scales = self._scales(series, origins, horizon)
        variances = np.diff(np.square(scales), axis=1, prepend=0.0)
        mean = np.square(scales[:, -1:]) / horizon
        steps = np.sqrt(np.maximum(variances, LEAST_STEP_SHARE * mean))
        shapes = np.zeros((len(origins), self.num_paths, horizon, 4))
        bars = self._bars.get(series.symbol)
        if bars is None:
            bars = np.concatenate(list(self._bars.values()))
        for row, origin in enumerate(origins.tolist()):
            generator = np.random.default_rng((self.seed, origin))
            drawn = drawn_blocks(generator, len(bars), self.num_paths, horizon, self.block)
            shapes[row] = bars[drawn] * steps[row, :, None]
        closes = self._quantiles[CLOSE, :horizon].T * scales[:, None]
        return chain_shapes(with_marginals(shapes, closes), series.values[origins - 1, CLOSE])


@dataclass
class ScaledCone(ScaledForecaster):
    """Empirical quantiles of standardised returns, times the context's volatility and the root of the horizon.

    The volatility is the root mean square of the close-to-close log returns of the lookback.
    """

    name: str = "scaled cone"
    forecasts_volume: ClassVar[bool] = True

    def features(self, series: CandleSeries, origins: np.ndarray) -> np.ndarray:
        """Volatility of the context, shape `(N, 1)`."""
        return context_volatility(series, origins, self.lookback)[:, None]

    def scale(self, features: np.ndarray, h: int) -> np.ndarray:
        """Volatility times sqrt(h), shape `(N,)`."""
        return features[:, 0] * np.sqrt(h)
