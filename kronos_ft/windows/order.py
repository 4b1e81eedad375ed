"""The order of training windows: depends only on (seed, epoch), not on the number of workers or ranks.

Notable:
- `weighting="length"`: every window occurs once per epoch, so each symbol is weighted by its number of windows.
- `weighting="even"`: every symbol has the same number of windows per epoch. Long symbols use a different subset in each
  epoch; windows of short symbols repeat. The length of the epoch does not change.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

WEIGHTINGS = ("length", "even")
PIECE = 2**16


def check_weighting(weighting: str) -> None:
    """Raises ValueError for an unknown weighting."""
    if weighting not in WEIGHTINGS:
        raise ValueError(f"symbol_weighting={weighting!r} is not known; use one of {', '.join(WEIGHTINGS)}")


class EpochSampler(Sampler[int]):
    """A random order of the windows for each epoch, determined by (seed, epoch).

    Yields `pass * num_windows + window`. The pass tells the data set, in every worker process, to augment a window
    differently each time. A pass is an epoch, or a part of one if windows repeat. All ranks and resumed runs have the
    same order. The last windows that do not fill an effective batch are skipped, different ones in each epoch: in a
    smaller step they would weigh more, and several ranks would pad the step with duplicates.

    Args:
        num_windows (`int`): length of the data set.
        seed (`int`): seed of the order.
        effective_batch (`int`): windows per optimizer step, over accumulation and ranks.
        windows_per_symbol (`Sequence[int]`, *optional*): number of windows of each symbol; needed for `even`.
        weighting (`str`): `length` or `even`.

    Raises:
        ValueError: fewer windows than one step needs, or an unknown weighting.
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
                f"an optimizer step needs {effective_batch} windows (batch x accumulation x processes), but there are "
                f"only {num_windows} training windows; lower per_device_train_batch_size"
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
        """Sets the epoch of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.used

    def _even_order(self, generator: np.random.Generator) -> np.ndarray:
        """The same number of windows of each symbol; one more for some symbols if there is a remainder."""
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
        # in pieces: a Python list of millions of ints would need five times the memory
        pieces = (order[first : min(first + PIECE, self.used)].tolist() for first in range(0, self.used, PIECE))
        return itertools.chain.from_iterable(pieces)
