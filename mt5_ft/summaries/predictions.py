"""Files of summaries: written so that an interrupted run goes on, and read so that no other file's are scored.

Notable:
- `OUTPUT.part` holds the finished batches, one a line, under a header that says what they were made from. A run with
  another header does not touch it.
- `OUTPUT.meta.json` keeps that header beside the finished file: the same command then has nothing to do.
- Each summary carries a fingerprint of its source, so that it is never scored against another text of the same id.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ft_core.io.files import write_json, write_text

from ..data.jsonl import Defect, numbered_lines, parse_line, read_bytes, unpack
from ..data.records import LONE_SURROGATE, Record, TaskFields, split_targets
from .generation import GenerationSettings, generate_missing

PART = ".part"
META = ".meta.json"


@dataclass(frozen=True)
class Prediction:
    """A summary, and the fingerprint of its source where the file has one."""

    text: str
    fingerprint: str | None


def fingerprint(source: str) -> str:
    """A short hash of a source text."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _differences(before: object, now: dict) -> str:
    if not isinstance(before, dict):
        return "its first line cannot be read"
    return ", ".join(
        f"{name}: {before.get(name)} -> {value}" if len(str(value)) < 60 else name
        for name, value in now.items()
        if before.get(name) != value
    )


class PartFile:
    """The finished batches of a run that is not over.

    Args:
        output (`Path`): the file that is being made.
        header (`dict`): what the summaries are made from; plain JSON values.
    """

    def __init__(self, output: Path, header: dict):
        self.path = output.with_name(output.name + PART)
        self.header = header
        self.done: dict[int, str] = {}

    def open(self, discard: bool) -> None:
        """Takes over what an interrupted run finished; a torn last line is cut off, an unreadable one is not done.

        Args:
            discard (`bool`): begin anew when the header differs, instead of refusing.

        Raises:
            ValueError: summaries of another run.
        """
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        before, *batches = [_parsed(line) for line in whole.splitlines()] or [None]
        if whole and before.get("header") != self.header:
            if not discard:
                count = sum(len(batch.get("positions", ())) for batch in batches)
                raise ValueError(
                    f"{self.path} holds {count} summaries of a run with other settings "
                    f"({_differences(before.get('header'), self.header)}); use the same settings to go on, or pass "
                    "--overwrite to begin anew"
                )
            whole, batches = b"", []
        for batch in batches:
            self.done.update(zip(batch.get("positions", ()), batch.get("summaries", ()), strict=False))
        with open(self.path, "rb+" if content else "wb") as file:
            file.truncate(len(whole))  # or the next line would be glued to the torn one
            if not whole:
                file.write(_line({"header": self.header}))

    def add(self, positions: list[int], summaries: list[str]) -> None:
        """Keeps a finished batch, on disk before it returns."""
        self.done.update(zip(positions, summaries, strict=True))
        with open(self.path, "ab") as file:
            file.write(_line({"positions": positions, "summaries": summaries}))
            file.flush()
            os.fsync(file.fileno())


