"""Reads rows as validated records of one source and one target text; reports defects with file and line.

Notable:
- A task is a choice of source and target fields (`TaskFields`). A field is a string, or a list of strings, which are
  joined as lines.
- All defects of a file are found in one pass. Policy `error` reports the first and counts the others; `drop` removes
  the rows and counts them in the report.
- Line and page separators (U+0085, form feed) and the other control characters of U+0080 to U+009F become spaces.
- Lone surrogates (half of an emoji, from text cut in UTF-16 units) are valid JSON, but tokenizers reject them.
"""

import gzip
import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Protocol

import numpy as np

from ft_core.io.files import write_file

from .fields import (
    EMOTION_SUMMARY,
    FIVE_ASPECTS,
    MISSING,
    NO_ID,
    TASKS,
    Settled,
    TaskFields,
    Witnesses,
    lookup,
    named_fields,
)
from .jsonl import Defect, json_name, quoted
from .rows import numbered_rows
from .targets import join_targets, split_targets

__all__ = [
    "DEFECTS", "EMOTION_SUMMARY", "FIVE_ASPECTS", "POLICIES", "TASKS", "Record", "RecordReport", "TaskFields",
    "encode_row", "join_targets", "named_fields", "read_records", "split_targets", "write_records",
]  # fmt: skip

POLICIES = ("error", "drop")
DEFECTS = {
    "bad_json": "bad JSON",
    "duplicate_key": "key given twice",
    "bad_cells": "wrong number of cells",
    "not_utf8": "not UTF-8",
    "not_an_object": "row not an object",
    "missing_field": "missing field",
    "wrong_type": "wrong type",
    "empty_source": "empty source",
    "empty_target": "empty target",
    "duplicate_id": "duplicate id",
    "control_character": "control character",
    "lone_surrogate": "lone surrogate",
}
CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")  # signs of damaged data
SEPARATOR = re.compile(r"[\x0b\x0c\x1c-\x1f\x80-\x9f]")  # harmless: cleaned
LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
OTHER_ID = "name another field with --id_field, or none to number the rows"
SHOWN_TEXT = 60  # characters of a record that its repr shows
MAX_LINES = 5  # line numbers shown per kind
FIRST_ROWS = 100  # read before the fields are settled


def _cut(text: str) -> str:
    """The beginning of a text in one line, and its length."""
    plain = " ".join(text.split())
    return plain if len(plain) <= SHOWN_TEXT else f"{plain[:SHOWN_TEXT]}... ({len(text):,} characters)"


@dataclass(frozen=True)
class Record:
    """A row as source and target text; `row` is the JSON object of line `line`. `target` may be empty if not needed."""

    id: str
    source: str
    target: str
    line: int
    row: dict = field(repr=False)

    def __repr__(self) -> str:
        return f"Record {self.id!r}, line {self.line}\nsource: {_cut(self.source)}\ntarget: {_cut(self.target)}"

    def id_value(self, name: str) -> object:
        """The id with the type that it has in the field `name`, or the line number as text."""
        value = MISSING if name == NO_ID else lookup(self.row, name)
        return self.id if value is MISSING else value


