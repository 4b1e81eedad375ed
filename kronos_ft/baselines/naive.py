"""Naive point forecasts: persistence, drift and the changes of one season ago.

Each has a `name` and `paths(series, origins, horizon)`, uses only bars before the origin, and forecasts each origin
independently of the others, with one path.

Shapes: N origins, H bars of the horizon; paths are (N, 1, H, 4) in raw units, with a fifth column if they have volume.
"""

from dataclasses import dataclass

import numpy as np

from ..data.candles import CandleSeries
from ..data.rhythm import rhythm_before
from ..scoring.targets import BAR_VOLUME, CLOSE
from .bar_shapes import bar_shapes, chain_shapes
from .forecaster import check_counts, usable_origins

DAY_SECONDS = 86_400
YEAR_DAYS = 365.25


@dataclass(frozen=True)
class Persistence:
    """Every price of every bar is the last known close, and the mean volume is that of the lookback."""

    name: str = "persistence"

    def paths(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Paths of shape `(N, 1, H, 4)`."""
        origins = usable_origins(series, origins, horizon, 1)
        last = series.values[origins - 1, CLOSE]
        return np.broadcast_to(last[:, None, None, None], (len(origins), 1, horizon, 4)).copy()

    def targets(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> dict[str, np.ndarray]:
        """The log ratio of volume, 0, shape `(N, 1, H)`."""
        return {"volume": np.zeros((len(origins), 1, horizon))}


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
    """Repeats the bar shapes (log changes, not prices) and the volumes of one season ago.

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
        """Paths of shape `(N, 1, H, 5)`: prices and volume."""
        origins = usable_origins(series, origins, horizon, 2)
        seasons = self.history(series, origins) - 1
        if len(origins):
            scarce = (origins - seasons).argmin()
            usable_origins(series, origins[[scarce]], horizon, int(seasons[scarce]) + 1)
        bars = origins[:, None] - seasons[:, None] + np.arange(horizon) % seasons[:, None]
        prices = chain_shapes(bar_shapes(series, bars)[:, None], series.values[origins - 1, CLOSE])
        return np.concatenate((prices, series.values[bars, BAR_VOLUME][:, None, :, None]), axis=3)
