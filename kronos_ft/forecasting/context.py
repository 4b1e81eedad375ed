"""Prepares one series for a forecast: validation, normalisation by its own context, future times, random seed.

Shapes: L bars of context, H bars of horizon, F = 6 features.
"""

import logging
import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..data.candles import CandleSeries
from ..data.columns import FEATURES
from ..data.future import check_future, future_timestamps
from ..data.rhythm import rhythm_before
from ..data.timestamps import calendar_features
from ..windows.dataset import PUBLISHED_EPS, normalise

logger = logging.getLogger(__name__)

PRICES = FEATURES[:4]
LEAST_STD = 0.1  # of normalised prices; below, moves are smaller than the reconstruction error of the tokens
ROUNDINGS = 100  # prices must vary by this many rounding steps of their number format


@dataclass(frozen=True)
class Context:
    """The input of the forecast of one series.

    Attributes:
        bars (`np.ndarray` of float32, shape `(L, F)`): normalised and clipped.
        mean, scale (`np.ndarray` of shape `(F,)`): statistics of the raw bars; float64, or float32 as published.
        stamp, future (`np.ndarray` of shape `(L, 5)` and `(H, 5)`): calendar features.
        raw (`np.ndarray` of float64, shape `(L, F)`): the bars as given.
    """

    bars: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    stamp: np.ndarray
    future: np.ndarray
    raw: np.ndarray