@dataclass
class RecordReport:
    """Counts and defects of a file: `defects` contains line numbers by kind (a key of `DEFECTS`).

    A line with two kinds of defect is listed under both. `dropped_ids` are the readable ids of dropped rows; `cleaned`
    counts the texts whose separator characters became spaces; without `has_ids`, line numbers are the ids. `fields` are
    those that were read; `remark` says so if they were found in the rows. `details` are all defects with their texts.
    """

    path: Path
    rows_read: int
    rows_kept: int = 0
    defects: dict[str, list[int]] = field(default_factory=dict)
    dropped_ids: set[str] = field(default_factory=set)
    cleaned: int = 0
    has_ids: bool = True
    fields: TaskFields | None = None
    remark: str = ""
    details: list[Defect] = field(default_factory=list, repr=False)

    def lines(self) -> list[str]:
        """The report as text: one line of counts, and one line per kind of defect."""
        dropped = self.rows_read - self.rows_kept
        lines = [f"{self.path}: {self.rows_read} rows read, {self.rows_kept} kept, {dropped} dropped"]
        for kind, numbers in self.defects.items():
            shown = ", ".join(str(number) for number in numbers[:MAX_LINES])
            more = f" and {len(numbers) - MAX_LINES} more" if len(numbers) > MAX_LINES else ""
            lines.append(f"{self.path}:{numbers[0]}: {DEFECTS[kind]} (count {len(numbers)}; line {shown}{more})")
        if self.cleaned:
            lines.append(f"{self.path}: control characters such as U+0085 became spaces (texts: {self.cleaned})")
        return lines

    def __repr__(self) -> str:
        found = ", ".join(f"{DEFECTS[kind]} in {len(lines)}" for kind, lines in self.defects.items())
        return (
            f"RecordReport of {self.path}: {self.rows_read:,} rows read, {self.rows_kept:,} kept; "
            f"defects: {found or 'none'}"
        )

    def noteworthy(self) -> list[str]:
        """[`lines`] if there is anything to report, else nothing."""
        found = [f"{self.path}: {self.remark}"] if self.remark else []
        return found + (self.lines() if self.defects or self.cleaned else [])


def _field_text(line: int, row: dict, name: str, defects: list[Defect]) -> str | None:
    """A field as one string; if it is unusable, None, and the reason is added to `defects`."""
    value = lookup(row, name)
    if value is MISSING:
        defects.append(Defect(line, "missing_field", f"field {name!r} is missing; the row has {quoted(row)}"))
        return None
    parts = value if isinstance(value, list) else [value]
    wrong = [part for part in parts if not isinstance(part, str)]
    if wrong:
        what = f"a list that contains {json_name(wrong[0])}" if isinstance(value, list) else json_name(value)
        defects.append(Defect(line, "wrong_type", f"field {name!r} is {what}, not a string or a list of strings"))
        return None
    text = "\n".join(parts)
    return text if _is_clean(line, name, text, defects) else None


def _is_clean(line: int, name: str, text: str, defects: list[Defect]) -> bool:
    count = len(defects)
    for kind, pattern in (("control_character", CONTROL_CHARACTER), ("lone_surrogate", LONE_SURROGATE)):
        if found := pattern.search(text):
            message = f"field {name!r} contains the {DEFECTS[kind]} U+{ord(found[0]):04X}"
            defects.append(Defect(line, kind, message))
    return len(defects) == count


def id_text(value: object) -> str | None:
    """An id as text; None if it is no id. 7.0 is 7: a table with a missing id turns whole numbers into floats."""
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def _row_id(line: int, row: dict, name: str, defects: list[Defect]) -> str | None:
    value = lookup(row, name)
    text = id_text(value)
    if text is not None:
        return text if _is_clean(line, name, text, defects) else None
    if value is MISSING or isinstance(value, str):
        message = f"field {name!r} is missing or empty while other rows have one"
        defects.append(Defect(line, "missing_field", f"{message}; {OTHER_ID}"))
    else:
        message = f"field {name!r} is {json_name(value)}, not a string or a number"
        defects.append(Defect(line, "wrong_type", f"{message}; {OTHER_ID}"))
    return None


def _joined_target(line: int, row: dict, fields: TaskFields, defects: list[Defect]) -> str | None:
    texts = {name: _field_text(line, row, name, defects) for name in fields.targets}
    if None in texts.values():
        return None
    if not any(text.strip() for text in texts.values()):
        defects.append(Defect(line, "empty_target", f"the target ({quoted(fields.targets)}) is empty"))
        return None
    return join_targets(texts, fields.targets)


