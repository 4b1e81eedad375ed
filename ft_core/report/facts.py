"""The facts of a run that a report reads: from its folder, or from a `trainer_state.json`, in whatever state it is."""

import contextlib
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from ..checkpoints.listing import list_checkpoints
from ..checkpoints.manifest import read_manifest
from ..runs.folder import (
    BAD_STEPS_FILE,
    BEST_MODEL,
    FINAL_MODEL,
    LOG_FILE,
    METRICS_FILE,
    REPORT_FILES,
    REPORT_MD,
    RUN_FILE,
)
from ..runs.lock import is_held
from .history import STATE_FILE, Curve, History, curve, read_history, read_json, read_object, timed
from .trends import Gap, gaps
from .views import PLAIN, REPORTED_BY, StageView

RUNNING, FINISHED, EARLY, INTERRUPTED, PRUNED = "running", "finished", "stopped early", "interrupted", "pruned"
KILLED = "ended without a word"  # recorded as running, but its process is gone
UNFINISHED = "not at its end"  # of a plain Trainer, which does not record why
UNTRAINED = 0.8  # of the error of a constant answer
UNIFORM = 0.95  # of the cross-entropy of equally likely tokens
SHARED_LIMIT = 0.001  # of the time of validation
SETTING_GROUPS = ("arguments", "data", "augmentation", "model")
EPOCH_SECONDS = re.compile(r"epoch.*(time|sec|duration|runtime)|(time|sec|duration).*epoch")  # a logged term


