"""Reads back what trackers wrote to this machine: names, settings and values of their runs."""

import json
import math
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

BLOCK, HEADER = 32768, 7
WHOLE, LAST = 1, 4


@dataclass
class Stored:
    """A run of a tracker; `values` by term and step, the last one where a step has several."""

    name: str
    settings: dict[str, object] = field(default_factory=dict)
    values: dict[tuple[str, int], float] = field(default_factory=dict)
    ended_well: bool = False


def logged(run: Path) -> dict[tuple[str, int], float]:
    """The values of `metrics.jsonl`, by term and step; without values that are no numbers."""
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        (name, entry["step"]): value
        for entry in entries
        for name, value in entry.items()
        if name not in ("step", "epoch") and value is not None
    }


def prefixed(name: str) -> str:
    """The name that transformers' callbacks give a term: `eval_loss` becomes `eval/loss`, `loss` `train/loss`."""
    for split in ("eval", "test"):
        if name.startswith(f"{split}_"):
            return f"{split}/{name.removeprefix(f'{split}_')}"
    return f"train/{name}"


def _journal(path: Path) -> Iterator[bytes]:
    """Records of a file in the log format of LevelDB, with a header of 7 bytes."""
    data, offset, record = path.read_bytes(), HEADER, b""
    while offset + HEADER <= len(data):
        if BLOCK - offset % BLOCK < HEADER:
            offset += BLOCK - offset % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, offset)
        offset += HEADER
        record += data[offset : offset + length]
        offset += length
        if kind in (WHOLE, LAST):
            yield record
            record = b""


def read_wandb(folder: Path) -> dict[str, list[Stored]]:
    """Runs of W&B's offline mode by id; a resumed run has one file for each part."""
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[str, list[Stored]] = {}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        stored = Stored("")
        for data in _journal(path):
            record = Record.FromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                stored.name = record.run.display_name
                found.setdefault(record.run.run_id, []).append(stored)
            changes = record.config.update if kind == "config" else record.run.config.update if kind == "run" else ()
            stored.settings |= {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in changes}
            if kind == "history":
                row = {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in record.history.item}
                stored.values |= {(name, row["train/global_step"]): value for name, value in row.items()}
            if kind == "summary":
                step = max((step for _, step in stored.values), default=0)
                values = {
                    one.key: one.value_json for one in record.summary.update if one.key.startswith(("train_", "to"))
                }
                stored.values |= {(f"train/{name}", step): json.loads(value) for name, value in values.items()}
            if kind == "exit":
                stored.ended_well = record.exit.exit_code == 0
    return found


def read_mlflow(database: Path) -> list[Stored]:
    """Runs of an MLflow store; terms have the names of `metrics.jsonl`."""
    with sqlite3.connect(database) as store:
        found = []
        for key, name, status in store.execute("select run_uuid, name, status from runs order by start_time"):
            rows = store.execute("select key, step, value from metrics where run_uuid = ? order by timestamp", (key,))
            values = {(term, step): value for term, step, value in rows}
            settings = dict(store.execute("select key, value from params where run_uuid = ?", (key,)))
            found.append(Stored(name, settings, values, status == "FINISHED"))
    return found


def read_trackio(database: Path) -> dict[str, Stored]:
    """Runs of a Trackio project by name."""
    found: dict[str, Stored] = {}
    with sqlite3.connect(database) as store:
        for name, text in store.execute("select run_name, config from configs"):
            found.setdefault(name, Stored(name)).settings |= json.loads(text)
        for name, text in store.execute("select run_name, metrics from metrics order by id"):
            row = json.loads(text)
            values = {(term, row["train/global_step"]): value for term, value in row.items()}
            found.setdefault(name, Stored(name)).values |= values
    return found


def read_swanlab(folder: Path) -> dict[str, list[Stored]]:
    """Experiments of SwanLab's offline mode by id; a resumed one has one folder for each part."""
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record

    found: dict[str, list[Stored]] = {}
    for path in sorted(folder.glob("run-*/*.swanlab")):
        settings = yaml.safe_load((path.parent / "files/config.yaml").read_text(encoding="utf-8"))
        stored = Stored("", {name: one["value"] for name, one in settings.items()})
        for data in _journal(path):
            record = Record.FromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "start":
                stored.name = record.start.name
                found.setdefault(record.start.id, []).append(stored)
            if kind == "scalar":
                name = record.scalar.key.replace("single_value/", "train/")
                stored.values[name, record.scalar.step] = record.scalar.value.number
            if kind == "finish":
                stored.ended_well = True
    return found


def read_tensorboard(folder: Path) -> Stored:
    """The event files of one folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    tags = events.Tags()
    values = {(name, one.step): one.value for name in tags["scalars"] for one in events.Scalars(name)}
    text = events.Tensors("args/text_summary")[0].tensor_proto.string_val[0]
    return Stored(folder.name, json.loads(text), values)


def assert_same(found: dict, expected: dict) -> None:
    """Fails where a value is missing or differs; single precision is enough."""
    missing = sorted(set(expected) - set(found))
    assert not missing, missing
    differ = {
        key: (found[key], value)
        for key, value in expected.items()
        if not math.isclose(found[key], value, rel_tol=1e-5, abs_tol=1e-7)
    }
    assert not differ, differ
