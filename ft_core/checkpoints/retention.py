"""Which checkpoints of a run are kept: the best by the logged metric, and the newest.

The stock rotation protects one best checkpoint and then keeps the newest by file time. Here every checkpoint is ranked
by the metric logged at its step, ties to the earlier, without any state of its own, so that a resume changes nothing.
"""

from pathlib import Path

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .listing import list_checkpoints, remove_checkpoint
from .manifest import is_extra


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
    found = [entry for entry in state.log_history if isinstance(entry.get(metric), int | float)]
    values = {entry["step"]: float(entry[metric]) for entry in found}
    return sorted(values.items())
