"""Timestamps of the bars to forecast, and the random seed of a forecast origin."""

import zlib

import numpy as np

from ..data.candles import CandleSeries
from ..data.future import future_timestamps
from ..data.rhythm import rhythm_before


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
