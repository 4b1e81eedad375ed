"""A forecast: paths, their mean, quantiles, prediction intervals and probabilities, with the times of their bars.

Notable:
- Quantiles of paths use the Weibull position: the k-th smallest of P paths is the quantile k / (P + 1), as in the
  evaluation, so that a truth from the same distribution is below it with exactly this probability.
- Direct quantiles of a quantile head, if there are any, take precedence over those of the paths.

Shapes: P paths, H horizon, Q levels, L bars of context, F = 6 features.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from ..data.columns import FEATURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLOSE = 3
DIRECT_TARGETS = ("close", "high", "low", "volatility", "volume")
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
SHOWN_ROWS = 12  # of the table in a notebook


def checked_levels(levels: float | Sequence[float]) -> list[float]:
    """The levels of quantiles as a list; a number is one level.

    Raises:
        ValueError: no level, or one outside [0, 1].
    """
    found = [float(level) for level in np.atleast_1d(levels)]
    if not found:
        raise ValueError("levels is empty; use e.g. 0.05 0.5 0.95")
    for level in found:
        if not 0 <= level <= 1:
            raise ValueError(f"level={level} is outside [0, 1]; use e.g. 0.05")
    return found


def path_quantiles(paths: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Quantiles over the first axis of paths, `(Q, ...)`, by the Weibull position; the ends are the outermost paths."""
    return np.quantile(paths, list(levels), axis=0, method="weibull")


