"""Joins a quantile log with the candles that came: the actual close of each forecast bar, and a reference forecast.

Shapes: N rows of the log, Q levels.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtri

from ..data.candles import CandleSeries
from ..forecasting.forecast import LEVELS
from .finished_bars import finished_bars
from .quantile_log import KEY, LEVEL_COLUMNS

CLOSE = 3
REFERENCE_RETURNS, LEAST_RETURNS = 400, 20
REFERENCE = f"normal cone: root mean square of the last {REFERENCE_RETURNS} returns x sqrt(step) x normal quantiles"
REVISED, OTHER_PRICES = 1e-6, 0.1  # relative difference of the last known close
SCORED, PENDING, MISSING, NO_DATA, OTHER = "scored", "pending", "missing", "no data", "other prices"
STATES = (SCORED, PENDING, MISSING, NO_DATA, OTHER)


def join_log(log: pd.DataFrame, series: Sequence[CandleSeries]) -> pd.DataFrame:
    """Adds the actual candle to each row of a log.

    Args:
        log (`pd.DataFrame`): from [`~kronos_ft.daily.quantile_log.read_log`].
        series (`Sequence` of [`CandleSeries`]): the candles. A last bar that has not ended is not used.

    Returns:
        the log, sorted by model, symbol, origin and step, with the columns `actual` (close; NaN if unknown), `state`
        (one of `STATES`), `volatility` (root mean square of the returns before the origin; NaN with fewer than 20),
        `is_revised` (the close at the origin is another one today) and `is_late` (made after its first bar had ended).
    """
    found = log.sort_values(["model", "symbol", "origin", "step"], kind="stable", ignore_index=True)
    added = {
        "actual": np.full(len(found), np.nan),
        "volatility": np.full(len(found), np.nan),
        "state": np.full(len(found), NO_DATA, dtype=object),
        "is_revised": np.zeros(len(found), dtype=bool),
        "is_late": np.zeros(len(found), dtype=bool),
    }
    columns = {name: found[name].to_numpy() for name in ("timestamps", "origin", "created", "last_close")}
    columns["first"] = found.groupby(list(KEY), sort=False)["timestamps"].transform("min").to_numpy()
    places = found.groupby("symbol", sort=False).indices
    for one in map(finished_bars, series):
        if (rows := places.get(one.symbol)) is not None:
            for name, values in _of_symbol({name: column[rows] for name, column in columns.items()}, one).items():
                added[name][rows] = values
    return found.assign(**added)


def _at(times: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position of each wanted time, and whether there is a bar at exactly this time."""
    at = np.searchsorted(times, wanted)
    there = (at < len(times)) & (times[np.minimum(at, len(times) - 1)] == wanted)
    return np.minimum(at, len(times) - 1), there


def _of_symbol(rows: Mapping[str, np.ndarray], series: CandleSeries) -> dict[str, np.ndarray]:
    """The added columns of one symbol's rows."""
    times, closes = series.timestamps.astype("datetime64[ns]"), series.values[:, CLOSE]
    at, there = _at(times, rows["timestamps"])
    origin, known = _at(times, rows["origin"])
    difference = np.where(known, np.abs(closes[origin] / rows["last_close"] - 1), 0.0)
    state = np.where(there, SCORED, np.where(rows["timestamps"] > times[-1], PENDING, MISSING))
    state = np.where(difference > OTHER_PRICES, OTHER, state)
    step = np.timedelta64(round(series.report.step_seconds * 1e9), "ns")
    return {
        "actual": np.where(state == SCORED, closes[at], np.nan),
        "state": state,
        "volatility": np.where(known, _volatility(closes)[origin], np.nan),
        "is_revised": difference > REVISED,
        "is_late": rows["created"] >= rows["first"] + step,
    }


def _volatility(closes: np.ndarray) -> np.ndarray:
    """Root mean square of the last returns up to each bar, `(bars,)`; NaN with fewer than 20 of them."""
    squares = np.concatenate(([0.0], np.cumsum(np.square(np.diff(np.log(closes))))))
    bars = np.arange(len(closes))
    first = np.maximum(bars - REFERENCE_RETURNS, 0)
    count = bars - first
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.sqrt(np.maximum(squares - squares[first], 0.0) / count)
    return np.where((count >= LEAST_RETURNS) & (found > 0), found, np.nan)


def reference_quantiles(rows: pd.DataFrame) -> np.ndarray:
    """Quantiles of the close's log return of the reference, `(N, Q)`; NaN where the volatility is unknown."""
    scale = rows["volatility"].to_numpy() * np.sqrt(rows["step"].to_numpy())
    return scale[:, None] * ndtri(np.asarray(LEVELS))


def forecast_quantiles(rows: pd.DataFrame) -> np.ndarray:
    """Quantiles of the close's log return in a log, `(N, Q)`."""
    return np.log(rows[list(LEVEL_COLUMNS)].to_numpy() / rows["last_close"].to_numpy()[:, None])


def actual_returns(rows: pd.DataFrame) -> np.ndarray:
    """Actual log return of each forecast bar against the last close that the forecast knew, `(N,)`."""
    return np.log(rows["actual"].to_numpy() / rows["last_close"].to_numpy())
