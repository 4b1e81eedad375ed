"""Forecasts of candle series: origin, context and times of each, the seeds of their paths, and what to say of them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..data.candles import CandleSeries
from ..data.columns import FEATURES, ColumnNames
from ..data.sources import Source, loaded_series
from ..data.timestamps import calendar_features
from .context import build_context, inferred_times, origin_seed
from .forecast import Forecast
from .predictor import KronosPredictor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLOSE = 3
SHOWN_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
SHOWN_BARS = 6
MANY_TOUCHED = 0.2


@dataclass(frozen=True)
class SymbolForecast:
    """The forecast of one symbol.

    Attributes:
        series ([`CandleSeries`]): all known candles, including those after the origin.
        origin (`int`): index of the first forecast bar.
        times (`np.ndarray` of `datetime64[ns]`, shape `(horizon,)`): UTC times of the forecast bars.
        forecast ([`Forecast`]): the paths.
        lookback (`int`): bars of context.
    """

    series: CandleSeries
    origin: int
    times: np.ndarray
    forecast: Forecast
    lookback: int

    def truth(self) -> np.ndarray:
        """Known bars after the origin, `(K, 6)` with K <= horizon: up to the first with a time other than forecast."""
        found = self.series.timestamps[self.origin : self.origin + self.forecast.horizon]
        same = found == self.times[: len(found)]
        known = len(same) if same.all() else int(same.argmin())
        return self.series.values[self.origin : self.origin + known]

    def plot(self, path: str | Path | None = None, *, ax: "Axes | None" = None) -> "Axes":
        """Draws candles, paths, intervals and, if known, the actual candles.

        Args:
            path (`str` or `Path`, *optional*): a PNG file to write instead of showing the picture in a notebook.
            ax (`matplotlib.axes.Axes`, *optional*): to draw on; by default new axes of a new figure.

        Returns:
            the axes.
        """
        from .plots import draw_forecast, forecast_axes, save_figure  # here: matplotlib takes a second to import

        series, first, truth = self.series, self.origin - self.lookback, self.truth()
        title = f"{series.symbol}: {self.forecast.horizon} bars, {self.forecast.num_paths} paths"
        ax = draw_forecast(
            series.values[first : self.origin],
            self.forecast.paths,
            ax or forecast_axes(title, inline=path is None),
            times=np.concatenate((series.timestamps[first : self.origin], self.times)),
            truth=truth if len(truth) else None,
            quantiles=None if self.forecast.direct is None else lambda at: self.forecast.quantiles(at).to_numpy(),
        )
        if path is not None:
            save_figure(ax, Path(path))
        return ax

    def __repr__(self) -> str:
        return f"{self.forecast}\n{self.lookback} bars of context; {len(self.truth())} of the bars are known"


def origin_of(series: CandleSeries, lookback: int, origin: str | None) -> int:
    """Index of the first bar to forecast.

    Raises:
        ValueError: the origin is not a time, or has fewer bars before it than the lookback.
    """
    index = len(series)
    if origin is not None:
        try:
            time = pd.Timestamp(origin)
            time = (time if time.tz is None else time.tz_convert("UTC").tz_localize(None)).to_datetime64()
        except ValueError as error:
            raise ValueError(f"origin={origin!r} is not a time; write it as 2024-01-31T12:00") from error
        if np.isnat(time):
            raise ValueError(f"origin={origin!r} is not a time; write it as 2024-01-31T12:00")
        index = int(np.searchsorted(series.timestamps, time))
    if index < lookback:
        raise ValueError(
            f"{series.symbol} has {index} bars before the forecast, fewer than lookback={lookback}; use more bars"
        )
    return index


def _future_of(series: CandleSeries, origin: int, horizon: int) -> np.ndarray:
    """Times of the forecast bars, inferred only from the bars before the origin."""
    try:
        return inferred_times(series, origin, horizon)
    except ValueError as error:
        raise ValueError(f"{series.symbol}: {error}") from error


@dataclass(frozen=True)
class _Request:
    """What is forecast of one series: the index of its first bar, the context's bars, and the times to forecast."""

    origin: int
    candles: np.ndarray
    past: np.ndarray
    future: np.ndarray


def _request(series: CandleSeries, lookback: int, horizon: int, origin: str | None) -> _Request:
    """Raises ValueError for too few bars, or times without a regular pattern."""
    first = origin_of(series, lookback, origin)
    bars = slice(first - lookback, first)
    return _Request(first, series.values[bars], series.timestamps[bars], _future_of(series, first, horizon))


def check_series(series: CandleSeries, horizon: int, lookback: int, origin: str | None = None, clip: float = 5) -> None:
    """Checks that a series can be forecast, without forecasting it.

    Args:
        series ([`CandleSeries`]): one symbol's candles.
        horizon, lookback, origin: as for [`forecast_series`].
        clip (`float`): as for [`KronosPredictor`].

    Raises:
        ValueError: too few bars, times without a regular pattern, or prices that do not vary enough; names the symbol.
    """
    one = _request(series, lookback, horizon, origin)
    stamps = calendar_features(one.past), calendar_features(one.future)
    build_context(one.candles, *stamps, horizon, clip, label=f"{series.symbol}: ")


