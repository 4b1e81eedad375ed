"""What a run logged, entry by entry: from its own log, or from the `trainer_state.json` of any Trainer."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..checkpoints.retention import PREFIX, list_checkpoints
from ..runs.folder import LOG_FILE

STATE_FILE = "trainer_state.json"
ROUNDED = 5e-4  # of the logged steps a second
LOST = 0.02  # of the sum of logged losses, by rounding


Entry = dict[str, object]


@dataclass(frozen=True)
class History:
    """Logged entries of a run.

    Attributes:
        entries (`list` of `dict`): in the order they were written.
        state (`dict`): the rest of `trainer_state.json`; empty for a run with a log of its own.
        source (`str`): the file that they come from.
        torn (`int`): lines that could not be read, such as the last one of a run that was killed while writing it.
    """

    entries: list[Entry]
    state: Entry
    source: str
    torn: int = 0


def read_log(path: Path) -> tuple[list[Entry], int]:
    """Entries of a file of JSON lines, and how many lines are not whole."""
    entries, torn = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            entries.append(entry)
        elif line.strip():
            torn += 1
    return entries, torn


def read_json(path: Path) -> object:
    """The content of a JSON file; None when it is missing or torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_object(path: Path) -> Entry:
    """A JSON object of a file; empty when the file is missing, torn or something else."""
    found = read_json(path)
    return found if isinstance(found, dict) else {}


def state_files(run: Path) -> list[Path]:
    """Files of a Trainer's state: of the folder itself, then of its checkpoints, the newest first."""
    folders = (run, *reversed(list_checkpoints(run).values()))
    return [folder / STATE_FILE for folder in folders if (folder / STATE_FILE).is_file()]


def read_history(run: Path) -> History | None:
    """What the run of a folder logged, or of a `trainer_state.json`; None where there is nothing of the kind."""
    if run.is_file():
        return _from_state(run)
    if (run / LOG_FILE).is_file():
        entries, torn = read_log(run / LOG_FILE)
        if entries:
            return History(entries, {}, LOG_FILE, torn)
    found = [history for history in map(_from_state, state_files(run)) if history is not None]
    return max(found, key=lambda history: int(history.state.get("global_step") or 0), default=None)


def _from_state(path: Path) -> History | None:
    state = read_object(path)
    entries = state.pop("log_history", None)
    if not isinstance(entries, list):
        return None
    named = f"{path.parent.name}/{path.name}" if path.parent.name.startswith(PREFIX) else path.name
    return History([e for e in entries if isinstance(e, dict) and isinstance(e.get("step"), int)], state, named)


@dataclass(frozen=True)
class Curve:
    """A logged term: steps in order and finite values; `lost_at` are the steps whose value was not finite."""

    steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    lost_at: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def lost(self) -> int:
        """How many entries had a value that was not finite."""
        return len(self.lost_at)

    def points(self) -> list[tuple[int, float]]:
        """Step and value of each point."""
        return list(zip(self.steps, self.values, strict=True))

    def between(self, first: float, last: float) -> "Curve":
        """The points after step `first` up to step `last`."""
        kept = [(step, value) for step, value in self.points() if first < step <= last]
        return Curve(tuple(step for step, _ in kept), tuple(value for _, value in kept))


def is_training(entry: Entry) -> bool:
    """Whether an entry is of training steps and neither an evaluation nor the summary at the end."""
    return "loss" in entry and "train_runtime" not in entry


def curve(entries: Sequence[Entry], name: str, training: bool | None = None) -> Curve:
    """The curve of a term; the last entry of a step counts.

    Args:
        entries: from a [`History`].
        name: the term as logged.
        training (*optional*): only entries of training steps, or only others.
    """
    found: dict[int, object] = {}
    for entry in entries:
        if name in entry and (training is None or is_training(entry) == training):
            found[entry["step"]] = entry[name]
    numbers = {step: value for step, value in sorted(found.items()) if isinstance(value, int | float)}
    finite = {step: float(value) for step, value in numbers.items() if math.isfinite(value)}
    return Curve(tuple(finite), tuple(finite.values()), tuple(step for step in sorted(found) if step not in finite))


@dataclass(frozen=True)
class LastPart:
    """What the last `train_runtime` covers.

    Attributes:
        seconds (`float`): of the part.
        steps (`float`, *optional*): made in it; None where that cannot be told.
        is_whole (`bool`): it is known to be the whole run up to the last logged step.
    """

    seconds: float
    steps: float | None
    is_whole: bool


def last_part(entries: Sequence[Entry], step: int) -> LastPart | None:
    """The part of a run that its last `train_runtime` covers; None without one.

    Args:
        entries: as logged.
        step: the last step of the run.
    """
    runtime = curve(entries, "train_runtime")
    if not len(runtime) or runtime.values[-1] <= 0:
        return None
    end, seconds = runtime.points()[-1]
    speed = dict(curve(entries, "train_steps_per_second").points()).get(end)
    if not speed or end <= 0:
        return LastPart(seconds, None, False)
    steps, error = speed * seconds, ROUNDED * seconds + 0.5
    # older Trainers divide by all planned steps, also those of earlier parts or those that were never made
    if steps > end + error or (steps > end - error and not _holds_all_losses(entries, end)):
        return LastPart(seconds, None, False)
    is_whole = steps > end - error
    return LastPart(seconds, end if is_whole else steps, is_whole and end == step)


def _holds_all_losses(entries: Sequence[Entry], end: int) -> bool:
    """Whether the mean loss of the last entry has all that was logged in it: that of a part, divided by all steps as
    older Trainers do, is too small. True where it cannot be told."""
    mean = dict(curve(entries, "train_loss").points()).get(end)
    losses = curve(entries, "loss", training=True).between(0, end)
    return mean is None or not len(losses) or min(losses.values) < 0 or mean * end >= (1 - LOST) * _sum(losses)


def _sum(losses: Curve) -> float:
    """Of the losses of all steps, each logged one the mean since the one before."""
    before = (0, *losses.steps)
    return sum(value * (step - since) for (step, value), since in zip(losses.points(), before, strict=False))
