"""The origins of every symbol in one split, put together, with what came true and when they lie.

Shapes: N origins (of all symbols), P paths, H horizon, 5 targets in the order of `TARGETS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..data.candles import CandleSeries
from ..scoring.scores import OriginTimes
from ..scoring.targets import CLOSE, TARGETS, path_targets, true_targets
from .baselines import Forecaster
from .origins import Origins, plan_origins
from .settings import OriginPlan


@dataclass(frozen=True)
class Panel:
    """Origins of every symbol in one split, put together.

    Attributes:
        series (`list` of [`CandleSeries`]), origins (`list` of [`Origins`]): one a symbol.
        horizon (`int`): bars to forecast.
        truth (`np.ndarray` of shape `(N, H, 5)`): targets that came true.
    """

    series: list[CandleSeries]
    origins: list[Origins]
    horizon: int
    truth: np.ndarray

    @classmethod
    def build(cls, series: list[CandleSeries], split: str, plan: OriginPlan) -> "Panel":
        """Origins of a split with their truth.

        Raises:
            ValueError: the test split holds no origin.
        """
        return cls.of(series, plan_origins(series, split, plan), plan.horizon)

    @classmethod
    def of(cls, series: list[CandleSeries], origins: list[Origins], horizon: int) -> "Panel":
        """Origins of each symbol with their truth."""
        truths = [true_targets(one, found.indices, horizon) for one, found in zip(series, origins, strict=True)]
        return cls(series, origins, horizon, np.concatenate(truths))

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def rows(self) -> list[slice]:
        """Where each symbol's origins lie among all."""
        ends = np.cumsum([0, *map(len, self.origins)]).tolist()
        return [slice(ends[i], ends[i + 1]) for i in range(len(self.series))]

    def known_before(self, other: "Panel") -> list[np.ndarray]:
        """By symbol of the other panel, which origins here have horizons that end before its first one, each `(N,)`."""
        last = self.horizon - 1
        pairs = list(zip(self.series, self.origins, strict=True))
        ends = np.concatenate([one.timestamps[found.indices + last] for one, found in pairs])
        return [
            ends < one.timestamps[found.indices[0]] if len(found) else np.ones(len(ends), dtype=bool)
            for one, found in zip(other.series, other.origins, strict=True)
        ]

    def times(self) -> OriginTimes:
        """What tests between forecasters need to know of the origins' times."""
        spacings = [spacing for one in self.origins if (spacing := one.spacing()) is not None]
        step = min(spacings, default=self.horizon)
        # Origins of several symbols count as one time when they lie within one step of each other.
        seconds = step * min(one.report.step_seconds for one in self.series)
        stamps = [one.timestamps[found.indices] for one, found in zip(self.series, self.origins, strict=True)]
        clock = np.concatenate(stamps).astype("int64") // round(seconds * 1e9)
        return OriginTimes(step, clock, sum(len(found) > 0 for found in self.origins))

    def forecast(
        self, forecaster: Forecaster, batch_size: int = 8, done: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Targets of a forecaster's paths, shape `(N, P, H, 5)`.

        Args:
            forecaster ([`Forecaster`]): what forecasts.
            batch_size (`int`): origins given to it at once.
            done: receives numbers of origins that were forecast since the last call.

        Raises:
            ValueError: the forecaster's own refusal, or paths that hold no positive number.
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
