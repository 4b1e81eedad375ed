"""Forecasts of the quantile head: the distribution of every horizon in one pass, and paths with these distributions.

Notable:
- One forward pass serves many series at once; nothing is sampled from the model.
- The head forecasts each horizon by itself. Paths take their dependence over time, and the shapes of their candles,
  from blocks of past bars (Schaake shuffle, Clark et al. 2004) or from sampled paths of the predictor (ensemble copula
  coupling, Schefzik et al. 2013): at each horizon the k-th highest close becomes the quantile k / (n + 1).

Shapes: N series, L bars of context, H bars of horizon, Q levels, P paths.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri

from ..data.quality import CLOSE, HIGH, LOW, OPEN, VOLUME
from ..models.modeling_kronos import KronosTokenizer
from ..models.modeling_quantiles import KronosForQuantiles
from ..models.pairing import check_bits
from ..windows.dataset import normalise
from ..windows.quantile_windows import QUANTILE_TARGETS, context_features, context_volatility
from .context import build_context
from .predictor import usable_device

BATCH_ROWS = 512
BLOCK = 12  # bars of a block of past bars
AMOUNT = 5


@dataclass(frozen=True)
class DirectQuantiles:
    """Quantiles of one series, in raw units.

    Attributes:
        levels (`np.ndarray` of shape `(Q,)`): increasing.
        close, high, low (`np.ndarray` of shape `(H, Q)`): price at the end of bar h, and highest and lowest price of
            bars 1 to h.
        volatility (`np.ndarray` of shape `(H, Q)`): realised volatility of bars 1 to h, the square root of the sum of
            squared log returns.
        volume (`np.ndarray` of shape `(H, Q)`): mean volume of bars 1 to h.
    """

    levels: np.ndarray
    close: np.ndarray
    high: np.ndarray
    low: np.ndarray
    volatility: np.ndarray
    volume: np.ndarray

    def at(self, name: str, levels: np.ndarray) -> np.ndarray:
        """Quantiles of a target at any levels, shape `(H, len(levels))`.

        Interpolated in the logarithm of the value (which is positive) over the normal score of the level; beyond the
        outermost level the line goes on.
        """
        values = np.log(np.maximum(getattr(self, name), np.finfo(np.float64).tiny))
        return np.exp(interpolate_quantiles(values, self.levels, np.asarray(levels, dtype=np.float64)))

    def samples(self, name: str, count: int) -> np.ndarray:
        """The quantiles k / (count + 1) of a target, increasing, shape `(H, count)`."""
        return self.at(name, np.arange(1, count + 1) / (count + 1))

    def probability_above(self, value: float) -> np.ndarray:
        """Probability that the close of each bar is above a price, shape `(H,)`."""
        scores = ndtri(self.levels)
        found = np.empty(len(self.close))
        for bar, row in enumerate(np.log(self.close)):
            score = _inverse(np.log(value), row, scores)
            found[bar] = 1 - _normal_cdf(score)
        return found


def _normal_cdf(score: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(score))


def _inverse(value: float, values: np.ndarray, scores: np.ndarray) -> float:
    """The score at which an increasing piecewise linear function has a value; its ends are continued."""
    place = int(np.clip(np.searchsorted(values, value), 1, len(values) - 1))
    width = values[place] - values[place - 1]
    share = (value - values[place - 1]) / width if width > 0 else 0.5
    return float(scores[place - 1] + share * (scores[place] - scores[place - 1]))


def interpolate_quantiles(values: np.ndarray, levels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Quantiles at other levels: linear in the normal score, continued beyond the outermost levels.

    Args:
        values (`np.ndarray` of shape `(..., Q)`): quantiles at `levels`.
        levels, wanted (`np.ndarray` of shapes `(Q,)` and `(P,)`): in (0, 1).

    Returns:
        `np.ndarray` of shape `(..., P)`.
    """
    known, scores = ndtri(levels), ndtri(wanted)
    place = np.clip(np.searchsorted(known, scores), 1, len(known) - 1)
    share = (scores - known[place - 1]) / (known[place] - known[place - 1])
    return values[..., place - 1] * (1 - share) + values[..., place] * share


