"""Chooses the steps of one or several stages so that all of them end within a time budget.

The choice is made before the first step and is recorded: a run is never stopped by a clock, its learning-rate schedule
fits its steps, and a resumed run has the same ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate.utils import broadcast_object_list
from transformers import TrainingArguments

from ...io.console import echo
from ...io.formats import is_number
from ...io.progress_lines import span
from ...runs.record_schema import recorded_group
from .duration import SettledBudget, is_open, read_duration
from .remembered import UNKNOWN, Measurement, measuring_again

FACT = "budget"  # in run.json
LEAST_STEPS = 100  # fewer teach a model next to nothing
USED = 0.9  # share of the budget that is planned with: a run also starts, saves and is disturbed
PARTS = 10_000  # the recipe's steps are cut to a multiple of this part of them


@dataclass(frozen=True)
class StageCost:
    """What a stage of a run costs on this machine.

    Attributes:
        stage (`str`): its name.
        planned (`int`): optimizer steps of its recipe.
        per_epoch (`int`): steps of one pass over the training data.
        step_seconds (`float`): of an optimizer step.
        seconds (`Callable`): of the whole stage with a number of steps: what comes before the first step, evaluations,
            and what follows the last step.
        batch (`int`, *optional*): samples of a micro-batch, if it can be made smaller.
        measured ([`Measurement`]): when the seconds were measured, and how busy the machine was.
    """

    stage: str
    planned: int
    per_epoch: int
    step_seconds: float
    seconds: Callable[[int], float]
    batch: int | None = None
    measured: Measurement = UNKNOWN

    @property
    def least(self) -> int:
        """The fewest steps that are useful: those of the recipe, if it has fewer than `LEAST_STEPS`."""
        return min(LEAST_STEPS, self.planned)

    def cut(self, part: int) -> int:
        """So many ten-thousandths of the recipe's steps, but no fewer than the least."""
        return max(self.planned * part // PARTS, self.least)

    def line(self, steps: int) -> str:
        """What was chosen, in one line."""
        share = "all" if steps >= self.planned else f"{steps:,} of"
        return (
            f"{self.stage}: {share} {self.planned:,} steps, {steps / max(self.per_epoch, 1):.3g} passes over the data, "
            f"about {span(self.seconds(steps))} ({self.step_seconds:.3g} s a step)"
        )


def needed(costs: Sequence[StageCost]) -> float:
    """The least budget in seconds that the fewest useful steps of all stages fit into."""
    return sum(cost.seconds(cost.least) for cost in costs) / USED


def fitting_steps(costs: Sequence[StageCost], seconds: float) -> list[int] | None:
    """Steps of each stage: the same share of each recipe, the largest that fits; None if not even the least do.

    Args:
        costs (`Sequence` of [`StageCost`]): of all stages.
        seconds (`float`): the budget.
    """

    def fits(part: int) -> bool:
        return sum(cost.seconds(cost.cut(part)) for cost in costs) <= USED * seconds

    if not fits(0):
        return None
    low, high = 0, PARTS
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return [cost.cut(low) for cost in costs]


def in_words(seconds: float) -> str:
    """A budget as the setting takes it, rounded up: `90s`, `16m`, `2h5m`."""
    if seconds <= 90:
        return f"{max(-(-seconds // 1), 1):.0f}s"
    hours, minutes = divmod(int(-(-seconds // 60)), 60)
    return f"{hours}h{minutes}m" if hours and minutes else f"{hours}h" if hours else f"{minutes}m"


def refusal(costs: Sequence[StageCost], time_budget: str, remedies: Sequence[str] = ()) -> ValueError:
    """The error of a budget that is too short, with what would fit."""
    slowest = max(costs, key=lambda cost: cost.seconds(cost.least))
    steps = " + ".join(f"{cost.least:,} steps of the {cost.stage}" for cost in costs)
    remedies = [f"--time_budget {in_words(needed(costs))}", *remedies, "--max_steps in place of a budget to try it out"]
    circumstances = slowest.measured.circumstances()
    if slowest.measured.is_disturbed:
        remedies.append("the same budget when the machine is less busy")
    return ValueError(
        f"time_budget={time_budget} is too short for {steps} ({slowest.stage}: {slowest.step_seconds:.3g} s a step on "
        f"this machine{circumstances and ', ' + circumstances}); use {', or '.join(remedies)}"
    )


def measured_for(time_budget: str, measure: Callable[[], list[StageCost]], since: float) -> list[StageCost]:
    """Costs of the stages; remembered ones that would refuse a budget are measured again.

    Args:
        time_budget (`str`): the budget.
        measure (`Callable`): measures, or remembers.
        since (`float`): when this command began, in seconds since 1970: what is older is remembered.
    """
    costs = measure()
    is_refused = fitting_steps(costs, read_duration(time_budget)) is None
    (is_stale,) = broadcast_object_list([is_refused and any(0 < cost.measured.at < since for cost in costs)])
    if is_stale:
        with measuring_again():
            costs = measure()
    return costs


def choose(costs: Sequence[StageCost], time_budget: str, remedies: Sequence[str] = ()) -> list[int]:
    """As [`fitting_steps`]; the same on all processes.

    Raises:
        ValueError: the budget is too short, with what would fit.
    """
    (steps,) = broadcast_object_list([fitting_steps(costs, read_duration(time_budget))])
    if steps is None:
        raise refusal(costs, time_budget, remedies)
    return steps


def settle(args: TrainingArguments, steps: int) -> None:
    """Sets the chosen steps in the settings of a run, in place."""
    args.max_steps, args.time_budget = steps, SettledBudget(args.time_budget)


def explain(costs: Sequence[StageCost], steps: Sequence[int], time_budget: str) -> None:
    """Prints what was chosen, and how a budget is shared among several stages."""
    total = sum(cost.seconds(count) for cost, count in zip(costs, steps, strict=True))
    shared = [f"{cost.stage} {span(cost.seconds(count))}" for cost, count in zip(costs, steps, strict=True)]
    among = f": {', '.join(shared)}" if len(costs) > 1 else ""
    echo(f"budget      {time_budget}, about {span(total)} planned{among}")
    for cost, count in zip(costs, steps, strict=True):
        echo(f"chosen      {cost.line(count)}")


def record_of(costs: Sequence[StageCost], steps: Sequence[int], time_budget: str) -> dict[str, object]:
    """What `run.json` says on the choice, so that a resumed run has the same steps."""
    stages = {
        cost.stage: {"max_steps": count, "step_seconds": cost.step_seconds, "seconds": round(cost.seconds(count), 1)}
        for cost, count in zip(costs, steps, strict=True)
    }
    return {"time_budget": str(time_budget), "stages": stages}


def recorded_choice(args: TrainingArguments, run: Path) -> dict[str, object] | None:
    """What a run to resume recorded on the time budget of these settings.

    Args:
        args: settings that may resume a run.
        run (`Path`): the run folder with the record.

    Returns:
        `dict`: as of [`record_of`]; None where the steps are to be chosen: a new run, another budget, no record.
    """
    if not args.resume or not is_open(args):
        return None
    recorded = recorded_group(run, FACT)
    stages = recorded.get("stages")
    is_same = recorded.get("time_budget") == args.time_budget
    if not is_same or not isinstance(stages, dict) or not all(steps_of(recorded, stage) for stage in stages):
        return None
    return recorded


def steps_of(recorded: Mapping[str, object], stage: str) -> int | None:
    """The recorded steps of a stage; None if they are not there."""
    found = recorded["stages"].get(stage)
    steps = found.get("max_steps") if isinstance(found, dict) else None
    return int(steps) if is_number(steps) and steps >= 1 else None


def settle_as_recorded(args: TrainingArguments, recorded: Mapping[str, object], stage: str) -> None:
    """Sets the recorded steps of a stage in the settings of a run that is resumed, in place."""
    settle(args, steps_of(recorded, stage))
    echo(
        f"budget      {args.time_budget}: {args.max_steps:,} steps of the {stage}, as the run recorded when it started"
    )
