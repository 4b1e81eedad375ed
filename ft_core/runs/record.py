"""The run record: settings, environment, and every logged metric.

`run.json` is written when training starts and again when it ends; `metrics.jsonl` gets one line per log entry.
"""

import contextlib
import dataclasses
import functools
import importlib.metadata
import json
import logging
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..io.files import plain, write_json, write_text
from .folder import LOG_FILE, RUN_FILE

logger = logging.getLogger(__name__)

PACKAGES = ("kronos-ft", "torch", "transformers", "accelerate", "datasets", "numpy", "pandas", "safetensors")
SECRETS = ("hub_token",)
# where the content is the same, another place is no difference
PLACES = {"data.data": ("data.fingerprint", "data.content"), "model.tokenizer": ("model.tokenizer_sha256",)}
PLACES |= {f"model.tokenizer_{one}": ("model.tokenizer_sha256",) for one in ("repository", "revision")}
PLACES |= {f"model.{one}revision_asked": (f"model.{one}revision",) for one in ("", "tokenizer_")}
NEEDED = ("status", "seconds", "started", "best_step", "world_size", "arguments")


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


def hardware(device: torch.device) -> dict[str, object]:
    """The hardware of the run."""
    facts: dict[str, object] = {
        "device": device.type,
        "machine": platform.machine(),
        "system": platform.system(),
        "threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        facts["name"] = torch.cuda.get_device_name(device)
        facts["devices"] = torch.cuda.device_count()
    return facts


def settings_of(arguments: object) -> dict[str, object]:
    """Fields of a dataclass as plain values, with secrets replaced."""
    found = [field for field in dataclasses.fields(arguments) if field.init or field.metadata.get("recorded")]
    values = {field.name: getattr(arguments, field.name) for field in found}
    return {name: "***" if value and name in SECRETS else value for name, value in values.items()}


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_record(run: Path) -> dict:
    """The record of a run.

    Raises:
        ValueError: a file that is not such a record.
    """
    path = run / RUN_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not readable JSON ({error}); restore it or start over with --overwrite") from error
    missing = [name for name in NEEDED if not isinstance(record, dict) or name not in record]
    if missing:
        raise ValueError(
            f"{path} is not a run record ({missing[0]} is missing); restore it or start over with --overwrite"
        )
    return record


def _line(entry: dict) -> str:
    return json.dumps(plain(entry), allow_nan=False) + "\n"


def changed_settings(record: dict, facts: dict, arguments: TrainingArguments, names: Sequence[str]) -> list[str]:
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
        f"{name}: {before[name]} -> {now[name]}"
        for name in before
        if not name.endswith(".symbols")
        and name not in moved
        and plain(before[name]) != plain(now.get(name))
        # earlier versions recorded no commit
        and not (name.startswith("model.") and name.endswith("revision") and before[name] is None)
    ]


@contextlib.contextmanager
def unless_going_on(args: TrainingArguments, path: Path) -> Iterator[None]:
    """Lets a record that cannot be written end the run, or be warned of, as `on_save_error` says."""
    try:
        yield
    except OSError as error:
        if getattr(args, "on_save_error", "stop") == "stop":
            raise
        logger.warning(f"{path} could not be written ({error.strerror or error}); the run continues without it")


class RunRecorder(TrainerCallback):
    """Writes `run.json` and `metrics.jsonl`.

    Set `facts` before training for anything beyond the settings, such as the data's fingerprint; `observed` is what the
    trainer itself found before the first step.
    """

    def __init__(self):
        self.facts: dict[str, object] = {}
        self.observed: dict[str, object] = {}
        self._started = 0.0
        self._earlier = 0.0  # seconds of the parts before a resume
        self._began = ""
        self._is_torn = False  # a line of the log may be missing or half-written

    def seconds(self) -> float:
        """Time of training so far, over all parts of a resumed run."""
        return self._earlier + time.monotonic() - self._started

    def take_over(self, args: TrainingArguments, state: TrainerState) -> None:
        """Continues the record of a run that was interrupted after its last checkpoint."""
        self._started = time.monotonic()
        record = Path(args.output_dir) / RUN_FILE
        if record.is_file():
            before = read_record(record.parent)
            self._earlier, self._began = before["seconds"], before["started"]
        if state.is_world_process_zero:
            write_text(Path(args.output_dir) / LOG_FILE, "".join(_line(entry) for entry in state.log_history))

    def _write_run(self, args: TrainingArguments, state: TrainerState, status: str) -> None:
        write_json(
            Path(args.output_dir) / RUN_FILE,
            {
                "status": status,
                "started": self._began,
                "written": now(),
                "seconds": round(self.seconds(), 3),
                "global_step": state.global_step,
                "max_steps": state.max_steps,
                "epoch": state.epoch,
                "best_metric": state.best_metric,
                "best_step": state.best_global_step,
                "world_size": args.world_size,
                "hardware": hardware(args.device),
                "versions": versions(),
                "git": git_state(Path(__file__).parent),
                **self.facts,
                "observed": self.observed,
                "arguments": settings_of(args),
            },
        )

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self._started, self._began = time.monotonic(), now()
        if not state.is_world_process_zero:
            return
        record = Path(args.output_dir) / RUN_FILE
        if state.global_step and record.is_file():
            before = read_record(record.parent)
            self._earlier, self._began = before["seconds"], before["started"]
        record.parent.mkdir(parents=True, exist_ok=True)
        # after a resume the file holds exactly the history that the checkpoint holds
        write_text(Path(args.output_dir) / LOG_FILE, "".join(_line(entry) for entry in state.log_history))
        self._write_run(args, state, "running")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        if state.is_world_process_zero:
            with unless_going_on(args, Path(args.output_dir) / RUN_FILE):
                self._write_run(args, state, "running")

    def write_interruption(self, args: TrainingArguments, state: TrainerState, status: str) -> None:
        """Records that a started run ended early."""
        if state.is_world_process_zero and self._began:
            self._write_run(args, state, status)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        if state.is_world_process_zero and logs and Path(args.output_dir).is_dir():
            path = Path(args.output_dir) / LOG_FILE
            torn, self._is_torn = self._is_torn, True
            with unless_going_on(args, path):
                if torn:
                    write_text(path, "".join(_line(entry) for entry in state.log_history))
                else:
                    with open(path, "a", encoding="utf-8") as file:
                        file.write(_line({**logs, "step": state.global_step}))
                self._is_torn = False

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.is_world_process_zero:
            self._write_run(args, state, "finished" if state.global_step >= state.max_steps else "stopped early")
