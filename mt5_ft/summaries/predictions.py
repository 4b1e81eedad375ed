"""Files of summaries: writing with resume, and reading with a check that they belong to the scored texts.

Notable:
- `OUTPUT.part` contains a header with the settings, then one line per finished batch; further processes of a launch
  write `OUTPUT.part.1`, ... A run with another header does not change them.
- `OUTPUT.meta.json` stores the header next to the finished file: the same command then has nothing to do.
- Each summary has a fingerprint of its source, so it is never scored against another text with the same id.
"""

import glob
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ft_core.io.files import write_json, write_text
from ft_core.io.formats import parse_json, read_json
from ft_core.runs.shared_work import SharedWork, joined_group

from ..data.hub_rows import is_hub_name, load_hub_rows
from ..data.jsonl import Defect
from ..data.records import LONE_SURROGATE, Record, RecordReport, TaskFields, id_text, split_targets
from ..data.rows import read_rows
from .generation import GenerationSettings, generate_missing

PART = ".part"
META = ".meta.json"


@dataclass(frozen=True)
class Prediction:
    """A summary, and the fingerprint of its source if recorded."""

    text: str
    fingerprint: str | None


class MadeFrom(TypedDict):
    """What is read here of the header of a file of summaries."""

    sources: list[str]
    targets: list[str]
    id: str


class FinishedMeta(TypedDict):
    """The content of `OUTPUT.meta.json`."""

    made_from: MadeFrom


def fingerprint(source: str) -> str:
    """A short hash of a source text."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_digest(path: Path) -> str:
    """SHA-256 of a file, or of the rows of a data set of the Hub."""
    if not is_hub_name(path):
        return file_digest(path)
    digest = hashlib.sha256()
    for _, row in load_hub_rows(path):
        digest.update(f"{json.dumps(row, default=str)}\n".encode())
    return digest.hexdigest()


def _differences(before: object, now: dict) -> str:
    if not isinstance(before, dict):
        return "its first line cannot be read"
    return ", ".join(
        f"{name}: {before.get(name)} -> {value}" if len(str(value)) < 60 else name
        for name, value in now.items()
        if before.get(name) != value
    )


class PartFile:
    """The finished batches of an unfinished run.

    Args:
        output (`Path`): the output file.
        header (`dict`): settings that determine the summaries; plain JSON values.
        process (`int`): number of this process, which writes `OUTPUT.part`, or `OUTPUT.part.1`, ...
    """

    def __init__(self, output: Path, header: dict, process: int = 0):
        self._first = output.with_name(output.name + PART)
        self.path = self._first.with_name(f"{self._first.name}.{process}") if process else self._first
        self.header = header
        self.done: dict[int, str] = {}

    def paths(self) -> list[Path]:
        """The files of all processes, of this launch or of an interrupted one."""
        numbered = sorted(self._first.parent.glob(f"{glob.escape(self._first.name)}.*"))
        return [self._first, *(path for path in numbered if path.suffix[1:].isdigit())]

    def read(self, discard: bool = False) -> None:
        """Reads the batches of all processes; ignores an incomplete last line and unreadable lines.

        Args:
            discard (`bool`): ignore batches of a run with another header, instead of raising.

        Raises:
            ValueError: summaries of a run with another header.
        """
        for path in self.paths():
            complete = _complete_lines(path)
            before, *batches = [_parsed(line) for line in complete.splitlines()] or [None]
            if complete and before.get("header") != self.header:
                if not discard:
                    count = sum(len(batch.get("positions", ())) for batch in batches)
                    raise ValueError(
                        f"{path} contains {count} summaries of a run with other settings "
                        f"({_differences(before.get('header'), self.header)}); use the same settings to resume, or "
                        "pass --overwrite to start again"
                    )
                continue
            for batch in batches:
                self.done.update(zip(batch.get("positions", ()), batch.get("summaries", ()), strict=False))

    def begin(self) -> None:
        """Prepares this process's file for further batches: removes an incomplete last line, or other settings."""
        complete = _complete_lines(self.path)
        if complete and _parsed(complete.splitlines()[0]).get("header") != self.header:
            complete = b""
        with open(self.path, "rb+" if self.path.exists() else "wb") as file:
            file.truncate(len(complete))
            if not complete:
                file.write(_line({"header": self.header}))

    def add(self, positions: list[int], summaries: list[str]) -> None:
        """Appends a finished batch and flushes it to disk."""
        self.done.update(zip(positions, summaries, strict=True))
        with open(self.path, "ab") as file:
            file.write(_line({"positions": positions, "summaries": summaries}))
            file.flush()
            os.fsync(file.fileno())


