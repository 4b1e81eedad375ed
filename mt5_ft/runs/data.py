"""Training and validation records: from two files, or a random split of one file; no source occurs in both."""

import hashlib
from collections.abc import Sequence
from importlib.resources import as_file, files
from itertools import chain
from pathlib import Path

import numpy as np

from ft_core.io.console import echo

from ..data.record_table import RecordTable, encoded, read_table
from ..data.records import Record
from ..training.arguments import MT5DataArguments


def sample_path() -> Path:
    """The embedded sample of fictional counselling records."""
    with as_file(files("mt5_ft.data") / "sample" / "emotion_summary.jsonl") as path:
        return path


def read_splits(data: MT5DataArguments, seed: int) -> tuple[RecordTable, RecordTable]:
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
    if chosen.all():
        raise ValueError(
            f"{path}: all {len(records)} records have the same source, so none can be held out; set validation_data"
        )
    return records.select(~chosen), records.select(chosen)


def _read(path: Path, data: MT5DataArguments) -> RecordTable:
    records, report = read_table(path, data.fields(), data.policy)
    for line in report.noteworthy():
        echo(line)
    if report.remark:  # the validation data, the run's record and its model have the same fields
        data.source_fields, data.target_fields = list(report.fields.sources), list(report.fields.targets)
    return records


def _hold_out(records: RecordTable, wanted: int, seed: int) -> np.ndarray:
    """The mask of validation: a seeded random selection that keeps all records of a source together."""
    _, source_of, sizes = np.unique(records.sources, return_inverse=True, return_counts=True)
    is_chosen, count = np.zeros(len(sizes), dtype=bool), 0
    for source in source_of[np.random.default_rng(seed).permutation(len(records))]:
        if count >= wanted:
            break
        count += 0 if is_chosen[source] else sizes[source]
        is_chosen[source] = True
    return is_chosen[source_of]


def _without_overlap(records: RecordTable, validation: RecordTable, data: MT5DataArguments) -> RecordTable:
    """Training records whose source is not among the validation records."""
    is_shared = np.isin(records.sources, validation.sources)
    lost, kept = int(is_shared.sum()), records.select(~is_shared)
    if lost and (data.policy == "error" or not kept):
        remedy = "or pass --policy drop to train without them" if kept else "no record would remain for training"
        raise ValueError(
            f"{lost} of {len(records)} records of {data.data} (first on line {records[int(is_shared.argmax())].line}) "
            f"have the source of a record in {data.validation_data}; remove them, {remedy}"
        )
    if lost:
        echo(f"{data.data}: {lost} records excluded from training: their source is in {data.validation_data}")
    shared = np.isin(kept.ids[kept.has_own_id], validation.ids[validation.has_own_id]).sum()
    if shared:
        echo(f"WARNING     {shared} ids occur in both files with different texts; check that both files are correct")
    return kept


def content_digest(train: Sequence[Record], validation: Sequence[Record]) -> str:
    """A short hash of all texts, to notice that a data file was replaced."""
    digest = hashlib.sha256()
    for text in chain(encoded(train), encoded(validation)):
        digest.update(text)
    digest.update(f"{len(train)} {len(validation)}".encode())
    return digest.hexdigest()[:16]
