"""The checkpoints of a run: listing, integrity, and retention.

The stock rotation protects one best and then keeps the newest by file time. Here every checkpoint is ranked by the
metric logged at its step, ties to the earlier, without any state of its own, so that a resume changes nothing.
"""

import shutil
from pathlib import Path

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .manifest import defect_of, is_extra

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


def steps_to_keep(steps: list[int], metric: dict[int, float], keep_best: int, greater_is_better: bool) -> set[int]:
    """The `keep_best` best of `steps` by metric, ties to the earlier, and the last one.

    Steps without a metric, or with NaN, rank behind all others.
    """
    sign = -1.0 if greater_is_better else 1.0
    ranked = sorted(
        (step for step in steps if metric.get(step) == metric.get(step) and step in metric),
        key=lambda step: (sign * metric[step], step),
    )
    return {*ranked[:keep_best], *([max(steps)] if steps else [])}


def steps_within(steps: list[int], best: int | None, limit: int) -> set[int]:
    """The newest `limit` of `steps`, the newest and the best always among them, as `save_total_limit` promises."""
    newest = sorted(steps, reverse=True)
    kept = [step for step in newest if step in (newest[0], best)]
    kept += [step for step in newest if step not in kept][: max(limit - len(kept), 0)]
    return set(kept)


def outdated_extras(checkpoints: dict[int, Path]) -> list[int]:
    """Steps of checkpoints that were written only because of a signal and are no longer the newest."""
    return [step for step, path in checkpoints.items() if step < max(checkpoints) and is_extra(path)]


class KeepBestCheckpoints(TrainerCallback):
    """After each save, removes all checkpoints but the best `keep_best` and the last.

    Needs `save_total_limit=None` and a save at every evaluation.

    Args:
        keep_best (`int`): how many of the best to keep.

    Raises:
        ValueError: for fewer than one.
    """

    def __init__(self, keep_best: int):
        if keep_best < 1:
            raise ValueError(f"keep_best={keep_best} is below 1; keep at least the best checkpoint")
        self.keep_best = keep_best

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        if not state.is_world_process_zero:
            return
        checkpoints = list_checkpoints(Path(args.output_dir))
        for step in outdated_extras(checkpoints):
            remove_checkpoint(checkpoints.pop(step))
        metric = dict(metric_history(state, args.metric_for_best_model))
        keep = steps_to_keep(list(checkpoints), metric, self.keep_best, args.greater_is_better)
        for step, path in checkpoints.items():
            if step not in keep:
                remove_checkpoint(path)


def metric_history(state: TrainerState, metric: str) -> list[tuple[int, float]]:
    """(step, value) of each evaluation that logged `metric`, in order, the last one of a step."""
    values = {entry["step"]: float(entry[metric]) for entry in state.log_history if metric in entry}
    return sorted(values.items())
