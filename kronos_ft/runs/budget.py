"""What a stage costs on this machine, and the steps (and sizes) of the stages that fit into a time budget."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ft_core.cli.learning_rates import AutoRate
from ft_core.io.console import echo
from ft_core.io.memory import free_memory
from ft_core.io.progress_lines import span
from ft_core.training.budget.choice import (
    StageCost,
    choose,
    explain,
    fitting_steps,
    measured_for,
    record_of,
    recorded_choice,
    settle,
    settle_as_recorded,
    steps_of,
)
from ft_core.training.budget.duration import is_open, read_duration
from ft_core.training.find_lr.search import MOST_SAMPLES, USUAL_TRIALS, search_steps

from ..training.compiling import planned_compile
from ..training.measured import UnitSeconds, unit_seconds
from ..training.window_trainer import WindowTrainer
from .selection import affordable_origins, candidate_count

SMALLER = {
    "tokenizer": {"base": "tiny", "2k": "tiny"},
    "predictor": {"large": "base", "base": "small", "small": "mini"},
}
TINY = "tiny"  # tokens of its own: both stages have this size, or none


def count_evaluations(args: object, steps: int, per_epoch: int) -> int:
    """Evaluations of a run with a number of steps; the last step evaluates too."""
    if args.eval_strategy == "no":
        return int(args.eval_on_start)
    every = per_epoch if args.eval_strategy == "epoch" else args.eval_steps
    every = every if every >= 1 else every * steps
    return -(-steps // max(int(every), 1)) + args.eval_on_start


def windows_prepared(prepares: str, counts: Mapping[str, int], seen: int, augmented: bool) -> int:
    """Windows whose tokens or states are made, of a run that trains on `seen` windows.

    Training windows of a predictor are tokenised step by step where they are augmented, or where the run ends within
    its first pass.
    """
    if not prepares:
        return 0
    held_out = counts["validation"] + counts["test"]
    step_by_step = prepares == "tokens" and (augmented or seen < counts["train"])
    return held_out + (seen if step_by_step else counts["train"])


def cost_of(
    trainer: WindowTrainer,
    counts: Mapping[str, int],
    prepares: str = "",
    forecast: Callable[[int], object] | None = None,
    recipe_steps: int = 0,
) -> tuple[StageCost, str]:
    """What a stage costs, and a line that says of what its time consists.

    Args:
        trainer ([`WindowTrainer`]): of the stage, whose windows are prepared in each step.
        counts (`Mapping`): windows of train, validation and test.
        prepares, forecast: as of [`~kronos_ft.training.measured.unit_seconds`].
        recipe_steps (`int`): steps of the preset, which a time budget may reach although it has replaced `max_steps`.
    """
    args, per_epoch, planned = trainer.args, trainer.steps_per_epoch(), trainer.planned_steps()
    planned = planned if args.max_steps > 0 else max(planned, recipe_steps)
    units = unit_seconds(trainer, prepares, forecast)
    micro = units.step / args.gradient_accumulation_steps
    augmented = getattr(trainer.train_dataset, "augmented", False)

    def others(steps: int) -> float:
        """Seconds besides steps, evaluations in training and compiling."""
        seen = steps * trainer.effective_batch()
        seconds = windows_prepared(prepares, counts, seen, augmented) * units.prepared
        seconds += counts["test"] * units.evaluated / args.world_size
        if forecast is not None:
            seconds += selection_seconds(trainer, units, steps)
        if isinstance(args.learning_rate, AutoRate):
            held_out = (USUAL_TRIALS + 1) * min(MOST_SAMPLES, counts["validation"]) * units.evaluated
            seconds += search_steps(steps, args.optim) * units.step + held_out / args.world_size
        return seconds

    evaluation = counts["validation"] * units.evaluated / args.world_size

    def seconds(steps: int) -> float:
        compiling, _ = planned_compile(trainer, steps, micro)
        evaluations = count_evaluations(args, steps, per_epoch)
        return steps * units.step + evaluations * evaluation + compiling + others(steps)

    batch = args.per_device_train_batch_size
    cost = StageCost(trainer.stage, planned, per_epoch, units.step, seconds, batch, units)
    per = f"{units.step:.3g} s a step, {count_evaluations(args, planned, per_epoch)} evaluations of {evaluation:.3g} s"
    per += f", {span(others(planned))} before and after"
    compiling, why = planned_compile(trainer, planned, micro)
    per += f", compiling {span(compiling)} ({why})" if compiling else f", blocks not compiled ({why})"
    if units.is_disturbed:
        per += f"; {units.circumstances()}"
    return cost, f"time        about {span(seconds(planned))}: {per}"


def selection_seconds(trainer: WindowTrainer, units: UnitSeconds, steps: int) -> float:
    """Seconds of the choice of weights by forecasts, after a number of steps."""
    shape, args = trainer.train_dataset.shape, trainer.args
    evaluations = count_evaluations(args, steps, trainer.steps_per_epoch()) - args.eval_on_start
    count = candidate_count(args.keep_best, evaluations)
    seen = steps * trainer.effective_batch()
    return count * affordable_origins(seen, shape.lookback, max(shape.horizon, 1), count) * units.forecast


def smaller_sizes(settings: Mapping[str, tuple]) -> dict[str, str]:
    """The next smaller sizes of stages that start from random weights; empty where there are none.

    Args:
        settings (`Mapping`): settings of each stage by its name; the first of them is on its model.
    """
    models = {stage: one[0] for stage, one in settings.items() if stage in SMALLER and one[0].from_scratch}
    for stage in ("predictor", "tokenizer"):
        size = SMALLER[stage].get(models[stage].model) if stage in models else None
        if size is not None and (size != TINY or len(settings) == 1):
            return {stage: size}
    if len(models) == len(SMALLER) and all(one.model != TINY for one in models.values()):
        return dict.fromkeys(models, TINY)
    return {}


def settle_stages(
    settings: Mapping[str, tuple], run: Path, measure: Callable[[str], StageCost]
) -> dict[str, object] | None:
    """Chooses the steps of all stages from their time budget, in place; smaller models only from random weights.

    Args:
        settings (`Mapping`): settings of each stage by its name: model first, training last.
        run (`Path`): the folder of the first stage; a run that is resumed takes the choice that it recorded there.
        measure (`Callable`): measures a stage.

    Returns:
        `dict`: what `run.json` says on the choice; None without a time budget, or where its steps are chosen already.

    Raises:
        ValueError: the budget is too short, with what would fit.
    """
    arguments = {stage: one[-1] for stage, one in settings.items()}
    first = next(iter(arguments.values()))
    if not is_open(first):
        return None
    if recorded := recorded_choice(first, run):
        missing = [stage for stage in arguments if steps_of(recorded, stage) is None]
        if missing:
            raise ValueError(
                f"time_budget={first.time_budget} was shared among the stages that the run began with; train the "
                f"{missing[0]} by itself: kronos-ft {missing[0]}, or begin again with --overwrite"
            )
        for stage, args in arguments.items():
            settle_as_recorded(args, recorded, stage)
            settings[stage][0].model = recorded["stages"][stage].get("model") or settings[stage][0].model
        return recorded
    budget, began = first.time_budget, time.time()

    def measure_all() -> list[StageCost]:
        return [measure(stage) for stage in settings]

    costs = measured_for(budget, measure_all, began)
    while fitting_steps(costs, read_duration(budget)) is None:
        smaller = smaller_sizes(settings)
        for stage, size in smaller.items():
            model = settings[stage][0]
            echo(f"size        {stage} {size} instead of {model.model}, which is too slow for {budget} on this machine")
            model.model = size
        if not smaller:
            break
        costs = measured_for(budget, measure_all, began)
    free_memory()  # of the models that were measured
    steps = choose(costs, budget, _remedies(settings, costs))
    explain(costs, steps, budget)
    record = record_of(costs, steps, budget)
    for (stage, args), count in zip(arguments.items(), steps, strict=True):
        settle(args, count)
        if stage in SMALLER and settings[stage][0].from_scratch:
            record["stages"][stage]["model"] = settings[stage][0].model
    return record


def _remedies(settings: Mapping[str, tuple], costs: list[StageCost]) -> list[str]:
    """What else would make a run fit: a smaller batch, and a smaller published model."""
    slowest = max(costs, key=lambda cost: cost.seconds(cost.least))
    remedies = []
    if slowest.batch and slowest.batch > 1:
        remedies.append(f"a smaller batch than --per_device_train_batch_size {slowest.batch}")
    model = settings[slowest.stage][0]
    if not model.from_scratch and model.preset != "cpu":
        remedies.append("--preset cpu")
    return remedies
