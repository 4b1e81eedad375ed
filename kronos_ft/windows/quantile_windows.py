"""Inputs and targets of the quantile head: context features, and standardised outcomes of horizons 1 to H.

Notable:
- Features and the scale of the targets use only the lookback bars. Targets use the bars after them.
- Targets are divided by the volatility of the context times sqrt(h), or are log ratios to it, so that one head serves a
  calm and a wild market, and symbols of every price.
- A target that a window does not define (no volume, a constant context) is NaN, and the loss leaves it out.

Shapes: B windows, L bars of lookback, H bars of horizon, F features, 5 targets in the order of `QUANTILE_TARGETS`.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..models.identity import tokenizer_facts
from ..models.modeling_kronos import KronosTokenizer
from .dataset import WindowDataset
from .tokens import TokenWindowDataset, freeze, tokenise

QUANTILE_TARGETS = ("close", "high", "low", "volatility", "volume")
SCALED_TARGETS = 3  # the first three are returns in units of volatility; the others are log ratios
SHORT_SPANS = (6, 24)  # bars of the short-term features
CONTEXT_FEATURES = (
    "log_volatility",
    *(f"volatility_ratio_{span}" for span in SHORT_SPANS),
    "downside_ratio",
    "range_ratio",
    *(f"range_ratio_{span}" for span in SHORT_SPANS),
    "last_return",
    *(f"return_{span}" for span in SHORT_SPANS),
    "return",
    "place_in_range",
    *(f"volume_ratio_{span}" for span in SHORT_SPANS),
    *("minute_sin", "minute_cos", "weekday_sin", "weekday_cos"),
)
LEAST_VOLATILITY = 1e-7  # a context below it is constant
LEAST_RATIO = 1e-3  # volume and volatility of the future, relative to the context, are at least this
MOST_DEVIATIONS = 50.0
DAY_MINUTES = 1440
HIGH, LOW, CLOSE, VOLUME = 1, 2, 3, 4


def context_volatility(past: np.ndarray) -> np.ndarray:
    """Root mean square of the close-to-close log returns of contexts `(B, L, 6)`, shape `(B,)`."""
    returns = np.diff(np.log(past[..., CLOSE]), axis=1)
    return np.sqrt(np.mean(np.square(returns), axis=1))


def _log_ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """log(part / whole), from -7 to 7; 0 where the whole is 0."""
    known = whole > 0
    ratio = np.divide(part, whole, out=np.ones_like(whole), where=known)
    return np.clip(np.log(np.maximum(ratio, LEAST_RATIO)), -7, 7)


def context_features(past: np.ndarray, stamp: np.ndarray) -> np.ndarray:
    """Features of contexts, in the order of `CONTEXT_FEATURES`.

    Args:
        past (`np.ndarray` of float64, shape `(B, L, 6)`): raw candles, in the order of `FEATURES`.
        stamp (`np.ndarray` of shape `(B, 5)`): minute, hour, weekday, day and month of the last bar.

    Returns:
        `np.ndarray` of float32, shape `(B, F)`.
    """
    closes = np.log(past[..., CLOSE])
    returns = np.diff(closes, axis=1)
    bars = returns.shape[1]
    spans = [min(span, bars) for span in SHORT_SPANS]
    squares = np.square(returns)
    volatility = np.sqrt(squares.mean(axis=1))
    unit = np.maximum(volatility, LEAST_VOLATILITY)
    # Parkinson (1980): a bar's variance from its range
    ranges = np.square(np.log(past[..., HIGH]) - np.log(past[..., LOW])) / (4 * np.log(2))
    volume = past[..., VOLUME]
    highest, lowest = np.log(past[..., HIGH]).max(axis=1), np.log(past[..., LOW]).min(axis=1)
    spread = np.maximum(highest - lowest, LEAST_VOLATILITY)
    stamp = stamp.astype(np.float64)  # calendar features are int8, in which minutes of a day would overflow
    minute = 2 * np.pi * (stamp[:, 1] * 60 + stamp[:, 0]) / DAY_MINUTES
    weekday = 2 * np.pi * stamp[:, 2] / 7
    columns = [
        np.log(unit),
        *(_log_ratio(np.sqrt(squares[:, -span:].mean(axis=1)), volatility) for span in spans),
        _log_ratio(np.sqrt(np.square(np.minimum(returns, 0)).mean(axis=1)), volatility),
        _log_ratio(np.sqrt(ranges.mean(axis=1)), volatility),
        *(_log_ratio(np.sqrt(ranges[:, -span:].mean(axis=1)), volatility) for span in spans),
        returns[:, -1] / unit,
        *(returns[:, -span:].sum(axis=1) / (unit * np.sqrt(span)) for span in spans),
        returns.sum(axis=1) / (unit * np.sqrt(bars)),
        (closes[:, -1] - lowest) / spread - 0.5,
        *(_log_ratio(volume[:, -span:].mean(axis=1), volume.mean(axis=1)) for span in spans),
        *(np.sin(minute), np.cos(minute), np.sin(weekday), np.cos(weekday)),
    ]
    return np.clip(np.stack(columns, axis=1), -20, 20).astype(np.float32)


def horizon_targets(past: np.ndarray, future: np.ndarray) -> np.ndarray:
    """Standardised outcomes after contexts, in the order of `QUANTILE_TARGETS`.

    With s the volatility of the context and C its last close, at horizon h:
    close = log(close_h / C) / (s sqrt(h)); high = max of log(high_i / C), i <= h, in the same unit; low = min of
    log(low_i / C); volatility = log(sqrt(sum of squared returns up to h) / (s sqrt(h))); volume = log(mean volume up to
    h / mean volume of the context).

    Args:
        past, future (`np.ndarray` of float64, shapes `(B, L, 6)` and `(B, H, 6)`): raw candles.

    Returns:
        `np.ndarray` of float32, shape `(B, H, 5)`; NaN where a target is not defined.
    """
    horizons = np.arange(1, future.shape[1] + 1)
    volatility = context_volatility(past)
    unit = np.where(volatility > LEAST_VOLATILITY, volatility, np.nan)[:, None] * np.sqrt(horizons)
    last = np.log(past[:, -1:, CLOSE])
    closes = np.log(future[..., CLOSE]) - last
    steps = np.diff(closes, axis=1, prepend=0.0)
    realised = np.sqrt(np.cumsum(np.square(steps), axis=1))
    usual = past[..., VOLUME].mean(axis=1, keepdims=True)
    volume = np.cumsum(future[..., VOLUME], axis=1) / horizons
    ratio = np.divide(volume, usual, out=np.full_like(volume, np.nan), where=usual > 0)
    found = [
        closes / unit,
        (np.maximum.accumulate(np.log(future[..., HIGH]), axis=1) - last) / unit,
        (np.minimum.accumulate(np.log(future[..., LOW]), axis=1) - last) / unit,
        np.log(np.maximum(realised / unit, LEAST_RATIO)),
        np.log(np.maximum(ratio, LEAST_RATIO)),
    ]
    return np.clip(np.stack(found, axis=2), -MOST_DEVIATIONS, MOST_DEVIATIONS).astype(np.float32)


class QuantileWindowDataset(TokenWindowDataset):
    """Windows of the quantile head: tokens and features of the lookback, and the targets after it.

    Each item is a dict of `s1`, `s2` `(L,)` int64, `stamps` `(L, 5)` int64, `features` `(F,)` and `targets` `(H, 5)`
    float32. Tokens of bars after the lookback are made and not used: the tokenizer is causal, and the same cache serves
    a predictor.

    Args:
        windows ([`WindowDataset`]): windows without augmentation.
        tokenizer ([`KronosTokenizer`], *optional*): without it, items have neither tokens nor stamps.
        cache, progress: as of [`TokenWindowDataset`].
        on_demand (`bool`): make the tokens of each batch when it is asked for, instead of all in advance.

    Attributes:
        states (`torch.Tensor` of shape `(N, 2 d_model)`, *optional*): pooled states of a frozen body; items then
            contain them instead of tokens.

    Raises:
        ValueError: augmented windows, or windows without a bar to forecast.
    """

    states: Tensor | None = None

    def __init__(
        self,
        windows: WindowDataset,
        tokenizer: KronosTokenizer | None = None,
        cache: str | Path | None = None,
        progress: Callable[[int, int], None] | None = None,
        on_demand: bool = False,
    ):
        if windows.augmented:
            raise ValueError("the quantile head cannot be trained on augmented windows; turn augmentation off")
        if windows.shape.horizon < 1:
            raise ValueError("predict_window=0 leaves no bar to forecast; use 1 or more")
        self.has_tokens = tokenizer is not None
        self._own_tokenizer = freeze(tokenizer) if self.has_tokens and on_demand else None
        if self.has_tokens and not on_demand:
            super().__init__(windows, tokenizer, cache, progress)
        else:
            self.windows, self.tokenizer_facts = windows, tokenizer_facts(tokenizer) if self.has_tokens else {}

    def fingerprint(self) -> str:
        """SHA-256 of windows and tokens, and of the names of features and targets."""
        data = super().fingerprint() if self.has_tokens and self._own_tokenizer is None else self.windows.fingerprint()
        return hashlib.sha256(f"{data}{CONTEXT_FEATURES}{QUANTILE_TARGETS}".encode()).hexdigest()

    @property
    def _items(self) -> str:
        tokens = "s1 and s2 (lookback,), " if self.has_tokens else ""
        return f"{tokens}features ({len(CONTEXT_FEATURES)},), targets ({self.shape.horizon}, {len(QUANTILE_TARGETS)})"

    def outcomes(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Features `(B, F)` and targets `(B, H, 5)` of windows."""
        lookback, horizon = self.shape.lookback, self.shape.horizon
        windows = self.windows.raw(indices)
        past, future = windows[:, :lookback], windows[:, lookback : lookback + horizon]
        stamps = self.windows.stamps_of(indices)[:, lookback - 1].numpy()
        return torch.from_numpy(context_features(past, stamps)), torch.from_numpy(horizon_targets(past, future))

    def tokens(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Tokens `s1`, `s2` `(B, L)` and `stamps` `(B, L, 5)` of the lookback of windows."""
        if self._own_tokenizer is not None:
            candles = self.windows.__getitems__(indices)["target"].to(self._own_tokenizer.device)
            s1, s2 = (half.cpu() for half in tokenise(self._own_tokenizer, candles))
            batch = {"s1": s1, "s2": s2, "stamps": self.windows.stamps_of(indices)}
        else:
            batch = super().__getitems__(indices)
        return {name: batch[name][:, : self.shape.lookback] for name in ("s1", "s2", "stamps")}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """A batch; arrays as of one item, with a first axis of B windows."""
        rows = torch.as_tensor(indices) % len(self)
        features, targets = self.outcomes(rows.numpy())
        batch = {"features": features, "targets": targets, "window": rows}
        if self.states is not None:
            return batch | {"states": self.states[rows]}
        return batch | self.tokens(rows.numpy()) if self.has_tokens else batch
