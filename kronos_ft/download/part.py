"""What a download has fetched so far: one file beside the output that survives a kill at any byte.

Format: a JSON line with the settings; then, for each page or archive file, a JSON line about it and its candles as
little-endian float64. A page counts once it is whole (length and CRC-32); what follows a broken one is cut off.

Shapes: n candles; rows (n, 7) hold the opening time in milliseconds since 1970 UTC (exact in a float64), open, high,
low, close, volume, amount; NaN where the source gives no amount.
"""

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

COLUMNS = 7
FORMAT = 1
DTYPE = np.dtype("<f8")


@dataclass
class Page:
    """Candles that came at once.

    Attributes:
        facts (`dict`): `symbol`, and what the source needs to go on after it.
        rows (`np.ndarray` of shape `(n, 7)`): as in this module's head.
    """

    facts: dict
    rows: np.ndarray


def part_path(output: Path) -> Path:
    """Where a download into `output` keeps what it has."""
    return output.with_name(f".{output.name}.part")


def _lock(file: IO[bytes], path: Path) -> None:
    if os.name == "nt":  # where another process's open file cannot be replaced anyway
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"{path} is being written by another download; wait for it, or name another output") from None


def _make_or_open(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_CREAT, 0o644)


class PartFile:
    """A part file, held by one process; a context manager that lets go of it.

    Args:
        path (`Path`): the file; made when it is not there.

    Raises:
        ValueError: another process is writing it, or its folder does not exist or cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            # made where it is missing, and never emptied before it is locked
            self._file = open(path, "r+b", opener=_make_or_open)  # noqa: SIM115 - closed by __exit__
        except OSError as error:
            raise ValueError(
                f"output folder {path.parent} cannot be written ({error.strerror or error}); make it, or name another"
            ) from None
        _lock(self._file, path)

    def __enter__(self) -> "PartFile":
        return self

    def __exit__(self, *error: object) -> None:
        if self._file.closed:
            return
        is_empty = self._file.seek(0, os.SEEK_END) == 0
        self._file.close()
        if is_empty:  # the source refused before anything was fetched
            self.path.unlink(missing_ok=True)

    def begin(self, settings: dict) -> None:
        """Empties the file and writes the settings."""
        self._file.seek(0)
        self._file.truncate()
        self._write(json.dumps({"format": FORMAT, **settings}).encode() + b"\n")

    def read(self) -> tuple[dict | None, list[Page]]:
        """The settings, None where not even they are whole, and every whole page; cuts off what follows.

        Raises:
            ValueError: written by another version, in a format that this one does not read.
        """
        self._file.seek(0)
        settings = self._json_line()
        if settings is None:
            return None, []
        if settings.get("format") != FORMAT:
            raise ValueError(
                f"{self.path} has format {settings.get('format')}, of another version of kronos-ft (this one reads "
                f"{FORMAT}); go on with that version, or begin anew with --overwrite"
            )
        pages = []
        while (page := self._page()) is not None:
            pages.append(page)
        return settings, pages

    def append(self, page: Page) -> None:
        """Writes a page and brings it to the disk."""
        content = np.ascontiguousarray(page.rows, dtype=DTYPE).tobytes()
        facts = {**page.facts, "rows": len(page.rows), "crc": zlib.crc32(content)}
        self._write(json.dumps(facts).encode() + b"\n" + content)

    def remove(self) -> None:
        """Closes the file and takes it away: its candles are in the output."""
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
            values = json.loads(line)
        except ValueError:
            return None
        return values if isinstance(values, dict) else None

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