def _read_row(
    line: int, row: dict, fields: TaskFields, *, has_id: bool, need_target: bool, need_id: bool
) -> tuple[Record, list[Defect]]:
    """The row as a record, and its defects; the record is valid only without defects."""
    defects: list[Defect] = []
    # a target or id that is not needed is used if valid; its defects are ignored
    row_id = _row_id(line, row, fields.id, defects if need_id else []) if has_id else str(line)
    sources = [_field_text(line, row, name, defects) for name in fields.sources]
    if None not in sources and not any(text.strip() for text in sources):
        defects.append(Defect(line, "empty_source", f"the source ({quoted(fields.sources)}) is empty"))
    target = _joined_target(line, row, fields, defects if need_target else [])
    source = "\n".join(text or "" for text in sources)
    return Record(row_id or "", source, target or "", line, row), defects


def _cleaned(record: Record, report: RecordReport) -> Record:
    """The record with spaces in place of separator characters."""
    source, target = (SEPARATOR.sub(" ", text) for text in (record.source, record.target))
    if (source, target) == (record.source, record.target):
        return record
    report.cleaned += (source != record.source) + (target != record.target)
    return replace(record, source=source, target=target)


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{DEFECTS[kind]}: {numbers[kind]}" for kind in DEFECTS if numbers.get(kind))


def read_records(
    path: str | Path, fields: TaskFields, policy: str = "error", need_target: bool = True, need_id: bool = True
) -> tuple[list[Record], RecordReport]:
    """Reads a file of records and validates every row.

    Args:
        path (`str` or `Path`): JSON Lines, JSON, CSV, Parquet or a data set of the Hub, as
            [`~mt5_ft.data.rows.numbered_rows`] reads it.
        fields (`TaskFields`): source, target and id fields. A source or target of several fields is empty if all of
            them are empty. Of a task of `TASKS` whose fields no row has, the fields are found in the rows
            ([`~mt5_ft.data.fields.find_fields`]); `fields` of the report names them.
        policy (`str`): `error` raises at the first defect, `drop` removes defective rows. Of rows with the same id, the
            first valid row is kept.
        need_target (`bool`): False for rows without a target, e.g. to summarise; the target is then not checked.
        need_id (`bool`): False to train: a row whose id is missing, of another type or repeated is kept, with
            `line N` as its id.

    Returns:
        `tuple[list[Record], RecordReport]`: valid rows in file order, and the defects of the others.

    Raises:
        ValueError: a defect under policy `error`; under both policies a missing, empty or unreadable file, fields that
            no row has, only empty targets, or no usable row.
    """
    records, report = collect_records(path, fields, policy, list, need_target=need_target, need_id=need_id)
    if not need_id:
        for place in np.flatnonzero(repeated(np.array([text_key(record.id) for record in records], np.uint64))):
            records[place] = replace(records[place], id=f"line {records[place].line}")
    return records, report


def text_key(text: str) -> int:
    """A hash of a text that is below 2^64; 0 for the empty text."""
    if not text:
        return 0
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def repeated(keys: np.ndarray) -> np.ndarray:
    """Where a key of [`text_key`] is that of the empty text or of an earlier text: bool of the shape of `keys`."""
    result = np.ones(len(keys), dtype=bool)
    result[np.unique(keys, return_index=True)[1]] = False
    return result | (keys == 0)


def collect_records(
    path: str | Path,
    fields: TaskFields,
    policy: str,
    into: Callable[[], "Collection"],
    *,
    need_target: bool = True,
    need_id: bool = True,
) -> tuple["Collection", RecordReport]:
    """Reads and validates a file as [`read_records`] does, one row at a time; appends each record to `into()`.

    The rows are read again from the start if a later one changes which fields are read. With `need_id=False`, a record
    whose id cannot be used has an empty id, and repeated ids are left.
    """
    if policy not in POLICIES:
        raise ValueError(f"policy={policy!r} is not known; use one of {', '.join(POLICIES)}")
    path = Path(path)
    witnesses = Witnesses(path, fields, need_target)
    while True:
        rows = numbered_rows(path)
        head = list(islice(rows, FIRST_ROWS))
        for _, row in head:
            witnesses.add(row)
        reading = _Reading(path, witnesses.settled(), into(), need_target, need_id)
        for number, row in chain(head, rows):
            if witnesses.add(row) and witnesses.settled() != reading.settled:
                break
            reading.add(number, row)
        else:
            witnesses.settle()
            return reading.records, reading.finish(policy)


