"""Where forecast origins lie, and the other settings of a walk-forward evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OriginPlan:
    """Settings of the forecast origins.

    Attributes:
        lookback, horizon (`int`): bars of context and bars to forecast.
        step (`int`, *optional*): bars between two origins; None for the largest up to the horizon that gives 200 test
            origins ([`~kronos_ft.evaluation.origins.with_step`]).
        ratios, dates: as in [`~kronos_ft.windows.splits.split_bounds`].
        embargo (`int`, *optional*): bars to skip at the start of validation and of test; None for one window.
        max_gap (`int`, *optional*): maximum number of missing bars at one gap, as in
            [`~kronos_ft.windows.dataset.WindowShape`].
        max_origins (`int`, *optional*): maximum number of origins per split over all symbols; more
            are subsampled evenly.
    """

    lookback: int = 400
    horizon: int = 24
    step: int | None = None
    ratios: Sequence[float] = (0.7, 0.15, 0.15)
    dates: Sequence[str] | None = None
    embargo: int | None = None
    max_gap: int | None = None
    max_origins: int | None = None

    def __post_init__(self):
        least = {"horizon": 1, "lookback": 2, "step": 1, "max_origins": 1, "embargo": 0, "max_gap": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise ValueError(f"{name}={value} is below {bound}; use {bound} or more")

    @property
    def window(self) -> int:
        """Bars of a training window of this size: lookback + horizon + 1."""
        return self.lookback + self.horizon + 1

    @property
    def embargo_bars(self) -> int:
        """Bars to skip at the start of validation and of test."""
        return self.window if self.embargo is None else self.embargo


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Attributes:
        plan ([`OriginPlan`]): lookback, horizon, step, splits.
        fee_bps, slippage_bps (`float`): costs of the back-test, basis points per side.
        seed (`int`): seed of sampling baselines and of PIT ranks.
        batch_size (`int`): origins per call of a forecaster.
    """

    plan: OriginPlan = field(default_factory=OriginPlan)
    fee_bps: float = 10.0
    slippage_bps: float = 5.0
    seed: int = 0
    batch_size: int = 8

    def __post_init__(self):
        if self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size} is below 1; use 1 or more origins per batch")
