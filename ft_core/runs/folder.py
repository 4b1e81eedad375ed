"""The run folder: its files, and the checks before it is resumed or overwritten."""

import logging
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..checkpoints.identity import RUN_FILE
from ..checkpoints.listing import (
    BROKEN,
    DELETING,
    PREFIX,
    SAVING,
    checkpoint_step,
    find_newest_complete,
    list_checkpoints,
    set_aside,
)
from ..checkpoints.manifest import MANIFEST
from ..io.files import OLD, remove_tree
from .clearing import begin_clearing, clear, is_being_cleared

logger = logging.getLogger(__name__)

LOCK_FILE = ".lock"
HELD_FILE = ".lock.held"  # the lock of the operating system
PUSHING = ".pushing"  # what is on its way to the Hub
LOG_FILE = "metrics.jsonl"
METRICS_FILE = "training_metrics.json"
SWEEP_FILE, TRIALS, REPEATS = "sweep.json", "trials", "repeats"  # of a search: its record, and folders of its runs
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
STATE_FILE = "trainer_state.json"  # in each checkpoint, also of a plain Trainer

_RANDOM = "[a-z0-9_]{8}"  # how tempfile ends a name
_CHECKPOINT = rf"{PREFIX}\d+"
_FOLDERS, _FILES = ("|".join(map(re.escape, names)) for names in (OWN_FOLDERS, OWN_FILES))
_LOCK = re.compile(rf"\.lock(\.held|\.\d+(\.stale)?)?|\.\.lock\.\d+\.{_RANDOM}(\.\d+)?")
_LEFTOVER = re.compile(
    rf"\.pushing|{re.escape(SAVING)}{_CHECKPOINT}|{re.escape(DELETING)}(({BROKEN})?{_CHECKPOINT}|{_FOLDERS})"
    rf"|\.({_FOLDERS})\.{_RANDOM}|{re.escape(OLD)}({_FOLDERS})|\.({_FILES})\.{_RANDOM}(\.[a-z]+)?"
    rf"|\.lock\.\d+(\.stale)?|\.\.lock\.\d+\.{_RANDOM}(\.\d+)?"
)
_LEFT_PREDICTIONS = re.compile(rf"\.predictions-\d+(-all)?\.jsonl\.{_RANDOM}(\.jsonl)?")
_EVALUATED = re.compile(r"predictions-0(-all)?\.jsonl")  # of an evaluation before the training
_open_sweeps: set[Path] = set()  # whose trials this process runs


def is_empty(path: Path) -> bool:
    """Whether a folder is empty, apart from its lock."""
    return all(_LOCK.fullmatch(entry.name) for entry in path.iterdir())


def _is_free(path: Path) -> bool:
    """Whether a run may begin in a folder: it is empty, apart from the summaries of an evaluation before the run."""
    return all(_LOCK.fullmatch(entry.name) or _is_evaluation(entry) for entry in path.iterdir())


def _is_evaluation(path: Path) -> bool:
    if path.name != PREDICTIONS or path.is_symlink() or not path.is_dir():
        return False
    return all(_EVALUATED.fullmatch(entry.name) for entry in path.iterdir())


def remove_leftovers(run: Path) -> None:
    """Removes what a killed run left half-written or half-removed; only in a folder with the record of a run, and only
    names that this library makes. The caller must hold the lock of the folder."""
    if not (run / RUN_FILE).is_file():
        return
    found = [path for path in run.iterdir() if _LEFTOVER.fullmatch(path.name)]
    if (run / PREDICTIONS).is_dir() and not (run / PREDICTIONS).is_symlink():
        found += [path for path in (run / PREDICTIONS).iterdir() if _LEFT_PREDICTIONS.fullmatch(path.name)]
    for path in found:
        try:
            remove_tree(path)
        except OSError as error:
            logger.warning(f"{path}, left by a killed run, could not be removed ({error.strerror or error})")


def check_output_folder(path: Path, resume: bool, overwrite: bool) -> None:
    """Checks that a run can write to `path`, without leaving a file there.

    Raises:
        ValueError: the folder holds something and neither `resume` nor `overwrite` is set, both are, it is a file, it
            holds something other than a run and would be overwritten, it cannot be written, or it is inside a
            checkpoint or another run's own folders.
    """
    if resume and overwrite:
        raise ValueError("--resume and --overwrite exclude each other; choose one")
    check_writable(path)
    check_outside_of_runs(path)
    if path.is_dir() and not _is_free(path) and not resume and not overwrite:
        raise ValueError(
            f"output_dir={path} is not empty; pass --resume to continue it or --overwrite to replace it (in Python "
            "resume=True or overwrite=True)"
        )
    if overwrite and path.is_dir() and not _is_free(path) and not (path / RUN_FILE).is_file():
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


