"""A file of tokens that the processes of a machine fill together, block by block.

Notable:
- It is a safetensors file, read through a memory map: ranks and workers share its pages, and no process holds it.
- It is filled in place under another name, and renamed when complete. Each finished block is noted with its hash beside
  it: after a kill, only the blocks that are missing or damaged are computed again.
- A lock tells whether another run fills the same file at this moment; then this one fills a file of its own.

Shapes: N windows, L bars of a window.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from safetensors import safe_open
from torch import Tensor

HALVES = "s1", "s2"
BLOCK = 2**14  # windows; a multiple of the batches of the tokenizer
PIECE = 2**24  # bytes that are hashed at once
NO_HASH = "0" * 64
CODES = {"int16": "I16", "int32": "I32"}

Progress = Callable[[int, int], None]
MakeBlock = Callable[[range], Sequence[np.ndarray]]


def content_hash(halves: Sequence[np.ndarray]) -> str:
    """SHA-256 of the arrays, one after another, without a copy of them."""
    digest = hashlib.sha256()
    for half in halves:
        rows = max(1, PIECE // max(half[:1].nbytes, 1))
        for first in range(0, len(half), rows):
            digest.update(np.ascontiguousarray(half[first : first + rows]).data)
    return digest.hexdigest()


class TokenFile:
    """The tokens of the windows of one data set.

    Args:
        path (`Path`): of the complete file.
        names (`Mapping`): hashes that identify the content: of the tokenizer and of the windows.
        shape (`tuple[int, int]`): (N, L).
        dtypes (`Sequence` of `str`): `int16` or `int32`, of the coarse and of the fine tokens.
        machine (`int`): number of this machine in the launch; each fills a file of its own.
    """

    def __init__(
        self, path: Path, names: Mapping[str, str], shape: tuple[int, int], dtypes: Sequence[str], machine: int = 0
    ):
        self.path, self.names, self.shape = path, dict(names), shape
        self.dtypes = [np.dtype(one) for one in dtypes]
        self.machine = machine
        self.part: Path | None = None  # the unfinished file of this process, after `begin`
        self._lock: FileLock | None = None
        sizes = [shape[0] * shape[1] * one.itemsize for one in self.dtypes]
        self._start = len(self._header(NO_HASH))
        self._offsets = [self._start, self._start + sizes[0]]
        self._size = self._start + sum(sizes)

    def read(self) -> tuple[Tensor, Tensor]:
        """Both halves, `(N, L)`, mapped from the file.

        Raises:
            ValueError: a damaged file, or one with tokens of another tokenizer or of other windows.
            OSError, SafetensorError: it cannot be read.
        """
        with safe_open(self.path, framework="pt") as file:
            metadata = file.metadata() or {}
            for name, value in self.names.items():
                if metadata.get(name) != value:
                    raise ValueError(f"computed with another {name.removesuffix('s')}")
            s1, s2 = (file.get_tensor(name) for name in HALVES)
        is_whole = tuple(s1.shape) == tuple(s2.shape) == self.shape
        if not is_whole or metadata.get("content") != content_hash((s1.numpy(), s2.numpy())):
            raise ValueError("damaged")
        return s1, s2

    def begin(self) -> None:
        """Prepares the unfinished file, or keeps the one of an interrupted process; called by one process.

        Raises:
            OSError: no space, or a folder that cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        usual = self.path.with_name(f"{self.path.name}.part" + (f".{self.machine}" if self.machine else ""))
        self._lock = FileLock(usual.with_name(f"{usual.name}.lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            usual = usual.with_name(f"{usual.name}.{os.getpid()}")
        self._prepare(usual)
        self.part = usual

    def _prepare(self, part: Path) -> None:
        header = self._header(NO_HASH)
        if part.is_file() and part.stat().st_size == self._size:
            with open(part, "rb") as file:
                if file.read(len(header)) == header:
                    return
        for note in _notes(part):
            note.unlink()
        try:
            with open(part, "wb") as file:
                file.write(header)
                file.truncate(self._size)
                if hasattr(os, "posix_fallocate"):  # a full disk is told now
                    os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def missing(self, part: Path) -> list[int]:
        """Numbers of the blocks to compute of an unfinished file: those that are not noted, or not as noted."""
        noted: dict[int, str] = {}
        for note in _notes(part):
            for line in note.read_text(encoding="utf-8", errors="replace").splitlines():
                number, _, digest = line.partition(" ")
                if number.isdecimal():
                    noted[int(number)] = digest
        return [number for number in range(self.blocks) if noted.get(number) != self._hash_of(part, number, noted)]

    @property
    def blocks(self) -> int:
        """How many blocks the windows make."""
        return -(-self.shape[0] // BLOCK)

    def fill(
        self,
        part: Path,
        numbers: Sequence[int],
        make: MakeBlock,
        process: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Computes blocks and writes them into the unfinished file.

        Args:
            part (`Path`): of the process that began it.
            numbers (`Sequence[int]`): of the blocks.
            make (`Callable`): gives the two halves of a range of windows, integers of shape `(rows, L)`.
            process (`int`): number of this process on this machine.
            progress (*optional*): called with (windows done, windows to do).

        Raises:
            OSError: the file cannot be written.
        """
        total, done = sum(len(self._rows(number)) for number in numbers), 0
        note = part.with_name(f"{part.name}.done.{process}")
        with open(part, "r+b") as file, open(note, "a", encoding="utf-8") as notes:
            for number in numbers:
                rows = self._rows(number)
                halves = [
                    np.ascontiguousarray(half, dtype=dtype) for half, dtype in zip(make(rows), self.dtypes, strict=True)
                ]
                for half, offset in zip(halves, self._offsets, strict=True):
                    file.seek(offset + rows.start * self.shape[1] * half.itemsize)
                    file.write(half.data)
                file.flush()
                os.fsync(file.fileno())
                notes.write(f"{number} {content_hash(halves)}\n")
                notes.flush()
                done += len(rows)
                if progress is not None:
                    progress(done, total)

    def finish(self) -> None:
        """Completes the file when all blocks are filled, and renames it; called by the process that began it."""
        content = content_hash([self._mapped(self.part, place) for place in range(2)])
        with open(self.part, "r+b") as file:
            file.write(self._header(content))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.replace(self.part, self.path)
        except PermissionError:  # Windows: another run has completed and mapped the same file
            self.part.unlink()
        for note in _notes(self.part):
            note.unlink()
        if self._lock.is_locked:
            self._lock.release()
            with contextlib.suppress(OSError):
                Path(self._lock.lock_file).unlink()
        self.part = None

    def _header(self, content: str) -> bytes:
        """The header of a safetensors file; its length does not depend on the hash."""
        tensors, offset = {}, 0
        for name, dtype in zip(HALVES, self.dtypes, strict=True):
            end = offset + self.shape[0] * self.shape[1] * dtype.itemsize
            tensors[name] = {"dtype": CODES[dtype.name], "shape": list(self.shape), "data_offsets": [offset, end]}
            offset = end
        text = json.dumps({"__metadata__": {**self.names, "content": content}, **tensors}).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    def _rows(self, number: int) -> range:
        return range(number * BLOCK, min((number + 1) * BLOCK, self.shape[0]))

    def _mapped(self, part: Path, place: int) -> np.ndarray:
        return np.memmap(part, self.dtypes[place], "r", self._offsets[place], self.shape)

    def _hash_of(self, part: Path, number: int, noted: Mapping[int, str]) -> str:
        """The hash of a block in the file; an impossible one if the block is not noted."""
        if number not in noted:
            return NO_HASH
        rows = self._rows(number)
        return content_hash([self._mapped(part, place)[rows.start : rows.stop] for place in range(2)])


def _notes(part: Path) -> list[Path]:
    """The files that note the finished blocks, one for each process."""
    return list(part.parent.glob(f"{part.name}.done.*"))
