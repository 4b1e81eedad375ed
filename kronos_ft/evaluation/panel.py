"""The pooled origins of all symbols in one split, with their true targets and times.

Shapes: N origins (of all symbols), P paths, H horizon, 5 targets in the order of `TARGETS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..baselines.forecaster import Forecaster
from ..data.candles import CandleSeries
from ..scoring.scores import OriginTimes
from ..scoring.targets import CLOSE, TARGETS, path_targets, true_targets
from .origins import Origins, plan_origins
from .settings import OriginPlan


@dataclass(frozen=True)
class Panel:
    """The pooled origins of all symbols in one split.

    Attributes:
        series (`list` of [`CandleSeries`]), origins (`list` of [`Origins`]): one per symbol.
        horizon (`int`): bars to forecast.
        truth (`np.ndarray` of shape `(N, H, 5)`): true targets.
    """

    series: list[CandleSeries]
    origins: list[Origins]
    horizon: int
    truth: np.ndarray

    @classmethod
    def build(cls, series: list[CandleSeries], split: str, plan: OriginPlan) -> "Panel":
        """The origins of a split with their true targets.

        Raises:
            ValueError: the test split contains no origin.
        """
        return cls.of(series, plan_origins(series, split, plan), plan.horizon)

    @classmethod
    def of(cls, series: list[CandleSeries], origins: list[Origins], horizon: int) -> "Panel":
        """The given origins with their true targets."""
        truths = [true_targets(one, found.indices, horizon) for one, found in zip(series, origins, strict=True)]
        return cls(series, origins, horizon, np.concatenate(truths))

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def rows(self) -> list[slice]:
        """The rows of each symbol's origins."""
        ends = np.cumsum([0, *map(len, self.origins)]).tolist()
        return [slice(ends[i], ends[i + 1]) for i in range(len(self.series))]

    def known_before(self, other: "Panel") -> list[np.ndarray]:
        """For each symbol of `other`: mask `(N,)` of the origins here whose horizon ends before its first origin."""
        last = self.horizon - 1
        pairs = list(zip(self.series, self.origins, strict=True))
        ends = np.concatenate([one.timestamps[found.indices + last] for one, found in pairs])
        return [
            ends < one.timestamps[found.indices[0]] if len(found) else np.ones(len(ends), dtype=bool)
            for one, found in zip(other.series, other.origins, strict=True)
        ]

    def times(self) -> OriginTimes:
        """The times of the origins, for significance tests."""
        spacings = [spacing for one in self.origins if (spacing := one.spacing()) is not None]
        step = min(spacings, default=self.horizon)
        # Origins of different symbols within the same step count as simultaneous.
        seconds = step * min(one.report.step_seconds for one in self.series)
        stamps = [one.timestamps[found.indices] for one, found in zip(self.series, self.origins, strict=True)]
        clock = np.concatenate(stamps).astype("int64") // round(seconds * 1e9)
        return OriginTimes(step, clock, sum(len(found) > 0 for found in self.origins))

    def forecast(
        self, forecaster: Forecaster, batch_size: int = 8, done: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Targets of a forecaster's paths, shape `(N, P, H, 5)`.

        Args:
            forecaster ([`Forecaster`]): the forecaster.
            batch_size (`int`): origins per call of it.
            done: called after each batch with its number of origins.

        Raises:
            ValueError: an error of the forecaster, or paths with non-positive prices.
        """
        parts = []
        for one, found in zip(self.series, self.origins, strict=True):
            for start in range(0, len(found), batch_size):
                chosen = found.indices[start : start + batch_size]
                try:
                    paths = forecaster.paths(one, chosen, self.horizon)
                    parts.append(path_targets(paths, one.values[chosen - 1, CLOSE]))
                except ValueError as error:
                    raise ValueError(f"{forecaster.name}, {one.symbol}: {error}") from error
                if done is not None:
                    done(len(chosen))
        return np.concatenate(parts) if parts else np.empty((0, 1, self.horizon, len(TARGETS)))
