"""The pooled origins of all symbols in one split, with their true targets and times.

Shapes: N origins (of all symbols), P paths, H horizon, 7 targets in the order of `TARGETS`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ft_core.runs.shared_work import Part

from ..baselines.forecaster import Forecaster
from ..data.candles import CandleSeries
from ..scoring.scores import OriginTimes
from ..scoring.targets import CLOSE, TARGETS, VOLUME, path_targets, true_targets, usual_volume
from .origins import Origins, plan_origins
from .settings import OriginPlan


@dataclass(frozen=True)
class Samples:
    """Targets of a forecaster at the origins of a panel.

    Attributes:
        values (`np.ndarray` of shape `(N, P, H, 7)`): samples of every target; volume is NaN if it is not forecast.
        exact (`frozenset` of `str`): targets whose samples are quantiles of the forecast distribution, not draws.
        joint (`np.ndarray` of shape `(N, P, H)`): log returns of the closes of the paths, with their dependence over
            time; samples of the close that a forecaster gives itself may be sorted at each horizon.
        shares (`np.ndarray` of shape `(N, 2)`): shares of invalid candles and of spikes; empty if not known.
    """

    values: np.ndarray
    exact: frozenset[str]
    joint: np.ndarray
    shares: np.ndarray


def _targets_of(
    forecaster: Forecaster, series: CandleSeries, origins: np.ndarray, horizon: int, usual: np.ndarray
) -> tuple[np.ndarray, frozenset[str], np.ndarray]:
    """Targets of the paths, replaced by those that the forecaster gives itself; the names of these; the closes of the
    paths, a view of the targets unless these are replaced."""
    found = path_targets(forecaster.paths(series, origins, horizon), series.values[origins - 1, CLOSE], usual)
    joint = found[..., CLOSE]
    targets = getattr(forecaster, "targets", None)
    own = targets(series, origins, horizon) if targets is not None else {}
    for name, samples in own.items():
        if name not in TARGETS:
            raise ValueError(f"targets has {name!r}, which is not a target; use {', '.join(TARGETS)}")
        if np.shape(samples) != found.shape[:3]:
            raise ValueError(f"targets of {name} have shape {np.shape(samples)}, not {found.shape[:3]} as the paths")
        if name == "close":
            joint = joint.copy()
        found[..., TARGETS.index(name)] = samples
    return found, frozenset(own if found.shape[1] > 1 else ()), joint


@dataclass(frozen=True)
class Panel:
    """The pooled origins of all symbols in one split.

    Attributes:
        series (`list` of [`CandleSeries`]), origins (`list` of [`Origins`]): one per symbol.
        horizon (`int`): bars to forecast.
        truth (`np.ndarray` of shape `(N, H, 7)`): true targets; volume is NaN at origins where it is not judged.
        lookback (`int`): bars before an origin, whose mean volume is the unit of volume.
    """

    series: list[CandleSeries]
    origins: list[Origins]
    horizon: int
    truth: np.ndarray
    lookback: int

    @classmethod
    def build(cls, series: list[CandleSeries], split: str, plan: OriginPlan) -> "Panel":
        """The origins of a split with their true targets.

        Raises:
            ValueError: the test split contains no origin.
        """
        return cls.of(series, plan_origins(series, split, plan), plan.horizon, plan.lookback)

    @classmethod
    def of(cls, series: list[CandleSeries], origins: list[Origins], horizon: int, lookback: int) -> "Panel":
        """The given origins with their true targets."""
        pairs = zip(series, origins, strict=True)
        truths = [true_targets(one, found.indices, horizon, lookback) for one, found in pairs]
        return cls(series, origins, horizon, np.concatenate(truths), lookback)

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

    def symbols(self) -> np.ndarray:
        """Position of each origin's symbol in `series`, shape `(N,)`."""
        return np.repeat(np.arange(len(self.series)), [len(found) for found in self.origins])

    def stamps(self) -> np.ndarray:
        """Time of the first bar to forecast of each origin, `datetime64[ns]` of shape `(N,)`."""
        return np.concatenate([one.timestamps[o.indices] for one, o in zip(self.series, self.origins, strict=True)])

    def times(self) -> OriginTimes:
        """The times of the origins, for significance tests."""
        spacings = [spacing for one in self.origins if (spacing := one.spacing()) is not None]
        step = min(spacings, default=self.horizon)
        # Origins of different symbols within the same step count as simultaneous.
        seconds = step * min(one.report.step_seconds for one in self.series)
        stamps = [one.timestamps[found.indices] for one, found in zip(self.series, self.origins, strict=True)]
        clock = np.concatenate(stamps).astype("int64") // round(seconds * 1e9)
        return OriginTimes(step, clock, sum(len(found) > 0 for found in self.origins))

    def batches(self, batch_size: int) -> list[tuple[int, np.ndarray]]:
        """Position of the symbol, and origins, of each call of a forecaster."""
        return [
            (position, found.indices[start : start + batch_size])
            for position, found in enumerate(self.origins)
            for start in range(0, len(found), batch_size)
        ]

    def forecast(
        self, forecaster: Forecaster, batch_size: int = 8, done: Callable[[int], None] | None = None
    ) -> Samples:
        """Targets of a forecaster: those that it gives itself (`targets`), else those of its paths.

        Args:
            forecaster ([`Forecaster`]): the forecaster.
            batch_size (`int`): origins per call of it.
            done: called after each batch with its number of origins.

        Raises:
            ValueError: an error of the forecaster, paths with non-positive prices, targets that do not match them, or
                a volume that is forecast at some origins only.
        """
        return self.joined(
            forecaster.name, (self.forecast_batch(forecaster, *batch, done) for batch in self.batches(batch_size))
        )

    def forecast_batch(
        self, forecaster: Forecaster, position: int, origins: np.ndarray, done: Callable[[int], None] | None = None
    ) -> Part:
        """Samples of one call of a forecaster, as arrays by name; see [`~Panel.forecast`] and [`~Panel.joined`]."""
        one = self.series[position]
        try:
            usual = usual_volume(one, origins, self.lookback)
            values, own, joint = _targets_of(forecaster, one, origins, self.horizon, usual)
        except ValueError as error:
            raise ValueError(f"{forecaster.name}, {one.symbol}: {error}") from error
        part = {"values": values, "exact": np.array([name in own for name in TARGETS])}
        if "close" in own:
            part["joint"] = joint
        shares_at = getattr(forecaster, "shares_at", None)
        if shares_at is not None:
            part["shares"] = shares_at(one, origins)
        if done is not None:
            done(len(origins))
        return part

    def joined(self, name: str, parts: Iterable[Part]) -> Samples:
        """The samples of a forecaster of this name, from all of its batches in order.

        Raises:
            ValueError: a volume that is forecast at some origins only.
        """
        found = list(parts)
        if not found:
            empty = np.empty((0, 1, self.horizon, len(TARGETS)))
            return Samples(empty, frozenset(), empty[..., CLOSE], np.empty((0, 2)))
        exact = frozenset(np.array(TARGETS)[np.any([part["exact"] for part in found], axis=0)].tolist())
        values = np.concatenate([part["values"] for part in found])
        joint = np.concatenate([part.get("joint", part["values"][..., CLOSE]) for part in found])
        shares = np.concatenate([part.get("shares", np.empty((0, 2))) for part in found])
        self._check_volume(name, values)
        return Samples(values, exact, joint if "close" in exact else values[..., CLOSE], shares)

    def _check_volume(self, name: str, values: np.ndarray) -> None:
        """Volume is forecast at every origin at which it is judged, or at none; elsewhere it becomes NaN."""
        judged = np.isfinite(self.truth[..., VOLUME]).all(axis=1)
        values[~judged, ..., VOLUME] = np.nan
        lacking = ~np.isfinite(values[judged, ..., VOLUME]).all(axis=(1, 2))
        if lacking.any() and not lacking.all():
            raise ValueError(
                f"{name}: the forecast of volume is missing or not finite at {int(lacking.sum())} of {len(lacking)} "
                "origins; forecast volume at every origin, or at none"
            )
