"""Generates tokens bar by bar with key/value caches, and decodes them to candles.

While context + horizon - 1 <= max_context, the cache is exact: it gives the tokens of a full recomputation. For longer
horizons, the published code slides a window of max_context bars and recomputes it at each bar with positions from 0.
Cached entries of all layers but the first would still depend on bars that left the window. `overflow` selects one of
four methods:

exact      (default) recomputes the window at each bar, as published; the remaining context is computed once per series,
           the generated bars once per path
roll       keeps the cache and attends to its last max_context bars
reprefill  recomputes the window every k bars and rolls in between
trim       shortens the context to its last max_context - horizon + 1 bars, so that the cache stays exact

Shapes: B series, S paths of each, R = B * S rows, P bars of context, H bars of horizon.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ft_core.io.progress_lines import span

from ..models.configuration_kronos import DEPENDENCY_HEADS
from ..models.layers import rotary_table
from ..models.modeling_kronos import Kronos, KronosTokenizer
from .cache import (
    AttentionCache,
    CacheStack,
    Rotary,
    fill_blocks,
    join_heads,
    normalise,
    rotate,
    run_blocks,
    split_heads,
)
from .sampling import Sampler

logger = logging.getLogger(__name__)

OVERFLOW = ("exact", "roll", "reprefill", "trim")
SLOW_SECONDS = 30.0


@dataclass(frozen=True)
class Window:
    """The number of bars that the model sees, and the method for longer sequences.

    Attributes:
        max_context (`int`): maximum number of bars, at least 2.
        overflow (`str`): exact, roll, reprefill or trim.
        reprefill_every (`int`): bars between two recomputations with `reprefill`, at least 1.

    Raises:
        ValueError: an unknown method, or a size out of range.
    """

    max_context: int = 512
    overflow: str = "exact"
    reprefill_every: int = 8

    def __post_init__(self):
        if self.overflow not in OVERFLOW:
            raise ValueError(f"overflow={self.overflow!r} is not known; use one of {', '.join(OVERFLOW)}")
        if self.max_context < 2:
            raise ValueError(f"max_context={self.max_context} is below 2; use the model's context, e.g. 512")
        if self.reprefill_every < 1:
            raise ValueError(f"reprefill_every={self.reprefill_every} is below 1; use 1 or more bars")

    def fits(self, context: int, horizon: int) -> bool:
        """Whether the cache is exact for the whole horizon."""
        return context + horizon - 1 <= self.max_context

    def trimmed(self, context: int, horizon: int) -> int:
        """Number of context bars to use.

        Raises:
            ValueError: `trim` with a horizon that leaves fewer than two bars of context.
        """
        if self.overflow != "trim":
            return min(context, self.max_context)
        if horizon > self.max_context - 1:
            raise ValueError(
                f"horizon={horizon} with overflow='trim' leaves fewer than 2 context bars of max_context="
                f"{self.max_context}; use another overflow method or a shorter horizon"
            )
        return min(context, self.max_context - horizon + 1)


@dataclass
class Bars:
    """Tokens and calendar features of a sequence of bars.

    Attributes:
        s1, s2 (`torch.LongTensor` of shape `(rows, bars)`): coarse and fine tokens.
        stamp (`torch.LongTensor` of shape `(rows, bars, 5)`): calendar features.
    """

    s1: Tensor
    s2: Tensor
    stamp: Tensor

    def __len__(self) -> int:
        return self.s1.shape[1]

    def slice(self, first: int, end: int) -> "Bars":
        """Bars `first` to `end - 1`."""
        return Bars(self.s1[:, first:end], self.s2[:, first:end], self.stamp[:, first:end])


class PathDecoder:
    """Predicts the next bar of each path. Computes the context once per series and each added bar once per path.

    Args:
        model ([`Kronos`]): in evaluation mode.
        num_paths (`int`): paths per series.
        capacity (`int`): maximum number of bars that a path adds.
    """

    def __init__(self, model: Kronos, num_paths: int, capacity: int):
        self.model = model
        self.num_paths = num_paths
        self.capacity = capacity
        self.hidden = torch.empty(0)

    def start(self, context: Bars | None, lengths: Tensor) -> None:
        """Computes the context.

        Args:
            context ([`Bars`], *optional*): one row per series, padded on the right.
            lengths (`torch.LongTensor` of shape `(B,)`): number of bars of each series.
        """
        model, bars = self.model, 0 if context is None else len(context)
        positions = torch.arange(bars + self.capacity, device=lengths.device)
        self._equal = bool((lengths == bars).all())
        padding = None if self._equal else positions[:bars] >= lengths[:, None]
        self.lengths = lengths.repeat_interleave(self.num_paths)
        self.blocks = CacheStack(len(model.transformer), self.num_paths, self.capacity, padding)
        self.dependency = AttentionCache(self.num_paths, self.capacity, padding)
        # precomputed for all positions
        self._rotary = model.rotary(positions)
        self._dependency_rotary = model.rotary(positions, DEPENDENCY_HEADS) if model.config.rotate_sibling else None
        self.length = 0
        if context is None:
            return
        embedded = model.embed(context.s1, context.s2, context.stamp)
        mixed = run_blocks(model.transformer, embedded, _first(self._rotary, bars), self.blocks.fill)
        hidden = normalise(mixed, model.norm)
        self.dependency.set_prefix(*self._dependency_entries(hidden, _first(self._dependency_rotary, bars)))
        last = hidden[torch.arange(len(lengths), device=lengths.device), lengths - 1]
        self.hidden = last.repeat_interleave(self.num_paths, dim=0)[:, None]

    def append(self, bars: Bars) -> None:
        """Adds bars to each path, one row per path."""
        model, first = self.model, self.length
        self.length += len(bars)
        embedded = model.embed(bars.s1, bars.s2, bars.stamp)
        mixed = run_blocks(
            model.transformer, embedded, self._tables_of(self._rotary, first, self.length), self.blocks.extend
        )
        hidden = normalise(mixed, model.norm)
        tables = self._tables_of(self._dependency_rotary, first, self.length)
        self.dependency.add(*self._dependency_entries(hidden, tables))
        self.hidden = hidden[:, -1:]

    def _tables_of(self, rotary: Rotary | None, first: int, end: int) -> Rotary | None:
        """Rotary tables of added bars `first` to `end - 1`, counted from the end of each context."""
        if rotary is None:
            return None
        if self._equal:
            context = len(rotary[0]) - self.capacity
            return tuple(table[context + first : context + end] for table in rotary)
        positions = self.lengths[:, None] + torch.arange(first, end, device=self.lengths.device)
        return tuple(table[positions][:, None] for table in rotary)

    def _dependency_entries(self, hidden: Tensor, rotary: Rotary | None) -> tuple[Tensor, Tensor]:
        """Keys and values of the dependency-aware layer; `config.rotate_sibling` decides whether keys are rotated."""
        attention = self.model.dep_layer.cross_attn
        key, value = (
            split_heads(project(hidden), attention.n_heads) for project in (attention.k_proj, attention.v_proj)
        )
        return key if rotary is None else rotate(key, *rotary), value

    def forget_before(self, first: int) -> None:
        """Excludes bars before `first` (counted from the start of the context) from attention."""
        self.blocks.forget_before(first)
        self.dependency.forget_before(first)

    def coarse_logits(self) -> Tensor:
        """Logits of the next bar's coarse token, `(R, 2^s1_bits)`."""
        return self.model.head.proj_s1(self.hidden[:, 0])

    def fine_logits(self, s1: Tensor) -> Tensor:
        """Logits of the next bar's fine token given its coarse token `(R,)`, `(R, 2^s2_bits)`."""
        model, layer = self.model, self.model.dep_layer
        attention = layer.cross_attn
        query = split_heads(attention.q_proj(model.embedding.emb_s1(s1)[:, None]), attention.n_heads)
        if self._dependency_rotary is not None:
            query = rotate(query, *self._tables_of(self._dependency_rotary, self.length - 1, self.length))
        mixed = attention.out_proj(join_heads(self.dependency.look(query)))
        return model.head.proj_s2(normalise(self.hidden + mixed, layer.norm))[:, 0]


