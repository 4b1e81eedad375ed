"""A table of records: texts in a memory-mapped file, and their hashes and lines in arrays.

Notable:
- A record is made when it is accessed; the table holds 34 bytes a record in memory. Above `IN_MEMORY` bytes, the texts
  are in a file without a name, which the system deletes when the run ends, even after a crash.
- Texts are compared by hashes of 8 bytes: of a million texts, two are confused with a probability of 3e-8.
- A row of the file is not kept: `row` of a record is empty.
"""

import logging
import mmap
import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ft_core.io.cache_folder import CACHE_VARIABLE, own_cache

from .fields import TaskFields
from .records import Record, RecordReport, collect_records, repeated, text_key

logger = logging.getLogger(__name__)

IN_MEMORY = 64 * 2**20  # bytes of texts
AT_ONCE = 2**14  # records of a pass, after which the pages of the file are given back


class _Texts:
    """Bytes that grow by appending: in memory at first, in an unnamed memory-mapped file above `IN_MEMORY` bytes."""

    def __init__(self):
        self.bytes: bytearray | mmap.mmap = bytearray()
        self.size = 0
        self.file = None
        self.limit = IN_MEMORY

    def append(self, text: bytes) -> None:
        self.bytes += text
        self.size += len(text)
        if len(self.bytes) > self.limit:
            self._write()

    def _write(self) -> None:
        """Moves the bytes in memory to the file."""
        try:
            if self.file is None:
                folder = own_cache() / "records"
                folder.mkdir(parents=True, exist_ok=True)
                self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the table
            self.file.write(self.bytes)
            self.file.flush()
        except OSError as error:
            if self.size > len(self.bytes):
                raise _full(error) from error
            self.file, self.limit = None, float("inf")
            logger.warning(f"{_full(error)}: the texts stay in memory")
        else:
            self.bytes.clear()

    def finish(self) -> None:
        """Maps the file, if there is one."""
        if self.file is not None:
            self._write()
            self.bytes = mmap.mmap(self.file.fileno(), self.size, access=mmap.ACCESS_READ)

    def give_back(self) -> None:
        """Removes the pages of the file from this process; the system keeps them cached while memory is free."""
        if hasattr(mmap, "MADV_DONTNEED") and isinstance(self.bytes, mmap.mmap):
            self.bytes.madvise(mmap.MADV_DONTNEED)


def _full(error: OSError) -> ValueError:
    return ValueError(
        f"records larger than memory do not fit into {own_cache()} ({error.strerror or error}); free some space, or "
        f"set {CACHE_VARIABLE} to a folder on another disk"
    )


class RecordTable(Sequence[Record]):
    """Records whose texts are in memory or in a file; parts of it share the texts.

    Attributes:
        sources (`np.ndarray` of uint64, shape `(records,)`): hashes of the sources without surrounding spaces.
        ids (`np.ndarray` of uint64, shape `(records,)`): hashes of the ids.
        has_own_id (`np.ndarray` of bool, shape `(records,)`): the id is from its row, and not its line.
    """

    def __init__(self, records: Sequence[Record] = ()):
        self._texts = _Texts()
        self._ends, self._lines, self.sources, self.ids = array("Q", [0]), array("Q"), array("Q"), array("Q")
        for record in records:
            self.append(record)

    def append(self, record: Record) -> None:
        """Adds a record, until [`finish`]."""
        text = _encoded(record)
        self._texts.append(text)
        self._ends.append(self._ends[-1] + len(text))
        self._lines.append(record.line)
        self.sources.append(text_key(record.source.strip()))
        self.ids.append(text_key(record.id))

    def finish(self, *, number: bool, has_ids: bool = True) -> "RecordTable":
        """The complete table.

        Args:
            number (`bool`): give `line N` as id to records without an id, or with that of an earlier record.
            has_ids (`bool`): whether rows have ids.
        """
        self._texts.finish()
        ends, self._lines, self.sources, self.ids = (
            np.frombuffer(one, np.uint64) for one in (self._ends, self._lines, self.sources, self.ids)
        )
        self._starts, self._ends = ends[:-1], ends[1:]
        self._is_numbered = repeated(self.ids) if number else np.zeros(len(self.ids), dtype=bool)
        self.has_own_id = ~self._is_numbered & has_ids
        return self

    @classmethod
    def of(cls, records: Sequence[Record]) -> "RecordTable":
        """Records as a table; a table is returned unchanged."""
        return records if isinstance(records, cls) else cls(records).finish(number=False)

    def select(self, places: np.ndarray | slice) -> "RecordTable":
        """The records at places, or those of a mask."""
        part = RecordTable.__new__(RecordTable)
        part._texts = self._texts
        for name in ("_starts", "_ends", "_lines", "sources", "ids", "_is_numbered", "has_own_id"):
            setattr(part, name, getattr(self, name)[places])
        return part

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, place: int | slice) -> "Record | RecordTable":
        if isinstance(place, slice):
            return self.select(place)
        (record,) = self._records(np.array([place]))
        return record

    def __iter__(self) -> Iterator[Record]:
        return self._passed(self._records)

    def encoded(self) -> Iterator[bytes]:
        """What [`encoded`] gives."""
        return self._passed(self._encoded)

    def _passed(self, read: Callable[[slice], Iterator]) -> Iterator:
        """Reads all records in parts."""
        for first in range(0, len(self), AT_ONCE):
            yield from read(slice(first, first + AT_ONCE))
            self._texts.give_back()

    def _encoded(self, places: np.ndarray | slice) -> Iterator[bytes]:
        texts, columns = self._texts.bytes, (self._starts, self._ends, self._lines, self._is_numbered)
        for start, end, line, is_numbered in zip(*(column[places].tolist() for column in columns), strict=True):
            text = bytes(texts[start:end])
            yield f"line {line}".encode() + text[text.index(b"\0") :] if is_numbered else text

    def _records(self, places: np.ndarray | slice) -> Iterator[Record]:
        for text, line in zip(self._encoded(places), self._lines[places].tolist(), strict=True):
            record_id, source, target = text[:-1].decode("utf-8", "surrogatepass").split("\0")
            yield Record(record_id, source, target, line, {})


def encoded(records: Sequence[Record]) -> Iterator[bytes]:
    """The id and the texts of each record as bytes, to make a hash of them."""
    return records.encoded() if isinstance(records, RecordTable) else map(_encoded, records)


def _encoded(record: Record) -> bytes:
    return f"{record.id}\0{record.source}\0{record.target}\1".encode("utf-8", "surrogatepass")


def read_table(path: str | Path, fields: TaskFields, policy: str = "error") -> tuple[RecordTable, RecordReport]:
    """Reads a file to train on, as [`~mt5_ft.data.records.read_records`] does with `need_id=False`.

    Raises:
        ValueError: as `read_records`; or the cache has too little space.
    """
    table, report = collect_records(path, fields, policy, RecordTable, need_id=False)
    return table.finish(number=True, has_ids=report.has_ids), report
