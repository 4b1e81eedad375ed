"""What a run logged, entry by entry: from its own log, or from the `trainer_state.json` of any Trainer."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..checkpoints.listing import PREFIX, list_checkpoints
from ..runs.folder import LOG_FILE

STATE_FILE = "trainer_state.json"
ROUNDED = 5e-4  # of the logged steps a second
LOST = 0.02  # of the sum of logged losses, by rounding

Entry = dict[str, object]


@dataclass(frozen=True)
class History:
    """Logged entries of a run, in the order they were written."""

    entries: list[Entry]
    state: Entry  # the rest of `trainer_state.json`; empty for a run with a log of its own
    source: str  # the file that they come from
    torn: int = 0  # lines that could not be read, such as the last one of a run that was killed while writing it


def _is_entry(found: object) -> bool:
    return isinstance(found, dict) and isinstance(found.get("step"), int)


def read_log(path: Path) -> tuple[list[Entry], int]:
    """Entries of a file of JSON lines, and how many lines are incomplete."""
    found: list[object] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found += [json.loads(line)] if line.strip() else []
        except ValueError:
            found.append(None)
    entries = [entry for entry in found if _is_entry(entry)]
    return entries, len(found) - len(entries)


def read_json(path: Path) -> object:
    """The content of a JSON file; None if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_object(path: Path) -> Entry:
    """A JSON object of a file; empty if the file is missing, damaged or something else."""
    found = read_json(path)
    return found if isinstance(found, dict) else {}


def read_history(run: Path) -> History | None:
    """What the run of a folder logged, or of a `trainer_state.json`; None if there is nothing of the kind."""
    if run.is_file():
        return _from_state(run)
    if (run / LOG_FILE).is_file():
        entries, torn = read_log(run / LOG_FILE)
        if entries:
            return History(entries, {}, LOG_FILE, torn)
    folders = (run, *reversed(list_checkpoints(run).values()))
    found = [history for history in (_from_state(folder / STATE_FILE) for folder in folders) if history is not None]
    return max(found, key=lambda history: int(history.state.get("global_step") or 0), default=None)


def _from_state(path: Path) -> History | None:
    state = read_object(path)
    entries = state.pop("log_history", None)
    if not isinstance(entries, list):
        return None
    named = f"{path.parent.name}/{path.name}" if path.parent.name.startswith(PREFIX) else path.name
    return History([entry for entry in entries if _is_entry(entry)], state, named)


@dataclass(frozen=True)
class Curve:
    """A logged term: steps in order and finite values; `lost_at` are the steps whose value was not finite."""

    steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    lost_at: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.steps)

    def points(self) -> list[tuple[int, float]]:
        """Step and value of each point."""
        return list(zip(self.steps, self.values, strict=True))

    def between(self, first: float, last: float) -> "Curve":
        """The points after step `first` up to step `last`."""
        kept = [(step, value) for step, value in self.points() if first < step <= last]
        return Curve(tuple(step for step, _ in kept), tuple(value for _, value in kept))


def curve(entries: Sequence[Entry], name: str, training: bool = False) -> Curve:
    """The curve of a term, optionally of training steps only; the last entry of a step counts."""
    found = {
        entry["step"]: entry[name]
        for entry in entries
        if name in entry and not (training and ("loss" not in entry or "train_runtime" in entry))
    }
    numbers = {step: value for step, value in sorted(found.items()) if isinstance(value, int | float)}
    finite = {step: float(value) for step, value in numbers.items() if math.isfinite(value)}
    return Curve(tuple(finite), tuple(finite.values()), tuple(step for step in sorted(found) if step not in finite))


def timed(entries: Sequence[Entry], step: int) -> tuple[float | None, float | None] | None:
    """Seconds of the whole run up to a step, and of one step, by its last `train_runtime`; each None if it cannot be
    told, as of a resumed run, whose last part alone is timed. None without a `train_runtime`."""
    runtime = curve(entries, "train_runtime")
    if not len(runtime) or runtime.values[-1] <= 0:
        return None
    end, seconds = runtime.points()[-1]
    speed = dict(curve(entries, "train_steps_per_second").points()).get(end)
    if not speed or end <= 0:
        return None, None
    steps, error = speed * seconds, ROUNDED * seconds + 0.5
    covers_all = steps > end - error
    # older Trainers divide by all planned steps, also those of earlier parts or those that were never made
    if steps > end + error or (covers_all and not _holds_all_losses(entries, end)):
        return None, None
    return seconds if covers_all and end == step else None, seconds / (end if covers_all else steps)


def _holds_all_losses(entries: Sequence[Entry], end: int) -> bool:
    """Whether the logged mean loss is that of all steps: that of a part, divided by all steps as older Trainers do, is
    too small. True if it cannot be told."""
    mean = dict(curve(entries, "train_loss").points()).get(end)
    losses = curve(entries, "loss", training=True).between(0, end)
    if mean is None or not len(losses) or min(losses.values) < 0:
        return True
    # each logged loss is the mean since the one before
    spans = zip(losses.points(), (0, *losses.steps), strict=False)
    return mean * end >= (1 - LOST) * sum(value * (step - since) for (step, value), since in spans)
