"""Where windows begin: stretches of bars without a long gap, and the windows that fit into each.

A stretch takes four numbers however many windows it holds; where window i begins is computed when it is asked for.

Shapes: B windows.
"""

from collections.abc import Iterator, Sequence

import numpy as np

PIECE = 2**20


def stretch_edges(first: int, end: int, too_long: np.ndarray) -> np.ndarray:
    """Borders of the stretches in bars `first` to before `end`, with one before each bar that `too_long` marks."""
    breaks = first + 1 + np.flatnonzero(too_long[first + 1 : end])
    return np.concatenate(([first], breaks, [end])).astype(np.int64)


class WindowPlaces:
    """The windows of some stretches, numbered through.

    Args:
        edges (`Sequence` of `np.ndarray`): borders of each symbol's stretches, as rows of one table.
        length (`int`): bars of a window.
        stride (`int`): bars between the starts of two windows.
    """

    def __init__(self, edges: Sequence[np.ndarray], length: int, stride: int):
        first = np.concatenate([one[:-1] for one in edges])
        last = np.concatenate([one[1:] for one in edges]) - length
        counts = np.maximum((last - first) // stride + 1, 0)
        per_symbol = np.split(counts, np.cumsum([len(one) - 1 for one in edges])[:-1])
        self.per_symbol = [int(one.sum()) for one in per_symbol]
        held = counts > 0
        self._first, self._last, self._stride = first[held], last[held], stride
        self._ends = np.cumsum(counts[held])
        self._before = self._ends - counts[held]

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def starts(self, windows: np.ndarray) -> np.ndarray:
        """Rows at which windows begin, int64 of shape `(B,)`."""
        stretch = np.searchsorted(self._ends, windows, side="right")
        return self._first[stretch] + (windows - self._before[stretch]) * self._stride

    def shifted(self, windows: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        """As [`~WindowPlaces.starts`], moved by some bars but not out of the window's stretch."""
        stretch = np.searchsorted(self._ends, windows, side="right")
        starts = self._first[stretch] + (windows - self._before[stretch]) * self._stride
        return np.clip(starts + shifts, self._first[stretch], self._last[stretch])

    def pieces(self) -> Iterator[np.ndarray]:
        """The starts of all windows, in pieces."""
        return (self.starts(np.arange(first, min(first + PIECE, len(self)))) for first in range(0, len(self), PIECE))