def interpolate_quantiles(values: np.ndarray, levels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Quantiles at other levels: linear in the normal score of the level, continued beyond the outermost levels.

    Args:
        values (`np.ndarray` of shape `(..., Q)`): quantiles at `levels`.
        levels, wanted (`np.ndarray` of shapes `(Q,)` and `(P,)`): in (0, 1).

    Returns:
        `np.ndarray` of shape `(..., P)`.
    """
    known, scores = ndtri(levels), ndtri(wanted)
    place = np.clip(np.searchsorted(known, scores), 1, len(known) - 1)
    share = (scores - known[place - 1]) / (known[place] - known[place - 1])
    return values[..., place - 1] * (1 - share) + values[..., place] * share


@dataclass(frozen=True)
class DirectQuantiles:
    """Quantiles that a quantile head forecasts in one pass, without paths; all values are positive.

    Attributes:
        levels (`np.ndarray` of float64, shape `(Q,)`): increasing, in (0, 1); two or more.
        close (`np.ndarray` of float64, shape `(H, Q)`): price at the end of bar h.
        high, low (`np.ndarray` of shape `(H, Q)`, *optional*): highest and lowest price of bars 1 to h.
        volatility (`np.ndarray` of shape `(H, Q)`, *optional*): realised volatility of bars 1 to h, the square root of
            the sum of squared log returns.
        volume (`np.ndarray` of shape `(H, Q)`, *optional*): mean volume of bars 1 to h.

    Raises:
        ValueError: shapes that do not fit, levels that do not increase, or quantiles that decrease with their level.
    """

    levels: np.ndarray
    close: np.ndarray
    high: np.ndarray | None = None
    low: np.ndarray | None = None
    volatility: np.ndarray | None = None
    volume: np.ndarray | None = None

    def __post_init__(self):
        levels = np.asarray(self.levels, dtype=np.float64)
        if (
            levels.ndim != 1
            or len(levels) < 2
            or not ((levels > 0) & (levels < 1)).all()
            or (np.diff(levels) <= 0).any()
        ):
            raise ValueError(f"levels={list(self.levels)} must be increasing values in (0, 1); use e.g. 0.05 0.5 0.95")
        object.__setattr__(self, "levels", levels)
        for name in DIRECT_TARGETS:
            given = getattr(self, name)
            if given is None and name != "close":
                continue
            table = np.asarray(given, dtype=np.float64)
            if table.ndim != 2 or table.shape != (len(self.close), len(levels)):
                raise ValueError(
                    f"{name} of shape {table.shape} must be (horizon, levels) = ({len(self.close)}, {len(levels)})"
                )
            if not np.isfinite(table).all() or (table < 0).any() or (np.diff(table, axis=1) < 0).any():
                raise ValueError(
                    f"{name} has quantiles that are negative, not finite or decrease with their level; correct them"
                )
            object.__setattr__(self, name, table)

    def __repr__(self) -> str:
        known = [name for name in DIRECT_TARGETS if getattr(self, name) is not None]
        levels = f"{len(self.levels)} levels from {self.levels[0]:g} to {self.levels[-1]:g}"
        return f"DirectQuantiles of {', '.join(known)}: {len(self.close)} bars, {levels}"

    def at(self, name: str, levels: Sequence[float]) -> np.ndarray:
        """Quantiles of a target at any levels, `(H, len(levels))`.

        The logarithm of the value is interpolated linearly in the normal score of the level; beyond the outermost
        levels the line goes on.

        Args:
            name (`str`): close, high, low, volatility or volume.
            levels (`Sequence[float]`): in (0, 1).

        Raises:
            ValueError: a level outside (0, 1), or a target that is not given.
        """
        values = getattr(self, name) if name in DIRECT_TARGETS else None
        if values is None:
            raise ValueError(f"there are no direct quantiles of {name}; pass them to DirectQuantiles")
        for level in levels:
            if not 0 < level < 1:
                raise ValueError(f"level={level} is outside (0, 1), the levels of direct quantiles; use e.g. 0.05")
        logs = np.log(np.maximum(values, np.finfo(np.float64).tiny))
        return np.exp(interpolate_quantiles(logs, self.levels, np.asarray(levels, dtype=np.float64)))

    def samples(self, name: str, count: int) -> np.ndarray:
        """The quantiles k / (count + 1) of a target, increasing, shape `(H, count)`."""
        return self.at(name, np.arange(1, count + 1) / (count + 1))

    def probability_above(self, price: float) -> np.ndarray:
        """Probability that the close is above a price at each bar, `(H,)`; the inverse of [`~DirectQuantiles.at`]."""
        scores, value = ndtri(self.levels), np.log(price)
        found = np.empty(len(self.close))
        for bar, row in enumerate(np.log(np.maximum(self.close, np.finfo(np.float64).tiny))):
            below, upto = np.searchsorted(row, value, "left"), np.searchsorted(row, value, "right")
            if upto - below > 1:  # of equal quantiles, the middle level
                found[bar] = 1 - self.levels[below:upto].mean()
                continue
            place = int(np.clip(below, 1, len(row) - 1))
            width = row[place] - row[place - 1]
            share = (value - row[place - 1]) / width if width > 0 else float(value > row[place])
            found[bar] = ndtr(-(scores[place - 1] + share * (scores[place] - scores[place - 1])))
        return found


@dataclass(frozen=True, repr=False)
class Forecast:
    """The forecast of one series.

    Attributes:
        paths (`np.ndarray` of float64, shape `(P, H, 6)`): raw units, in the order of `FEATURES`; P is 0 if there are
            only direct quantiles.
        projected_share (`float`): share of bars that are not valid candles; with projection they were corrected.
        spike_share (`float`): share of bars far outside the context's range; reported, never changed.
        times (`np.ndarray` of `datetime64[ns]`, shape `(H,)`, *optional*): UTC times of the forecast bars.
        symbol (`str`, *optional*): name of the asset.
        last_close (`float`, *optional*): the close of the last known bar.
        direct ([`DirectQuantiles`], *optional*): quantiles of a quantile head.
        history (`pd.DataFrame`, *optional*): the context, open to amount, indexed by UTC time.
    """

    paths: np.ndarray
    projected_share: float
    spike_share: float
    times: np.ndarray | None = None
    symbol: str | None = None
    last_close: float | None = None
    direct: DirectQuantiles | None = None
    history: pd.DataFrame | None = field(default=None, compare=False)

    @property
    def num_paths(self) -> int:
        """Number of paths."""
        return self.paths.shape[0]

    @property
    def horizon(self) -> int:
        """Number of bars."""
        return self.paths.shape[1]

    def _index(self, index: pd.Index | None) -> pd.Index | None:
        if index is not None or self.times is None:
            return index
        return pd.DatetimeIndex(self.times, name="timestamps")

    def _needs_paths(self) -> None:
        if not self.num_paths:
            raise ValueError("the forecast has direct quantiles but no paths; forecast with num_paths=100")

    def mean(self, index: pd.Index | None = None) -> pd.DataFrame:
        """The mean over paths, as the published code returns; smoother than any single path.

        Raises:
            ValueError: no paths.
        """
        self._needs_paths()
        return pd.DataFrame(self.paths.mean(axis=0), columns=list(FEATURES), index=self._index(index))

    def quantiles(self, levels: Sequence[float] = LEVELS, index: pd.Index | None = None) -> pd.DataFrame:
        """Quantiles of the close at each bar: one column per level, one row per bar.

        Direct quantiles if there are any, see [`~DirectQuantiles.at`]; otherwise those of the paths.

        Args:
            levels (`Sequence[float]`): in [0, 1]; direct quantiles have none of 0 and 1.
            index (`pd.Index`, *optional*): of the rows; by default the times of the bars, if they are known.

        Raises:
            ValueError: a level outside [0, 1], or 0 or 1 of direct quantiles.
        """
        levels = checked_levels(levels)
        return pd.DataFrame(self._close_quantiles(levels), columns=levels, index=self._index(index))

    def _close_quantiles(self, levels: Sequence[float]) -> np.ndarray:
        """Quantiles of the close, `(H, len(levels))`."""
        if self.direct is not None:
            return self.direct.at("close", levels)
        return path_quantiles(self.paths[..., CLOSE], levels).T

    def quantile_tables(self, levels: Sequence[float], index: pd.Index | None = None) -> dict[float, pd.DataFrame]:
        """Quantiles over paths of each bar and feature, one table per level.

        Raises:
            ValueError: a level outside [0, 1], or no paths.
        """
        self._needs_paths()
        levels = checked_levels(levels)
        return {
            level: pd.DataFrame(values, columns=list(FEATURES), index=self._index(index))
            for level, values in zip(levels, path_quantiles(self.paths, levels), strict=True)
        }

    def band(self, coverage: float, index: pd.Index | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Bounds of the central prediction interval that contains this share of the paths at each bar.

        Raises:
            ValueError: a coverage outside (0, 1), or no paths.
        """
        if not 0 < coverage < 1:
            raise ValueError(f"coverage={coverage} is outside (0, 1); use e.g. 0.8")
        levels = ((1 - coverage) / 2, (1 + coverage) / 2)
        found = self.quantile_tables(levels, index)
        return found[levels[0]], found[levels[1]]

    def to_frame(self, timestamps: Sequence | None = None) -> pd.DataFrame:
        """All paths as one long table: path, timestamps, open, high, low, close, volume, amount.

        Args:
            timestamps (`Sequence`, *optional*): one per bar; by default the times of the forecast, or else the numbers
                of the bars from 1 on.
        """
        if timestamps is None:
            timestamps = self.times if self.times is not None else np.arange(1, self.horizon + 1)
        frame = pd.DataFrame(self.paths.reshape(-1, len(FEATURES)), columns=list(FEATURES))
        frame.insert(0, "timestamps", np.tile(np.asarray(timestamps), self.num_paths))
        frame.insert(0, "path", np.repeat(np.arange(self.num_paths), self.horizon))
        return frame

    def probability_up(self, index: pd.Index | None = None) -> pd.Series:
        """Probability that the close of each bar is above the last known close.

        From direct quantiles by interpolation ([`~DirectQuantiles.probability_above`]); otherwise the share of paths,
        of which equal closes count half.

        Raises:
            ValueError: the last known close is not known.
        """
        if self.last_close is None:
            raise ValueError("last_close is not known; pass it to Forecast, or forecast with KronosForecaster")
        if self.direct is not None:
            share = self.direct.probability_above(self.last_close)
        else:
            closes = self.paths[..., CLOSE]
            share = ((closes > self.last_close) + 0.5 * (closes == self.last_close)).mean(axis=0)
        return pd.Series(share, index=self._index(index), name="probability_up")

    def probability(self, event: Callable[[np.ndarray], np.ndarray]) -> float:
        """Probability of an event: the share of paths in which it happens.

        Args:
            event (`Callable`): takes all paths, `(P, H, 6)` in the order open, high, low, close, volume, amount, and
                returns for each path whether the event happens, `(P,)`.

        Example:

        ```python
        forecast.probability(lambda paths: paths[:, :, 1].max(axis=1) > 1.05 * forecast.last_close)
        ```

        Raises:
            ValueError: no paths, or an event that does not return one truth value per path.
        """
        self._needs_paths()
        happened = np.asarray(event(self.paths))
        if happened.shape != (self.num_paths,) or happened.dtype != bool:
            raise ValueError(
                f"event returned {happened.dtype} of shape {happened.shape}; return one bool per path, shape "
                f"({self.num_paths},), e.g. (paths[:, -1, 3] > price)"
            )
        return float(happened.mean())

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draws the last known candles, some paths, the median and the 50, 80 and 90 % intervals of the close.

        Args:
            ax (`matplotlib.axes.Axes`, *optional*): to draw on; by default new axes of a new figure, which a notebook
                shows.

        Returns:
            the axes; `ax.figure.savefig(FILE)` writes them.
        """
        from .plots import draw_forecast  # here: matplotlib takes a second to import

        known = self.history is not None
        times = [*([self.history.index.to_numpy()] if known else []), *([] if self.times is None else [self.times])]
        return draw_forecast(
            self.history.to_numpy() if known else np.empty((0, len(FEATURES))),
            self.paths,
            ax,
            times=None if self.times is None else np.concatenate(times),
            quantiles=None if self.direct is None else self._close_quantiles,
            last=self.last_close,
            title=f"{self.symbol or 'forecast'}: {self.horizon} bars",
        )

    def summary(self) -> list[str]:
        """Three lines: what is forecast, the last bar's quantiles, and how likely it is above the last close."""
        span = f"{self.horizon} bars"
        if self.times is not None:
            first, last = (str(time.astype("datetime64[m]")).replace("T", " ") for time in self.times[[0, -1]])
            span += f", {first} to {last} UTC"
        source = f"{self.num_paths} paths" + ", direct quantiles" * (self.direct is not None)
        low, median, high = self.quantiles((0.05, 0.5, 0.95)).iloc[-1]
        moved = f" ({median / self.last_close - 1:+.2%})" if self.last_close else ""
        start = f"close {self.last_close:,.6g} -> " if self.last_close is not None else "close "
        up = f"probability up {self.probability_up().iloc[-1]:.0%} at the last bar; " if self.last_close else ""
        return [
            f"Forecast of {self.symbol or 'a series'}: {span}, {source}",
            f"{start}median {median:,.6g}{moved} at the last bar, 90 % interval {low:,.6g} to {high:,.6g}",
            f"{up}{self.projected_share:.1%} of the bars violated low <= open, close <= high",
        ]

    def __repr__(self) -> str:
        return "\n".join(self.summary())

    def _repr_html_(self) -> str:
        """The summary and a table of quantiles, for notebooks."""
        lines = "<br>".join(html.escape(line) for line in self.summary())
        table = self.quantiles((0.05, 0.25, 0.5, 0.75, 0.95))
        if self.last_close is not None:
            table["probability up"] = self.probability_up().to_numpy()
        return f"<p>{lines}</p>{table.to_html(max_rows=SHOWN_ROWS, float_format=lambda value: f'{value:,.6g}')}"
