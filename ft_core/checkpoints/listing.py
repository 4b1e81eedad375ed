"""The checkpoints of a run folder: which exist and which are complete. Imports nothing heavy."""

import shutil
from pathlib import Path

from .manifest import defect_of

PREFIX = "checkpoint-"
SAVING = ".saving-"  # being written
DELETING = ".deleting-"  # being removed
BROKEN = "broken-"  # found damaged by a resume


def list_checkpoints(run: Path) -> dict[int, Path]:
    """Checkpoint folders of a run by step, in order, complete or not."""
    found = {}
    for path in run.glob(f"{PREFIX}*"):
        number = path.name.removeprefix(PREFIX)
        if path.is_dir() and number.isdigit():
            found[int(number)] = path
    return dict(sorted(found.items()))


def checkpoint_step(folder: Path) -> int | None:
    """The step in the name of a checkpoint folder, or None for any other folder."""
    number = folder.resolve().name.removeprefix(PREFIX)
    return int(number) if number.isdecimal() and folder.resolve().name.startswith(PREFIX) else None


def find_newest_complete(run: Path) -> tuple[Path | None, dict[Path, str]]:
    """The newest complete checkpoint, or None, and the defects of later checkpoints."""
    defects = {}
    for path in reversed(list_checkpoints(run).values()):
        defect = defect_of(path)
        if defect is None:
            return path, defects
        defects[path] = defect
    return None, defects


def remove_checkpoint(path: Path) -> None:
    """Removes a checkpoint; it is renamed first, so that a partly removed checkpoint is never used."""
    aside = path.with_name(f"{DELETING}{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    shutil.rmtree(aside)


def set_aside(path: Path) -> Path:
    """Renames a broken checkpoint so that it is never used; returns the new path."""
    aside = path.with_name(f"{BROKEN}{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    return path.rename(aside)
