"""The reader of records: JSON Lines, JSON, CSV, Parquet and Hub data sets become numbered rows with their defects.

Notable:
- The content decides the form, except for CSV, which its name shows (`.csv`, `.tsv`, also before `.gz`).
- Rows of JSON Lines are numbered by line, those of CSV as in a spreadsheet (the header is row 1), others from 1.
- A JSON file holds an array of objects, objects one after another, or one object with them in `data`.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ft_core.io.compressed import SUFFIXES, too_large, unpacked_blocks, unpacked_limit
from ft_core.io.formats import parse_json

from .encodings import BOM, as_utf8, describe_encoding, utf16_of
from .hub_rows import ROWS_AT_ONCE, is_hub_name, load_hub_rows
from .jsonl import Defect, empty_file, open_file, parse_line, split_lines

PARQUET_MAGIC = b"PAR1"
TABLES = {".csv": ",;|\t", ".tsv": "\t"}  # delimiters
WRAPPERS = ("data", "records", "rows", "examples")  # of one object: where its rows are
LONGEST_CELL = 2**31 - 1

Rows = dict[int, "dict | Defect"]
Numbered = Iterator[tuple[int, "dict | Defect"]]


@dataclass(frozen=True)
class Source:
    """A file of records that is unpacked and in UTF-8; `content` holds it if it was read into memory.

    Raises:
        ValueError: a missing, empty, damaged or unreadable file.
    """

    path: Path
    content: bytes | None = None

    @classmethod
    def of(cls, path: Path) -> "Source":
        """A file on disk; UTF-16 and compressed Parquet are read into memory."""
        file = cls(path)
        first = next(file.blocks(), b"")
        with open_file(path) as opened:
            is_parquet = opened.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
        if utf16_of(first) or (first.startswith(PARQUET_MAGIC) and not is_parquet):
            return cls(path, as_utf8(path, file.read()))
        return file

    def blocks(self) -> Iterator[bytes]:
        """The content in blocks, from its start."""
        if self.content is not None:
            yield self.content
            return
        with open_file(self.path) as file:
            yield from unpacked_blocks(self.path, file)

    def read(self) -> bytes:
        """The complete content."""
        return b"".join(self.blocks())

    def lines(self) -> Iterator[bytes]:
        """Lines with their endings, also blank ones, without the byte order mark of the file."""
        lines = split_lines(self.blocks())
        yield next(lines, b"").removeprefix(BOM)
        yield from lines


def kind_of(source: Source) -> str:
    """The form of a file: `lines`, `JSON`, `CSV` or `Parquet`."""
    if next(source.blocks(), b"").startswith(PARQUET_MAGIC):
        return "Parquet"
    if _table_suffix(source.path):
        return "CSV"
    lines = (line.strip() for line in source.lines())
    first = next(filter(None, lines), b"")
    if not first.startswith((b"{", b"[")):
        return "lines"
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return "JSON" if first.startswith(b"[") or _begins_with_object(source) else "lines"
    is_all = not any(lines)
    has_rows = isinstance(value, list) and (not value or any(isinstance(row, dict) for row in value))
    return "JSON" if is_all and (has_rows or _wrapped(value) is not None) else "lines"


def _begins_with_object(source: Source) -> bool:
    """Whether a file that does not begin with a line of JSON begins with an object on several lines."""
    try:
        json.JSONDecoder().raw_decode(source.read().removeprefix(BOM).lstrip().decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return True


def _table_suffix(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in SUFFIXES]
    return suffixes[-1] if suffixes and suffixes[-1] in TABLES else None


def numbered_rows(path: str | Path) -> Numbered:
    """The rows of a file with their numbers; a row that cannot be used is a [`Defect`].

    JSON Lines, CSV and Parquet are read in blocks, and data sets of the Hub are mapped; JSON is read into memory.

    Args:
        path (`str` or `Path`): JSON Lines, JSON, CSV or Parquet, in UTF-8 or UTF-16, compressed or not; or the name of
            a data set of the Hub, `owner/name` or `owner/name:split`.

    Raises:
        ValueError: a missing, empty, damaged or unreadable file.
    """
    path = Path(path)
    return load_hub_rows(path) if is_hub_name(path) else rows_of(Source.of(path))


def read_rows(path: str | Path) -> Rows:
    """All rows by number, as [`numbered_rows`] reads them."""
    return dict(numbered_rows(path))


def rows_of(source: Source) -> Numbered:
    """The rows of a file, as [`numbered_rows`] returns them."""
    kind = kind_of(source)
    readers = {"Parquet": _parquet_rows, "CSV": _csv_rows, "JSON": _json_rows, "lines": _line_rows}
    rows = readers[kind](source)
    first = next(rows, None)
    if first is None and kind == "lines":
        raise empty_file(source.path)
    if first is None:
        raise ValueError(f"data file {source.path} is empty; pass a file with records")
    yield first
    yield from rows


def _line_rows(source: Source) -> Numbered:
    is_first = True
    for number, line in enumerate(source.lines(), start=1):
        if not line.strip():
            continue
        row = parse_line(number, line)
        if is_first and isinstance(row, Defect) and row.kind == "not_utf8":
            is_first = False
            hint = describe_encoding(source.path.name, filter(_is_foreign, islice(source.lines(), number - 1, None)))
            row = Defect(number, row.kind, f"{row.text}; {hint}")
        yield number, row


def _is_foreign(line: bytes) -> bool:
    try:
        line.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return True
    return False


def _text(source: Source) -> str:
    """The content of a file as text.

    Raises:
        ValueError: not UTF-8.
    """
    content = source.read().removeprefix(BOM)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        hint = describe_encoding(source.path.name, [content])
        raise ValueError(f"data file {source.path} is not UTF-8 text (byte {error.start + 1}); {hint}") from error


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


def _json_rows(source: Source) -> Numbered:
    path, text = source.path, _text(source)
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
        yield from enumerate(wrapped, start=1)
        return
    for number, part in enumerate(texts, start=1):
        yield number, parse_line(number, part.encode("utf-8", "surrogatepass"))


def _csv_rows(source: Source) -> Numbered:
    path, start = source.path, next(source.lines(), b"")
    delimiter = max(TABLES[_table_suffix(path)], key=lambda mark: start.count(mark.encode()))
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        reader = csv.reader((line.decode("utf-8") for line in source.lines()), delimiter=delimiter, strict=True)
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
    except UnicodeDecodeError:
        _text(source)  # names the byte of the file
        raise
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: not valid CSV ({error}); correct the quotes") from error
    finally:
        csv.field_size_limit(before)


def _parquet_rows(source: Source) -> Numbered:
    import pyarrow
    from pyarrow import parquet

    place = source.path if source.content is None else pyarrow.BufferReader(source.content)
    try:
        with parquet.ParquetFile(place) as file:
            groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
            if sum(group.total_byte_size for group in groups) > unpacked_limit():
                raise too_large(source.path, unpacked_limit())
            parts = file.iter_batches(ROWS_AT_ONCE)
            yield from enumerate((row for part in parts for row in part.to_pylist()), start=1)
    except (pyarrow.ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise ValueError(f"data file {source.path} is a damaged Parquet file ({text}); write it again") from error