def _complete_lines(path: Path) -> bytes:
    content = path.read_bytes() if path.exists() else b""
    return content[: content.rfind(b"\n") + 1]


class PartLine(TypedDict, total=False):
    """A line of an unfinished file: the header, or a finished batch."""

    header: dict
    positions: list[int]
    summaries: list[str]


def _parsed(line: bytes) -> PartLine:
    """The object on a line; an empty one if it cannot be read."""
    try:
        return parse_json(line, PartLine)
    except ValueError:
        return {}


def _line(entry: dict) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def is_complete(output: Path, header: dict) -> bool:
    """Whether `output` is the complete, unchanged result of this header."""
    meta = output.with_name(output.name + META)
    if not (output.is_file() and meta.is_file()):
        return False
    try:
        known = read_json(meta, "remove it")
    except ValueError:
        return False
    return known == {"made_from": header, "sha256": file_digest(output)}


def fields_of_predictions(path: Path) -> TaskFields | None:
    """The recorded task fields of a file of summaries, or None."""
    meta = path.with_name(path.name + META)
    try:
        made_from = read_json(meta, "remove it", FinishedMeta)["made_from"]
        return TaskFields(tuple(made_from["sources"]), tuple(made_from["targets"]), made_from["id"])
    except ValueError:
        return None


def summarize_file(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: list[Record],
    output: Path,
    settings: GenerationSettings,
    fields: TaskFields,
    *,
    header: dict,
    prefix: str = "",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    share: bool = False,
) -> int:
    """Writes one JSON line per record, in input order, atomically; resumes an interrupted run.

    The input determines the batches, and finished ones are kept in `OUTPUT.part`, so an interruption does not change
    the result. A line has the record's id (with its type), the prediction, one field per target if there are several,
    and the fingerprint of the source.

    Args:
        model, tokenizer: an encoder-decoder model and its tokenizer.
        records (`list` of [`Record`]): records to summarise.
        output (`Path`): JSONL file, replaced.
        settings ([`GenerationSettings`]): settings of the generation.
        fields ([`TaskFields`]): with several targets, each summary is split at the headings.
        header (`dict`): settings that determine the summaries, as plain JSON values.
        prefix (`str`): added before each source.
        overwrite (`bool`): start again if an interrupted run had another header.
        progress (*optional*): called with (records done, total records).
        share (`bool`): share the batches among the processes of the launch, all of which call this function; the first
            of them writes the file.

    Returns:
        `int`: number of records from an interrupted run.

    Raises:
        ValueError: an interrupted run with another header, or an unreadable part file.
    """
    work = SharedWork(output.parent, *joined_group(share))
    part = PartFile(output, header, work.rank)
    part.read(discard=overwrite)
    work.wait()  # all processes find the same batches missing
    part.begin()
    resumed, added = len(part.done), 0
    texts = [prefix + record.source for record in records]

    def keep(positions: list[int], summaries: list[str]) -> None:
        nonlocal added
        part.add(positions, summaries)
        added += len(positions) * work.processes
        if progress is not None:
            progress(min(resumed + added, len(texts)), len(texts))

    generate_missing(model, tokenizer, texts, settings, part.done, keep, work.rank, work.processes)
    work.wait()
    if not work.is_main:
        return resumed
    part.read(discard=overwrite)
    lines = []
    for position, record in enumerate(records):
        entry: dict[str, object] = {"id": record.id_value(fields.id), "prediction": part.done[position]}
        if len(fields.targets) > 1:
            entry |= split_targets(part.done[position], fields.targets)
        entry["source_fingerprint"] = fingerprint(record.source)
        lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
    write_text(output, "".join(lines))
    write_json(output.with_name(output.name + META), {"made_from": header, "sha256": file_digest(output)})
    for path in part.paths():
        path.unlink(missing_ok=True)
    return resumed


