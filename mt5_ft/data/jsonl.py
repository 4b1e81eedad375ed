"""Reads JSONL files as numbered lines and parses each line.

Notable:
- Lines end only at LF, CR LF or CR. `str.splitlines` would also split at U+2028 and U+0085, which are valid in JSON.
- The first bytes of a file, not its name, show the compression.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ft_core.io.formats import parse_json
from ft_core.io.pickles import refuse_pickled_data

from .encodings import BOM

MAX_NAMES = 20  # field names listed in a message

JSON_NAMES = {
    "NoneType": "null", "bool": "a boolean", "dict": "an object", "float": "a number", "int": "a number",
    "list": "a list", "str": "a string",
}  # fmt: skip


@dataclass(frozen=True)
class Defect:
    """A defect of a line: `kind` is a key of `mt5_ft.data.records.DEFECTS`, `text` describes it."""

    line: int
    kind: str
    text: str


def json_name(value: object) -> str:
    """The JSON type of a value, for messages; the Python type of another value, which Parquet may have."""
    return JSON_NAMES.get(type(value).__name__, f"a {type(value).__name__}")


def quoted(names: object) -> str:
    """Field names for a message: quoted and on one line."""
    shown = [repr(name) for name in names]
    more = f" and {len(shown) - MAX_NAMES} more" if len(shown) > MAX_NAMES else ""
    return ", ".join(shown[:MAX_NAMES]) + more


def open_file(path: Path) -> IO[bytes]:
    """A file, open for reading.

    Raises:
        ValueError: the file is missing, a folder, a pickle, unreadable or empty.
    """
    if path.is_dir():
        raise ValueError(f"data file {path} is a folder; pass the JSONL file in it")
    refuse_pickled_data(path, "to_json('{stem}.jsonl', orient='records', lines=True)")
    try:
        file = path.open("rb")
        if file.peek(1):
            return file
    except FileNotFoundError as error:
        raise ValueError(f"data file {path} does not exist; correct the path") from error
    except OSError as error:
        raise ValueError(f"data file {path} cannot be read ({error.strerror}); correct its permissions") from error
    file.close()
    raise empty_file(path)


def empty_file(path: Path) -> ValueError:
    """The error for a file without a line."""
    return ValueError(f"data file {path} is empty; pass a file with one JSON object per line")


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; raises ValueError as [`open_file`]."""
    with open_file(path) as file:
        return file.read()


def split_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a file that is read in blocks, with their line endings, also the blank ones."""
    rest: list[bytes] = []  # the last line: its end may be in a later block
    for block in blocks:
        rest.append(block)
        if b"\n" in block or b"\r" in block:
            *lines, last = b"".join(rest).splitlines(keepends=True)
            yield from lines
            rest = [last]
    yield from b"".join(rest).splitlines(keepends=True)


def _json_defect(number: int, error: ValueError) -> Defect:
    """The defect of a line that [`parse_json`] refuses."""
    if isinstance(error.__cause__, json.JSONDecodeError):
        return Defect(number, "bad_json", f"not valid JSON ({error.__cause__.msg} at column {error.__cause__.colno})")
    text = str(error)
    if text.endswith("occurs twice"):
        return Defect(number, "duplicate_key", f"{text}; keep one of them")
    return Defect(number, "bad_json", "not readable JSON (a number too long or brackets too deep)")


def parse_line(number: int, line: bytes) -> dict | Defect:
    """The object on a line, or its defect; a byte order mark before it is skipped."""
    try:
        # without the line ending: json would report an incomplete line at column 1 of the next line
        text = line.removeprefix(BOM).decode("utf-8", "surrogatepass").rstrip("\r\n")
    except UnicodeDecodeError as error:
        return Defect(number, "not_utf8", f"not UTF-8 text (byte {error.start + 1} of the line)")
    try:
        row = parse_json(text, unique=True)
    except ValueError as error:
        return _json_defect(number, error)
    if not isinstance(row, dict):
        return Defect(number, "not_an_object", f"the row is {json_name(row)}, not an object; write one object per line")
    return row