def build_context(
    candles: np.ndarray,
    stamp: np.ndarray,
    future: np.ndarray,
    horizon: int,
    clip: float,
    *,
    published_scale: bool = False,
    label: str = "",
) -> Context:
    """Validates a series and normalises it by its mean and standard deviation, in float64 as in training.

    Args:
        candles (`np.ndarray` of shape `(L, 6)`): raw, in the order of `FEATURES`.
        stamp, future (`np.ndarray` of shape `(L, 5)` and `(H, 5)`): calendar features.
        horizon (`int`): H.
        clip (`float`): maximum absolute normalised value.
        published_scale (`bool`): normalise as published: in float32, with 1e-5 added to every standard deviation. This
            shrinks the normalised values of assets with prices below about 0.5, and loses moves below about 1e-5 of the
            price. Otherwise normalise as in training, see [`normalise`].
        label (`str`): prefix of each message, which identifies the series.

    Raises:
        ValueError: fewer than two bars, missing values, constant prices, prices that vary less than the model can
            resolve, a variance that overflows, or a wrong number of stamps.
    """
    raw = np.asarray(candles, dtype=np.float64)
    if raw.ndim != 2 or raw.shape[1] != len(FEATURES):
        raise ValueError(f"{label}candles of shape {raw.shape} must be (bars, 6): {', '.join(FEATURES)}")
    if len(raw) < 2:
        raise ValueError(f"{label}a context of {len(raw)} bars is too short; pass 2 or more")
    if not np.isfinite(raw).all():
        bar, feature = np.argwhere(~np.isfinite(raw))[0]
        raise ValueError(
            f"{label}{FEATURES[feature]} of bar {bar} is {raw[bar, feature]}; repair or drop it (kronos-ft data check)"
        )
    if np.ptp(raw[:, : len(PRICES)]) == 0:
        raise ValueError(
            f"{label}all prices of the context are {raw[0, 0]:g}; pass a context in which the price changes"
        )
    if len(stamp) != len(raw) or len(future) != horizon:
        raise ValueError(
            f"{label}{len(raw)} bars and horizon={horizon} have {len(stamp)} and {len(future)} stamps; pass one stamp "
            "per bar"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        if published_scale:
            values = raw.astype(np.float32)
            mean, scale = values.mean(axis=0), values.std(axis=0) + PUBLISHED_EPS
            bars = np.clip((values - mean) / scale, -clip, clip)
        else:
            windows, means, scales = normalise(raw[None], len(raw), clip)
            bars, mean, scale = windows[0], means[0, 0], scales[0, 0]
    if not np.isfinite(scale).all():
        feature = int(np.flatnonzero(~np.isfinite(scale))[0])
        raise ValueError(
            f"{label}{FEATURES[feature]} reaches {np.abs(raw[:, feature]).max():.2g}: its variance overflows "
            f"{scale.dtype}; use a larger unit, e.g. millions"
        )
    problem = unresolved_moves(raw[:, : len(PRICES)], scale[: len(PRICES)])
    if problem and not published_scale:
        raise ValueError(f"{label}{problem}")
    if problem:
        logger.warning(
            f"{label}the forecast is dominated by rounding errors: {problem}, or use predict_paths, which computes in "
            "float64"
        )
    return Context(bars, mean, scale, np.asarray(stamp), np.asarray(future), raw)


def unresolved_moves(prices: np.ndarray, scale: np.ndarray) -> str | None:
    """Why the moves of prices are too small for a forecast, with the remedy; None if they are not.

    Args:
        prices (`np.ndarray` of float64, shape `(L, 4)`): open, high, low, close of a context.
        scale (`np.ndarray` of shape `(4,)`): divisor of each price; its number format is that of the normalisation.
    """
    std, step = prices.std(axis=0), np.finfo(scale.dtype).eps
    varies = f"prices vary by {std.max():.2g} around {prices.mean():.6g}"
    if std.max() < ROUNDINGS * step * np.abs(prices).max():
        return f"{varies}, less than the precision of {scale.dtype} allows; subtract a constant from the prices"
    if (std < LEAST_STD * scale).all():
        return (
            f"{varies}, less than the model's tokens can resolve ({scale.min():.2g}); use a smaller unit, e.g. "
            "multiply the prices by 1,000"
        )
    return None


def frame_values(df: pd.DataFrame) -> np.ndarray:
    """Six features of a table as float64 `(L, 6)`; missing volume and amount are filled in, as published.

    Raises:
        ValueError: not a table, no price columns, or missing values.
    """
    if not isinstance(df, pd.DataFrame):
        raise ValueError(f"df is a {type(df).__name__}, not a pandas DataFrame; pass a table of candles")
    missing = [name for name in PRICES if name not in df.columns]
    if missing:
        present = ", ".join(map(str, df.columns))
        raise ValueError(f"df has no column {', '.join(missing)} (columns: {present}); rename its columns")
    prices = df[list(PRICES)]
    volume = df["volume"] if "volume" in df.columns else pd.Series(0.0, index=df.index)
    if "volume" not in df.columns:
        amount = pd.Series(0.0, index=df.index)
    else:
        amount = df["amount"] if "amount" in df.columns else volume * prices.mean(axis=1)
    values = pd.concat([prices, volume, amount], axis=1).to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isnan(values).any():
        row, feature = np.argwhere(np.isnan(values))[0]
        raise ValueError(f"df has a missing value: {FEATURES[feature]} in row {row}; fill in the value or drop the row")
    return values


def check_times(past: pd.Series, future: pd.Series, rows: int, horizon: int) -> None:
    """Checks the number of times, and that the future comes after the past.

    Raises:
        ValueError: a wrong number of times, or times that overlap or are not increasing.
    """
    if len(past) != rows:
        raise ValueError(f"x_timestamp has {len(past)} times for {rows} rows; pass one time per row")
    if len(future) != horizon:
        raise ValueError(f"y_timestamp has {len(future)} times for pred_len={horizon}; pass one time per bar")
    check_future(past, future)


def stamps_of(times: pd.Series) -> np.ndarray:
    """Calendar features `(N, 5)` in the time zone of `times`, as published."""
    parsed = pd.to_datetime(times)
    return calendar_features((parsed.dt.tz_localize(None) if parsed.dt.tz is not None else parsed).to_numpy())


def origin_seed(seed: int, symbol: str, time: np.datetime64) -> int:
    """Seed of one origin, from the run's seed, the symbol and the time of the last known bar.

    It does not depend on the batch size or on the other origins, so neither changes the paths of this origin.
    """
    entropy = (seed, zlib.crc32(symbol.encode()), int(time.astype("datetime64[ns]").astype("int64")))
    return int(np.random.SeedSequence([abs(value) for value in entropy]).generate_state(1, np.uint64)[0] >> 1)


def inferred_times(series: CandleSeries, origin: int, horizon: int) -> np.ndarray:
    """Times of the bars from an origin on, shape `(H,)`, inferred from the bars before it.

    Raises:
        ValueError: the bars before the origin have no regular pattern.
    """
    return future_timestamps(series.timestamps[:origin], horizon, *rhythm_before(series.timestamps, origin))
