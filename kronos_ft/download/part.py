"""The part file: candles fetched so far, in one file next to the output that survives a kill at any byte.

Format: a JSON line with the settings; then, for each page or archive, a JSON line about it and its candles as
little-endian float64. A page is valid if its length and CRC-32 are correct; everything after an invalid page is cut
off.

Shapes: n candles; rows (n, 7) contain the opening time in milliseconds since 1970 UTC (exact in a float64), open, high,
low, close, volume, amount (NaN if the source has none).
"""

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ft_core.io.formats import parse_json

COLUMNS = 7
FORMAT = 1
DTYPE = np.dtype("<f8")


@dataclass
class Page:
    """The candles of one request or archive.

    Attributes:
        facts (`dict`): `symbol`, and what the source needs to continue after it.
        rows (`np.ndarray` of shape `(n, 7)`): columns as in the module docstring.
    """

    facts: dict
    rows: np.ndarray


def part_path(output: Path) -> Path:
    """The part file of a download into `output`."""
    return output.with_name(f".{output.name}.part")


def _lock(file: IO[bytes], path: Path) -> None:
    if os.name == "nt":  # Windows: an open file of another process cannot be replaced
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"another download is writing {path}; wait for it, or use another output") from None


def _make_or_open(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_CREAT, 0o644)


class PartFile:
    """A part file, locked by one process; a context manager that releases it.

    Args:
        path (`Path`): the file; created if it does not exist.

    Raises:
        ValueError: another process is writing it, or its folder does not exist or is not writable.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            # creates the file if missing, and does not truncate it before it is locked
            self._file = open(path, "r+b", opener=_make_or_open)  # noqa: SIM115 - closed by __exit__
        except OSError as error:
            raise ValueError(
                f"cannot write to output folder {path.parent} ({error.strerror or error}); create it, or use another"
            ) from None
        _lock(self._file, path)

    def __enter__(self) -> "PartFile":
        return self

    def __exit__(self, *error: object) -> None:
        if self._file.closed:
            return
        is_empty = self._file.seek(0, os.SEEK_END) == 0
        self._file.close()
        if is_empty:  # the source failed before the first page
            self.path.unlink(missing_ok=True)

    def begin(self, settings: dict) -> None:
        """Empties the file and writes the settings."""
        self._file.seek(0)
        self._file.truncate()
        self._write(json.dumps({"format": FORMAT, **settings}).encode() + b"\n")

    def read(self) -> tuple[dict | None, list[Page]]:
        """Returns the settings (None if incomplete) and all valid pages; truncates the file after them.

        Raises:
            ValueError: the file has the format of another version.
        """
        self._file.seek(0)
        settings = self._json_line()
        if settings is None:
            return None, []
        if settings.get("format") != FORMAT:
            raise ValueError(
                f"{self.path} has format {settings.get('format')} of another version of kronos-ft (this version reads "
                f"{FORMAT}); resume with that version, or start again with --overwrite"
            )
        pages = []
        while (page := self._page()) is not None:
            pages.append(page)
        return settings, pages

    def append(self, page: Page) -> None:
        """Writes a page and flushes it to disk."""
        content = np.ascontiguousarray(page.rows, dtype=DTYPE).tobytes()
        facts = {**page.facts, "rows": len(page.rows), "crc": zlib.crc32(content)}
        self._write(json.dumps(facts).encode() + b"\n" + content)

    def remove(self) -> None:
        """Closes and deletes the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._file.flush()
        os.fsync(self._file.fileno())

    def _json_line(self) -> dict | None:
        line = self._file.readline()
        if not line.endswith(b"\n"):
            return None
        try:
            return parse_json(line, dict)
        except ValueError:
            return None

    def _page(self) -> Page | None:
        start = self._file.tell()
        facts = self._json_line() or {}
        count, crc = facts.pop("rows", None), facts.pop("crc", None)
        if isinstance(count, int) and count >= 0:
            size = count * COLUMNS * DTYPE.itemsize
            content = self._file.read(size)
            if len(content) == size and zlib.crc32(content) == crc:
                return Page(facts, np.frombuffer(content, DTYPE).reshape(count, COLUMNS))
        self._file.seek(start)
        self._file.truncate()
        return None
