"""Reads the files of a run: its record, its log, or the `trainer_state.json` of any Trainer.

Nothing else in a report opens these files. A run that was killed leaves torn files, and users edit them, so every value
is read with its type: a value of another type counts as not recorded.
"""

from dataclasses import dataclass
from pathlib import Path

from ..checkpoints.listing import PREFIX, list_checkpoints
from ..io.console import printable_values
from ..io.formats import is_number, parse_json, read_json
from ..runs.folder import LOG_FILE, RUN_FILE, STATE_FILE

READABLE = (RUN_FILE, LOG_FILE, STATE_FILE, f"{PREFIX}*/{STATE_FILE}")
MOST_STEPS = 2**53  # larger values are not valid steps
MOST_BYTES = 2**28  # of a record, or of the state of a Trainer with its history
MOST_LINE = 2**20  # bytes of a log entry

Entry = dict[str, object]


class Record(dict):
    """A JSON object whose values are read by path and type."""

    def at(self, *names: str) -> object:
        """The value at a path of names; None if it is not recorded."""
        found: object = self
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return found

    def number(self, *names: str) -> float | None:
        """The finite number at a path of names, else None."""
        value = self.at(*names)
        return float(value) if is_number(value) else None

    def count(self, *names: str) -> int:
        """The whole number at a path of names, else 0."""
        return int(self.number(*names) or 0)

    def text(self, *names: str) -> str:
        """The text at a path of names, else an empty one."""
        value = self.at(*names)
        return value if isinstance(value, str) else ""

    def group(self, *names: str) -> "Record":
        """The object at a path of names, else an empty one."""
        value = self.at(*names)
        return Record(value) if isinstance(value, dict) else Record()


@dataclass(frozen=True)
class History:
    """Logged entries of a run, in the order they were written."""

    entries: list[Entry]  # each with an integer `step`
    state: Record  # the rest of `trainer_state.json`; empty for a run with a log of its own
    source: str  # the file that they come from
    torn: int = 0  # lines that could not be read, such as the last one of a run that was killed while writing it

    @property
    def terms(self) -> set[str]:
        """All names that were logged."""
        return {name for entry in self.entries for name in entry}


def _content(path: Path) -> object:
    """The content of a JSON file, control characters escaped; None if it is missing or damaged."""
    try:
        return printable_values(read_json(path, "", most_bytes=MOST_BYTES))
    except ValueError:
        return None


def read_object(path: Path) -> Record:
    """The JSON object in a file; empty if the file is missing, damaged or holds something else."""
    found = _content(path)
    return Record(found) if isinstance(found, dict) else Record()


def read_objects(path: Path) -> list[Record]:
    """The JSON objects of a list in a file; empty if the file is missing, damaged or holds something else."""
    found = _content(path)
    return [Record(one) for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _entries(found: list[object]) -> list[Entry]:
    entries = [one for one in found if isinstance(one, dict) and type(one.get("step")) is int]
    return [entry for entry in entries if 0 <= entry["step"] < MOST_STEPS]


def read_log(path: Path) -> tuple[list[Entry], int]:
    """Entries of a file of JSON lines, and how many lines are incomplete."""
    found: list[object] = []
    with open(path, "rb") as file:
        while line := file.readline(MOST_LINE):
            try:
                found += [printable_values(parse_json(line, dict))] if line.strip() else []
            except ValueError:
                found.append(None)
    entries = _entries(found)
    return entries, len(found) - len(entries)


def _read_state(path: Path) -> History | None:
    state = read_object(path)
    entries = state.pop("log_history", None)
    if not isinstance(entries, list):
        return None
    is_checkpoint = path.parent.name.startswith(PREFIX)
    return History(_entries(entries), state, f"{path.parent.name}/{path.name}" if is_checkpoint else path.name)


def read_history(run: Path) -> History | None:
    """What the run in a folder logged, or a `trainer_state.json` holds; None if nothing was logged."""
    if run.is_file():
        return _read_state(run)
    if (run / LOG_FILE).is_file():
        entries, torn = read_log(run / LOG_FILE)
        if entries:
            return History(entries, Record(), LOG_FILE, torn)
    folders = (run, *reversed(list_checkpoints(run).values()))
    found = [history for folder in folders if (history := _read_state(folder / STATE_FILE))]
    return max(found, key=lambda history: history.state.count("global_step"), default=None)


def read_files(run: Path) -> tuple[Record, History]:
    """The record and the history of a run; either may be empty, not both.

    Args:
        run: the folder of a run or of a Trainer, or a `trainer_state.json`.

    Raises:
        ValueError: nothing is there, or nothing that could be read.
    """
    check_readable(run)
    record = read_object(run / RUN_FILE) if run.is_dir() else Record()
    history = read_history(run)
    if history is None and not record:
        raise _unreadable(run)
    return record, history or History([], Record(), RUN_FILE)


def check_readable(run: Path) -> None:
    """Checks that a path holds files of a run, without reading them.

    Raises:
        ValueError: it does not exist, or is a folder without any of these files.
    """
    if not run.exists():
        raise ValueError(f"run={run} does not exist; name the folder of a run, or a trainer_state.json")
    if run.is_dir() and not any(any(run.glob(pattern)) for pattern in READABLE):
        raise _unreadable(run)


def _unreadable(run: Path) -> ValueError:
    return ValueError(
        f"run={run} holds neither {RUN_FILE} with {LOG_FILE} nor a trainer_state.json; name the folder of a run"
    )