def _parsed(line: bytes) -> dict:
    """The object on a line; nothing where it cannot be read."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _line(entry: dict) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def is_complete(output: Path, header: dict) -> bool:
    """Whether `output` is the whole file that this header makes, unchanged since."""
    meta = output.with_name(output.name + META)
    if not (output.is_file() and meta.is_file()):
        return False
    try:
        known = json.loads(meta.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return known == {"made_from": header, "sha256": file_digest(output)}


def fields_of_predictions(path: Path) -> TaskFields | None:
    """The fields that a file of summaries was made with, where that is known."""
    meta = path.with_name(path.name + META)
    try:
        made_from = json.loads(meta.read_text(encoding="utf-8"))["made_from"]
        return TaskFields(tuple(made_from["sources"]), tuple(made_from["targets"]), made_from["id"])
    except (OSError, ValueError, KeyError, TypeError):
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
) -> int:
    """Writes one JSON line a record, in input order, whole or not at all; an interrupted run goes on where it stopped.

    Batches are fixed by the input, and finished ones are kept in `OUTPUT.part`, so that the bytes do not depend on
    interruptions. A line has the record's id (of its own type), the prediction, with several targets a field for each,
    and the fingerprint of the source.

    Args:
        model, tokenizer: an encoder-decoder model and its tokenizer.
        records (`list` of [`Record`]): what to summarise.
        output (`Path`): JSONL file, replaced.
        settings ([`GenerationSettings`]): how to generate.
        fields ([`TaskFields`]): with several targets each summary is split at their headings.
        header (`dict`): what decides the summaries, as plain JSON values.
        prefix (`str`): put before each source.
        overwrite (`bool`): begin anew where an interrupted run had another header.
        progress (*optional*): called with records done and in all.

    Returns:
        `int`: records that an earlier, interrupted run had done.

    Raises:
        ValueError: an interrupted run with another header, or one whose file cannot be read.
    """
    part = PartFile(output, header)
    part.open(discard=overwrite)
    resumed = len(part.done)
    texts = [prefix + record.source for record in records]

    def keep(positions: list[int], summaries: list[str]) -> None:
        part.add(positions, summaries)
        if progress is not None:
            progress(len(part.done), len(texts))

    generate_missing(model, tokenizer, texts, settings, part.done, keep)
    lines = []
    for position, record in enumerate(records):
        entry: dict[str, object] = {"id": record.row.get(fields.id, record.id), "prediction": part.done[position]}
        if len(fields.targets) > 1:
            entry |= split_targets(part.done[position], fields.targets)
        entry["source_fingerprint"] = fingerprint(record.source)
        lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
    write_text(output, "".join(lines))
    write_json(output.with_name(output.name + META), {"made_from": header, "sha256": file_digest(output)})
    part.path.unlink()
    return resumed


def read_predictions(path: Path) -> dict[str, Prediction]:
    """Predictions by id from a JSONL file of `summarize`.

    Raises:
        ValueError: missing or damaged file, bad JSON, a line without id and prediction, or an id that comes twice.
    """
    found: dict[str, Prediction] = {}
    for number, line in numbered_lines(path, unpack(path, read_bytes(path))):
        if not line.strip():
            continue
        entry = parse_line(number, line)
        if isinstance(entry, Defect):
            raise ValueError(f"{path}:{number}: {entry.text}; write the file with summarize")
        text, row_id = entry.get("prediction"), entry.get("id")
        if not isinstance(text, str) or isinstance(row_id, bool) or not isinstance(row_id, str | int):
            raise ValueError(f"{path}:{number} has no id and prediction as text; write it with summarize")
        if half := LONE_SURROGATE.search(f"{row_id}{text}"):
            words = f"the lone surrogate U+{ord(half[0]):04X} (half a character)"
            raise ValueError(f"{path}:{number} holds {words}; write the file with summarize")
        if str(row_id) in found:
            raise ValueError(f"{path}:{number}: id {row_id!r} comes twice; remove one of the lines")
        found[str(row_id)] = Prediction(text, entry.get("source_fingerprint"))
    return found


def match_predictions(
    predictions: dict[str, Prediction], records: list[Record], names: tuple[Path, Path]
) -> list[Record]:
    """The records that have a prediction, in order.

    Args:
        predictions: by id.
        records (`list` of [`Record`]): with targets.
        names: files of both, for messages.

    Raises:
        ValueError: no id in common, or predictions of other texts.
    """
    matched = [record for record in records if record.id in predictions]
    if not matched:
        raise ValueError(f"no id of {names[0]} occurs in {names[1]}; pass the file that was summarised")
    others = [
        record for record in matched if predictions[record.id].fingerprint not in (None, fingerprint(record.source))
    ]
    if others:
        raise ValueError(
            f"{len(others)} of {len(matched)} summaries of {names[0]} were written for other texts than those of "
            f"{names[1]} (first: id {others[0].id!r}, line {others[0].line}); pass the file that was summarised, with "
            "the same --source_fields"
        )
    return matched
