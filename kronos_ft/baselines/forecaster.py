"""The interface of a forecaster in an evaluation, and checks that forecasters share.

Shapes: N origins, P paths, H bars of the horizon.
"""

from typing import Protocol

import numpy as np

from ..data.candles import CandleSeries
from ..scoring.targets import check_origins


class Forecaster(Protocol):
    """Interface of a forecaster: a `name` and a method `paths`, which uses only bars before each origin.

    Optional methods:

    - `history(series, origins)` returns the number of bars needed before each origin, shape `(N,)`; without it, 1. An
      evaluation calls it before any forecast.
    - `fit(series, plan)` is called once, before any forecast, with the training split of every symbol (a list of
      [`CandleSeries`] without later bars) and the [`FitPlan`]. It raises ValueError if that is not enough.
    - `targets(series, origins, horizon)` returns a `dict` of target names ([`~kronos_ft.scoring.targets.TARGETS`]) to
      arrays of shape `(N, P, H)`. They replace the targets computed from the paths and have the same P. Sample k of P,
      in any order, is the quantile k / (P + 1) of the forecast distribution. Volume is the log ratio to the mean volume
      of the lookback of the evaluation (`plan.lookback` of `fit`).

    Attributes:
        name (`str`): shown in tables.
    """

    name: str

    def paths(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Forecasts open, high, low and close in raw units, shape `(N, P, H, 4)`, from bars before each origin.

        A forecaster of volume adds it as a fifth column, or gives it in `targets`; the others are not judged by it.
        """
        ...


class FitPlan(Protocol):
    """What `fit` may read of the settings of an evaluation.

    Attributes:
        lookback, horizon (`int`): bars of context and bars to forecast.
        max_gap (`int`, *optional*): maximum number of missing bars at one gap in a window.
    """

    lookback: int
    horizon: int
    max_gap: int | None


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