def read_predictions(path: Path) -> dict[str, Prediction]:
    """Predictions by id from a file of `summarize`, or of another program with the fields id and prediction.

    Raises:
        ValueError: missing or damaged file, bad JSON, a line without id and prediction, or a repeated id.
    """
    found: dict[str, Prediction] = {}
    for number, entry in read_rows(path).items():
        if isinstance(entry, Defect):
            raise ValueError(f"{path}:{number}: {entry.text}; create the file with summarize")
        text, row_id = entry.get("prediction"), id_text(entry.get("id"))
        if not isinstance(text, str) or row_id is None:
            raise ValueError(f"{path}:{number} has no id or no text prediction; create the file with summarize")
        if half := LONE_SURROGATE.search(f"{row_id}{text}"):
            surrogate = f"the lone surrogate U+{ord(half[0]):04X} (half a character)"
            raise ValueError(f"{path}:{number} contains {surrogate}; create the file with summarize")
        if row_id in found:
            raise ValueError(f"{path}:{number}: id {row_id!r} occurs twice; remove one of the lines")
        found[row_id] = Prediction(text, entry.get("source_fingerprint"))
    return found


@dataclass(frozen=True)
class Matching:
    """Records with a prediction, in order, and counts of what has no partner."""

    records: list[Record]
    unmatched_predictions: int
    records_without_prediction: int

    def counts(self) -> dict[str, int]:
        """The counts for the file of scores."""
        return {
            "matched": len(self.records),
            "unmatched_predictions": self.unmatched_predictions,
            "records_without_prediction": self.records_without_prediction,
        }


def match_predictions(
    predictions: dict[str, Prediction],
    records: list[Record],
    report: RecordReport,
    path: Path,
    *,
    allow_partial: bool = False,
) -> Matching:
    """Matches predictions and records by id.

    Args:
        predictions: predictions by id.
        records (`list` of [`Record`]): records with targets.
        report ([`RecordReport`]): of the records' file; predictions of rows that a policy dropped need no partner.
        path (`Path`): file of the predictions, for messages.
        allow_partial (`bool`): accept predictions and records without a partner.

    Raises:
        ValueError: no common id, predictions of other texts or numbered from 0, or a partner is missing.
    """
    matched = [record for record in records if record.id in predictions]
    if not matched:
        raise ValueError(f"no id of {path} occurs in {report.path}; pass the file that was summarised, or --id_field")
    others = [
        record for record in matched if predictions[record.id].fingerprint not in (None, fingerprint(record.source))
    ]
    if others:
        raise ValueError(
            f"{len(others)} of {len(matched)} summaries in {path} belong to other texts than those in {report.path} "
            f"(first: id {others[0].id!r}, line {others[0].line}); pass the file that was summarised, with the same "
            "--source_fields"
        )
    known = {record.id for record in records} | report.dropped_ids
    unmatched = [row_id for row_id in predictions if row_id not in known]
    missing = len(records) - len(matched)
    if not report.has_ids and "0" in unmatched:
        raise ValueError(
            f"the ids of {path} begin at 0, but the records of {report.path} have no id and are numbered by line from "
            "1: each prediction would be scored against the next record; add ids to both files"
        )
    if (unmatched or missing) and not allow_partial:
        first = f" (first: id {unmatched[0]!r})" if unmatched else ""
        raise ValueError(
            f"{missing:,} of {len(records):,} records in {report.path} have no prediction, and {len(unmatched):,} of "
            f"{len(predictions):,} predictions in {path} have no record{first}; pass the file that was summarised, or "
            f"--allow_partial to score the {len(matched):,} pairs"
        )
    return Matching(matched, len(unmatched), missing)