def _first(rotary: Rotary | None, bars: int) -> Rotary | None:
    """Rotary tables of the first bars."""
    return None if rotary is None else tuple(table[:bars] for table in rotary)


def generate_tokens(
    model: Kronos,
    context: Bars,
    lengths: Tensor,
    future_stamp: Tensor,
    num_paths: int,
    sampler: Sampler,
    window: Window,
    progress: Callable[[int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Samples the tokens of future bars.

    Args:
        model ([`Kronos`]): in evaluation mode.
        context ([`Bars`]): one row per series, at most `max_context` bars, padded on the right.
        lengths (`torch.LongTensor` of shape `(B,)`): bars of each series; must be equal if the window overflows.
        future_stamp (`torch.LongTensor` of shape `(B, H, 5)`): calendar features of the future bars.
        num_paths (`int`): paths per series.
        sampler ([`Sampler`]): samples the tokens.
        window ([`Window`]): the bars that the model sees.
        progress (*optional*): called with the number of bars done.

    Returns:
        `tuple` of two `torch.LongTensor` of shape `(R, H)`: coarse and fine tokens.

    Raises:
        ValueError: the model's hidden states or logits are NaN or infinite.
    """
    horizon = future_stamp.shape[1]
    future_stamp = future_stamp.repeat_interleave(num_paths, dim=0)
    rows = len(future_stamp)
    found = Bars(*(future_stamp.new_zeros(rows, horizon) for _ in range(2)), future_stamp)
    decoder = PathDecoder(model, num_paths, capacity=max(horizon - 1, 1))
    decoder.start(context, lengths)
    overflow = _Overflow(decoder, context, lengths, window, horizon)
    # sampling does not check for NaN. A sum of all logits propagates it to one check at the end, without a device sync
    seen = torch.zeros((), device=future_stamp.device)
    for bar in range(horizon):
        if bar and not overflow.recompute(found, bar):
            decoder.append(found.slice(bar - 1, bar))
            overflow.roll(bar)
        coarse = decoder.coarse_logits()
        found.s1[:, bar] = sampler.draw(coarse, bar, 0)
        fine = decoder.fine_logits(found.s1[:, bar])
        found.s2[:, bar] = sampler.draw(fine, bar, 1)
        seen = seen + coarse.sum(dtype=torch.float32) + fine.sum(dtype=torch.float32)
        if progress is not None:
            progress(bar + 1)
    if not bool(torch.isfinite(seen + decoder.hidden.sum(dtype=torch.float32))):
        raise ValueError(
            "the model computes NaN or infinity for this context: its weights are damaged or training diverged; use "
            "another checkpoint"
        )
    return found.s1, found.s2


class _Overflow:
    """Keeps a decoder's window at `max_context` bars once context and generated bars exceed it."""

    def __init__(self, decoder: PathDecoder, context: Bars, lengths: Tensor, window: Window, horizon: int):
        self.decoder = decoder
        self.context = context
        self.lengths = lengths
        self.window = window
        self.horizon = horizon
        self.dropped = 0  # bars no longer in the decoder's cache
        self.recomputed = 0
        self.warned = False

    def _excess(self, bar: int) -> int:
        """Number of bars before `bar` that are outside the window."""
        return max(len(self.context) + bar - self.window.max_context, 0)

    def recompute(self, found: Bars, bar: int) -> bool:
        """Restarts the decoder with the window before `bar` if a recomputation is due; returns whether it did."""
        excess = self._excess(bar)
        every = {"exact": 1, "reprefill": self.window.reprefill_every}.get(self.window.overflow)
        if not excess or not every or (self.recomputed and excess - self.dropped < every):
            return False
        started = time.perf_counter()
        self.dropped, self.recomputed = excess, self.recomputed + 1
        bars = len(self.context)
        left = self.context.slice(excess, bars) if excess < bars else None
        self.decoder.start(left, (self.lengths - excess).clamp(min=0))
        self.decoder.append(found.slice(max(excess - bars, 0), bar))
        if self.recomputed == 2 and self.window.overflow == "exact":  # the first one warms up
            self._warn_if_slow((time.perf_counter() - started) * (self.horizon - bar))
        return True

    def roll(self, bar: int) -> None:
        """Excludes the bars that have left the window since the cache was filled."""
        if self._excess(bar) > self.dropped:
            self.decoder.forget_before(self._excess(bar) - self.dropped)

    def _warn_if_slow(self, seconds: float) -> None:
        if seconds > SLOW_SECONDS:
            excess = self._excess(self.horizon - 1)
            logger.warning(
                f"context + horizon - 1 exceeds max_context={self.window.max_context} by {excess}: exact recomputation "
                f"takes about {span(seconds)} more; use overflow='reprefill' or 'trim' to save time"
            )


@torch.no_grad()
def decode_paths(
    tokenizer: KronosTokenizer,
    context: tuple[Tensor, Tensor],
    lengths: Tensor,
    generated: tuple[Tensor, Tensor],
    num_paths: int,
    max_context: int,
) -> Tensor:
    """Decodes generated tokens, together with the bars before them, to normalised candles.

    As published, the last `max_context` bars are decoded together. A longer horizon is decoded in pieces of half a
    window, each preceded by the half window before it.

    Args:
        tokenizer ([`KronosTokenizer`]): in evaluation mode.
        context: coarse and fine tokens of shape `(B, P)`, padded on the right.
        lengths (`torch.LongTensor` of shape `(B,)`): bars of each series; must be equal if P + H > `max_context`.
        generated: coarse and fine tokens of shape `(R, H)`.
        num_paths (`int`): paths per series.
        max_context (`int`): maximum number of bars.

    Returns:
        `torch.Tensor` of shape `(R, H, num_features)`.
    """
    horizon, bars = generated[0].shape[1], context[0].shape[1]
    if horizon > max_context:
        half = max_context // 2
        pieces = []
        for first in range(0, horizon, half):
            end = min(first + half, horizon)
            before = max(first - half, 0)
            window = tuple(tokens[:, before:end] for tokens in generated)
            known, count = (context, lengths) if first == 0 else (None, torch.zeros_like(lengths))
            decoded = _decode_window(tokenizer, known, count, window, num_paths, max_context - (end - before))
            pieces.append(decoded[:, first - before :])
        return torch.cat(pieces, dim=1)
    return _decode_window(tokenizer, context if bars else None, lengths, generated, num_paths, max_context - horizon)


def _decode_window(
    tokenizer: KronosTokenizer,
    context: tuple[Tensor, Tensor] | None,
    lengths: Tensor,
    generated: tuple[Tensor, Tensor],
    num_paths: int,
    room: int,
) -> Tensor:
    """Decodes generated bars, preceded by the last `room` bars of context."""
    bars = 0 if context is None else context[0].shape[1]
    excess = max(bars - room, 0)
    lengths = (lengths - excess).clamp(min=0)
    device, horizon = generated[0].device, generated[0].shape[1]
    positions = torch.arange(bars - excess, device=device)
    padding = None if bool((lengths == bars - excess).all()) else positions >= lengths[:, None]
    blocks, head_dim = tokenizer.decoder, tokenizer.config.d_model // tokenizer.config.n_heads
    caches = CacheStack(len(blocks), num_paths, horizon, padding)
    if bars > excess:
        known = tokenizer.embed_codes(tuple(tokens[:, excess:] for tokens in context), half=True)
        fill_blocks(blocks, known, rotary_table(positions, head_dim, device), caches.fill)
    own = lengths.repeat_interleave(num_paths)[:, None, None] + torch.arange(horizon, device=device)
    embedded = tokenizer.embed_codes(generated, half=True)
    return tokenizer.head(run_blocks(blocks, embedded, rotary_table(own, head_dim, device), caches.extend))
