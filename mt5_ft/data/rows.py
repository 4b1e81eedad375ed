"""The reader of records: JSON Lines, JSON, CSV, Parquet and Hub data sets become numbered rows with their defects.

Notable:
- The content decides the form, except for CSV, which its name shows (`.csv`, `.tsv`, also before `.gz`).
- Rows of JSON Lines are numbered by line, those of CSV as in a spreadsheet (the header is row 1), others from 1.
- A JSON file holds an array of objects, objects one after another, or one object with them in `data`.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

from ft_core.io.compressed import SUFFIXES, too_large, unpack, unpacked_limit
from ft_core.io.formats import parse_json

from .encodings import BOM, as_utf8, describe_encoding
from .hub_rows import is_hub_name, load_hub_rows
from .jsonl import Defect, numbered_lines, parse_line, read_bytes
from .shapes import text_of_turns

PARQUET_MAGIC = b"PAR1"
TABLES = {".csv": ",;|\t", ".tsv": "\t"}  # delimiters
WRAPPERS = ("data", "records", "rows", "examples")  # of one object: where its rows are
LONGEST_CELL = 2**31 - 1
MISSING = object()
_FIRST_LINE = re.compile(rb"[^\r\n]*")

Rows = dict[int, "dict | Defect"]


def lookup(row: dict, name: str) -> object:
    """The value of a field, `MISSING` if there is none.

    `a.b` is also the field `b` of an object `a`, and the source or the target of a list `a` of turns
    ([`~mt5_ft.data.shapes.text_of_turns`]).
    """
    if name in row:
        return row[name]
    value: object = row
    for part in name.split("."):
        if isinstance(value, list):
            turns = text_of_turns(value, part)
            return MISSING if turns is None else turns
        if not isinstance(value, dict) or part not in value:
            return MISSING
        value = value[part]
    return value


def kind_of(path: Path, content: bytes) -> str:
    """The form of an unpacked UTF-8 file: `lines`, `JSON`, `CSV` or `Parquet`."""
    if content.startswith(PARQUET_MAGIC):
        return "Parquet"
    if _table_suffix(path):
        return "CSV"
    text = content.removeprefix(BOM).lstrip()
    if not text.startswith((b"{", b"[")):
        return "lines"
    first = _FIRST_LINE.match(text)[0]
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return "JSON" if text.startswith(b"[") or _begins_with_object(text) else "lines"
    is_all = len(first.rstrip()) == len(text.rstrip())
    has_rows = isinstance(value, list) and (not value or any(isinstance(row, dict) for row in value))
    return "JSON" if is_all and (has_rows or _wrapped(value) is not None) else "lines"


def _begins_with_object(text: bytes) -> bool:
    """Whether a text that does not begin with a line of JSON begins with an object on several lines."""
    try:
        json.JSONDecoder().raw_decode(text.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return True


def _table_suffix(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in SUFFIXES]
    return suffixes[-1] if suffixes and suffixes[-1] in TABLES else None


def read_rows(path: str | Path) -> Rows:
    """The rows of a file by number; a row that cannot be used is a [`Defect`].

    Args:
        path (`str` or `Path`): JSON Lines, JSON, CSV or Parquet, in UTF-8 or UTF-16, compressed or not; or the name of
            a data set of the Hub, `owner/name` or `owner/name:split`.

    Raises:
        ValueError: a missing, empty, damaged or unreadable file.
    """
    path = Path(path)
    if is_hub_name(path):
        return load_hub_rows(path)
    return rows_of(path, as_utf8(path, unpack(path, read_bytes(path))))


def rows_of(path: Path, content: bytes) -> Rows:
    """The rows of an unpacked UTF-8 file, as [`read_rows`] returns them."""
    kind = kind_of(path, content)
    if kind == "Parquet":
        return _parquet_rows(path, content)
    if kind == "lines":
        return _line_rows(path, content)
    try:
        text = content.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        hint = describe_encoding(path.name, [content])
        raise ValueError(f"data file {path} is not UTF-8 text (byte {error.start + 1}); {hint}") from error
    rows = dict(_csv_rows(path, text)) if kind == "CSV" else dict(enumerate(_json_rows(path, text), start=1))
    if not rows:
        raise ValueError(f"data file {path} is empty; pass a file with records")
    return rows


def _line_rows(path: Path, content: bytes) -> Rows:
    lines = {number: line.removeprefix(BOM) for number, line in numbered_lines(path, content)}
    rows = {number: parse_line(number, line) for number, line in lines.items() if line.strip()}
    foreign = [number for number, row in rows.items() if isinstance(row, Defect) and row.kind == "not_utf8"]
    if foreign:
        first = rows[foreign[0]]
        hint = describe_encoding(path.name, (lines[number] for number in foreign))
        rows[foreign[0]] = Defect(first.line, first.kind, f"{first.text}; {hint}")
    return rows


def _wrapped(value: object) -> list[dict] | None:
    """The rows in an object such as `{"data": [...]}`."""
    for name in WRAPPERS if isinstance(value, dict) else ():
        rows = value.get(name)
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
            return rows
    return None


def _json_texts(text: str) -> Iterator[str]:
    """The texts of the values of an array, or of values one after another.

    Raises:
        json.JSONDecodeError: not JSON.
    """
    decoder, at = json.JSONDecoder(), 0

    def skip(position: int) -> int:
        while position < len(text) and text[position] in " \t\r\n\ufeff":
            position += 1
        return position

    at = skip(at)
    in_array = text[at] == "["
    at = skip(at + in_array)
    while at < len(text):
        if in_array and text[at] == "]":
            if skip(at + 1) < len(text):
                raise json.JSONDecodeError("Extra data", text, skip(at + 1))
            return
        end = decoder.raw_decode(text, at)[1]
        yield text[at:end]
        at = skip(end)
        if in_array and text[at : at + 1] == ",":
            at = skip(at + 1)
        elif in_array and text[at : at + 1] != "]":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    if in_array:
        raise json.JSONDecodeError("Unterminated array", text, len(text))


def _json_rows(path: Path, text: str) -> Iterator[dict | Defect]:
    try:
        texts = list(_json_texts(text))
        wrapped = _wrapped(json.loads(texts[0])) if len(texts) == 1 else None
        if wrapped is not None:
            parse_json(texts[0], unique=True)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}:{error.lineno}: not valid JSON ({error.msg} at column {error.colno}); correct the file, or write "
            "one object per line"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON ({str(error)[:200]}); correct the file") from error
    if wrapped is not None:
        yield from wrapped
        return
    for number, part in enumerate(texts, start=1):
        yield parse_line(number, part.encode("utf-8", "surrogatepass"))


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict | Defect]]:
    delimiter = max(TABLES[_table_suffix(path)], key=text.split("\n", 1)[0].count)
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header = next(reader, [])
        twice = [name for name in header if header.count(name) > 1]
        if twice:
            raise ValueError(f"{path}:1: the header has the column {twice[0]!r} twice; rename one of them")
        for number, cells in enumerate(reader, start=2):
            if len(cells) == len(header):
                yield number, dict(zip(header, cells, strict=True))
            elif cells:
                message = f"the row has {len(cells)} cells, but the header has {len(header)}"
                yield number, Defect(number, "bad_cells", message)
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: not valid CSV ({error}); correct the quotes") from error
    finally:
        csv.field_size_limit(before)


def _parquet_rows(path: Path, content: bytes) -> Rows:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(content))
        groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
        if sum(group.total_byte_size for group in groups) > unpacked_limit():
            raise too_large(path, unpacked_limit())
        rows = file.read().to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise ValueError(f"data file {path} is a damaged Parquet file ({text}); write it again") from error
    if not rows:
        raise ValueError(f"data file {path} is empty; pass a file with records")
    return dict(enumerate(rows, start=1))
