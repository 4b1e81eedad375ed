"""Volatility regimes: terciles of the volatility before an origin, with limits from the validation split.

Each symbol has its own limits, so "high" means high for this symbol. Neither the limits nor the volatility use a bar at
or after the origin.

Shapes: N origins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.candles import CandleSeries
from .targets import CLOSE

REGIMES = ("low", "middle", "high")
LEAST_CONTEXTS = 30  # minimum validation origins for a symbol's own limits


def context_volatility(series: CandleSeries, origins: np.ndarray, lookback: int) -> np.ndarray:
    """Root mean square of the close-to-close log returns inside each context, shape `(N,)`."""
    squares = np.concatenate(([0.0, 0.0], np.cumsum(np.diff(np.log(series.values[:, CLOSE])) ** 2)))
    # squares[i] is the sum over the returns that end before bar i
    return np.sqrt(np.maximum(squares[origins] - squares[origins - lookback + 1], 0.0) / (lookback - 1))


@dataclass(frozen=True)
class Regimes:
    """Limits between low, middle and high volatility of each symbol.

    Attributes:
        borders (`dict` of symbol to two `float`): the limits; symbols without usable validation contexts are absent.
        pooled (`list` of `str`): symbols with too few validation contexts, which use the limits of all symbols.
    """

    borders: dict[str, tuple[float, float]]
    pooled: list[str]

    def assign(self, symbol: str, volatility: np.ndarray) -> np.ndarray:
        """Index in `REGIMES` of each origin, shape `(N,)`; -1 for a symbol without limits."""
        if symbol not in self.borders:
            return np.full(len(volatility), -1, dtype=np.int64)
        return np.searchsorted(self.borders[symbol], volatility, side="right")


def fit_regimes(volatility: dict[str, np.ndarray], known: Sequence[np.ndarray] | None = None) -> Regimes | None:
    """Terciles of the validation contexts' volatility, or None without validation origins.

    Args:
        volatility (`dict` of symbol to `np.ndarray` of shape `(N,)`): volatility of its validation contexts.
        known (`Sequence` of `np.ndarray` of bool, *optional*): for each symbol, the contexts of all symbols before its
            test split, which may be pooled for it; by default all.
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
