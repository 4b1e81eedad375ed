"""Keeps the best checkpoints by metric, and the last one to resume from.

The stock rotation protects one best and then keeps the newest by file time. This ranks every checkpoint by the metric
logged at its step, ties to the earlier, and has no state of its own, so that a resume changes nothing.
"""

import json
import shutil
from pathlib import Path

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from .early_stopping import metric_history
from .saved_weights import defect_of_weights

PREFIX = "checkpoint-"


def list_checkpoints(run: Path) -> dict[int, Path]:
    """Checkpoint folders of a run by step, in order."""
    found = {}
    for path in run.glob(f"{PREFIX}*"):
        number = path.name.removeprefix(PREFIX)
        if path.is_dir() and number.isdigit():
            found[int(number)] = path
    return dict(sorted(found.items()))


def check_checkpoint(path: Path) -> None:
    """Looks for what a resume needs, without loading it; the stock Trainer goes on without some of it, silently.

    Raises:
        ValueError: naming what is missing or damaged.
    """
    state = path / TRAINER_STATE_NAME
    sharded = any(path.glob("pytorch_model_fsdp*"))
    defect = None if sharded else defect_of_weights(path)
    for name in ("optimizer", "scheduler"):
        if not any(path.glob(f"{name}*")):
            defect = f"{name}.pt is missing"
    if not state.is_file():
        defect = f"{state.name} is missing"
    else:
        try:
            json.loads(state.read_text(encoding="utf-8"))
        except ValueError:
            defect = f"{state.name} is not readable JSON"
    if defect:
        raise ValueError(f"{path} cannot be resumed: {defect}; remove that folder to go on from the one before")


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


class KeepBestCheckpoints(TrainerCallback):
    """After each save, removes all checkpoints but the best `keep_best` and the last.

    A folder is renamed before it is deleted, so that no half-deleted checkpoint is ever found. Needs
    `save_total_limit=None` and a save at every evaluation.

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
        metric = dict(metric_history(state, args.metric_for_best_model))
        keep = steps_to_keep(list(checkpoints), metric, self.keep_best, args.greater_is_better)
        for step, path in checkpoints.items():
            if step not in keep:
                doomed = path.with_name(f".deleting-{path.name}")
                path.rename(doomed)
                shutil.rmtree(doomed)