@dataclass(frozen=True)
class RunFacts:
    """The facts of a run; what is not recorded is None or empty."""

    path: Path  # the folder, or the file of a Trainer's state
    view: StageView
    record: dict  # run.json
    metrics: dict  # training_metrics.json, which only a finished run has
    history: History
    status: str  # one of the words above
    why: str = ""  # what interrupted it
    checkpoints: dict[int, int] = field(default_factory=dict)  # bytes by step
    newest_complete: int | None = None  # step of the newest checkpoint that has all its files
    elapsed: float | None = None  # of a run in progress, seconds from its start to its last log entry
    disk: dict[str, int] = field(default_factory=dict)  # bytes by kind of content, without reports
    bad_steps: list[dict] = field(default_factory=list)  # steps that were not applied
    saved_at: dict[int, float] = field(default_factory=dict)  # of a plain Trainer, when it saved each checkpoint

    # Progress and time

    @property
    def name(self) -> str:
        """The name of its folder."""
        resolved = self.path.resolve()
        return resolved.name if resolved.is_dir() else resolved.parent.name

    @cached_property
    def step(self) -> int:
        """Optimizer steps made."""
        logged = max((entry["step"] for entry in self.history.entries), default=0)
        return max(logged, _integer(self.record.get("global_step")), _integer(self.history.state.get("global_step")))

    @property
    def max_steps(self) -> int | None:
        """Optimizer steps planned."""
        return _integer(self.record.get("max_steps")) or _integer(self.history.state.get("max_steps")) or None

    @property
    def progress(self) -> float | None:
        """Share of the planned steps that were made."""
        return self.step / self.max_steps if self.max_steps else None

    @cached_property
    def epoch(self) -> float | None:
        """Passes over the training data so far."""
        epochs = [entry["epoch"] for entry in self.history.entries if isinstance(entry.get("epoch"), int | float)]
        return max(epochs, default=None)

    @cached_property
    def steps_an_epoch(self) -> float | None:
        """Optimizer steps in one pass over the training data."""
        observed = self.observed_number("steps_per_epoch")
        return observed or (self.step / self.epoch if self.epoch and self.step else None)

    def place(self, step: int) -> dict[str, float]:
        """A step, and its epoch if that can be told."""
        return {"step": step} | ({"epoch": round(step / self.steps_an_epoch, 1)} if self.steps_an_epoch else {})

    @cached_property
    def _timed(self) -> tuple[float | None, float | None] | None:
        return timed(self.history.entries, self.step)

    @cached_property
    def epoch_seconds(self) -> list[float]:
        """Seconds of each epoch of a run without a record: logged ones, else those between its checkpoints."""
        if self.record:
            return []
        names = {name for entry in self.history.entries for name in entry if EPOCH_SECONDS.search(name)}
        logged = [value for name in sorted(names)[:1] for value in curve(self.history.entries, name).values]
        if logged or not self.steps_an_epoch:
            return logged
        saved = [(step, at) for step, at in sorted(self.saved_at.items()) if step <= self.step]
        found = [(after - at) / (later - step) * self.steps_an_epoch for (step, at), (later, after) in pairwise(saved)]
        return found if min(found, default=0.0) >= 1.0 else []  # files of one second are copies, and tell no time

    @cached_property
    def seconds(self) -> float | None:
        """Seconds of training so far; without a record only if the last entry covers the whole run."""
        if not self.record:
            return self._timed[0] if self._timed else None
        runtime = curve(self.history.entries, "train_runtime")
        if len(runtime):
            return runtime.values[-1]
        recorded, at = self.record.get("seconds"), _integer(self.record.get("global_step"))
        if isinstance(recorded, int | float) and at:
            return recorded / at * self.step
        return self.elapsed

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

    # Settings, and what the trainer observed

    def setting(self, name: str) -> object:
        """A recorded setting of training, data, augmentation or model; None if it is not recorded."""
        for group in SETTING_GROUPS:
            values = self.record.get(group)
            if isinstance(values, dict) and name in values:
                return values[name]
        return None

    def amount(self, name: str) -> float | None:
        """A recorded setting that is a number, else None."""
        value = self.setting(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    @cached_property
    def rate(self) -> float | None:
        """The peak learning rate: the setting, else the highest that a plain Trainer logged."""
        logged = () if self.record else self.training("learning_rate").values
        return self.amount("learning_rate") or max(logged, default=None)

    def observed(self, *names: str) -> object:
        """What the trainer observed before the first step, by its path of names; None if it is not recorded."""
        found: object = self.record.get("observed")
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return found

    def observed_number(self, *names: str) -> float | None:
        """As [`observed`], for a number."""
        value = self.observed(*names)
        return float(value) if isinstance(value, int | float) else None

    def observed_object(self, *names: str) -> dict:
        """As [`observed`], for an object; empty if it is not one."""
        value = self.observed(*names)
        return value if isinstance(value, dict) else {}

    @cached_property
    def start(self) -> float | None:
        """The main quantity in validation of the starting weights."""
        return dict(self.primary_evaluated.points()).get(0)

    @property
    def is_untrained_at_start(self) -> bool:
        """Whether the run began with random weights: it says so, or they did no better than the simplest answer: 0
        everywhere, or all tokens equally likely."""
        if self.setting("from_scratch") or self.start is None:
            return bool(self.setting("from_scratch"))
        level = self.observed_number("validation", "inputs", "mean_square")
        if not self.view.in_nats:
            return level is not None and self.start > UNTRAINED * level
        bits = [self.observed_number("config", f"{name}_bits") for name in ("s1", "s2")]
        return None not in bits and self.start > UNIFORM * statistics.fmean(bits) * math.log(2)

    @property
    def is_leaked(self) -> bool:
        """Whether validation holds what was trained on."""
        shared = self.observed_number("shared_share") or 0.0
        return shared > SHARED_LIMIT or _integer(self.record.get("shared_sources")) > 0

    @property
    def is_from_python(self) -> bool:
        """Whether a script started it, so that data and model are not recorded as settings."""
        return bool(self.record) and not any(isinstance(self.record.get(name), dict) for name in ("data", "model"))

    # What was logged

    def training(self, name: str) -> Curve:
        """A term of training steps."""
        return curve(self.history.entries, name, training=True)

    def evaluated(self, name: str) -> Curve:
        """A term of validation; step 0 is that of the starting weights."""
        return curve(self.history.entries, f"eval_{name}")

    @cached_property
    def primary(self) -> Curve:
        """The main quantity in training."""
        return self.training(self.view.primary)

    @cached_property
    def primary_evaluated(self) -> Curve:
        """The main quantity in validation."""
        return self.evaluated(self.view.primary)

    @cached_property
    def trained_evaluations(self) -> Curve:
        """The main quantity in validation, without the starting weights."""
        return self.primary_evaluated.between(0, float("inf"))

    @cached_property
    def is_rewarded(self) -> bool:
        """Whether the main quantity in training contains a reward, which a negative value shows."""
        return min(self.primary.values, default=0.0) < 0

    @cached_property
    def gaps(self) -> list[Gap]:
        """Training and validation of the main quantity at each evaluation."""
        return gaps(self.primary, self.primary_evaluated)

    def last(self, name: str) -> float | None:
        """The last value of an evaluated term."""
        found = self.evaluated(name)
        return found.values[-1] if len(found) else None


def _integer(value: object) -> int:
    return int(value) if isinstance(value, int | float) and value == value else 0


def _size(path: Path) -> int:
    sizes = [0]
    for file in [path] if path.is_file() else path.rglob("*"):
        with contextlib.suppress(OSError):  # a run in progress removes files
            sizes.append(file.stat().st_size if file.is_file() else 0)
    return sum(sizes)


def _looks_complete(checkpoint: Path) -> bool:
    """Whether all files that a checkpoint's manifest lists are there in their sizes; a resume also hashes them."""
    try:
        files = read_manifest(checkpoint)["files"]
        return all((checkpoint / name).stat().st_size == known["bytes"] for name, known in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _disk(run: Path, checkpoints: dict[int, int]) -> dict[str, int]:
    """Bytes of checkpoints, models and the rest; reports do not count, or each would find another figure."""
    models = sum(_size(run / name) for name in (BEST_MODEL, FINAL_MODEL) if (run / name).is_dir())
    reports = sum(_size(run / name) for name in REPORT_FILES)
    reports += sum(_size(file.parent) for file in run.glob(f"*/{REPORT_MD}"))
    kept = sum(checkpoints.values())
    return {"checkpoints": kept, "model": models, "rest": max(_size(run) - kept - models - reports, 0)}


def _status(run: Path, record: dict, history: History) -> tuple[str, str]:
    recorded = record.get("status")
    if not isinstance(recorded, str):
        step, most = (_integer(history.state.get(name)) for name in ("global_step", "max_steps"))
        return (FINISHED if most and step >= most else UNFINISHED), ""
    if recorded == RUNNING and not is_held(run):
        return KILLED, ""
    kind, _, why = recorded.partition(":")
    return kind, why.strip()


def _view_of(run: Path, views: Sequence[StageView], record: dict, history: History) -> StageView:
    observed = record.get("observed")
    stage = record.get("stage") or (observed.get("stage") if isinstance(observed, dict) else None)
    for view in views:
        if view.stage == stage:
            return view
    if views and isinstance(stage, str) and stage in REPORTED_BY:  # its rules and quantities are not known here
        raise ValueError(f"run={run} is of the stage {stage}; report on it with {REPORTED_BY[stage]}")
    terms = {name for entry in history.entries for name in entry}
    for view in views:
        if view.signature and {view.signature, f"eval_{view.signature}"} & terms:
            return view
    return PLAIN


def read_run(path: Path, views: Sequence[StageView] = ()) -> RunFacts:
    """The facts of a run.

    Args:
        path: the folder of a run or of a stock Trainer, or a `trainer_state.json`.
        views: kinds of runs that are known; others are read as a Trainer's.

    Raises:
        ValueError: nothing there that a run could be read from, or a run that another program reports on.
    """
    if not path.exists():
        raise ValueError(f"run={path} does not exist; name the folder of a run, or a {STATE_FILE}")
    record = read_object(path / RUN_FILE) if path.is_dir() else {}
    history = read_history(path)
    if history is None and not record:
        raise ValueError(
            f"run={path} holds neither {RUN_FILE} with {LOG_FILE} nor a {STATE_FILE}; name the folder of a run"
        )
    history = history or History([], {}, RUN_FILE)
    view = _view_of(path, views, record, history)
    status, why = _status(path, record, history)
    if path.is_file():
        return RunFacts(path, view, record, {}, history, status, why)
    folders = list_checkpoints(path)
    checkpoints = {step: _size(folder) for step, folder in folders.items()}
    states = {} if record else {step: folder / STATE_FILE for step, folder in folders.items()}
    bad_steps = read_json(path / BAD_STEPS_FILE)
    return RunFacts(
        path,
        view,
        record,
        read_object(path / METRICS_FILE),
        history,
        status,
        why,
        checkpoints,
        max((step for step, folder in folders.items() if not record or _looks_complete(folder)), default=None),
        _elapsed(path, record) if status == RUNNING else None,
        _disk(path, checkpoints),
        [entry for entry in bad_steps if isinstance(entry, dict)] if isinstance(bad_steps, list) else [],
        {step: state.stat().st_mtime for step, state in states.items() if state.is_file()},
    )


def _elapsed(run: Path, record: dict) -> float | None:
    """Seconds from the recorded start to the last line of the log; None if either is not known."""
    try:
        started = datetime.fromisoformat(record["started"]).timestamp()
        return max((run / LOG_FILE).stat().st_mtime - started, 0.0) or None
    except (OSError, KeyError, TypeError, ValueError):
        return None