class Collection(Protocol):
    """What records are appended to."""

    def append(self, record: Record) -> None:
        """Adds a record."""

    def __len__(self) -> int: ...


class _Reading:
    """Validates the rows of a file one after another, once its fields are settled."""

    def __init__(self, path: Path, settled: Settled | None, records: Collection, need_target: bool, need_id: bool):
        self.settled, self.records = settled, records
        self.need_target, self.need_id = need_target, need_id
        self.report = RecordReport(path, rows_read=0)
        if settled is not None:
            self.report.has_ids, self.report.fields = settled.has_id, settled.fields
            self.report.remark = settled.remark
        self.objects = 0
        self.line_of_id: dict[str, int] = {}

    def add(self, number: int, row: "dict | Defect") -> None:
        """Reads a row; only counts it while the fields are not settled."""
        report, settled = self.report, self.settled
        report.rows_read += 1
        if settled is None:
            return
        if isinstance(row, Defect):
            report.details.append(row)
            report.dropped_ids |= set() if settled.has_id else {str(number)}
            return
        self.objects += 1
        record, found = _read_row(
            number, row, settled.fields, has_id=settled.has_id, need_target=self.need_target, need_id=self.need_id
        )
        if not found:
            first = self.line_of_id.setdefault(record.id, number) if self.need_id else number
            if first == number:
                self.records.append(_cleaned(record, report))
                return
            message = f"id {record.id!r} is already used in line {first}; {OTHER_ID}"
            found = [Defect(number, "duplicate_id", message)]
        report.dropped_ids.add(record.id)
        report.details.extend(found)

    def finish(self, policy: str) -> RecordReport:
        """The report of all rows.

        Raises:
            ValueError: a defect under policy `error`, only empty targets, or no usable row.
        """
        report, path, defects = self.report, self.report.path, self.report.details
        report.rows_kept = len(self.records)
        for defect in defects:
            numbers = report.defects.setdefault(defect.kind, [])
            if defect.line not in numbers[-1:]:
                numbers.append(defect.line)
        if self.objects and len(report.defects.get("empty_target", ())) == self.objects:
            raise ValueError(
                f"{path}: every target is empty ({quoted(report.fields.targets)} in all {self.objects} rows); set "
                "target_fields to the field with the target text"
            )
        counts = {kind: len(numbers) for kind, numbers in report.defects.items()}
        if defects and policy == "error":
            first = defects[0]
            counts[first.kind] -= 1
            others = sum(counts.values())
            more = f"; {others} more defect{'s' * (others > 1)} ({_counts(counts)})" if others else ""
            raise ValueError(f"{path}:{first.line}: {first.text}{more}; correct the file or pass --policy drop")
        if not report.rows_kept:
            first = f": line {defects[0].line}, {defects[0].text}" if defects else ""
            raise ValueError(
                f"{path}: none of the {report.rows_read} rows is usable ({_counts(counts)}){first}; correct the file"
            )
        return report


def write_records(path: str | Path, rows: Iterable[dict]) -> None:
    """Writes rows as JSONL, atomically; gzip if the name ends in `.gz`. Equal rows give equal bytes.

    Raises:
        ValueError: the folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"output folder {path.parent} does not exist; create it or correct the path")
    content = b"".join(encode_row(row) + b"\n" for row in rows)
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    write_file(path, lambda temporary: temporary.write_bytes(content))


def encode_row(row: dict) -> bytes:
    """A row as a line of JSON in UTF-8, without the line ending."""
    try:
        return json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate in an unused field: keep it as an escape
        return json.dumps(row).encode("ascii")
