"""The order of training records in batches of like length: a function of (seed, epoch) alone.

The stock sampler draws from the global generator, whose state at the beginning of an epoch no checkpoint holds: a run
that is resumed within an epoch goes on in another order, sees some records twice and others not at all.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class LengthOrder(Sampler[int]):
    """Every record once an epoch, sorted by length inside random groups of many batches.

    Every rank draws the same order, and a resumed run the one that the killed run had.

    Args:
        lengths (`Sequence[int]`): tokens of each record.
        batch_size (`int`): records of an optimizer step, over accumulation and ranks.
        seed (`int`): seed of the order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int):
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        seed = np.random.SeedSequence((self.seed, self.epoch)).generate_state(1, np.uint64)[0] >> 1
        generator = torch.Generator().manual_seed(int(seed))
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))
