"""The order of records in training: a function of (seed, epoch) alone, at random or grouped by length.

The stock sampler that groups by length draws from the global random state, which dropout moves on: a run resumed within
its second epoch would see other batches than the one that was killed.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class RecordOrder(Sampler[int]):
    """Positions of records, in another order each epoch.

    Args:
        count (`int`): records.
        seed (`int`): seed of the order.
        lengths (`Sequence[int]`, *optional*): tokens of each record, to put records of like length together.
        batch (`int`): records of an optimizer step on a process, that are to be of like length.
    """

    def __init__(self, count: int, seed: int, lengths: Sequence[int] | None = None, batch: int = 1):
        self.count = count
        self.seed = seed
        self.lengths = lengths
        self.batch = batch
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        seed = np.random.SeedSequence((self.seed, self.epoch)).generate_state(1, np.uint64)[0] >> 1
        generator = torch.Generator().manual_seed(int(seed))
        if self.lengths is None:
            return iter(torch.randperm(self.count, generator=generator).tolist())
        return iter(get_length_grouped_indices(self.lengths, self.batch, generator=generator))
