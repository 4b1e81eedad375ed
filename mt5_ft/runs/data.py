"""Training and validation records: from two files, or a random split of one file; no source occurs in both."""

import hashlib
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from ft_core.io.console import echo

from ..data.records import Record, read_records
from ..data.rows import MISSING, lookup
from ..training.arguments import MT5DataArguments


def sample_path() -> Path:
    """The embedded sample of fictional counselling records."""
    with as_file(files("mt5_ft.data") / "sample" / "emotion_summary.jsonl") as path:
        return path


def read_splits(data: MT5DataArguments, seed: int) -> tuple[list[Record], list[Record]]:
    """Training and validation records.

    Records with the same source stay together, so that no text is validated on that was trained on.

    Args:
        data ([`MT5DataArguments`]): which files, and the share to hold out of one file. If its fields are found in the
            rows, they are set in it.
        seed (`int`): the same seed holds out the same records.

    Raises:
        ValueError: no data named, records that cannot be used, sources of one file that are in the other (under policy
            error), or nothing left to train or validate on.
    """
    if not data.data:
        raise ValueError("data is not set; pass --data FILE.jsonl, or --data sample for the embedded records")
    path = sample_path() if data.data == "sample" else Path(data.data)
    records = _read(path, data)
    if data.validation_data:
        validation = _read(Path(data.validation_data), data)
        return _without_overlap(records, validation, data), validation
    if not 0 < data.validation_share < 1:
        raise ValueError(f"validation_share={data.validation_share} is outside (0, 1); choose e.g. 0.1")
    held_out = max(1, round(len(records) * data.validation_share))
    if held_out >= len(records):
        raise ValueError(
            f"{path} has {len(records)} records, too few to hold out {held_out} for validation; add records"
        )
    chosen = _hold_out(records, held_out, seed)
    if len(chosen) == len(records):
        raise ValueError(
            f"{path}: all {len(records)} records have the same source, so none can be held out; set validation_data"
        )
    return (
        [record for position, record in enumerate(records) if position not in chosen],
        [record for position, record in enumerate(records) if position in chosen],
    )


def _read(path: Path, data: MT5DataArguments) -> list[Record]:
    records, report = read_records(path, data.fields(), data.policy, need_id=False)
    for line in report.noteworthy():
        echo(line)
    if report.remark:  # the validation data, the run's record and its model have the same fields
        data.source_fields, data.target_fields = list(report.fields.sources), list(report.fields.targets)
    return records


def _hold_out(records: list[Record], wanted: int, seed: int) -> set[int]:
    """Validation positions: a seeded random selection that keeps all records of a source together."""
    same_source: dict[str, list[int]] = {}
    for position, record in enumerate(records):
        same_source.setdefault(record.source.strip(), []).append(position)
    chosen: set[int] = set()
    for position in np.random.default_rng(seed).permutation(len(records)).tolist():
        if len(chosen) >= wanted:
            break
        chosen.update(same_source[records[position].source.strip()])
    return chosen


def _without_overlap(records: list[Record], validation: list[Record], data: MT5DataArguments) -> list[Record]:
    """Training records whose source is not among the validation records."""
    sources = {record.source.strip() for record in validation}
    kept = [record for record in records if record.source.strip() not in sources]
    lost = [record for record in records if record.source.strip() in sources]
    if lost and (data.policy == "error" or not kept):
        remedy = "or pass --policy drop to train without them" if kept else "no record would remain for training"
        raise ValueError(
            f"{len(lost)} of {len(records)} records of {data.data} (first on line {lost[0].line}) have the source of a "
            f"record in {data.validation_data}; remove them, {remedy}"
        )
    if lost:
        echo(f"{data.data}: {len(lost)} records excluded from training: their source is in {data.validation_data}")
    ids = {record.id for record in validation if _has_own_id(record, data)}
    shared = sum(record.id in ids and _has_own_id(record, data) for record in kept)
    if shared:
        echo(f"WARNING     {shared} ids occur in both files with different texts; check that both files are correct")
    return kept


def _has_own_id(record: Record, data: MT5DataArguments) -> bool:
    """Whether the id of a record is from its row, and not its line number."""
    return lookup(record.row, data.fields().id) is not MISSING and record.id != f"line {record.line}"


def content_digest(train: list[Record], validation: list[Record]) -> str:
    """A short hash of all texts, to notice that a data file was replaced."""
    digest = hashlib.sha256()
    for record in (*train, *validation):
        digest.update(f"{record.id}\0{record.source}\0{record.target}\1".encode("utf-8", "surrogatepass"))
    digest.update(f"{len(train)} {len(validation)}".encode())
    return digest.hexdigest()[:16]
