"""The run record `run.json`: its schema, its reader, and the comparison with a run that resumes; no heavy imports."""

import functools
import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NotRequired, TypedDict

import msgspec

from ..checkpoints.identity import RESTORE, RUN_FILE
from ..cli.learning_rates import AutoRate, WidthRate
from ..io.console import printable
from ..io.files import plain
from ..io.formats import read_json, read_record_file

if TYPE_CHECKING:
    from transformers import TrainingArguments

PACKAGES = ("kronos-ft", "torch", "transformers", "accelerate", "datasets", "numpy", "pandas", "safetensors")
# a changed path is no difference if the hash is equal
PLACES = {"data.data": ("data.fingerprint", "data.content"), "model.tokenizer": ("model.tokenizer_sha256",)}
PLACES |= {f"model.tokenizer_{one}": ("model.tokenizer_sha256",) for one in ("repository", "revision")}
PLACES |= {f"model.{one}revision_asked": (f"model.{one}revision",) for one in ("", "tokenizer_")}
Steps = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Processes = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Seconds = Annotated[float, msgspec.Meta(ge=0, lt=1e12)]


class RunRecord(TypedDict):
    """The fields of `run.json` that are read; records of other versions may lack those that are not required."""

    status: str
    seconds: Seconds
    started: str
    best_step: Steps | None
    world_size: Processes
    arguments: dict[str, object]
    id: NotRequired[str | None]
    written: NotRequired[str]
    stage: NotRequired[str]
    global_step: NotRequired[Steps]
    max_steps: NotRequired[Steps]
    epoch: NotRequired[float | None]
    best_metric: NotRequired[float | None]
    model: NotRequired[dict[str, object]]
    data: NotRequired[dict[str, object]]
    windows: NotRequired[dict[str, object]]
    augmentation: NotRequired[dict[str, object]]
    config: NotRequired[dict[str, object]]
    tokenizer_config: NotRequired[dict[str, object]]
    hardware: NotRequired[dict[str, object]]
    versions: NotRequired[dict[str, object]]
    observed: NotRequired[dict[str, object]]
    records: NotRequired[dict[str, object]]
    git: NotRequired[dict[str, object] | None]


NEEDED = tuple(sorted(RunRecord.__required_keys__))


@functools.cache  # parses the metadata of each package
def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect the results of a run."""
    return {"python": platform.python_version()} | {package: _version_of(package) for package in PACKAGES}


@functools.cache  # the code that runs was loaded once: a save must neither ask again nor record a later commit
def git_state(folder: Path) -> dict[str, object] | None:
    """Commit of the checkout that holds `folder` and whether it has changes; None outside of one."""

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_record(run: Path) -> dict:
    """The record of a run.

    Raises:
        ValueError: a file that is not such a record, or has a field of the wrong type.
    """
    return read_record_file(run / RUN_FILE, RESTORE, RunRecord)


def find_record(run: Path) -> dict:
    """As [`read_record`]; empty for a folder without a record."""
    return read_record(run) if (run / RUN_FILE).is_file() else {}


def recorded_group(run: Path, name: str) -> dict:
    """A group of a run's record, such as `data`; empty if there is no record, or none that can be read."""
    try:
        group = read_json(run / RUN_FILE, RESTORE, dict).get(name)
    except ValueError:
        return {}
    return group if isinstance(group, dict) else {}


def _is_scaled_alike(value: object, of_preset: object) -> bool:
    """Whether a value is scaled as the preset's; a number that the user gave is not."""
    return isinstance(value, WidthRate) or not isinstance(of_preset, WidthRate)


def with_recorded_preset(
    given: dict[str, object], presets: Mapping[str, Mapping[str, object]], run: Path
) -> dict[str, object]:
    """The settings of a run that resumes, with its preset as it was when the run began: a later version may differ.

    Args:
        given (`dict`): settings by name; those that differ from the preset were chosen by the user and are kept.
        presets (`Mapping`): the named values of this version.
        run (`Path`): the run's folder; without a record, or with one of another preset, nothing changes.
    """
    if not (given.get("resume") or given.get("resume_force")):
        return given
    preset = given.get("preset")
    if recorded_group(run, "model").get("preset") != preset:
        return given
    recorded = {**recorded_group(run, "augmentation"), **recorded_group(run, "arguments")}
    kept = {name for name, value in given.items() if isinstance(value, AutoRate)}  # the recorded rate is adopted later
    of_preset = [
        name
        for name, value in presets[preset].items()
        if given.get(name) == value and _is_scaled_alike(given[name], value) and name in recorded.keys() - kept
    ]
    return given | {name: recorded[name] for name in of_preset}


def changed_settings(record: dict, facts: dict, arguments: "TrainingArguments", names: Sequence[str]) -> list[str]:
    """Differences between a recorded run and the one about to resume it, each as `name: before -> now`.

    Args:
        record (`dict`): content of `run.json`.
        facts (`dict`): facts of this run; compared where the record has them too.
        arguments: settings of this run.
        names: fields of the settings that decide the result.
    """
    before = {f"{name}": record["arguments"].get(name) for name in names} | {"world_size": record["world_size"]}
    now = {name: getattr(arguments, name) for name in names} | {"world_size": arguments.world_size}
    for group in ("model", "data", "augmentation"):
        if group in facts and group in record:
            before |= {f"{group}.{name}": value for name, value in record[group].items()}
            now |= {f"{group}.{name}": value for name, value in facts[group].items()}
    moved = {
        place
        for place, contents in PLACES.items()
        if any(before.get(name) is not None and before[name] == now.get(name) for name in contents)
    }
    return [
        printable(f"{name}: {before[name]} -> {now[name]}")
        for name in before
        if not name.endswith(".symbols")
        and name not in moved
        and plain(before[name]) != plain(now.get(name))
        # earlier versions recorded no commit
        and not (name.startswith("model.") and name.endswith("revision") and before[name] is None)
    ]