def couple(paths: np.ndarray, closes: np.ndarray) -> np.ndarray:
    """Gives paths other marginal distributions of the close and keeps their ranks and the shapes of their candles.

    At each bar the k-th lowest close becomes the k-th of `closes`. Open, high and low keep their log distance to the
    close before, and to the body of the candle, so low <= open, close <= high holds as before.

    Args:
        paths (`np.ndarray` of shape `(P, H, 4)`): open, high, low, close.
        closes (`np.ndarray` of shape `(H, P)`): increasing along the last axis.

    Returns:
        `np.ndarray` of shape `(P, H, 4)`.
    """
    logs = np.log(paths)
    ranks = np.argsort(np.argsort(paths[..., CLOSE], axis=0, kind="stable"), axis=0, kind="stable")
    new_close = np.log(np.take_along_axis(closes.T, ranks, axis=0))
    before, new_before = logs[:, :-1, CLOSE], new_close[:, :-1]
    found = logs.copy()
    found[..., CLOSE] = new_close
    found[:, 1:, OPEN] = new_before + (logs[:, 1:, OPEN] - before)
    top, bottom = (np.maximum(logs[..., OPEN], logs[..., CLOSE]), np.minimum(logs[..., OPEN], logs[..., CLOSE]))
    found[..., HIGH] = np.maximum(found[..., OPEN], new_close) + (logs[..., HIGH] - top)
    found[..., LOW] = np.minimum(found[..., OPEN], new_close) - (bottom - logs[..., LOW])
    return np.exp(found)


