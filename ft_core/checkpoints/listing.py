"""The checkpoints of a run folder: which exist and which are complete. Imports nothing heavy."""

from pathlib import Path

from ..io.files import remove_tree
from .identity import MANIFEST_ID, recorded_id
from .manifest import defect_of, read_manifest

PREFIX = "checkpoint-"
SAVING = ".saving-"  # being written
DELETING = ".deleting-"  # being removed
BROKEN = "broken-"  # found damaged by a resume
FOREIGN = "it belongs to another run"


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
    """The newest complete checkpoint of the run, or None, and the defects of later checkpoints.

    A checkpoint of another run counts as defective. Without a readable record every checkpoint is of the run.
    """
    try:
        expected, is_known = recorded_id(run), True
    except ValueError:
        expected, is_known = None, False
    defects = {}
    for path in reversed(list_checkpoints(run).values()):
        defect = FOREIGN if is_known and _id_of(path, expected) != expected else defect_of(path)
        if defect is None:
            return path, defects
        defects[path] = defect
    return None, defects


def _id_of(checkpoint: Path, unknown: str | None) -> str | None:
    """The id of the run that wrote a checkpoint; `unknown` if its manifest cannot be read."""
    try:
        return read_manifest(checkpoint).get(MANIFEST_ID)
    except ValueError:
        return unknown


def remove_checkpoint(path: Path) -> None:
    """Removes a checkpoint; it is renamed first, so that a partly removed checkpoint is never used.

    Of a link to a checkpoint elsewhere only the link is removed.
    """
    aside = path.with_name(f"{DELETING}{path.name}")
    remove_tree(aside)
    path.rename(aside)
    remove_tree(aside)


def set_aside(path: Path) -> Path:
    """Renames a broken checkpoint so that it is never used; returns the new path."""
    aside = path.with_name(f"{BROKEN}{path.name}")
    remove_tree(aside)
    return path.rename(aside)
