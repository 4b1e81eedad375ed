"""Clears a folder for a run that replaces another, so that no interruption lets the old run continue.

Notable:
- First a new record with a new id marks the folder as being cleared. A later resume completes the clearing and starts
  from the beginning.
- Then all folders of the old run are renamed, the newest checkpoint first. If one cannot be renamed, everything goes
  back to its place. Only after that is anything deleted; the record goes last.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ..checkpoints.identity import new_id
from ..checkpoints.listing import DELETING
from ..io.files import remove_tree, write_json
from ..io.formats import read_json

logger = logging.getLogger(__name__)

CLEARING = "interrupted: overwrite"  # the status of a record whose folder is being cleared


def is_being_cleared(record: Path) -> bool:
    """Whether a record marks its folder as partly cleared."""
    try:
        values = read_json(record, "", dict)
    except ValueError:
        return False
    return values.get("status") == CLEARING


def begin_clearing(record: Path, **further: object) -> None:
    """Replaces a record by one of a run that has not begun; the old run cannot continue any more.

    Args:
        record (`Path`): the file.
        further: fields that its readers need beyond those of a run.
    """
    began = datetime.now(UTC).isoformat(timespec="seconds")
    facts = {"id": new_id(), "status": CLEARING, "started": began, "written": began, "seconds": 0.0}
    write_json(record, facts | {"global_step": 0, "best_step": None, "world_size": 1, "arguments": {}, **further})


def clear(record: Path, folders: Sequence[Path], files: Sequence[Path], **further: object) -> None:
    """Removes what a run wrote; other content of its folder stays.

    Args:
        record (`Path`): of the run; is removed last.
        folders: are renamed in this order before anything is deleted; links are removed, what they name stays.
        files: other files of the run.
        further: as for [`begin_clearing`].

    Raises:
        ValueError: a folder could not be renamed; all folders and the record are as they were.
    """
    before = record.read_bytes() if record.is_file() else None
    begin_clearing(record, **further)
    moved: list[tuple[Path, Path]] = []
    asides = [path.with_name(f"{DELETING}{path.name}") for path in folders]  # some perhaps of an interrupted clearing
    for path, aside in zip(folders, asides, strict=True):
        if not path.is_symlink() and not path.exists():
            continue
        try:
            remove_tree(aside)
            path.rename(aside)
        except OSError as error:
            _put_back(moved, record, before)
            raise ValueError(
                f"{path} cannot be moved ({error.strerror or error}), so the run in {record.parent} is not "
                "overwritten; move it away yourself, or choose another folder"
            ) from error
        moved.append((path, aside))
    left = [path for path, _ in moved if path.is_symlink() or path.exists()]
    if left:
        raise ValueError(f"{left[0]} appeared again while its run was overwritten; is another process writing there?")
    for aside in asides:
        try:
            remove_tree(aside)
        except OSError as error:
            logger.warning(f"{aside} of the replaced run could not be deleted ({error.strerror or error}); delete it")
    for path in (*files, record):
        path.unlink(missing_ok=True)


def _put_back(moved: Sequence[tuple[Path, Path]], record: Path, before: bytes | None) -> None:
    for path, aside in reversed(moved):
        aside.rename(path)
    if before is None:
        record.unlink()
    else:
        record.write_bytes(before)
