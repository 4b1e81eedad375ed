"""The run folder: its files, and the checks before it is resumed or overwritten."""

import logging
import shutil
import tempfile
from pathlib import Path

from ..checkpoints.listing import BROKEN, DELETING, SAVING, find_newest_complete, list_checkpoints, set_aside
from ..io.files import OLD

logger = logging.getLogger(__name__)

LOCK_FILE = ".lock"
PUSHING = ".pushing"  # what is on its way to the Hub
RUN_FILE = "run.json"
LOG_FILE = "metrics.jsonl"
METRICS_FILE = "training_metrics.json"
SWEEP_FILE, TRIALS = "sweep.json", "trials"  # of a search: its record, and the folder of its trials
CURVES_FILE = "loss_curves.png"
BEST_MODEL = "best_model"
FINAL_MODEL = "final"
PREDICTIONS = "predictions"
OWN_FOLDERS = (BEST_MODEL, FINAL_MODEL, PREDICTIONS)
BAD_STEPS_FILE = "bad_steps.json"
KEPT_IDS_FILE = "kept_ids.json"  # of a trimmed vocabulary
REPORT_MD, REPORT_HTML, PICTURES_FILE, NEXT_FILE = "report.md", "report.html", "report.svg", "next.yaml"
REPORT_FILES = (REPORT_MD, REPORT_HTML, PICTURES_FILE, NEXT_FILE)
OWN_FILES = (RUN_FILE, LOG_FILE, METRICS_FILE, CURVES_FILE, BAD_STEPS_FILE, KEPT_IDS_FILE, *REPORT_FILES)


def is_empty(path: Path) -> bool:
    """Whether a folder is empty, apart from its lock."""
    return all(entry.name.startswith(LOCK_FILE) for entry in path.iterdir())


def remove_leftovers(run: Path) -> None:
    """Removes partly written or removed files of a killed run; the caller must hold the lock of the folder."""
    patterns = [
        PUSHING,
        f"{SAVING}*",
        f"{DELETING}*",
        f"{LOCK_FILE}.*",
        f".{LOCK_FILE}.*",
        f"{PREDICTIONS}/.{PREDICTIONS}-*",
    ]
    patterns += [f".{name}.*" for name in (*OWN_FILES, *OWN_FOLDERS)] + [f"{OLD}{name}" for name in OWN_FOLDERS]
    for pattern in patterns:
        for path in run.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def check_output_folder(path: Path, resume: bool, overwrite: bool) -> None:
    """Checks that a run can write to `path`, without leaving a file there.

    Raises:
        ValueError: the folder holds something and neither `resume` nor `overwrite` is set, both are, it is a file, it
            holds something other than a run and would be overwritten, or it cannot be written.
    """
    if resume and overwrite:
        raise ValueError("--resume and --overwrite exclude each other; choose one")
    check_writable(path)
    if path.is_dir() and not is_empty(path) and not resume and not overwrite:
        raise ValueError(
            f"output_dir={path} is not empty; pass --resume to continue it or --overwrite to replace it (in Python "
            "resume=True or overwrite=True)"
        )
    if overwrite and path.is_dir() and not is_empty(path) and not (path / RUN_FILE).is_file():
        raise ValueError(
            f"output_dir={path} is not a run folder (no {RUN_FILE}) and is not overwritten; choose another folder"
        )


def check_writable(path: Path) -> None:
    """Raises ValueError when `path` is a file, or a folder that cannot be written or made; leaves nothing there."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"output_dir={path} is a file; choose a folder")
    existing = path
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise ValueError(
            f"output_dir={path} cannot be written ({error.strerror or error}); choose another folder"
        ) from error


def prepare_run_folder(path: Path, resume: bool, overwrite: bool) -> Path | None:
    """Prepares the folder on every rank: removes the old run, or finds the checkpoint to resume from.

    Only what a run writes is removed, and only from a folder that holds a run.

    Returns:
        `Path`: the newest checkpoint with `resume`, or None to start from the beginning.

    Raises:
        ValueError: as [`check_output_folder`].
    """
    from accelerate import PartialState

    check_output_folder(path, resume, overwrite)
    holds_run = (path / RUN_FILE).is_file()
    state = PartialState()
    state.wait_for_everyone()  # all ranks must look before one of them starts to write
    if resume:
        return _checkpoint_to_resume(path)
    if state.is_main_process and holds_run:
        logger.warning(f"replacing the run in {path}")
        (path / METRICS_FILE).unlink(missing_ok=True)  # first, because it marks the run as complete
        broken = path.glob(f"{BROKEN}*")
        for folder in (*list_checkpoints(path).values(), *broken, *(path / name for name in OWN_FOLDERS)):
            shutil.rmtree(folder, ignore_errors=True)
        for name in reversed(OWN_FILES):  # the record last, which says that this is a run
            (path / name).unlink(missing_ok=True)
    state.wait_for_everyone()
    return None


def _checkpoint_to_resume(path: Path) -> Path | None:
    """The newest complete checkpoint, the same on every rank; later broken ones are logged and renamed.

    Raises:
        ValueError: there are checkpoints, and all of them are broken.
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    state = PartialState()
    found: list[object] = [None, None]
    if state.is_main_process:
        complete, defects = find_newest_complete(path)
        if complete is None and defects:
            named = "; ".join(f"{broken.name}: {defect}" for broken, defect in defects.items())
            found[1] = f"no checkpoint in {path} is complete ({named}); restore one, or start over with --overwrite"
        else:
            for broken, defect in defects.items():
                aside = set_aside(broken)
                logger.warning(
                    f"{broken} is skipped: {defect}; it was renamed to {aside.name}, remove it after inspection"
                )
            found[0] = complete and str(complete)
    if state.num_processes > 1:
        found = broadcast_object_list(found)
    if found[1]:
        raise ValueError(found[1])
    return Path(found[0]) if found[0] else None
