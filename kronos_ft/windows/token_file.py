"""A file of tokens that the processes of a machine fill together, block by block.

Notable:
- It is a safetensors file, read through a memory map: ranks and workers share its pages, and no process holds it.
- It is filled in place under another name, and renamed when complete. Each finished block is noted with its hash beside
  it: after a kill, only the blocks that are missing or damaged are computed again.

Shapes: N windows, L bars of a window.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
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
        self.part = path.with_name(f"{path.name}.part" + (f".{machine}" if machine else ""))
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
        header = self._header(NO_HASH)
        if self.part.is_file() and self.part.stat().st_size == self._size:
            with open(self.part, "rb") as file:
                if file.read(len(header)) == header:
                    return
        for note in self._notes():
            note.unlink()
        try:
            with open(self.part, "wb") as file:
                file.write(header)
                file.truncate(self._size)
                if hasattr(os, "posix_fallocate"):  # a full disk is told now
                    os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError:
            self.part.unlink(missing_ok=True)
            raise

    def missing(self) -> list[int]:
        """Numbers of the blocks to compute: those that are not noted, or not as noted."""
        noted: dict[int, str] = {}
        for note in self._notes():
            for line in note.read_text(encoding="utf-8", errors="replace").splitlines():
                number, _, digest = line.partition(" ")
                if number.isdecimal():
                    noted[int(number)] = digest
        return [number for number in range(self.blocks) if noted.get(number) != self._hash_of(number, noted)]

    @property
    def blocks(self) -> int:
        """How many blocks the windows make."""
        return -(-self.shape[0] // BLOCK)

    def fill(self, numbers: Sequence[int], make: MakeBlock, process: int = 0, progress: Progress | None = None) -> None:
        """Computes blocks and writes them into the unfinished file.

        Args:
            numbers (`Sequence[int]`): of the blocks.
            make (`Callable`): gives the two halves of a range of windows, integers of shape `(rows, L)`.
            process (`int`): number of this process on this machine.
            progress (*optional*): called with (windows done, windows to do).

        Raises:
            OSError: the file cannot be written.
        """
        total, done = sum(len(self._rows(number)) for number in numbers), 0
        with open(self.part, "r+b") as file, open(self._note(process), "a", encoding="utf-8") as notes:
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
        """Completes the file when all blocks are filled, and renames it; called by one process."""
        content = content_hash([self._mapped(place) for place in range(2)])
        with open(self.part, "r+b") as file:
            file.write(self._header(content))
            file.flush()
            os.fsync(file.fileno())
        os.replace(self.part, self.path)
        for note in self._notes():
            note.unlink()

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

    def _mapped(self, place: int) -> np.ndarray:
        return np.memmap(self.part, self.dtypes[place], "r", self._offsets[place], self.shape)

    def _hash_of(self, number: int, noted: Mapping[int, str]) -> str:
        """The hash of a block in the file; an impossible one if the block is not noted."""
        if number not in noted:
            return NO_HASH
        rows = self._rows(number)
        return content_hash([self._mapped(place)[rows.start : rows.stop] for place in range(2)])

    def _note(self, process: int) -> Path:
        return self.part.with_name(f"{self.part.name}.done.{process}")

    def _notes(self) -> Iterator[Path]:
        return self.part.parent.glob(f"{self.part.name}.done.*")