def past_blocks(past: np.ndarray, count: int, horizon: int, generator: np.random.Generator) -> np.ndarray:
    """Paths made of blocks of past bars without their mean return, shape `(count, horizon, 6)`.

    Args:
        past (`np.ndarray` of shape `(L, 6)`): the context.
        count, horizon (`int`): paths and bars.
        generator (`np.random.Generator`): source of the blocks.
    """
    logs = np.log(past[:, :VOLUME])
    shapes = logs[1:] - logs[:-1, CLOSE, None]
    shapes -= shapes[:, CLOSE].mean()
    bars, blocks = len(shapes), -(-horizon // BLOCK)
    starts = generator.integers(bars, size=(count, blocks, 1))
    drawn = (starts + np.arange(BLOCK)).reshape(count, -1)[:, :horizon] % bars
    closes = shapes[drawn, CLOSE].cumsum(axis=1)
    before = np.concatenate((np.zeros((count, 1)), closes[:, :-1]), axis=1)
    prices = np.exp(shapes[drawn] + before[..., None]) * past[-1, CLOSE]
    return np.concatenate((prices, past[1:][drawn][..., VOLUME:]), axis=-1)


class QuantilePredictor:
    """Forecasts quantiles with a [`KronosForQuantiles`] and the tokenizer of its body.

    Args:
        model ([`KronosForQuantiles`]): set to evaluation mode and moved to `device`.
        tokenizer ([`KronosTokenizer`], *optional*): needed when the model has a body.
        device (`str` or `torch.device`, *optional*): defaults to the accelerator, or the CPU if there is none.
        clip (`float`): maximum absolute normalised value, in standard deviations.

    Raises:
        ValueError: a missing tokenizer, or one of other bit sizes.
    """

    def __init__(
        self,
        model: KronosForQuantiles,
        tokenizer: KronosTokenizer | None = None,
        device: str | torch.device | None = None,
        clip: float = 5.0,
    ):
        if model.config.use_body:
            if tokenizer is None:
                raise ValueError("the quantile head has a body, which reads tokens; pass its tokenizer")
            check_bits(model.config, tokenizer.config)
        if device is None:
            device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
        self.device = usable_device(device)
        self.model = model.to(self.device).eval()
        self.tokenizer = None if tokenizer is None else tokenizer.to(self.device).eval()
        self.clip = clip

    @property
    def horizon(self) -> int:
        """Bars that the head forecasts."""
        return self.model.config.horizon

    @property
    def lookback(self) -> int:
        """Bars of context that the head was trained with."""
        return self.model.config.lookback

    @torch.inference_mode()
    def standardised(self, candles: np.ndarray, stamps: np.ndarray) -> np.ndarray:
        """Standardised quantiles `(N, H, 5, Q)` of contexts `(N, L, 6)` with calendar features `(N, L, 5)`."""
        found = []
        for first in range(0, len(candles), BATCH_ROWS):
            past, stamp = candles[first : first + BATCH_ROWS], stamps[first : first + BATCH_ROWS]
            inputs = {"features": torch.from_numpy(context_features(past, stamp[:, -1])).to(self.device)}
            if self.model.config.use_body:
                with torch.autocast(self.device.type, enabled=False):  # half precision would change tokens
                    bars = torch.from_numpy(normalise(past, past.shape[1], self.clip)[0]).to(self.device)
                    inputs["s1_ids"], inputs["s2_ids"] = self.tokenizer.encode(bars, half=True)
                inputs["stamp"] = torch.from_numpy(stamp.astype(np.int64)).to(self.device)
            found.append(self.model(**inputs).quantiles.float().cpu().numpy())
        return np.concatenate(found).astype(np.float64)

    def predict(
        self, candles: Sequence[np.ndarray], stamps: Sequence[np.ndarray], horizon: int | None = None
    ) -> list[DirectQuantiles]:
        """Forecasts several series of equal length.

        Args:
            candles: one `np.ndarray` of shape `(L, 6)` per series, raw, in the order of `FEATURES`.
            stamps: calendar features of shape `(L, 5)` per series.
            horizon (`int`, *optional*): bars to forecast; by default all that the head forecasts.

        Raises:
            ValueError: a horizon beyond the head's, or candles that cannot be used, see [`build_context`].
        """
        horizon = self.horizon if horizon is None else horizon
        if not 1 <= horizon <= self.horizon:
            raise ValueError(
                f"horizon={horizon} is outside 1 to {self.horizon}, which the quantile head was trained for; shorten "
                "it, or train a head with --predict_window"
            )
        for position, one in enumerate(candles):
            label = f"series {position}: " if len(candles) > 1 else ""
            build_context(one, stamps[position], np.zeros((0, 5)), 0, self.clip, label=label)
        past = np.stack([np.asarray(one, dtype=np.float64) for one in candles])
        found = self.standardised(past, np.stack(stamps))[:, :horizon]
        unit = context_volatility(past)[:, None, None] * np.sqrt(np.arange(1, horizon + 1))[:, None]
        last, volume = past[:, -1, CLOSE, None, None], past[..., VOLUME].mean(axis=1)[:, None, None]
        parts = {name: found[:, :, place] for place, name in enumerate(QUANTILE_TARGETS)}
        raw = {name: last * np.exp(parts[name] * unit) for name in ("close", "high", "low")}
        raw |= {"volatility": unit * np.exp(parts["volatility"]), "volume": volume * np.exp(parts["volume"])}
        levels = np.asarray(self.model.config.quantile_levels)
        return [DirectQuantiles(levels, **{name: raw[name][one] for name in raw}) for one in range(len(past))]

    def paths(self, quantiles: DirectQuantiles, past: np.ndarray, num_paths: int, seed: int) -> np.ndarray:
        """Paths with the head's distributions of the close, from blocks of past bars, shape `(P, H, 6)`.

        Args:
            quantiles ([`DirectQuantiles`]): of the series.
            past (`np.ndarray` of shape `(L, 6)`): its context.
            num_paths, seed (`int`): number of paths, and seed of the blocks.
        """
        horizon = len(quantiles.close)
        found = past_blocks(past, num_paths, horizon, np.random.default_rng(seed))
        found[..., :VOLUME] = couple(found[..., :VOLUME], quantiles.samples("close", num_paths))
        return found
