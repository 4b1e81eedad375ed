"""Draws tokens from logits: temperature, top-k, top-p, reproducibly.

Notable:
- top-k, when positive, replaces top-p, as published.
- Without a seed the draws are those of `torch.multinomial` on torch's (or a given) generator: the published order.
- With seeds each path has uniform numbers of its own, which neither the batch nor the number of other paths changes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> tuple[float, int, float]:
    """Sampling settings with None taken as off.

    Raises:
        ValueError: a temperature below 0, a negative top_k, or a top_p outside (0, 1].
    """
    top_k, top_p = top_k or 0, 1.0 if top_p is None else top_p
    if not temperature >= 0 or temperature == float("inf"):
        raise ValueError(f"T={temperature} is not a temperature; use 0 (greedy) or more")
    if top_k < 0 or int(top_k) != top_k:
        raise ValueError(f"top_k={top_k} is not a number of tokens; use 0 (off) or more")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p} is outside (0, 1]; use 1 to keep all tokens")
    return float(temperature), int(top_k), float(top_p)


def keep_likely(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Logits with unlikely tokens at minus infinity.

    Args:
        logits (`torch.Tensor` of shape `(rows, tokens)`): after the temperature.
        top_k (`int`): most tokens to keep (ties with the last are kept); 0 leaves it to `top_p`.
        top_p (`float`): the likeliest tokens whose probabilities reach this sum are kept, and ties with the last.
    """
    if top_k > 0:
        least = logits.topk(min(top_k, logits.shape[-1])).values[..., -1:]
        return logits.masked_fill(logits < least, float("-inf"))
    if top_p < 1:
        ordered = _descending(logits)
        reached = ordered.softmax(dim=-1).cumsum(dim=-1) > top_p
        # the token that crosses the threshold stays, and so does the first
        last = (reached.shape[-1] - reached.sum(dim=-1, keepdim=True)).clamp(max=reached.shape[-1] - 1)
        return logits.masked_fill(logits < ordered.gather(-1, last), float("-inf"))
    return logits


def _descending(logits: Tensor) -> Tensor:
    """The values of each row, largest first; NumPy's sort is vectorised: on a CPU it takes a twentieth of torch's."""
    if logits.device.type != "cpu":
        return logits.sort(descending=True).values
    return torch.from_numpy(np.sort(logits.numpy(force=True), axis=-1)).flip(-1)


class Sampler:
    """Draws the coarse and the fine token of each bar of each path.

    Args:
        temperature (`float`): 0 takes the likeliest token.
        top_k (`int`), top_p (`float`): see [`keep_likely`].
        generator (`torch.Generator`, *optional*): source of randomness; torch's own by default.

    Raises:
        ValueError: settings out of range.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        top_k: int | None = 0,
        top_p: float | None = 1.0,
        generator: torch.Generator | None = None,
    ):
        self.temperature, self.top_k, self.top_p = check_sampling(temperature, top_k, top_p)
        self.generator = generator

    @property
    def greedy(self) -> bool:
        """Whether nothing is random."""
        return self.temperature == 0 or self.top_k == 1

    def draw(self, logits: Tensor, bar: int, part: int) -> Tensor:
        """Tokens for logits of shape `(rows, tokens)`.

        Args:
            bar (`int`): bar of the horizon, from 0.
            part (`int`): 0 for the coarse token, 1 for the fine one.

        Returns:
            `torch.LongTensor` of shape `(rows,)`.
        """
        if self.greedy:
            return logits.argmax(dim=-1)
        kept = keep_likely(logits.float() / self.temperature, self.top_k, self.top_p)
        return self._choose(kept.softmax(dim=-1), bar, part)

    def _choose(self, probabilities: Tensor, bar: int, part: int) -> Tensor:
        # the draw of `torch.multinomial`, without its passes that look for NaN and negative numbers
        waits = torch.empty_like(probabilities).exponential_(1, generator=self.generator)
        return (probabilities / waits).argmax(dim=-1)


class SeededSampler(Sampler):
    """A sampler whose draws belong to (seed of the series, path, bar) alone.

    Args:
        seeds (`Sequence[int]`): one a series.
        num_paths (`int`): paths of each series; more of them do not change the first ones.
        horizon (`int`): bars to draw.
        settings: as for [`Sampler`].
    """

    def __init__(self, seeds: Sequence[int], num_paths: int, horizon: int, **settings: float):
        super().__init__(**settings)
        draws = [np.random.default_rng(seed).random((num_paths, horizon, 2)) for seed in seeds]
        self._uniform = torch.from_numpy(np.concatenate(draws).astype(np.float32))

    def _choose(self, probabilities: Tensor, bar: int, part: int) -> Tensor:
        uniform = self._uniform[:, bar, part, None].to(probabilities.device)
        reached = probabilities.cumsum(dim=-1)
        token = torch.searchsorted(reached, uniform * reached[:, -1:], right=True).squeeze(-1)
        # rounding may reach the end of the table: the last token that can occur is meant
        last = probabilities.shape[-1] - 1 - (probabilities.flip(-1) > 0).int().argmax(dim=-1)
        return torch.minimum(token, last)
