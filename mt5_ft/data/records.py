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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ft_core.io.files import write_file

from .jsonl import Defect, json_name, quoted
from .rows import MISSING, lookup, read_rows
from .shapes import find_fields
from .targets import join_targets, split_targets

__all__ = [
    "DEFECTS", "EMOTION_SUMMARY", "FIVE_ASPECTS", "POLICIES", "TASKS", "Record", "RecordReport", "TaskFields",
    "encode_row", "join_targets", "named_fields", "read_records", "split_targets", "write_records",
]  # fmt: skip

POLICIES = ("error", "drop")
DEFAULT_ID = "id"
NO_ID = "none"  # as the name of the id field: records are numbered
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


@dataclass(frozen=True)
class TaskFields:
    """The source and target fields of a task.

    Args:
        sources (`tuple[str, ...]`): fields of the source text, joined by newlines in this order.
        targets (`tuple[str, ...]`): fields of the target text; several fields are joined under headings.
        id (`str`): field that identifies a row; `none` numbers the rows. In a file without the field `id`, the line
            number is the id.

    Raises:
        ValueError: no field, a plain string, or a field named twice.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    id: str = DEFAULT_ID

    def __post_init__(self) -> None:
        for name in ("sources", "targets"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ValueError(f"{name}={value!r} is a string; pass a tuple of field names, ({value!r},)")
            if not value:
                raise ValueError(f"{name}={value!r} is empty; name at least one field")
        names = [*self.sources, *self.targets, self.id]
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise ValueError(f"field {twice[0]!r} is named twice; use each field only once, as id, source or target")


EMOTION_SUMMARY = TaskFields(
    sources=("case_description", "consultation_process"), targets=("experience_and_reflection",)
)
FIVE_ASPECTS = TaskFields(
    sources=("case_description", "consultation_process", "experience_and_reflection"),
    targets=("causes", "symptoms", "treatment_process", "characteristics_of_illness", "treatment_effect"),
)
TASKS = {"emotion_summary": EMOTION_SUMMARY, "five_aspects": FIVE_ASPECTS}


def named_fields(
    task: str, sources: Sequence[str] | None, targets: Sequence[str] | None, id_field: str | None = None
) -> TaskFields:
    """The fields of a task, or the given source and target fields; `id_field` replaces the field `id`.

    Raises:
        ValueError: an unknown task, or only one of sources and targets.
    """
    if bool(sources) != bool(targets):
        raise ValueError("source_fields and target_fields belong together; set both or neither")
    if not sources and task not in TASKS:
        raise ValueError(f"task={task!r} is not known; use one of {', '.join(TASKS)}, or name the fields")
    fields = TaskFields(tuple(sources), tuple(targets)) if sources else TASKS[task]
    return replace(fields, id=id_field) if id_field else fields


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


def _check_names(path: Path, rows: list[dict], fields: TaskFields, need_target: bool) -> None:
    wanted = {"sources": fields.sources, "targets": fields.targets if need_target else ()}
    wanted["id"] = () if fields.id in (DEFAULT_ID, NO_ID) else (fields.id,)
    for role, names in wanted.items():
        unknown = [name for name in names if all(lookup(row, name) is MISSING for row in rows)]
        if rows and unknown:
            known = dict.fromkeys(name for row in rows for name in row)
            found = f"use existing fields: {quoted(known)}" if known else "its rows have no fields"
            raise ValueError(f"{path}: no row of the file has {role} {quoted(unknown)}; {found}")


def _fitting_fields(path: Path, rows: list[dict], fields: TaskFields, need_target: bool) -> tuple[TaskFields, str]:
    """The fields of a task, or those that the rows have instead of them, with a line that says so.

    Raises:
        ValueError: two fields that could be the source, or the target.
    """
    names = (*fields.sources, *fields.targets)
    is_task = any((fields.sources, fields.targets) == (task.sources, task.targets) for task in TASKS.values())
    if not is_task or any(lookup(row, name) is not MISSING for row in rows for name in names):
        return fields, ""
    try:
        found = find_fields(rows, need_target)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if found is None:
        return fields, ""
    sources, targets, remark = found
    return replace(fields, sources=sources, targets=targets), remark


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
            [`~mt5_ft.data.rows.read_rows`] reads it.
        fields (`TaskFields`): source, target and id fields. A source or target of several fields is empty if all of
            them are empty. Of a task of `TASKS` whose fields no row has, the fields are found in the rows
            ([`~mt5_ft.data.shapes.find_fields`]); `fields` of the report names them.
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
    if policy not in POLICIES:
        raise ValueError(f"policy={policy!r} is not known; use one of {', '.join(POLICIES)}")
    path = Path(path)
    parsed = read_rows(path)
    rows = {number: row for number, row in parsed.items() if isinstance(row, dict)}
    fields, remark = _fitting_fields(path, list(rows.values()), fields, need_target)
    _check_names(path, list(rows.values()), fields, need_target)
    has_id = fields.id != NO_ID and any(lookup(row, fields.id) is not MISSING for row in rows.values())

    report = RecordReport(path, rows_read=len(parsed), has_ids=has_id, fields=fields, remark=remark)
    records: list[Record] = []
    defects: list[Defect] = []
    line_of_id: dict[str, int] = {}
    for number, row in parsed.items():
        if isinstance(row, Defect):
            defects.append(row)
            report.dropped_ids |= set() if has_id else {str(number)}
            continue
        record, found = _read_row(number, row, fields, has_id=has_id, need_target=need_target, need_id=need_id)
        if not found:
            first = line_of_id.setdefault(record.id, number) if record.id else None
            if first != number and not need_id:
                record, first = replace(record, id=f"line {number}"), number
            if first == number:
                records.append(_cleaned(record, report))
                continue
            message = f"id {record.id!r} is already used in line {first}; {OTHER_ID}"
            found = [Defect(number, "duplicate_id", message)]
        report.dropped_ids.add(record.id)
        defects.extend(found)

    report.rows_kept, report.details = len(records), defects
    for defect in defects:
        numbers = report.defects.setdefault(defect.kind, [])
        if defect.line not in numbers[-1:]:
            numbers.append(defect.line)
    if rows and len(report.defects.get("empty_target", ())) == len(rows):
        raise ValueError(
            f"{path}: every target is empty ({quoted(fields.targets)} in all {len(rows)} rows); set target_fields to "
            "the field with the target text"
        )
    counts = {kind: len(numbers) for kind, numbers in report.defects.items()}
    if defects and policy == "error":
        first = defects[0]
        counts[first.kind] -= 1
        others = sum(counts.values())
        more = f"; {others} more defect{'s' * (others > 1)} ({_counts(counts)})" if others else ""
        raise ValueError(f"{path}:{first.line}: {first.text}{more}; correct the file or pass --policy drop")
    if not records:
        raise ValueError(f"{path}: none of the {len(parsed)} rows is usable ({_counts(counts)}); correct the file")
    return records, report


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
