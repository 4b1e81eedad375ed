"""The page's view of one forecast: key figures, quantiles of each bar, files to download.

Shapes: P paths, H horizon, K known bars after the origin.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ft_core.io.files import write_file
from ft_core.io.spreadsheet import neutral_frame

from ..data.candles import CandleSeries
from ..evaluation.leakage import reach_of_others, seen_bars
from ..forecasting.predictor import KronosPredictor
from ..forecasting.series import SymbolForecast, forecast_series, forecast_table
from ..models.found_model import FoundModel
from .candle_choice import time_text
from .markup import notice, table, tile

CLOSE = 3
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
MANY_TOUCHED = 0.05


@dataclass(frozen=True)
class ForecastChoices:
    """The choices of a visitor.

    Attributes:
        horizon, num_paths, lookback (`int`): bars to forecast, paths, bars of context.
        T, top_p (`float`): sampling settings.
        seed (`int`): random seed.
        origin (`str`, *optional*): UTC time of the first bar to forecast; by default the end of the data.
    """

    horizon: int
    num_paths: int
    lookback: int
    T: float
    top_p: float
    seed: int
    origin: str | None = None

    @classmethod
    def checked(cls, origin: str | None, **numbers: object) -> "ForecastChoices":
        """Validates the values of the page's fields.

        Raises:
            ValueError: an empty field, a fraction instead of a whole number, or a number out of range.
        """
        found: dict[str, float] = {}
        for name, value in numbers.items():
            if not isinstance(value, int | float) or isinstance(value, bool) or not np.isfinite(value):
                raise ValueError(f"{name} is empty or not a number; enter a number")
            if name not in ("T", "top_p") and value != int(value):
                raise ValueError(f"{name}={value} is not a whole number; enter a whole number")
            found[name] = float(value) if name in ("T", "top_p") else int(value)
        for name, least in (("horizon", 1), ("num_paths", 1), ("lookback", 2), ("seed", 0)):
            if found[name] < least:
                raise ValueError(f"{name}={found[name]} is too small; use {least} or more")
        return cls(origin=origin, **found)


def make_forecast(
    predictor: KronosPredictor,
    series: CandleSeries,
    choices: ForecastChoices,
    progress: Callable[[int, int], None] | None = None,
) -> SymbolForecast:
    """Forecasts one symbol from the bars before the origin.

    Raises:
        ValueError: invalid choices or candles.
    """
    return forecast_series(
        predictor,
        [series],
        choices.horizon,
        lookback=choices.lookback,
        num_paths=choices.num_paths,
        origin=choices.origin,
        seed=choices.seed,
        T=choices.T,
        top_p=choices.top_p,
        progress=progress,
    )[0]


def quantile_frame(one: SymbolForecast) -> pd.DataFrame:
    """Quantiles of the close at each forecast bar, and the actual close if known: H rows."""
    truth = one.truth()
    frame = pd.DataFrame({"symbol": one.series.symbol, "timestamps": one.times})
    for level, values in one.forecast.quantiles(LEVELS).items():
        frame[f"close_q{round(100 * level):02d}"] = values.to_numpy()
    happened = np.full(len(frame), np.nan)
    happened[: len(truth)] = truth[:, CLOSE]
    frame["happened"] = happened
    return frame


def price(value: float) -> str:
    """Formats a price with enough digits."""
    return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.5g}"


def quantile_table(one: SymbolForecast, words: Mapping[str, str], *, show_truth: bool = True) -> str:
    """The table of quantiles as HTML, with the actual close if known."""
    frame = quantile_frame(one)
    known = show_truth and frame.happened.notna().any()
    header = [words["time"], *(f"{100 * level:g} %" for level in LEVELS), *([words["happened"]] if known else [])]
    rows = []
    for _, _, *quantiles, happened in frame.itertuples(index=False):
        cells = [price(value) for value in quantiles]
        rows.append([*cells, "" if np.isnan(happened) else price(happened)] if known else cells)
    times = [time_text(time) for time in one.times]
    title = words["table_title"].format(paths=one.forecast.num_paths)
    return f'<h3 class="kf-head">{title}</h3>' + table(
        header, [[time, *cells] for time, cells in zip(times, rows, strict=True)]
    )


def _change(value: float, last: float, digits: int = 2) -> tuple[str, str]:
    """The change from the last close in per cent, and its direction."""
    change = 100 * (value / last - 1)
    return f"{change:+.{digits}f} %", "up" if change > 0 else "down" if change < 0 else ""


def summary(one: SymbolForecast, words: Mapping[str, str], *, show_truth: bool = True) -> str:
    """Tiles with the last close, and the median, the intervals and the actual close at the end of the horizon."""
    last = float(one.series.values[one.origin - 1, CLOSE])
    truth = one.truth()
    low90, low50, median, high50, high90 = one.forecast.quantiles(LEVELS).iloc[-1].tolist()
    moved, kind = _change(median, last)
    tiles = [
        tile(words["last_close"], price(last), f"{time_text(one.series.timestamps[one.origin - 1])} UTC"),
        tile(words["at_end"].format(bars=one.forecast.horizon), moved, price(median), kind),
    ]
    for level, low, high in (("50 %", low50, high50), ("90 %", low90, high90)):
        span = f"{_change(low, last, 1)[0].removesuffix(' %')} … {_change(high, last, 1)[0]}"
        tiles.append(tile(words["band_at_end"].format(level=level), span, f"{price(low)} – {price(high)}"))
    if show_truth and len(truth) == one.forecast.horizon:
        happened = float(truth[-1, CLOSE])
        moved, kind = _change(happened, last)
        where = (
            "inside_50" if low50 <= happened <= high50 else "inside_90" if low90 <= happened <= high90 else "outside_90"
        )
        tiles.append(tile(words["happened"], moved, words[where], kind))
    return f'<div class="kf-tiles">{"".join(tiles)}</div>'


def remarks(one: SymbolForecast, shown: FoundModel, words: Mapping[str, str]) -> str:
    """Warnings about a forecast: another context than in training, bars that the model has seen, invalid candles."""
    found, origin, model = [], one.times[0], shown.model
    if shown.context_remark(one.lookback):
        found.append(words["other_lookback"].format(bars=one.lookback, trained=shown.trained_lookback))
    ends = seen_bars(model, one.series.symbol)
    for split in ("train", "validation"):
        if split in ends and ends[split] >= origin:
            found.append(words[f"seen_{split}"].format(time=time_text(ends[split])))
            break
    reach = reach_of_others(model, one.series.symbol)
    if reach is not None and reach >= origin:
        found.append(words["seen_unmatched"].format(symbol=one.series.symbol, time=time_text(reach)))
    if one.forecast.projected_share > MANY_TOUCHED:
        found.append(words["touched"].format(share=f"{one.forecast.projected_share:.0%}"))
    return "".join(notice(line, "warning") for line in found)


def write_tables(one: SymbolForecast, folder: Path) -> tuple[Path, Path]:
    """Writes the quantiles and all paths as CSV files into a folder; returns their paths."""
    symbol = re.sub(r"[^\w.-]+", "_", one.series.symbol)[:60]
    when = str(one.times[0].astype("datetime64[m]")).replace(":", "")
    places = []
    for name, frame in (("quantiles", quantile_frame(one)), ("paths", forecast_table([one]))):
        place = folder / f"{symbol}-{when}-{name}.csv"
        cells = neutral_frame(frame)
        write_file(place, lambda temporary, cells=cells: cells.to_csv(temporary, index=False))
        places.append(place)
    return places[0], places[1]