def forecast_series(
    predictor: KronosPredictor,
    series: Source,
    horizon: int | None = None,
    *,
    lookback: int | None = None,
    num_paths: int = 100,
    origin: str | None = None,
    seed: int = 42,
    policy: str = "error",
    timezone: str = "UTC",
    columns: ColumnNames | None = None,
    **options,
) -> list[SymbolForecast]:
    """Forecasts the bars after the end of each series, or after an earlier time.

    Args:
        predictor ([`KronosPredictor`]): model and tokenizer.
        series: a DataFrame, a file, a [`CandleSeries`], or several of them, as for [`KronosForecaster.predict`].
        horizon (`int`, *optional*): bars to forecast; their times follow the step and sessions of the data. By default
            that of the training windows, or 24 if it is not known.
        lookback (`int`, *optional*): bars of context; by default those of the training windows, or 400.
        num_paths (`int`): paths per series.
        origin (`str`, *optional*): UTC time of the first bar to forecast; hides this and all later bars.
        seed (`int`): the paths of a series depend only on (seed, symbol, time of its last known bar).
        policy, timezone, columns: of a DataFrame or file, as for [`~kronos_ft.load_candles`].
        options: as for [`KronosPredictor.predict_paths`]. `T`, `top_p` and `top_k` are by default those that the model
            was calibrated with, or 1, 1 and 0: the whole distribution of the model.

    Returns:
        one [`SymbolForecast`] per series, in a list.

    Raises:
        ValueError: defective candles, sizes out of range, too few bars, or times without a regular pattern.
    """
    series = loaded_series(series, policy, timezone, columns)
    horizon, lookback = predictor.found.horizon(horizon), predictor.found.lookback(lookback)
    if lookback < 2 or horizon < 1:
        raise ValueError(f"lookback={lookback} or horizon={horizon} is too small; use at least 2 and 1")
    sampling = predictor.sampling(**{name: options.pop(name, None) for name in ("T", "top_p", "top_k")})
    requests = [_request(one, lookback, horizon, origin) for one in series]
    forecasts = predictor.predict_paths(
        [one.candles for one in requests],
        [calendar_features(one.past) for one in requests],
        [calendar_features(one.future) for one in requests],
        horizon,
        num_paths,
        seed=[origin_seed(seed, one.symbol, ask.past[-1]) for one, ask in zip(series, requests, strict=True)],
        **sampling,
        **options,
    )
    found = []
    for one, ask, forecast in zip(series, requests, forecasts, strict=True):
        times = pd.DatetimeIndex(ask.past, name="timestamps")
        told = replace(
            forecast,
            times=ask.future,
            symbol=one.symbol,
            last_close=float(ask.candles[-1, CLOSE]),
            history=pd.DataFrame(ask.candles, columns=list(FEATURES), index=times),
        )
        found.append(SymbolForecast(one, ask.origin, ask.future, told, lookback))
    return found


def forecast_table(found: list[SymbolForecast]) -> pd.DataFrame:
    """All paths as one long table: symbol, path, timestamps, open, high, low, close, volume, amount."""
    numbers = [np.repeat(np.arange(one.forecast.num_paths), one.forecast.horizon) for one in found]
    columns = {
        "symbol": np.repeat([one.series.symbol for one in found], [len(one) for one in numbers]),
        "path": np.concatenate(numbers),
        "timestamps": np.concatenate([np.tile(one.times, one.forecast.num_paths) for one in found]),
    }
    values = np.concatenate([one.forecast.paths.reshape(-1, len(FEATURES)) for one in found])
    return pd.DataFrame(columns | {name: values[:, place] for place, name in enumerate(FEATURES)})


def describe_forecast(one: SymbolForecast, *, all_bars: bool = False) -> list[str]:
    """Lines with the close's quantiles and the probability of a rise, and the shares of corrected and implausible bars.

    Args:
        one ([`SymbolForecast`]): from [`forecast_series`].
        all_bars (`bool`): every bar instead of six that are evenly spaced.
    """
    horizon = one.forecast.horizon
    shown = np.unique(np.linspace(0, horizon - 1, horizon if all_bars else SHOWN_BARS).round().astype(int))
    last = one.series.values[one.origin - 1, CLOSE]
    lines = [f"{one.series.symbol}, close {last:,.6g} at {str(one.series.timestamps[one.origin - 1])[:16]} UTC"]
    lines.append(
        f"{'close at (UTC)':18}" + "".join(f"{f'{level:.0%}':>12}" for level in SHOWN_LEVELS) + f"{'P(up)':>8}"
    )
    quantiles, rises = one.forecast.quantiles(SHOWN_LEVELS).to_numpy(), one.forecast.probability_up().to_numpy()
    for bar in shown:
        cells = "".join(f"{value:>12,.6g}" for value in quantiles[bar])
        lines.append(f"{str(one.times[bar])[:16]:18}{cells}{rises[bar]:>8.0%}")
    if len(shown) < horizon:
        lines.append(f"{'':18}{len(shown)} of {horizon} bars; --all_bars prints all")
    share = one.forecast.projected_share
    remark = "; this is a high share: the model does not fit these data well" if share > MANY_TOUCHED else ""
    lines.append(f"invalid candles   {share:.1%} of the bars violated low <= open, close <= high{remark}")
    lines.append(f"spikes            {one.forecast.spike_share:.2%} of the bars are far outside the context's range")
    return lines
