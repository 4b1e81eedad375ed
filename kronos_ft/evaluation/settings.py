"""Where forecast origins lie, and the other settings of a walk-forward evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OriginPlan:
    """Where origins lie.

    Attributes:
        lookback, horizon (`int`): bars of a context and bars to forecast.
        step (`int`): bars between two origins.
        ratios, dates: as in [`~kronos_ft.windows.splits.split_bounds`].
        embargo (`int`, *optional*): bars left out at the start of validation and of test; None is one window.
        max_gap (`int`, *optional*): most bars missing at one place, as in [`~kronos_ft.windows.dataset.WindowShape`].
        max_origins (`int`, *optional*): most origins of a split over all symbols; more are thinned evenly.
    """

    lookback: int = 400
    horizon: int = 24
    step: int = 24
    ratios: Sequence[float] = (0.7, 0.15, 0.15)
    dates: Sequence[str] | None = None
    embargo: int | None = None
    max_gap: int | None = None
    max_origins: int | None = None

    def __post_init__(self):
        if self.horizon < 1:
            raise ValueError(f"horizon={self.horizon} forecasts no bar; use 1 or more")
        if self.lookback < 2:
            raise ValueError(f"lookback={self.lookback} is too short for a context; use 2 bars or more")
        if self.step < 1:
            raise ValueError(f"step={self.step} makes no walk; use 1 or more bars between origins")
        if self.max_origins is not None and self.max_origins < 1:
            raise ValueError(f"max_origins={self.max_origins} leaves no origin; use 1 or more, or leave it out")
        if self.embargo is not None and self.embargo < 0:
            raise ValueError(f"embargo={self.embargo} is negative; use 0 or more bars, or leave it out for one window")
        if self.max_gap is not None and self.max_gap < 0:
            raise ValueError(f"max_gap={self.max_gap} is negative; use 0 or more missing bars")

    @property
    def window(self) -> int:
        """Bars of a training window of this size: lookback + horizon + 1."""
        return self.lookback + self.horizon + 1

    @property
    def embargo_bars(self) -> int:
        """Bars left out at the start of validation and of test."""
        return self.window if self.embargo is None else self.embargo


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated.

    Attributes:
        plan ([`OriginPlan`]): lookback, horizon, step, splits.
        fee_bps, slippage_bps (`float`): costs of the back-test, basis points a side.
        seed (`int`): of baselines that draw and of PIT ranks.
        batch_size (`int`): origins given to a forecaster at once.
    """

    plan: OriginPlan = field(default_factory=OriginPlan)
    fee_bps: float = 10.0
    slippage_bps: float = 5.0
    seed: int = 0
    batch_size: int = 8

    def __post_init__(self):
        if self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size} forecasts nothing; use 1 or more origins at once")
