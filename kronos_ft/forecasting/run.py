"""`kronos-ft forecast`: from settings to a table of paths and a picture."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ft_core.io.console import echo
from ft_core.io.files import write_file
from ft_core.io.progress_lines import LineProgress
from ft_core.io.spreadsheet import neutral_frame

from ..data.candles import CandleSeries
from ..data.sources import load_source
from ..data.timestamps import calendar_features
from .arguments import ForecastArguments
from .forecast import Forecast
from .future_times import inferred_times, origin_seed
from .networks import load_networks, pairing_remark
from .predictor import KronosPredictor

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

    def plot(self, path: str | Path) -> None:
        """Draws candles, paths, intervals and, if known, the actual candles as a PNG file."""
        from .plots import plot_forecast  # here: matplotlib takes a second to import

        series, first, truth = self.series, self.origin - self.lookback, self.truth()
        plot_forecast(
            series.values[first : self.origin],
            self.forecast.paths,
            Path(path),
            times=np.concatenate((series.timestamps[first : self.origin], self.times)),
            truth=truth if len(truth) else None,
            title=f"{series.symbol}: {self.forecast.horizon} bars, {self.forecast.num_paths} paths",
        )


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
            f"{series.symbol} has {index} bars before the forecast, fewer than lookback={lookback}; shorten lookback"
        )
    return index


def _future_of(series: CandleSeries, origin: int, horizon: int) -> np.ndarray:
    """Times of the forecast bars, inferred only from the bars before the origin."""
    try:
        return inferred_times(series, origin, horizon)
    except ValueError as error:
        raise ValueError(f"{series.symbol}: {error}") from error


def forecast_series(
    predictor: KronosPredictor,
    series: list[CandleSeries],
    horizon: int = 24,
    *,
    lookback: int = 400,
    num_paths: int = 100,
    origin: str | None = None,
    seed: int = 42,
    **options,
) -> list[SymbolForecast]:
    """Forecasts the bars after the end of each series, or after an earlier time.

    Args:
        predictor ([`KronosPredictor`]): model and tokenizer.
        series (`list` of [`CandleSeries`]): as from `load_candles`.
        horizon (`int`): bars to forecast; their times follow the step and sessions of the data.
        lookback (`int`): bars of context.
        num_paths (`int`): paths per series.
        origin (`str`, *optional*): UTC time of the first bar to forecast; hides this and all later bars.
        seed (`int`): the paths of a series depend only on (seed, symbol, time of its last known bar).
        options: as for [`KronosPredictor.predict_paths`].

    Raises:
        ValueError: sizes out of range, too few bars, or times without a regular pattern.
    """
    if lookback < 2 or horizon < 1:
        raise ValueError(f"lookback={lookback} or horizon={horizon} is too small; use at least 2 and 1")
    origins = [origin_of(one, lookback, origin) for one in series]
    times = [_future_of(one, first, horizon) for one, first in zip(series, origins, strict=True)]
    contexts = [slice(first - lookback, first) for first in origins]
    forecasts = predictor.predict_paths(
        [one.values[bars] for one, bars in zip(series, contexts, strict=True)],
        [calendar_features(one.timestamps[bars]) for one, bars in zip(series, contexts, strict=True)],
        [calendar_features(one) for one in times],
        horizon,
        num_paths,
        seed=[
            origin_seed(seed, one.symbol, one.timestamps[first - 1]) for one, first in zip(series, origins, strict=True)
        ],
        **options,
    )
    return [SymbolForecast(*one, lookback) for one in zip(series, origins, times, forecasts, strict=True)]


def forecast_table(found: list[SymbolForecast]) -> pd.DataFrame:
    """All paths as one long table, with the symbol as first column."""
    tables = []
    for one in found:
        table = one.forecast.to_frame(one.times)
        table.insert(0, "symbol", one.series.symbol)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _write_table(found: list[SymbolForecast], path: Path) -> None:
    table = forecast_table(found)
    if path.suffix == ".parquet":
        write_file(path, lambda temporary: table.to_parquet(temporary, index=False))
    else:
        write_file(path, lambda temporary: neutral_frame(table).to_csv(temporary, index=False))


def _plot_names(plot: Path, symbols: list[str]) -> list[Path]:
    """One file name per symbol, derived from `plot`; equal names get a number."""
    if len(symbols) == 1:
        return [plot]
    found: list[Path] = []
    for number, symbol in enumerate(symbols, start=1):
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", symbol)
        path = plot.with_name(f"{plot.stem}-{plain}.png")
        found.append(plot.with_name(f"{plot.stem}-{plain}-{number}.png") if path in found else path)
    return found


def describe_forecast(one: SymbolForecast) -> list[str]:
    """Lines with the close's quantiles at some bars, and the shares of corrected and implausible bars."""
    closes = one.forecast.paths[:, :, CLOSE]
    shown = np.unique(np.linspace(0, one.forecast.horizon - 1, SHOWN_BARS).round().astype(int))
    last = one.series.values[one.origin - 1, CLOSE]
    lines = [f"{one.series.symbol}, close {last:,.6g} at {str(one.series.timestamps[one.origin - 1])[:16]} UTC"]
    lines.append(f"{'close at (UTC)':18}" + "".join(f"{f'{level:.0%}':>12}" for level in SHOWN_LEVELS))
    for bar in shown:
        found = np.quantile(closes[:, bar], SHOWN_LEVELS)
        lines.append(f"{str(one.times[bar])[:16]:18}" + "".join(f"{value:>12,.6g}" for value in found))
    share = one.forecast.projected_share
    remark = "; this is a high share: the model does not fit these data well" if share > MANY_TOUCHED else ""
    lines.append(f"invalid candles   {share:.1%} of the bars violated low <= open, close <= high{remark}")
    lines.append(f"spikes            {one.forecast.spike_share:.2%} of the bars are far outside the context's range")
    return lines


def run_forecast(args: ForecastArguments) -> list[SymbolForecast]:
    """Forecasts each symbol and writes the table of paths and the picture, if set.

    Raises:
        ValueError: invalid settings, data or models; raised before anything is written.
        HubUnreachable: a published model cannot be downloaded and is not in the cache.
    """
    args.check_files()
    series = load_source(args.data, args.policy, args.timezone)
    for one in series:  # fail before loading the models
        _future_of(one, origin_of(one, args.lookback, args.origin), args.horizon)
    networks = load_networks(args.model, args.tokenizer)
    for name, network in zip(("model", "tokenizer"), networks, strict=True):
        if network.hub_origin:
            echo(f"{name:18}{network.hub_origin.label()}")
    if remark := pairing_remark(args.model, args.tokenizer, networks[1]):
        echo(f"WARNING     {remark}")
    predictor = KronosPredictor(*networks, args.device, max_context=args.context_bars(args.model))
    found = forecast_series(
        predictor,
        series,
        args.horizon,
        lookback=args.lookback,
        num_paths=args.num_paths,
        origin=args.origin,
        seed=args.seed,
        **args.sampling(),
        reprefill_every=args.reprefill_every,
        project=not args.raw,
        progress=LineProgress("forecast bars"),
    )
    if args.output:
        _write_table(found, Path(args.output))
    if args.plot:
        names = _plot_names(Path(args.plot), [one.series.symbol for one in found])
        for one, name in zip(found, names, strict=True):
            one.plot(name)
    for one in found:
        for line in describe_forecast(one):
            echo(line)
    return found
