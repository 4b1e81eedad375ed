"""Removes the intermediate checkpoints of a finished run."""

from dataclasses import dataclass
from pathlib import Path

from ft_core.checkpoints.listing import list_checkpoints, remove_checkpoint
from ft_core.checkpoints.weights import holds_complete_model
from ft_core.runs.folder import FINAL_MODEL, RUN_FILE
from ft_core.runs.record_schema import read_record


@dataclass(frozen=True)
class Cleaning:
    """Checkpoints to remove, checkpoints to keep, and the freed bytes.

    `reason` says why more than the best one stays, or is None.
    """

    doomed: list[Path]
    kept: list[Path]
    freed: int
    reason: str | None


def folder_bytes(path: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def plan_cleaning(run: Path) -> Cleaning:
    """Checkpoints to remove: all except the best; without a complete `final/`, the newest is also kept.

    Raises:
        ValueError: the folder holds no run, or one that is not over.
    """
    if not (run / RUN_FILE).is_file():
        raise ValueError(f"{run} is not a run folder (no {RUN_FILE}); pass a run folder")
    record = read_record(run)
    if record["status"] not in ("finished", "stopped early"):
        raise ValueError(f"{run} is not finished, so its checkpoints are still needed; resume it first")
    checkpoints = list_checkpoints(run)
    keep = {step for step in checkpoints if step == record["best_step"]}
    reason = None
    if not holds_complete_model(run / FINAL_MODEL):
        reason = f"{run / FINAL_MODEL} is missing or damaged: the newest checkpoint is kept too; --resume rewrites it"
        keep |= set(list(checkpoints)[-1:])
    doomed = [path for step, path in checkpoints.items() if step not in keep]
    kept = [path for step, path in checkpoints.items() if step in keep]
    return Cleaning(doomed, kept, sum(folder_bytes(path) for path in doomed), reason)


def keep_within_limit(run: Path, limit: int | None) -> None:
    """Removes the last checkpoint of a run that is over, where `save_total_limit` is 1 and another is the best.

    Only now: before the last figures were written, a resume would have begun again at the best one.
    """
    if limit == 1 and read_record(run)["best_step"]:
        clean(plan_cleaning(run))


def clean(cleaning: Cleaning) -> None:
    """Removes the checkpoints; each is renamed first, so that a partly removed checkpoint is never used."""
    for path in cleaning.doomed:
        remove_checkpoint(path)
