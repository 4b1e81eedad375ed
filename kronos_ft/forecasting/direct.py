"""Forecasts of the quantile head: the distribution of every horizon in one pass, and paths with these distributions.

Notable:
- One forward pass serves many series at once; nothing is sampled from the model.
- The head forecasts each horizon by itself. Paths take their dependence over time, and the shapes of their candles,
  from blocks of past bars (Schaake shuffle, Clark et al. 2004) or from sampled paths of the predictor (ensemble copula
  coupling, Schefzik et al. 2013): at each horizon the k-th highest close becomes the quantile k / (n + 1).

Shapes: N series, L bars of context, H bars of horizon, Q levels, P paths.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..data.quality import CLOSE, HIGH, LOW, OPEN, VOLUME
from ..models.configuration_kronos import check_bits
from ..models.found_model import FoundModel
from ..models.modeling_kronos import KronosTokenizer
from ..models.modeling_quantiles import KronosForQuantiles
from ..windows.dataset import normalise
from ..windows.quantile_windows import QUANTILE_TARGETS, context_features, context_volatility
from .context import build_context
from .feasible_candles import spikes
from .forecast import DirectQuantiles, Forecast
from .predictor import KronosPredictor, usable_device

BATCH_ROWS = 512
SAMPLING_OPTIONS = frozenset(
    {"T", "top_p", "top_k", "overflow", "reprefill_every", "project", "published_scale", "generator"}
)
MAIN_OPTIONS = ("horizon", "num_paths", "origin", "seed", "lookback")  # in messages; arguments with a name
BLOCK = 12  # bars of a block of past bars


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


def _by_length(candles: Sequence[np.ndarray]) -> list[list[int]]:
    """Positions of series, in groups of equal length and of at most `BATCH_ROWS`."""
    groups: dict[int, list[int]] = {}
    for position, one in enumerate(candles):
        groups.setdefault(len(one), []).append(position)
    return [group[at : at + BATCH_ROWS] for group in groups.values() for at in range(0, len(group), BATCH_ROWS)]


class QuantilePredictor:
    """Forecasts quantiles with a [`KronosForQuantiles`] and the tokenizer of its body.

    Args:
        model ([`KronosForQuantiles`]): set to evaluation mode and moved to `device`.
        tokenizer ([`KronosTokenizer`], *optional*): needed when the model has a body.
        device (`str` or `torch.device`, *optional*): defaults to the accelerator, or the CPU if there is none.
        clip (`float`): maximum absolute normalised value, in standard deviations.
        found ([`FoundModel`], *optional*): where the model was found, for the defaults of forecasts.
        sampler ([`KronosPredictor`], *optional*): samples the paths that get the head's distributions; by default they
            are made of blocks of past bars.

    Raises:
        ValueError: a missing tokenizer, or one of other bit sizes.
    """

    def __init__(
        self,
        model: KronosForQuantiles,
        tokenizer: KronosTokenizer | None = None,
        device: str | torch.device | None = None,
        clip: float = 5.0,
        found: FoundModel | None = None,
        sampler: KronosPredictor | None = None,
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
        self.clip, self.sampler = clip, sampler
        sizes = {"lookback": model.config.lookback, "horizon": model.config.horizon}
        self.found = found or FoundModel("the model", "", "", forecaster=sizes, is_head=True)

    def __repr__(self) -> str:
        size = sum(one.numel() for one in self.model.parameters())
        paths = "blocks of past bars" if self.sampler is None else "the sampling predictor"
        return (
            f"{type(self).__name__} of {self.found.name}: {size:,} parameters on {self.device}\n"
            f"{self.lookback} bars of context, {self.horizon} bars ahead, paths from {paths}"
        )

    def sampling(self, **asked: float | None) -> dict[str, float]:
        """How the predictor samples paths: as asked, else as it was calibrated."""
        return (self.sampler.found if self.sampler is not None else self.found).sampling(**asked)

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
        self,
        candles: Sequence[np.ndarray],
        stamps: Sequence[np.ndarray],
        horizon: int | None = None,
        positions: Sequence[int] | None = None,
    ) -> list[DirectQuantiles]:
        """Forecasts several series of equal length.

        Args:
            candles: one `np.ndarray` of shape `(L, 6)` per series, raw, in the order of `FEATURES`.
            stamps: calendar features of shape `(L, 5)` per series.
            horizon (`int`, *optional*): bars to forecast; by default all that the head forecasts.
            positions (`Sequence[int]`, *optional*): numbers of the series in messages; by default from 0.

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
            number = position if positions is None else positions[position]
            label = f"series {number}: " if len(candles) > 1 or number else ""
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

    def predict_paths(
        self,
        candles: Sequence[np.ndarray],
        stamps: Sequence[np.ndarray],
        future_stamps: Sequence[np.ndarray],
        horizon: int,
        num_paths: int = 100,
        *,
        seed: int | Sequence[int] | None = None,
        progress: Callable[[int, int], None] | None = None,
        **sampling: object,
    ) -> list[Forecast]:
        """Forecasts several series; the same interface as [`KronosPredictor.predict_paths`].

        Args:
            candles, stamps, future_stamps, horizon: as there.
            num_paths (`int`): paths, which get the head's distributions of the close, see [`couple`].
            seed (`int` or one per series, *optional*): of the paths; 0 by default.
            progress (*optional*): called with (done, all): series, or steps of sampling.
            sampling: settings of sampled paths, such as `T`; without effect when nothing is sampled.

        Returns:
            `list` of [`Forecast`] with `direct` quantiles.

        Raises:
            ValueError: as [`~QuantilePredictor.predict`].
        """
        unknown = sorted(set(sampling) - SAMPLING_OPTIONS)
        if unknown:
            known = (*MAIN_OPTIONS, *sorted(SAMPLING_OPTIONS))
            raise ValueError(f"{unknown[0]} is not an option of forecasts; use {', '.join(known)}")
        seeds = [(seed or 0, one) for one in range(len(candles))] if seed is None or np.isscalar(seed) else list(seed)
        sampled: list[Forecast | None] = [None] * len(candles)
        if self.sampler is not None:
            self.predict(candles[:1], stamps[:1], horizon)  # a wrong horizon must not be told after the sampling
            sampled = self.sampler.predict_paths(
                candles,
                stamps,
                future_stamps,
                horizon,
                num_paths,
                seed=0 if seed is None else seed,
                progress=progress,
                **sampling,
            )
            progress = None
        found: list[tuple[int, Forecast]] = []
        for members in _by_length(candles):
            chosen = [candles[one] for one in members], [stamps[one] for one in members]
            quantiles = self.predict(*chosen, horizon, members)
            for one, direct in zip(members, quantiles, strict=True):
                past, drawn = np.asarray(candles[one], dtype=np.float64), sampled[one]
                paths = self.paths(direct, past, num_paths, seeds[one], None if drawn is None else drawn.paths)
                touched = 0.0 if drawn is None else drawn.projected_share
                found.append((one, Forecast(paths, touched, float(spikes(paths, past).mean()), direct=direct)))
            if progress is not None:
                progress(len(found), len(candles))
        return [forecast for _, forecast in sorted(found, key=lambda pair: pair[0])]

    def paths(
        self,
        quantiles: DirectQuantiles,
        past: np.ndarray,
        num_paths: int,
        seed: int | Sequence[int],
        sampled: np.ndarray | None = None,
    ) -> np.ndarray:
        """Paths with the head's distributions of the close, shape `(P, H, 6)`.

        Args:
            quantiles ([`DirectQuantiles`]): of the series.
            past (`np.ndarray` of shape `(L, 6)`): its context.
            num_paths, seed (`int`): number of paths, and seed of the blocks.
            sampled (`np.ndarray` of shape `(P, H, 6)`, *optional*): paths to couple instead of blocks of past bars.
        """
        if sampled is None:
            found = past_blocks(past, num_paths, len(quantiles.close), np.random.default_rng(seed))
        else:
            found = sampled.copy()
        found[..., :VOLUME] = couple(found[..., :VOLUME], quantiles.samples("close", num_paths))
        return found
