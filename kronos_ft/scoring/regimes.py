"""Volatility regimes: thirds of the volatility seen before an origin, with borders from the validation split.

Borders belong to a symbol, so that 'high' means high for it. Neither they nor the volatility that is compared with
them contain a bar at or after the origin.

Shapes: N origins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.candles import CandleSeries
from .targets import CLOSE

REGIMES = ("low", "middle", "high")
LEAST_CONTEXTS = 30  # validation origins of a symbol from which its own borders are taken


def context_volatility(series: CandleSeries, origins: np.ndarray, lookback: int) -> np.ndarray:
    """Root mean square of the close-to-close log returns inside each context, shape `(N,)`."""
    squares = np.concatenate(([0.0, 0.0], np.cumsum(np.diff(np.log(series.values[:, CLOSE])) ** 2)))
    # squares[i] is the sum over the returns that end before bar i
    return np.sqrt(np.maximum(squares[origins] - squares[origins - lookback + 1], 0.0) / (lookback - 1))


@dataclass(frozen=True)
class Regimes:
    """Borders between low, middle and high volatility of each symbol.

    Attributes:
        borders (`dict` of symbol to two `float`): without symbols that no validation context may tell of.
        pooled (`list` of `str`): symbols with too few validation contexts for borders of their own.
    """

    borders: dict[str, tuple[float, float]]
    pooled: list[str]

    def assign(self, symbol: str, volatility: np.ndarray) -> np.ndarray:
        """Position in `REGIMES` of each origin, shape `(N,)`; -1 for a symbol without borders."""
        if symbol not in self.borders:
            return np.full(len(volatility), -1, dtype=np.int64)
        return np.searchsorted(self.borders[symbol], volatility, side="right")


def fit_regimes(volatility: dict[str, np.ndarray], known: Sequence[np.ndarray] | None = None) -> Regimes | None:
    """Terciles of the validation contexts' volatility, or None when there is no validation origin at all.

    Args:
        volatility (`dict` of symbol to `np.ndarray` of shape `(N,)`): of its validation contexts.
        known (`Sequence` of `np.ndarray` of bool, *optional*): for each symbol, which contexts of all symbols lie
            before its test and may be pooled for it; all when not given.
    """
    everything = np.concatenate(list(volatility.values()))
    if not len(everything):
        return None
    pooled = [symbol for symbol, own in volatility.items() if len(own) < LEAST_CONTEXTS]
    known = [np.ones(len(everything), dtype=bool)] * len(volatility) if known is None else known
    chosen = {
        symbol: everything[mask] if symbol in pooled else own
        for (symbol, own), mask in zip(volatility.items(), known, strict=True)
    }
    borders = {symbol: tuple(np.quantile(own, (1 / 3, 2 / 3)).tolist()) for symbol, own in chosen.items() if len(own)}
    return Regimes(borders, pooled if len(volatility) > 1 else [])
