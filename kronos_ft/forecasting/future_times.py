"""Times of the bars to forecast, and the random seed of one forecast origin."""

import zlib

import numpy as np

from ..data.candles import CandleSeries
from ..data.future import future_timestamps
from ..data.rhythm import rhythm_before


def origin_seed(seed: int, symbol: str, time: np.datetime64) -> int:
    """A seed for one origin from the run's seed, the symbol and the time of the last known bar.

    It depends neither on the batch nor on which other origins are forecast, so that thinning or another batch size
    leaves each origin's paths as they were.
    """
    words = (seed, zlib.crc32(symbol.encode()), int(time.astype("datetime64[ns]").astype("int64")))
    return int(np.random.SeedSequence([abs(word) for word in words]).generate_state(1, np.uint64)[0] >> 1)


def inferred_times(series: CandleSeries, origin: int, horizon: int) -> np.ndarray:
    """Times of the bars from an origin on, shape `(H,)`: step, market and sessions are those of the bars before it.

    Raises:
        ValueError: the bars before show no pattern.
    """
    return future_timestamps(series.timestamps[:origin], horizon, *rhythm_before(series.timestamps, origin))
