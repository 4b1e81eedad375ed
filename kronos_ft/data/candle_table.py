"""One table with the candles of all symbols. The windows of every split are slices of it.

Notable:
- The table stores the symbols one after another. One indexing operation gathers a batch, and the splits share one copy.
- A table larger than `IN_MEMORY` bytes is stored in memory-mapped temporary files, so it may be larger than RAM. The
  files have no name: the system deletes them when the run ends, even after a crash. A new run reads its source again
  and never sees old candles.

Shapes: N bars of all symbols.
"""

import logging
import math
import tempfile
from collections.abc import Sequence
from functools import cached_property
from typing import IO, Protocol

import numpy as np

from ft_core.io.cache_folder import CACHE_VARIABLE, own_cache

from .columns import FEATURES
from .timestamps import CALENDAR_FEATURES, calendar_features

logger = logging.getLogger(__name__)

IN_MEMORY = 256 * 2**20  # bytes of one array: 5.6 million candles
PIECE = 2**20  # bars per step


def _full(error: OSError) -> ValueError:
    return ValueError(
        f"candles larger than memory do not fit into {own_cache()} ({error.strerror or error}); free some space, or "
        f"set {CACHE_VARIABLE} to a folder on another disk"
    )


class Candles(Protocol):
    """Times and values of one symbol."""

    timestamps: np.ndarray
    values: np.ndarray


class _Rows:
    """An array that grows by appending: in memory at first, in an unnamed file above `IN_MEMORY` bytes."""

    def __init__(self, dtype: str, *row_shape: int):
        self.dtype, self.row_shape = np.dtype(dtype), row_shape
        self.parts: list[np.ndarray] = []
        self.count = 0
        self.file: IO[bytes] | None = None
        self.mappable = True

    def append(self, part: np.ndarray) -> None:
        part = np.ascontiguousarray(part, dtype=self.dtype)
        self.count += len(part)
        if self.file is None:
            self.parts.append(part)
            if self.mappable and self.count * math.prod(self.row_shape) * self.dtype.itemsize > IN_MEMORY:
                self._move_to_file()
        else:
            try:
                self.file.write(part.data)
            except OSError as error:
                raise _full(error) from error

    def _move_to_file(self) -> None:
        try:
            folder = own_cache() / "candles"
            folder.mkdir(parents=True, exist_ok=True)
            self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the array
            for part in self.parts:
                self.file.write(part.data)
        except OSError as error:
            logger.warning(
                f"cannot write the candle cache ({error.strerror or error}): candles stay in memory; set "
                f"{CACHE_VARIABLE} to another folder"
            )
            self.file, self.mappable = None, False
            return
        self.parts.clear()

    def finish(self) -> np.ndarray:
        if self.file is not None:
            try:
                self.file.flush()
            except OSError as error:
                raise _full(error) from error
            # mode "c": writing to the array does not change the file
            mapped = np.memmap(self.file, self.dtype, "c", shape=(self.count, *self.row_shape))
            return mapped.view(np.ndarray)
        if len(self.parts) == 1:
            return self.parts[0]
        return np.concatenate(self.parts) if self.parts else np.empty((0, *self.row_shape), self.dtype)


class CandleTable:
    """Candles of several symbols, one after another.

    Attributes:
        timestamps (`np.ndarray` of `datetime64[ns]`, shape `(N,)`): increasing within each symbol.
        values (`np.ndarray` of float64, shape `(N, 6)`): in the order of `FEATURES`.
    """

    def __init__(self, timestamps: np.ndarray, values: np.ndarray):
        self.timestamps = timestamps
        self.values = values

    @cached_property
    def stamps(self) -> np.ndarray:
        """Calendar features, int8 of shape `(N, 5)`; computed on first access."""
        rows = _Rows("int8", len(CALENDAR_FEATURES))
        for first in range(0, len(self.timestamps), PIECE):
            rows.append(calendar_features(self.timestamps[first : first + PIECE]))
        return rows.finish()

    def begins_with(self, series: Sequence[Candles]) -> bool:
        """Whether the first rows of this table are the candles of `series`, one after another."""
        row = 0
        for one in series:
            pairs = ((self.values, one.values), (self.timestamps, one.timestamps))
            if not all(_is_part(table, part, row) for table, part in pairs):
                return False
            row += len(one.values)
        return True


def _is_part(table: np.ndarray, part: np.ndarray, row: int) -> bool:
    """Whether `part` is a view of `table` that starts at `row`."""
    alike = part.dtype == table.dtype and part.strides == table.strides and row + len(part) <= len(table)
    return alike and part.ctypes.data == table.ctypes.data + row * table.strides[0]


class TableWriter:
    """Builds a table symbol by symbol; besides the table, only one symbol is in memory at a time."""

    def __init__(self):
        self._times, self._values = _Rows("int64"), _Rows("float64", len(FEATURES))
        self._ends = [0]

    def add(self, timestamps: np.ndarray, values: np.ndarray) -> None:
        """Appends a symbol's candles."""
        self._times.append(timestamps.astype("datetime64[ns]").view(np.int64))
        self._values.append(values)
        self._ends.append(self._times.count)

    def finish(self) -> tuple[CandleTable, list[slice]]:
        """The table and the rows of each symbol."""
        rows = [slice(first, end) for first, end in zip(self._ends[:-1], self._ends[1:], strict=True)]
        return CandleTable(self._times.finish().view("datetime64[ns]"), self._values.finish()), rows


def joined(series: Sequence[Candles], table: CandleTable | None) -> CandleTable:
    """A table that starts with the candles of the given symbols, one after another.

    Args:
        series: candles of each symbol.
        table ([`CandleTable`], *optional*): returned if it starts with these candles; otherwise a new one is built.
    """
    if table is not None and table.begins_with(series):
        return table
    writer = TableWriter()
    for one in series:
        writer.add(one.timestamps, one.values)
    return writer.finish()[0]
