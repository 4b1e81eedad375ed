"""The order of records in training: a function of (seed, epoch) alone, at random or grouped by length.

The stock sampler that groups by length draws from the global random state, which dropout moves on: a run resumed within
its second epoch would see other batches than the one that was killed. It also knows one length, and padding has two.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from .token_batches import by_both_lengths, seeded

BATCHES_SORTED = 50  # whose records are put in order of length together, as the stock sampler does


class RecordOrder(Sampler[int]):
    """Positions of records, in another order each epoch.

    Args:
        count (`int`): records.
        seed (`int`): seed of the order.
        sources, targets (`Sequence[int]`, *optional*): tokens of each record, to put records together that are alike in
            both.
        batch (`int`): records of an optimizer step on a process, that are to be of like length.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        sources: Sequence[int] | None = None,
        targets: Sequence[int] | None = None,
        batch: int = 1,
    ):
        self.count = count
        self.seed = seed
        self.sources = None if sources is None else np.asarray(sources)
        self.targets = None if targets is None else np.asarray(targets)
        self.batch = batch
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        random = seeded(self.seed, self.epoch)
        shuffled = random.permutation(self.count)
        if self.sources is None or self.targets is None:
            return iter(shuffled.tolist())
        pools = np.array_split(shuffled, max(1, round(self.count / (BATCHES_SORTED * self.batch))))
        order = np.concatenate([by_both_lengths(self.sources, self.targets, pool, self.batch) for pool in pools])
        batches = [order[first : first + self.batch] for first in range(0, self.count, self.batch)]
        rest = [batches.pop()] if len(batches[-1]) < self.batch else []
        random.shuffle(batches)
        order = np.concatenate([*batches, *rest])
        # the longest of all comes first with those like it, where it is best that memory runs out
        longest = int(np.argmax((self.sources + self.targets)[order]))
        start = longest // self.batch * self.batch
        if start + self.batch <= self.count:
            here, first = slice(start, start + self.batch), slice(0, self.batch)
            order[here], order[first] = order[first].copy(), order[here].copy()
            longest -= start
        order[[0, longest]] = order[[longest, 0]]
        return iter(order.tolist())
