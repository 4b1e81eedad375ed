"""Reference forecasts of realised volatility: EWMA (RiskMetrics) and HAR-RV.

Both forecast the volatility of the next h bars from the closes of the lookback. Their error distributions are those of
the training split, and so are the quantiles of the other targets ([`ScaledForecaster`]).

Shapes: N origins, F features.
"""

from dataclasses import dataclass, field

import numpy as np

from ..data.candles import CandleSeries
from .scaled import ScaledForecaster, squared_returns

DECAY = 0.94  # RiskMetrics, daily data
HAR_DAYS = (1, 5, 22)
FLOOR = 0.05  # minimum volatility, as a share of that of the whole lookback: a logarithm needs a value above 0


@dataclass
class Ewma(ScaledForecaster):
    """Exponentially weighted moving average of squared returns (RiskMetrics Technical Document, 1996).

    s^2 = sum_i w_i r_{o - 1 - i}^2 over the returns of the lookback, with w_i proportional to decay^i and sum 1. The
    variance of h bars is h s^2.

    Attributes:
        decay (`float`): weight of a return relative to that of the next bar.
    """

    name: str = "EWMA"
    decay: float = DECAY

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.decay < 1:
            raise ValueError(f"decay={self.decay} is outside (0, 1); use e.g. {DECAY}")

    def features(self, series: CandleSeries, origins: np.ndarray) -> np.ndarray:
        """Volatility of one bar, shape `(N, 1)`."""
        from scipy.signal import lfilter  # slow to import

        number = self.lookback - 1
        sums = lfilter([1.0], [1.0, -self.decay], squared_returns(series))
        # the sum over the lookback is that over all bars up to the origin less that over the bars before the lookback
        earlier = origins - 1 - number
        before = np.where(earlier >= 0, sums[np.maximum(earlier, 0)], 0.0)
        weights = (1 - self.decay) / (1 - self.decay**number)
        variance = weights * (sums[origins - 1] - self.decay**number * before)
        return np.sqrt(np.maximum(variance, 0.0))[:, None]

    def scale(self, features: np.ndarray, h: int) -> np.ndarray:
        """Volatility times sqrt(h), shape `(N,)`."""
        return features[:, 0] * np.sqrt(h)


@dataclass
class HarRv(ScaledForecaster):
    """Heterogeneous autoregression of realised volatility (Corsi 2009, Journal of Financial Econometrics 7).

    log(RV_h / sqrt(h)) = b_0 + b_1 log(v_short) + b_2 log(v_medium) + b_3 log(v_long), where RV_h is the realised
    volatility of the next h bars and v the root mean square of the last returns. The three spans are in the ratio of 1,
    5 and 22 days; the longest is the lookback. Fitted by ordinary least squares on the training split, separately for
    each h. The quantiles of RV_h / forecast transform the logarithm back (smearing, Duan 1983).
    """

    name: str = "HAR-RV"
    _weights: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def spans(self) -> tuple[int, int, int]:
        """Numbers of returns of the short, medium and long span."""
        longest = self.lookback - 1
        return tuple(min(max(round(longest * days / HAR_DAYS[-1]), 2), longest) for days in HAR_DAYS)

    def features(self, series: CandleSeries, origins: np.ndarray) -> np.ndarray:
        """1 and the logarithms of three volatilities, shape `(N, 4)`; NaN for a context without any move."""
        totals = np.concatenate(([0.0], np.cumsum(squared_returns(series))))  # totals[i]: sum over the bars before i
        spans = self.spans()
        means = [np.maximum(totals[origins] - totals[origins - span], 0.0) / span for span in spans]
        longest = np.sqrt(means[-1])
        with np.errstate(divide="ignore"):
            logs = [np.log(np.maximum(np.sqrt(mean), FLOOR * longest)) for mean in means]
        found = np.stack([np.ones(len(origins)), *logs], axis=1)
        found[longest == 0] = np.nan
        return found

    def fit_scale(self, features: np.ndarray, volatility: np.ndarray, h: int) -> None:
        """Ordinary least squares of the log volatility per bar of the next h bars."""
        usable = np.isfinite(features).all(axis=1)
        x = features[usable]
        least = FLOOR * np.exp(x[:, -1])
        y = np.log(np.maximum(volatility[usable] / np.sqrt(h), least))
        self._weights[h] = np.linalg.lstsq(x, y, rcond=None)[0] if len(x) else np.zeros(features.shape[1])

    def scale(self, features: np.ndarray, h: int) -> np.ndarray:
        """Forecast volatility of h bars, shape `(N,)`, before the smearing."""
        return np.nan_to_num(np.exp((features * self._weights[h]).sum(axis=1)) * np.sqrt(h), nan=0.0)
