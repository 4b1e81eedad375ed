"""Records a run while it trains: `run.json` at its start, at each save and at its end, and every logged metric.

`metrics.jsonl` gets one line per log entry.
"""

import contextlib
import dataclasses
import json
import logging
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..io.files import plain, write_json, write_text
from .folder import LOG_FILE, RUN_FILE
from .record_schema import find_record, git_state, now, versions

logger = logging.getLogger(__name__)

SECRETS = ("hub_token",)


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


def _line(entry: dict) -> str:
    return json.dumps(plain(entry), allow_nan=False) + "\n"


@contextlib.contextmanager
def unless_going_on(args: TrainingArguments, path: Path) -> Iterator[None]:
    """On a write error, stops the run or logs a warning, depending on `on_save_error`."""
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
        self.run_id: str | None = None  # None in a run of an earlier version
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
        if before := find_record(Path(args.output_dir)):
            self._earlier, self._began = before["seconds"], before["started"]
        if state.is_world_process_zero:
            write_text(Path(args.output_dir) / LOG_FILE, "".join(_line(entry) for entry in state.log_history))

    def _write_run(self, args: TrainingArguments, state: TrainerState, status: str) -> None:
        write_json(
            Path(args.output_dir) / RUN_FILE,
            {
                "id": self.run_id,
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
        run = Path(args.output_dir)
        if state.global_step and (before := find_record(run)):
            self._earlier, self._began = before["seconds"], before["started"]
        run.mkdir(parents=True, exist_ok=True)
        # after a resume the file holds exactly the history that the checkpoint holds
        write_text(run / LOG_FILE, "".join(_line(entry) for entry in state.log_history))
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
        run = Path(args.output_dir)
        # nothing of an evaluation before the training: its folder would count as that of another run
        has_begun = bool(self._began) or (run / RUN_FILE).is_file()
        if state.is_world_process_zero and logs and has_begun and run.is_dir():
            path = run / LOG_FILE
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
