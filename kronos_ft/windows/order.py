"""The order of training windows: a function of (seed, epoch) alone, whatever the number of workers or ranks.

Notable:
- With `weighting="length"` every window comes once an epoch, so that a symbol counts by its number of windows.
- With `weighting="even"` every symbol has as many windows in an epoch: of a long one others each epoch, of a short one
  some repeatedly. The epoch is as long as before.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

WEIGHTINGS = ("length", "even")
PIECE = 2**16


def check_weighting(weighting: str) -> None:
    """Raises ValueError for a weighting that there is not."""
    if weighting not in WEIGHTINGS:
        raise ValueError(f"symbol_weighting={weighting!r} is not known; use one of {', '.join(WEIGHTINGS)}")


class EpochSampler(Sampler[int]):
    """An order of the windows for each epoch, drawn from (seed, epoch) alone.

    Yields `pass * num_windows + window`, so that a data set in any worker process knows which pass over its windows it
    is in, and augments a window otherwise in each; a pass is an epoch, or a part of one where windows repeat. Every
    rank draws the same order, and a resumed run the one that the killed run had. The last windows of the order that
    do not fill an effective batch are left out, others each epoch: a step of fewer windows would weigh them more, and
    several ranks would pad it with windows that then count twice.

    Args:
        num_windows (`int`): length of the data set.
        seed (`int`): seed of the order.
        effective_batch (`int`): windows of an optimizer step, over accumulation and ranks.
        windows_per_symbol (`Sequence[int]`, *optional*): how many windows each symbol has, in their order; for `even`.
        weighting (`str`): `length` or `even`.

    Raises:
        ValueError: when the windows do not fill one step, or the weighting is not known.
    """

    def __init__(
        self,
        num_windows: int,
        seed: int,
        effective_batch: int = 1,
        windows_per_symbol: Sequence[int] | None = None,
        weighting: str = "length",
    ):
        check_weighting(weighting)
        if num_windows < effective_batch:
            raise ValueError(
                f"an optimizer step takes {effective_batch} windows (batch x accumulation x processes) but there are "
                f"{num_windows} training windows; lower per_device_train_batch_size"
            )
        self.num_windows = num_windows
        self.seed = seed
        self.used = num_windows // effective_batch * effective_batch
        self.epoch = 0
        self._even = weighting == "even"
        counts = np.asarray(windows_per_symbol or [num_windows])
        self._first = (np.cumsum(counts) - counts)[counts > 0]
        self._counts = counts[counts > 0]

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.used

    def _even_order(self, generator: np.random.Generator) -> np.ndarray:
        """As many windows of each symbol, one more of some where the number does not divide."""
        symbols = len(self._counts)
        share, left = divmod(self.num_windows, symbols)
        passes = -(-(share + 1) // self._counts.min())
        parts = []
        for symbol, (first, count) in enumerate(zip(self._first, self._counts, strict=True)):
            quota = share + ((symbol + self.epoch) % symbols < left)
            for repeat in range(-(-quota // count)):
                drawn = generator.permutation(count)[: quota - repeat * count] + first
                parts.append(drawn + (self.epoch * passes + repeat) * self.num_windows)
        return generator.permutation(np.concatenate(parts))

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng((self.seed, self.epoch))
        if self._even:
            order = self._even_order(generator)
        else:
            order = generator.permutation(self.num_windows)
            order += self.epoch * self.num_windows
        # as Python's numbers millions of windows would take five times the memory
        pieces = (order[first : min(first + PIECE, self.used)].tolist() for first in range(0, self.used, PIECE))
        return itertools.chain.from_iterable(pieces)
