"""Compares a resumed run with its record: differences are an error, or are forced by `resume_force`."""

import logging
from collections.abc import Sequence
from pathlib import Path

from transformers import TrainingArguments

from ..io.formats import is_number
from .record_schema import changed_settings, find_record

logger = logging.getLogger(__name__)

# settings that decide which weights a run ends with
COMMON_SETTINGS = (
    *("seed", "data_seed", "per_device_train_batch_size", "gradient_accumulation_steps", "max_steps"),
    *("num_train_epochs", "learning_rate", "weight_decay", "max_grad_norm", "adam_beta1", "adam_beta2", "optim"),
    *("muon_learning_rate", "ema_decay", "adam_epsilon", "lr_scheduler_type", "lr_scheduler_kwargs"),
    *("warmup_steps", "greater_is_better"),
    *("bf16", "fp16", "eval_strategy", "eval_steps", "save_strategy", "save_steps", "metric_for_best_model"),
)
LEARNING_RATE = "learning_rate"
OF_TRAINING = ("settings", "world_size", "training_data")  # in the manifest of a checkpoint
# what a schedule is made from
SCHEDULE = (
    *(
        LEARNING_RATE,
        "muon_learning_rate",
        "body_learning_rate",
        "max_steps",
        "num_train_epochs",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
    ),
    *("world_size", "one_cycle", "pct_start", "div_factor", "final_div_factor", "cycle_momentum"),
    *("lr_scheduler_type", "warmup_steps", "data", "batch x accumulation", "training data"),
)
KEPT = "weights, optimizer state (with its weight_decay and betas), step count and history are those of the checkpoint"


def _by_name(changes: Sequence[str]) -> dict[str, str]:
    return {change.partition(":")[0]: change for change in changes}


def differences(
    run: Path, manifest: dict | None, facts: dict, args: TrainingArguments, names: Sequence[str]
) -> list[str]:
    """What differs between a recorded run and the one about to resume it, each as `name: before -> now`.

    Args:
        run: the run's folder, whose record is compared where there is one.
        manifest (`dict`, *optional*): of the checkpoint, with the present training data's hash as `now`.
        facts (`dict`): facts of this run on its data and model.
        args: its settings.
        names: fields of the settings that decide the result.

    Raises:
        ValueError: the record cannot be read, or the manifest lacks what is compared.
    """
    found: dict[str, str] = {}
    lacking = [name for name in OF_TRAINING if manifest is not None and name not in manifest]
    if lacking:
        raise ValueError(
            f"the newest checkpoint in {run} does not record {lacking[0]}, so it cannot be resumed; remove it, or "
            "start over with --overwrite"
        )
    if record := find_record(run):
        known = [name for name in names if name in record["arguments"]]  # it may be older than a setting
        found = _by_name(changed_settings(record, facts, args, known))
    if manifest is not None:
        # the record may be of a forced resume that ended before its first checkpoint
        record = {"arguments": manifest["settings"], "world_size": manifest["world_size"]}
        known = [name for name in names if name in manifest["settings"]]
        found |= _by_name(changed_settings(record, {}, args, known))
    if manifest is not None and manifest["training_data"] != manifest["now"]:
        found["data"] = f"training data: {manifest['training_data'][:12]} -> {manifest['now'][:12]} (SHA-256)"
    return list(found.values())


def recorded_rate(run: Path, manifest: dict | None) -> float | None:
    """The learning rate with which a run was started, or None."""
    if manifest is not None:
        rate = manifest["settings"].get(LEARNING_RATE)
    else:
        rate = find_record(run).get("arguments", {}).get(LEARNING_RATE)
    return float(rate) if is_number(rate) else None


def settle_changes(
    run: Path, manifest: dict | None, facts: dict, args: TrainingArguments, names: Sequence[str]
) -> bool:
    """Rejects a resume with other settings, or logs what is kept; the learning rate is reset to the recorded one.

    Returns:
        `bool`: whether to rebuild the learning-rate schedule, because `resume_force` is set.

    Raises:
        ValueError: with the list of differences, unless `args.resume_force` is set.
    """
    changes = differences(run, manifest, facts, args, names)
    return settle(run, changes, args, recorded_rate(run, manifest))


def settle(run: Path, changes: list[str], args: TrainingArguments, rate_before: float | None) -> bool:
    """As [`settle_changes`], for differences that are known."""
    if args.resume_force:
        other = [change for change in changes if change.startswith("optim: ") and "muon" in change]
        if other:
            raise ValueError(
                f"{run} cannot be resumed with another optimizer ({other[0]}), whose state differs; use the same optim "
                "or start a new run from its best model"
            )
        if changes:
            logger.warning(
                f"resume_force: continuing with {'; '.join(changes)}. {KEPT}; all other settings are "
                "the new ones, so the result differs from that of the original run"
            )
        return any(change.split(":")[0].split(".")[0] in SCHEDULE for change in changes)
    rate = f"{LEARNING_RATE}:"
    others = [change for change in changes if not change.startswith(rate)]
    if others:
        raise ValueError(
            f"{run} cannot be resumed with other settings ({'; '.join(changes)}); use the same settings, start over in "
            "another folder or with --overwrite, or pass --resume_force to continue anyway"
        )
    if len(others) < len(changes) and rate_before is not None:
        logger.warning(
            f"learning_rate={args.learning_rate:g} is ignored: the run continues with {rate_before:g}, because its "
            "schedule has started; pass --resume_force to use the new rate"
        )
        args.learning_rate = rate_before
    return False
