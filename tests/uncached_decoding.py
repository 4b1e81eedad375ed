"""The published decode without a cache, and random bars to run it on: what the cached one is compared with."""

import numpy as np
import torch


@torch.no_grad()
def uncached_tokens(model, s1, s2, stamp, future, sampler, max_context, num_paths=1):
    """The published decode: every path computes its last `max_context` bars again for each bar."""
    s1, s2, stamp, future = (one.repeat_interleave(num_paths, dim=0) for one in (s1, s2, stamp, future))
    stamps = torch.cat((stamp, future), dim=1)
    known = s1.shape[1]
    for bar in range(future.shape[1]):
        end = s1.shape[1]
        first = max(end - max_context, 0)
        logits, hidden = model.decode_s1(s1[:, first:], s2[:, first:], stamps[:, first:end])
        coarse = sampler.draw(logits[:, -1], bar, 0)[:, None]
        fine = sampler.draw(model.decode_s2(hidden, coarse)[:, -1], bar, 1)[:, None]
        s1, s2 = torch.cat((s1, coarse), dim=1), torch.cat((s2, fine), dim=1)
    return s1[:, known:], s2[:, known:]


def random_bars(batch, length, horizon, seed=0, tokens=32):
    """Random tokens and stamps: s1, s2, stamp, future."""
    generator = np.random.default_rng(seed)
    s1, s2 = torch.from_numpy(generator.integers(tokens, size=(2, batch, length)))
    stamps = torch.from_numpy(
        np.stack([generator.integers(1, high, size=(batch, length + horizon)) for high in (60, 24, 7, 32, 13)], axis=-1)
    )
    return s1, s2, stamps[:, :length], stamps[:, length:]
