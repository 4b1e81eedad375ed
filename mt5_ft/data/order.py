"""The order of records in training: depends only on (seed, epoch); random or grouped by length.

The length-grouped sampler of transformers uses the global random state, which dropout changes: a run resumed in its
second epoch would get other batches than the killed run. It also uses one length, but source and target are padded.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from .token_batches import by_both_lengths, seeded

BATCHES_SORTED = 50  # batches whose records are sorted by length together, as in transformers


class RecordOrder(Sampler[int]):
    """Yields positions of records, in a different order in each epoch.

    Args:
        count (`int`): number of records.
        seed (`int`): seed of the order.
        sources, targets (`Sequence[int]`, *optional*): source and target tokens of each record, to group similar
            lengths.
        batch (`int`): records per optimizer step on a process, which should have similar lengths.
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
        """Sets the epoch of the next iteration."""
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
        # the longest batch comes first, so that out of memory occurs at the start
        longest = int(np.argmax((self.sources + self.targets)[order]))
        start = longest // self.batch * self.batch
        if start + self.batch <= self.count:
            here, first = slice(start, start + self.batch), slice(0, self.batch)
            order[here], order[first] = order[first].copy(), order[here].copy()
            longest -= start
        order[[0, longest]] = order[[longest, 0]]
        return iter(order.tolist())
