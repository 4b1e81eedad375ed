"""Checks before a run is resumed: its record, its settings, and whether it has finished."""

import logging
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from ft_core.io.console import echo
from ft_core.runs.record_schema import find_record
from ft_core.runs.resuming import COMMON_SETTINGS, differences, recorded_rate, settle

from .arguments import DEFAULT_WARMUP, MT5Arguments
from .presets import EARLIER, PRESETS

logger = logging.getLogger(__name__)

PAIR = ("per_device_train_batch_size", "gradient_accumulation_steps")
BUDGET = ("tokens_per_batch", "target_tokens_per_step")
ASKED = "batch_asked_for"  # in the record: the value before an out-of-memory error
INTERVALS = ("eval_steps", "save_steps")
EARLIER_WARMUP = 200  # steps, the default of earlier versions
DECISIVE_SETTINGS = (
    *(name for name in COMMON_SETTINGS if name not in PAIR),
    *("optimizer", "precision", "train_sampling_strategy", *BUDGET),
)


def _pair(values: dict) -> tuple[int, int]:
    return values[PAIR[0]], values[PAIR[1]]


def batch_asked(args: MT5Arguments) -> dict[str, int]:
    """The requested batch settings, before an out-of-memory error reduces them."""
    return {name: getattr(args, name) for name in (*PAIR, BUDGET[0])}


def presets_of_run(run: Path, name: str, explicit: Collection[str]) -> dict[str, dict[str, object]]:
    """The presets for a resume: of the preset `name`, the definition that the run was started with.

    Args:
        run: the run's folder.
        name: of the preset.
        explicit: settings that the command line or a YAML file sets; they are not compared.

    Raises:
        ValueError: the run's record cannot be read.
    """
    record = find_record(run)
    recorded: dict[str, object] = {}
    for group in ("data", "model", "arguments", ASKED):
        recorded |= record.get(group) or {}
    recorded.setdefault("most_eval_steps", 0)  # a run of an earlier version
    for definition in (PRESETS[name], *EARLIER.get(name, ())) if recorded.get("preset") == name else ():
        if all(recorded.get(key) == value for key, value in definition.items() if key not in explicit):
            return PRESETS | {name: definition}
    return PRESETS


def settle_intervals(args: MT5Arguments, steps_per_epoch: int) -> bool:
    """Evaluates and saves each epoch, where `most_eval_steps` says so; a run in the folder keeps its intervals.

    Args:
        args ([`MT5Arguments`]): changed in place.
        steps_per_epoch (`int`): optimizer steps.

    Returns:
        `bool`: whether each epoch is evaluated and saved.
    """
    goes_on = _take_recorded_defaults(args)
    if not args.intervals_follow_epochs or steps_per_epoch >= args.most_eval_steps:
        return False
    if not goes_on:
        args.eval_steps = args.save_steps = steps_per_epoch
    return args.eval_steps == steps_per_epoch


def _take_recorded_defaults(args: MT5Arguments) -> bool:
    """Takes over what the run in the folder had where nothing is set: intervals, and the warm-up of earlier versions.

    Returns:
        `bool`: whether the folder holds a run that goes on.
    """
    record = {} if args.overwrite else find_record(Path(args.output_dir)).get("arguments") or {}
    if args.warmup_steps == DEFAULT_WARMUP and record.get("warmup_steps") == EARLIER_WARMUP:
        args.warmup_steps = EARLIER_WARMUP
    if args.intervals_follow_epochs and record.get("eval_strategy") == record.get("save_strategy") == "steps":
        args.eval_steps, args.save_steps = (record[name] for name in INTERVALS)
    return bool(record)


def adopt_recorded(args: MT5Arguments) -> MT5Arguments:
    """Returns the settings with what the run to resume had determined itself: a batch halved after an out-of-memory
    error, if the same batch is requested again, the precision, if none is requested (a second measurement could
    differ), and the intervals of evaluations and checkpoints, if none are set.
    """
    run = Path(args.output_dir)
    previous, found = find_record(run) if args.resume else {}, {}
    if not previous:
        return args
    _take_recorded_defaults(args)
    record = previous["arguments"]
    before, now = _pair(record), _pair(vars(args))
    asks_the_same = not args.resume_force and previous.get(ASKED) == batch_asked(args)
    if asks_the_same and before != now and before[0] * before[1] == now[0] * now[1]:
        echo(f"{run} was trained with {before[0]} x {before[1]} accumulated, the same effective batch; keeping that")
        found |= dict(zip(PAIR, before, strict=True))
    budget, wanted = ([values.get(name, 0) for name in BUDGET] for values in (record, vars(args)))
    if asks_the_same and budget[0] and wanted[0] and budget != wanted and budget[1] == wanted[1]:
        echo(f"{run} was trained with tokens_per_batch={budget[0]}, the same target tokens per step; keeping it")
        found[BUDGET[0]] = budget[0]
    if args.precision_was_timed and record["precision"] != args.precision:
        found |= {name: record[name] for name in ("precision", "bf16", "fp16")}
    return replace(args, **found) if found else args


def check_resumable(run: Path, facts: dict, args: MT5Arguments, manifest: dict | None = None) -> bool:
    """Rejects a resume with other settings, data or number of processes; batches are compared by their effective size,
    and by the target tokens of a step where `tokens_per_batch` is set.

    Args:
        run: the run's folder.
        facts (`dict`): facts of this run on its data and model.
        args ([`MT5Arguments`]): its settings; the learning rate goes back to the recorded one.
        manifest (`dict`, *optional*): as for [`~ft_core.runs.resuming.differences`].

    Returns:
        `bool`: whether to rebuild the learning-rate schedule.

    Raises:
        ValueError: with the list of differences, unless `resume_force` is set.
    """
    changes = differences(run, manifest, facts, args, DECISIVE_SETTINGS)
    recorded = manifest["settings"] if manifest else find_record(run).get("arguments")
    if recorded is not None:
        budget, wanted = ([values.get(name, 0) for name in BUDGET] for values in (recorded, vars(args)))
        if budget[0] and wanted[0] and budget[0] != wanted[0] and budget[1] == wanted[1]:
            changes = [change for change in changes if not change.startswith(f"{BUDGET[0]}:")]
            if manifest is not None:
                logger.warning(
                    f"tokens_per_batch: {budget[0]} -> {wanted[0]}: the same target tokens per step, but the rest of "
                    "this epoch has a new order, so a record may occur in it twice or not at all"
                )
        before, now = _pair(recorded), _pair(vars(args))
        if before[0] * before[1] != now[0] * now[1]:
            changes.append(f"batch x accumulation: {before[0]} x {before[1]} -> {now[0]} x {now[1]}")
    return settle(run, changes, args, recorded_rate(run, manifest))