@contextmanager
def trials_of(sweep: Path) -> Iterator[None]:
    """Within it, this process may run in the folders of a sweep's trials."""
    _open_sweeps.add(sweep.resolve())
    try:
        yield
    finally:
        _open_sweeps.discard(sweep.resolve())


def check_outside_of_runs(path: Path) -> None:
    """Raises ValueError for a folder inside a checkpoint, or inside another folder that a run or a sweep manages."""
    place = path.resolve()
    for inner, outer in zip([place, *place.parents], place.parents, strict=False):
        owner = _manager_of(inner, outer)
        if owner is not None:
            raise ValueError(
                f"output_dir={path} is inside {inner.name} of {owner} {outer}, which may remove it; choose a folder "
                "outside of it"
            )


def _manager_of(inner: Path, outer: Path) -> str | None:
    """What removes `inner`, a folder in `outer`, by itself: `the run` or `the sweep`; None if nothing does."""
    is_checkpoint = checkpoint_step(inner) is not None
    if is_checkpoint and any((inner / name).is_file() for name in (MANIFEST, STATE_FILE)):
        return "the run"
    is_own = is_checkpoint or inner.name in OWN_FOLDERS or _LEFTOVER.fullmatch(inner.name)
    if is_own and (outer / RUN_FILE).is_file():
        return "the run"
    is_trial = inner.name in (TRIALS, REPEATS) and outer not in _open_sweeps
    return "the sweep" if is_trial and (outer / SWEEP_FILE).is_file() else None


def prepare_run_folder(path: Path, resume: bool, overwrite: bool) -> Path | None:
    """Prepares the folder on every rank: removes the old run, or finds the checkpoint to resume from.

    Only what a run writes is removed, and only from a folder that holds a run.

    Returns:
        `Path`: the newest checkpoint with `resume`, or None to start from the beginning.

    Raises:
        ValueError: as [`check_output_folder`], or a folder of the old run cannot be moved.
    """
    from accelerate import PartialState

    check_output_folder(path, resume, overwrite)
    PartialState().wait_for_everyone()  # all ranks must look before one of them starts to write
    if resume:
        _on_main_process(lambda: tidy(path))
        return _checkpoint_to_resume(path)
    _on_main_process(lambda: clear_run(path))
    return None


def tidy(run: Path) -> None:
    """Removes what a killed run left behind, and completes an `--overwrite` that was interrupted."""
    remove_leftovers(run)
    if is_being_cleared(run / RUN_FILE):
        clear_run(run)


def mark_replaced(run: Path) -> None:
    """Makes sure that the run in a folder, if there is one, is not continued any more; [`clear_run`] removes it."""
    if (run / RUN_FILE).is_file():
        begin_clearing(run / RUN_FILE)


def clear_run(run: Path) -> None:
    """Removes the run in a folder, if it holds one; see [`ft_core.runs.clearing`].

    Raises:
        ValueError: a folder cannot be moved; everything is as it was.
    """
    if not (run / RUN_FILE).is_file():
        return
    logger.warning(f"replacing the run in {run}")
    remove_leftovers(run)
    checkpoints = reversed(list_checkpoints(run).values())
    broken = [one for one in run.iterdir() if re.fullmatch(f"{BROKEN}{_CHECKPOINT}", one.name)]
    folders = [*checkpoints, *broken, *(run / name for name in OWN_FOLDERS)]
    clear(run / RUN_FILE, folders, [run / name for name in OWN_FILES if name != RUN_FILE])


def _on_main_process(work: Callable[[], object]) -> object:
    """What the main process makes, on every rank; its ValueError is raised on every rank."""
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    state = PartialState()
    found: list[object] = [None, None]
    if state.is_main_process:
        try:
            found[0] = work()
        except ValueError as error:
            found[1] = str(error)
    if state.num_processes > 1:
        found = broadcast_object_list(found)
    if found[1] is not None:
        raise ValueError(found[1])
    return found[0]


def _checkpoint_to_resume(path: Path) -> Path | None:
    """The newest complete checkpoint, the same on every rank; later broken ones are logged and renamed.

    Raises:
        ValueError: there are checkpoints, and all of them are broken.
    """

    def find() -> str | None:
        complete, defects = find_newest_complete(path)
        if complete is None and defects:
            named = "; ".join(f"{broken.name}: {defect}" for broken, defect in defects.items())
            raise ValueError(
                f"no checkpoint in {path} is complete ({named}); restore one, or start over with --overwrite"
            )
        for broken, defect in defects.items():
            aside = set_aside(broken)
            logger.warning(
                f"{broken} is skipped: {defect}; it was renamed to {aside.name}; delete it when you no longer need it"
            )
        return complete and str(complete)

    found = _on_main_process(find)
    return Path(str(found)) if found else None
