"""The facts of a run that a report is made from: of a run folder, or of a `trainer_state.json`, in whatever state."""

import contextlib
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

import pandas as pd

from ..checkpoints.listing import list_checkpoints
from ..checkpoints.manifest import read_manifest
from ..runs.folder import BAD_STEPS_FILE, BEST_MODEL, FINAL_MODEL, LOG_FILE, METRICS_FILE, REPORT_FILES, REPORT_MD
from ..runs.lock import is_held
from .curves import Gap, curve, epoch_times, gaps, lost_steps, timed
from .reading import STATE_FILE, History, Record, is_number, read_files, read_object, read_objects
from .views import StageView, view_of

RUNNING, FINISHED, EARLY, INTERRUPTED, PRUNED = "running", "finished", "stopped early", "interrupted", "pruned"
KILLED = "killed"  # recorded as running, but its process is gone
UNFINISHED = "unfinished"  # of a plain Trainer, which does not record why
UNTRAINED = 0.8  # of the error of a constant answer
UNIFORM = 0.95  # of the cross-entropy of equally likely tokens
SHARED_LIMIT = 0.001  # of the time of validation
SETTING_GROUPS = ("arguments", "data", "augmentation", "model")


@dataclass(frozen=True)
class RunFacts:
    """The facts of a run; what is not recorded is None or empty."""

    path: Path  # the folder, or the file of a Trainer's state
    view: StageView
    record: Record  # run.json
    history: History
    status: str  # one of the words above
    why: str = ""  # what interrupted it
    metrics: Record = field(default_factory=Record)  # training_metrics.json, which only a finished run has
    checkpoints: dict[int, int] = field(default_factory=dict)  # bytes by step
    newest_complete: int | None = None  # step of the newest checkpoint that has all its files
    elapsed: float | None = None  # of a run in progress, seconds from its start to its last log entry
    disk: dict[str, int] = field(default_factory=dict)  # bytes by kind of content, without reports
    bad_steps: list[Record] = field(default_factory=list)  # steps that were not applied
    saved_at: dict[int, float] = field(default_factory=dict)  # of a plain Trainer, when it saved each checkpoint

    @property
    def name(self) -> str:
        """The name of its folder."""
        resolved = self.path.resolve()
        return resolved.name if resolved.is_dir() else resolved.parent.name

    # Settings, and what the trainer observed before the first step

    @cached_property
    def settings(self) -> Record:
        """The recorded settings of training, data, augmentation and model by name."""
        groups = [self.record.group(name) for name in reversed(SETTING_GROUPS)]
        return Record({name: value for group in groups for name, value in group.items()})

    @cached_property
    def observed(self) -> Record:
        """What the trainer observed before the first step."""
        return self.record.group("observed")

    def spans(self, split: str) -> dict[str, tuple[str, str]]:
        """First and last time of each symbol in a split, as text."""
        known = self.observed.group(split, "spans").items()
        return {
            symbol: (ends[0], ends[1])
            for symbol, ends in known
            if isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, str) for end in ends)
        }

    @property
    def text_log(self) -> Record:
        """Where the history comes from, if it was read from a text log of another program; else empty."""
        return self.history.state.group("text_log")

    @property
    def is_from_python(self) -> bool:
        """Whether a script started it, so that data and model are not recorded as settings."""
        return bool(self.record) and not any(isinstance(self.record.get(name), dict) for name in ("data", "model"))

    # Progress and time

    @cached_property
    def step(self) -> int:
        """Optimizer steps made."""
        logged = max((entry["step"] for entry in self.history.entries), default=0)
        return max(logged, self.record.count("global_step"), self.history.state.count("global_step"))

    @property
    def max_steps(self) -> int | None:
        """Optimizer steps planned."""
        return self.record.count("max_steps") or self.history.state.count("max_steps") or None

    @property
    def progress(self) -> float | None:
        """Share of the planned steps that were made."""
        return self.step / self.max_steps if self.max_steps else None

    @cached_property
    def epoch(self) -> float | None:
        """Passes over the training data so far."""
        return max((entry["epoch"] for entry in self.history.entries if is_number(entry.get("epoch"))), default=None)

    @cached_property
    def steps_an_epoch(self) -> float | None:
        """Optimizer steps in one pass over the training data."""
        return self.observed.number("steps_per_epoch") or (self.step / self.epoch if self.epoch and self.step else None)

    def place(self, step: int) -> dict[str, float]:
        """A step, and its epoch where that is known."""
        return {"step": step} | ({"epoch": round(step / self.steps_an_epoch, 1)} if self.steps_an_epoch else {})

    @cached_property
    def epoch_seconds(self) -> list[float]:
        """Seconds of each epoch of a run without a record."""
        return [] if self.record else epoch_times(self.history, self.saved_at, self.step, self.steps_an_epoch)

    @cached_property
    def _timed(self) -> tuple[float | None, float | None] | None:
        return timed(self.history.entries, self.step)

    @cached_property
    def seconds(self) -> float | None:
        """Seconds of training so far; without a record only if the last entry covers the whole run."""
        if not self.record:
            return self._timed[0] if self._timed else None
        runtime = curve(self.history.entries, "train_runtime")
        if len(runtime):
            return runtime.iloc[-1]
        recorded, at = self.record.number("seconds"), self.record.count("global_step")
        return self.elapsed if recorded is None or not at else recorded / at * self.step

    @property
    def seconds_a_step(self) -> float | None:
        """Mean seconds of an optimizer step, including evaluation and saving; without a record, of the timed part."""
        if self.record:
            return self.seconds / self.step if self.seconds and self.step else None
        if self._timed:
            return self._timed[1]
        return statistics.median(self.epoch_seconds) / self.steps_an_epoch if self.epoch_seconds else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end of the schedule at the mean speed so far."""
        if self.seconds_a_step is None or self.max_steps is None:
            return None
        return self.seconds_a_step * max(self.max_steps - self.step, 0)

    # What was logged

    def training(self, name: str) -> pd.Series:
        """A term of training steps, by step."""
        return curve(self.history.entries, name, training=True)

    def evaluated(self, name: str) -> pd.Series:
        """A term of validation, by step; step 0 is that of the starting weights."""
        return curve(self.history.entries, f"eval_{name}")

    def lost(self, name: str) -> list[int]:
        """The training steps at which a term was not finite."""
        return lost_steps(self.history.entries, name, training=True)

    @cached_property
    def primary(self) -> pd.Series:
        """The main quantity in training."""
        return self.training(self.view.primary)

    @cached_property
    def primary_evaluated(self) -> pd.Series:
        """The main quantity in validation."""
        return self.evaluated(self.view.primary)

    @cached_property
    def trained_evaluations(self) -> pd.Series:
        """The main quantity in validation, without the starting weights."""
        return self.primary_evaluated.loc[1:]

    @property
    def start(self) -> float | None:
        """The main quantity in validation of the starting weights."""
        return self.primary_evaluated.get(0)

    @cached_property
    def gaps(self) -> list[Gap]:
        """Training and validation of the main quantity at each evaluation."""
        return gaps(self.primary, self.primary_evaluated)

    @cached_property
    def rate(self) -> float | None:
        """The peak learning rate: the setting, else the highest that a plain Trainer logged."""
        logged = () if self.record else self.training("learning_rate").tolist()
        return self.settings.number("learning_rate") or max(logged, default=None)

    # What follows from these

    @cached_property
    def is_rewarded(self) -> bool:
        """Whether the main quantity in training contains a reward, which a negative value shows."""
        return self.primary.min() < 0

    @property
    def is_untrained_at_start(self) -> bool:
        """Whether the run started from random weights.

        As the settings say; if they do not, True if the starting weights were no better than a trivial prediction: 0
        everywhere, or equal probabilities for all tokens.
        """
        recorded = self.settings.get("from_scratch")
        if recorded is not None or self.start is None:
            return bool(recorded)
        if not self.view.in_nats:
            level = self.observed.number("validation", "inputs", "mean_square")
            return level is not None and self.start > UNTRAINED * level
        bits = [self.observed.number("config", f"{name}_bits") for name in ("s1", "s2")]
        return None not in bits and self.start > UNIFORM * statistics.fmean(bits) * math.log(2)

    @property
    def is_leaked(self) -> bool:
        """Whether validation holds what was trained on."""
        shared = self.observed.number("shared_share") or 0.0
        return shared > SHARED_LIMIT or self.record.count("shared_sources") > 0


def _size(path: Path) -> int:
    sizes = [0]
    for file in [path] if path.is_file() else path.rglob("*"):
        with contextlib.suppress(OSError):  # a run in progress removes files
            sizes.append(file.stat().st_size if file.is_file() else 0)
    return sum(sizes)


def _looks_complete(checkpoint: Path) -> bool:
    """Whether all files in a checkpoint's manifest exist with their sizes; a resume also compares hashes."""
    try:
        files = read_manifest(checkpoint)["files"]
        return all((checkpoint / name).stat().st_size == known["bytes"] for name, known in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _disk(run: Path, checkpoints: dict[int, int]) -> dict[str, int]:
    """Bytes of checkpoints, models and the rest; reports do not count, so that writing one changes no figure."""
    models = sum(_size(run / name) for name in (BEST_MODEL, FINAL_MODEL) if (run / name).is_dir())
    reports = sum(_size(run / name) for name in REPORT_FILES)
    reports += sum(_size(file.parent) for file in run.glob(f"*/{REPORT_MD}"))
    kept = sum(checkpoints.values())
    return {"checkpoints": kept, "model": models, "rest": max(_size(run) - kept - models - reports, 0)}


def _status(run: Path, record: Record, state: Record) -> tuple[str, str]:
    """The status of a run, and what interrupted it."""
    recorded = record.text("status")
    if not recorded:
        step, most = state.count("global_step"), state.count("max_steps")
        return (FINISHED if most and step >= most else UNFINISHED), ""
    if recorded == RUNNING and not is_held(run):
        return KILLED, ""
    kind, _, why = recorded.partition(":")
    return kind, why.strip()


def _elapsed(run: Path, record: Record) -> float | None:
    """Seconds from the recorded start to the last line of the log; None if either is not known."""
    try:
        started = datetime.fromisoformat(record.text("started")).timestamp()
        return max((run / LOG_FILE).stat().st_mtime - started, 0.0) or None
    except (OSError, ValueError):
        return None


def read_run(path: Path, views: Sequence[StageView] = ()) -> RunFacts:
    """Reads the facts of a run.

    Args:
        path: the folder of a run or of a stock Trainer, or a `trainer_state.json`.
        views: kinds of runs that are known; others are read as a Trainer's.

    Returns:
        [`RunFacts`]: what is recorded and logged; damaged files and values of a wrong type count as not recorded.

    Raises:
        ValueError: nothing there that a run could be read from, or a run that another program reports on.
    """
    record, history = read_files(path)
    view = view_of(path, views, record, history)
    status, why = _status(path, record, history.state)
    if path.is_file():
        return RunFacts(path, view, record, history, status, why)
    folders = list_checkpoints(path)
    checkpoints = {step: _size(folder) for step, folder in folders.items()}
    states = {} if record else {step: folder / STATE_FILE for step, folder in folders.items()}
    return RunFacts(
        *(path, view, record, history, status, why),
        metrics=read_object(path / METRICS_FILE),
        checkpoints=checkpoints,
        newest_complete=max((step for step in folders if not record or _looks_complete(folders[step])), default=None),
        elapsed=_elapsed(path, record) if status == RUNNING else None,
        disk=_disk(path, checkpoints),
        bad_steps=read_objects(path / BAD_STEPS_FILE),
        saved_at={step: state.stat().st_mtime for step, state in states.items() if state.is_file()},
    )
