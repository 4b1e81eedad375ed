"""Samples tokens from logits: temperature, top-k, top-p, reproducible by seed.

Notable:
- A positive top-k replaces top-p, as published.
- Without a seed, the samples are those of `torch.multinomial` with torch's (or a given) generator, as published.
- With seeds, each path has its own uniform numbers, independent of the batch and of the number of other paths.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> tuple[float, int, float]:
    """Validates sampling settings; None turns `top_k` or `top_p` off.

    Raises:
        ValueError: a temperature below 0, a negative top_k, or a top_p outside (0, 1].
    """
    top_k, top_p = top_k or 0, 1.0 if top_p is None else top_p
    if not temperature >= 0 or temperature == float("inf"):
        raise ValueError(f"T={temperature} must be 0 (greedy) or more, and finite; use e.g. 1")
    if top_k < 0 or int(top_k) != top_k:
        raise ValueError(f"top_k={top_k} must be a whole number of tokens; use 0 (off) or more")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p} is outside (0, 1]; use 1 to keep all tokens")
    return float(temperature), int(top_k), float(top_p)


def keep_likely(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Sets the logits of unlikely tokens to minus infinity.

    Args:
        logits (`torch.Tensor` of shape `(rows, tokens)`): already divided by the temperature.
        top_k (`int`): number of tokens to keep, plus ties with the last; 0 uses `top_p` instead.
        top_p (`float`): keeps the most likely tokens whose probabilities reach this sum, plus ties with the last.
    """
    if top_k > 0:
        least = logits.topk(min(top_k, logits.shape[-1])).values[..., -1:]
        return logits.masked_fill(logits < least, float("-inf"))
    if top_p < 1:
        ordered = _descending(logits)
        reached = ordered.softmax(dim=-1).cumsum(dim=-1) > top_p
        # keep the token that crosses the threshold, and always the first
        last = (reached.shape[-1] - reached.sum(dim=-1, keepdim=True)).clamp(max=reached.shape[-1] - 1)
        return logits.masked_fill(logits < ordered.gather(-1, last), float("-inf"))
    return logits


def _descending(logits: Tensor) -> Tensor:
    """Sorts each row in descending order; on a CPU, NumPy's vectorised sort takes 1/20 of the time of torch's."""
    if logits.device.type != "cpu":
        return logits.sort(descending=True).values
    return torch.from_numpy(np.sort(logits.numpy(force=True), axis=-1)).flip(-1)


class Sampler:
    """Samples the coarse and the fine token of each bar of each path.

    Args:
        temperature (`float`): 0 selects the most likely token.
        top_k (`int`), top_p (`float`): see [`keep_likely`].
        generator (`torch.Generator`, *optional*): defaults to torch's global generator.

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
        """Whether sampling is deterministic."""
        return self.temperature == 0 or self.top_k == 1

    def draw(self, logits: Tensor, bar: int, part: int) -> Tensor:
        """Samples one token per row of logits `(rows, tokens)`.

        Args:
            bar (`int`): bar of the horizon, from 0.
            part (`int`): 0 for the coarse token, 1 for the fine token.

        Returns:
            `torch.LongTensor` of shape `(rows,)`.
        """
        if self.greedy:
            return logits.argmax(dim=-1)
        kept = keep_likely(logits.float() / self.temperature, self.top_k, self.top_p)
        return self._choose(kept.softmax(dim=-1), bar, part)

    def _choose(self, probabilities: Tensor, bar: int, part: int) -> Tensor:
        # same result as `torch.multinomial`, without its checks for NaN and negative numbers
        waits = torch.empty_like(probabilities).exponential_(1, generator=self.generator)
        return (probabilities / waits).argmax(dim=-1)


class SeededSampler(Sampler):
    """A sampler whose random numbers depend only on (seed of the series, path, bar).

    Args:
        seeds (`Sequence[int]`): one per series.
        num_paths (`int`): paths per series; a larger number does not change the first paths.
        horizon (`int`): bars to sample.
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
        # rounding may give an index past the end: use the last token with a positive probability
        last = probabilities.shape[-1] - 1 - (probabilities.flip(-1) > 0).int().argmax(dim=-1)
        return torch.minimum(token, last)
