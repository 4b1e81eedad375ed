"""A Kronos predictor as a forecaster of the walk-forward evaluation.

Shapes: N origins, P paths, H horizon, L lookback.
"""

import zlib

import numpy as np

from ..data.candles import CandleSeries
from ..data.columns import PRICES
from ..data.future import future_timestamps
from ..data.rhythm import rhythm_before
from ..data.timestamps import calendar_features


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


class KronosForecaster:
    """Forecast paths of a [`KronosPredictor`] from the bars before each origin.

    Future calendar features are inferred from the times before the origin, as `kronos-ft forecast` does.

    Args:
        name (`str`): name in the results.
        predictor ([`KronosPredictor`]): model and tokenizer.
        lookback (`int`): bars of the context.
        num_paths (`int`): paths an origin.
        T, top_k, top_p: sampling.
        seed (`int`): seed of the run; each origin draws from its own, see [`origin_seed`].
        overflow (`str`): what happens past the model's context, as in [`~KronosPredictor.predict_paths`].

    Raises:
        ValueError: fewer than 2 bars, or no path.
    """

    def __init__(
        self,
        name: str,
        predictor: object,
        lookback: int = 400,
        num_paths: int = 30,
        *,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        seed: int = 0,
        overflow: str = "exact",
    ):
        for field, value, least in (("lookback", lookback, 2), ("num_paths", num_paths, 1)):
            if value < least:
                raise ValueError(f"{field}={value} is too small; use {least} or more")
        self.name = name
        self.predictor = predictor
        self.lookback = lookback
        self.num_paths = num_paths
        self.options = {"T": T, "top_k": top_k, "top_p": top_p, "overflow": overflow}
        self.seed = seed
        self.infers_times = True  # an evaluation asks for origins whose times can be told
        self._shares: list[tuple[float, float]] = []

    def paths(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> np.ndarray:
        """Paths of open, high, low, close from each origin on.

        Args:
            series ([`CandleSeries`]): one symbol's candles; only bars before an origin are read for it.
            origins (`np.ndarray` of int, shape `(N,)`): first bar to forecast of each.
            horizon (`int`): bars to forecast.

        Returns:
            `np.ndarray` of float64, shape `(N, P, H, 4)`, raw prices.

        Raises:
            ValueError: an origin with fewer than `lookback` bars before it.
        """
        short = [int(origin) for origin in origins if origin < self.lookback]
        if short:
            raise ValueError(
                f"origin {short[0]} of {series.symbol} has fewer than lookback={self.lookback} bars before it; start "
                "later or shorten lookback"
            )
        result = np.empty((len(origins), self.num_paths, horizon, len(PRICES)))
        forecasts = self._forecast(series, origins, horizon) if len(origins) else []
        for position, forecast in enumerate(forecasts):
            result[position] = forecast.paths[..., : len(PRICES)]
            self._shares.append((forecast.projected_share, forecast.spike_share))
        return result

    def _forecast(self, series: CandleSeries, origins: np.ndarray, horizon: int) -> list:
        candles, stamps, future, seeds = [], [], [], []
        for origin in origins.tolist():
            known = series.timestamps[:origin]
            context = slice(origin - self.lookback, origin)
            candles.append(series.values[context])
            stamps.append(calendar_features(series.timestamps[context]))
            future.append(calendar_features(inferred_times(series, origin, horizon)))
            seeds.append(origin_seed(self.seed, series.symbol, known[-1]))
        return self.predictor.predict_paths(
            candles, stamps, future, horizon, self.num_paths, **self.options, seed=seeds
        )

    def shares(self) -> dict[str, float]:
        """Mean share of bars that the projection touched and of spikes, over all forecasts so far."""
        projected, spikes = np.mean(self._shares, axis=0) if self._shares else (0.0, 0.0)
        return {"projected_share": float(projected), "spike_share": float(spikes)}
