"""The page's view of a forecast: key figures, quantiles of each bar, files to download.

Notable:
- Quantiles and the probability of a rise are those of the quantile head, if there is one; otherwise those of the paths.
- A page can show a calibrated and a raw forecast together; then each has its own key figures and table.

Shapes: P paths, H horizon, K known bars after the origin.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ft_core.io.files import write_file
from ft_core.io.spreadsheet import neutral_frame

from ..data.candles import CandleSeries
from ..evaluation.leakage import reach_of_others, seen_bars
from ..forecasting.series import SymbolForecast, forecast_series, forecast_table
from ..models.found_model import FoundModel
from .candle_choice import time_text
from .forecast_kinds import RAW, AnyPredictor
from .markup import notice, table, text, tile

CLOSE = 3
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
MANY_TOUCHED = 0.05


@dataclass(frozen=True)
class ForecastChoices:
    """The choices of a visitor.

    Attributes:
        horizon, num_paths, lookback (`int`): bars to forecast, paths, bars of context.
        seed (`int`): random seed.
        T, top_p (`float`, *optional*): sampling settings; by default those of the model.
        top_k (`int`, *optional*): as them.
        origin (`str`, *optional*): UTC time of the first bar to forecast; by default the end of the data.
    """

    horizon: int
    num_paths: int
    lookback: int
    seed: int
    T: float | None = None
    top_p: float | None = None
    top_k: int | None = None
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
    predictor: AnyPredictor,
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
        top_k=choices.top_k,
        progress=progress,
    )[0]


def _level_name(level: float) -> str:
    """`05` for 0.05, `0.5` for 0.005."""
    return f"{round(100 * level):02d}" if np.isclose(100 * level, round(100 * level)) else f"{100 * level:g}"


def own_levels(one: SymbolForecast) -> Sequence[float]:
    """The levels of the quantile head, if there is one, else `LEVELS`."""
    return LEVELS if one.forecast.direct is None else one.forecast.direct.levels


def quantile_frame(one: SymbolForecast, levels: Sequence[float] | None = None) -> pd.DataFrame:
    """Quantiles of the close, the probability of a rise, and the actual close if known: H rows.

    Args:
        one ([`SymbolForecast`]): the forecast.
        levels (`Sequence[float]`, *optional*): by default [`own_levels`].
    """
    truth, levels = one.truth(), own_levels(one) if levels is None else levels
    frame = pd.DataFrame({"symbol": one.series.symbol, "timestamps": one.times})
    for level, values in one.forecast.quantiles(levels).items():
        frame[f"close_q{_level_name(level)}"] = values.to_numpy()
    frame["probability_up"] = one.forecast.probability_up().to_numpy()
    happened = np.full(len(frame), np.nan)
    happened[: len(truth)] = truth[:, CLOSE]
    frame["happened"] = happened
    return frame


def price(value: float) -> str:
    """Formats a price with enough digits."""
    return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.5g}"


def share(value: float) -> str:
    """A probability in whole per cent, with one decimal near 0 and 1."""
    return f"{100 * value:.0f} %" if 0.01 <= value <= 0.99 else f"{100 * value:.1f} %"


def _heading(name: str | None, words: Mapping[str, str], title: str = "") -> str:
    """The heading of a table or of key figures; the name of the forecast where the page shows two."""
    kind = words[f"kind_{name}"] if name else ""
    line = " · ".join(part for part in (kind[:1].upper() + kind[1:], title) if part)
    return f'<h3 class="kf-head">{text(line)}</h3>' if line else ""


def quantile_table(
    one: SymbolForecast, words: Mapping[str, str], *, show_truth: bool = True, name: str | None = None
) -> str:
    """The table of quantiles and of the probability of a rise as HTML, with the actual close if known.

    Args:
        one ([`SymbolForecast`]): the forecast.
        words: the page's texts.
        show_truth (`bool`): whether to show the actual close.
        name (`str`, *optional*): calibrated or raw, for the heading.
    """
    truth = one.truth()[:, CLOSE] if show_truth else np.empty(0)
    quantiles = one.forecast.quantiles(LEVELS).to_numpy()
    header = [words["time"], *(f"{100 * level:g} %" for level in LEVELS), words["rise"]]
    rows = []
    for bar, rise in enumerate(one.forecast.probability_up()):
        row = [time_text(one.times[bar]), *map(price, quantiles[bar]), share(rise)]
        if len(truth):
            row.append(price(truth[bar]) if bar < len(truth) else "")
        rows.append(row)
    if one.forecast.direct is None:
        title = words["table_title"].format(paths=one.forecast.num_paths)
    else:
        title = words["table_title_head"]
    return _heading(name, words, title) + table([*header, *([words["happened"]] if len(truth) else [])], rows)


def _change(value: float, last: float, digits: int = 2) -> tuple[str, str]:
    """The change from the last close in per cent, and its direction."""
    change = 100 * (value / last - 1)
    return f"{change:+.{digits}f} %", "up" if change > 0 else "down" if change < 0 else ""


def summary(one: SymbolForecast, words: Mapping[str, str], *, show_truth: bool = True, name: str | None = None) -> str:
    """Tiles with the last close, and the figures at the end of the horizon: the median, the probability of a rise, the
    intervals and the actual close.

    Args:
        one, words, show_truth, name: as for [`quantile_table`].
    """
    last = float(one.series.values[one.origin - 1, CLOSE])
    truth = one.truth()
    low90, low50, median, high50, high90 = one.forecast.quantiles(LEVELS).iloc[-1].tolist()
    moved, kind = _change(median, last)
    bars, rise = one.forecast.horizon, float(one.forecast.probability_up().iloc[-1])
    by = words["rise_by_paths"].format(paths=one.forecast.num_paths)
    tiles = [
        tile(words["last_close"], price(last), f"{time_text(one.series.timestamps[one.origin - 1])} UTC"),
        tile(words["at_end"].format(bars=bars), moved, price(median), kind),
        tile(
            words["rise_at_end"].format(bars=bars),
            share(rise),
            by if one.forecast.direct is None else words["rise_by_head"],
        ),
    ]
    for level, low, high in (("50 %", low50, high50), ("90 %", low90, high90)):
        span = f"{_change(low, last, 1)[0].removesuffix(' %')} … {_change(high, last, 1)[0]}"
        tiles.append(tile(words["band_at_end"].format(level=level, bars=bars), span, f"{price(low)} – {price(high)}"))
    if show_truth and len(truth) == one.forecast.horizon:
        happened = float(truth[-1, CLOSE])
        moved, kind = _change(happened, last)
        where = (
            "inside_50" if low50 <= happened <= high50 else "inside_90" if low90 <= happened <= high90 else "outside_90"
        )
        tiles.append(tile(words["happened"], moved, words[where], kind))
    return _heading(name, words) + f'<div class="kf-tiles">{"".join(tiles)}</div>'


def remark_lines(one: SymbolForecast, shown: FoundModel, words: Mapping[str, str]) -> list[str]:
    """Warnings about a forecast: another context or horizon than in training, seen bars, invalid candles."""
    found, origin, model = [], one.times[0], shown.model
    if shown.context_remark(one.lookback):
        found.append(words["other_lookback"].format(bars=one.lookback, trained=shown.trained_lookback))
    if shown.long_horizon_remark(one.forecast.horizon):
        found.append(words["long_horizon"].format(bars=one.forecast.horizon, trained=shown.trained_horizon))
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
    return found


def remarks(found: Mapping[str, tuple[SymbolForecast, FoundModel]], words: Mapping[str, str]) -> str:
    """The warnings about the forecasts of a page as HTML; those of the raw forecast alone name it.

    Args:
        found: the forecasts by kind, each with its model; the first is the main one.
        words: the page's texts.
    """
    lines: list[str] = []
    for kind, (one, shown) in found.items():
        own = [line for line in remark_lines(one, shown, words) if line not in lines]
        lines += (
            [words["named"].format(name=words[f"kind_{kind}"], text=line) for line in own]
            if len(found) > 1 and kind == RAW
            else own
        )
    return "".join(notice(line, "warning") for line in lines)


def write_tables(found: Mapping[str, SymbolForecast], folder: Path) -> tuple[Path, Path]:
    """Writes the quantiles and all paths as CSV files into a folder; returns their paths.

    Two forecasts are in the same files, with their kind in a first column `forecast`.
    """
    one = next(iter(found.values()))
    symbol = re.sub(r"[^\w.-]+", "_", one.series.symbol)[:60]
    when = str(one.times[0].astype("datetime64[m]")).replace(":", "")
    places = []
    tables = {
        "quantiles": lambda forecast: quantile_frame(forecast, own_levels(one)),
        "paths": lambda forecast: forecast_table([forecast]),
    }
    for name, make in tables.items():
        place = folder / f"{symbol}-{when}-{name}.csv"
        frames = {kind: make(forecast) for kind, forecast in found.items()}
        if len(frames) > 1:
            frame = pd.concat(frames, names=["forecast", None]).reset_index("forecast")
        else:
            frame = next(iter(frames.values()))
        cells = neutral_frame(frame)
        write_file(place, lambda temporary, cells=cells: cells.to_csv(temporary, index=False))
        places.append(place)
    return places[0], places[1]
