"""Finds the learning rate of a run: a range test, then trials from the same weights, judged on validation data."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transformers import TrainerCallback, TrainingArguments

from ...cli.learning_rates import LEARNING_RATE, AutoRate
from ...io.console import echo, note
from ...io.formats import is_number
from ...io.memory import free_memory
from ...runs.record_schema import find_record
from ..recorded_trainer import RecordedTrainer
from .rule import best_rate, ceiling, first_rates, next_rate, range_rates
from .trials import FollowRates, part_of, random_states_kept, short_settings, silent_folder, trial_rates

RANGE_STEPS = 50
TRIAL_SHARE, MOST_TRIAL_STEPS = 0.5, 120  # of the steps of the run: shorter trials prefer other rates than the run
# with Muon, a high rate worsens well-trained weights at first and gains more than a low one later (docs/find-lr.md)
LONGER_WITH_MUON = 2
USUAL_TRIALS = 7  # five rates, and those beside the best of them
MOST_SAMPLES = 512  # of the validation split that judge a trial
MUON_RATE, BODY_RATE = "muon_learning_rate", "body_learning_rate"
FACT = "rate_search"  # in run.json

Train = Callable[[TrainingArguments, list[TrainerCallback]], RecordedTrainer]


@dataclass
class FoundRate:
    """The outcome of a search.

    Attributes:
        rates (`dict` of `str` to `float`): the learning rate, and those that are scaled with it, by setting.
        metric (`str`): what judges a trial, on validation data.
        start (`float`): the metric of the starting weights.
        trials (`dict` of `float` to `float`): the metric by rate, infinite where the trial diverged.
        larger_is_better (`bool`): of the metric.
        trial_steps, samples (`int`): optimizer steps of a trial, and the validation samples that judge it.
        range_rates, range_losses, start_losses (`list` of `float`): of the range test: the rates, the training loss,
            and that of the starting weights on the same batches.
    """

    metric: str
    start: float
    larger_is_better: bool
    trial_steps: int
    samples: int
    range_rates: list[float]
    range_losses: list[float]
    start_losses: list[float] = field(default_factory=list)
    trials: dict[float, float] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)

    def scores(self) -> dict[float, float]:
        """The metric by rate as a loss: smaller is better, infinite where the trial diverged."""
        sign = -1 if self.larger_is_better else 1
        return {rate: value if value == float("inf") else sign * value for rate, value in self.trials.items()}

    def compared(self) -> tuple[dict[float, float], float]:
        """What rates are chosen by: [`scores`], and the metric of the starting weights as a loss."""
        return self.scores(), -self.start if self.larger_is_better else self.start

    def words(self) -> str:
        """The settings as written on the command line."""
        return " ".join(f"--{name} {value:g}" for name, value in self.rates.items())

    def __repr__(self) -> str:
        return f"FoundRate {self.line()}" if self.rates else f"FoundRate: no rate yet, {len(self.trials)} trials"

    def line(self) -> str:
        """What was found, in one line."""
        rate = self.rates[LEARNING_RATE]
        name, scores = self.metric.removeprefix("eval_"), self.scores()
        lowest = min(scores, key=scores.get)
        near = (
            f", nearly as good as {lowest:g}, which is lower" if scores[lowest] < scores[rate] and lowest < rate else ""
        )
        return (
            f"{self.words()}  (validation {name} {self.trials[rate]:.4g} after {self.trial_steps} steps, "
            f"{self.start:.4g} before; {len(self.trials)} rates tried{near})"
        )

    def record(self) -> dict[str, object]:
        """As JSON holds it."""
        return {
            **self.rates,
            **{name: getattr(self, name) for name in ("metric", "start", "trial_steps", "samples")},
            "trials": [{"learning_rate": rate, "score": value} for rate, value in sorted(self.trials.items())],
            "range_test": {
                **{"learning_rate": self.range_rates, "loss": self.range_losses},
                "loss_of_start": self.start_losses,
            },
        }


def scaled_rates(args: TrainingArguments, rate: float, names: Sequence[str]) -> dict[str, float]:
    """A learning rate, and the other rates of a run in the same ratio to it.

    Args:
        args: the run's settings.
        rate (`float`): the learning rate.
        names (`Sequence` of `str`): settings that are scaled, where they are set.
    """
    factor = rate / float(args.learning_rate)
    others = {name: getattr(args, name, None) for name in names}
    return {LEARNING_RATE: rate} | {
        name: float(f"{value * factor:.6g}") for name, value in others.items() if value is not None
    }


def trial_steps(planned: float, optimizer: str) -> int:
    """Optimizer steps of a trial, for a run of so many steps with an optimizer."""
    longer = LONGER_WITH_MUON if optimizer == "muon" else 1
    return max(round(longer * min(TRIAL_SHARE * planned, MOST_TRIAL_STEPS)), 2)


def search_steps(planned: float, optimizer: str) -> int:
    """About how many optimizer steps a search takes in all."""
    return 2 * RANGE_STEPS + USUAL_TRIALS * trial_steps(planned, optimizer)


def find_rate(train: Train, args: TrainingArguments, scaled: Sequence[str] = (MUON_RATE,)) -> FoundRate:
    """Finds the learning rate of a run; neither its weights nor the random states change.

    Args:
        train (`Callable`): trains new weights equal to the starting ones with the given settings and callbacks, and
            returns the trainer.
        args: the run's settings; rates in `scaled` keep their ratio to the learning rate.
        scaled (`Sequence` of `str`): names of further rates.

    Raises:
        ValueError: every rate diverged.
    """
    recipe = float(args.learning_rate) if args.optim == "muon" else None
    note("finding the learning rate: a range test, then a trial of each of several rates ...")
    with random_states_kept(), silent_folder() as folder:

        def run(follow: FollowRates) -> RecordedTrainer:
            return train(short_settings(args, folder, len(follow.rates)), [follow])

        still = FollowRates([0.0] * RANGE_STEPS)
        trainer = run(still)  # changes nothing
        planned = args.max_steps if args.max_steps > 0 else args.num_train_epochs * trainer.steps_per_epoch()
        steps = trial_steps(planned, args.optim)
        held_out = part_of(trainer.eval_dataset, MOST_SAMPLES)
        start = trainer.evaluate(held_out)
        metric, larger = args.metric_for_best_model, bool(args.greater_is_better)
        if metric not in start:  # none, or one of generated texts, which trials are too short for
            metric, larger = "eval_loss", False
        del trainer
        free_memory()
        test = FollowRates(range_rates(RANGE_STEPS), still.losses)
        trainer = run(test)
        losses = test.losses
        found = FoundRate(metric, start[metric], larger, steps, len(held_out), test.rates[: len(losses)], losses)
        found.start_losses = still.losses[: len(losses)]
        waiting = first_rates(ceiling(found.range_rates, losses, still.losses))
        if recipe not in waiting and recipe is not None and min(waiting) < recipe < max(waiting):
            waiting.append(recipe)
        while waiting:
            rate = waiting.pop(0)
            del trainer
            free_memory()
            follow = FollowRates(trial_rates(rate, steps))
            trainer = run(follow)
            score = float("inf") if len(follow.losses) < steps else trainer.evaluate(held_out)[metric]
            found.trials[rate] = score if math.isfinite(score) else float("inf")
            if not waiting and (further := next_rate(*found.compared(), recipe)) is not None:
                waiting.append(further)
    best = best_rate(*found.compared(), recipe)
    if found.scores()[best] == float("inf"):
        raise ValueError(
            f"no learning rate was found: the loss diverged at {', '.join(f'{one:g}' for one in found.trials)}; check "
            "the data, or pass --learning_rate as a number"
        )
    found.rates = scaled_rates(args, best, scaled)
    return found


def adopt_recorded_rate(args: TrainingArguments, scaled: Sequence[str] = (MUON_RATE,)) -> dict[str, object] | None:
    """Gives a run that is resumed with `learning_rate=auto` the rates that it recorded, in place.

    Returns:
        `dict`: what its record says on the search, possibly empty; None where there is no rate to adopt.
    """
    if not args.resume or not isinstance(args.learning_rate, AutoRate):
        return None
    record = find_record(Path(args.output_dir))
    recorded = record.get("arguments", {})
    if not is_number(recorded.get(LEARNING_RATE)):
        return None
    for name in (LEARNING_RATE, *scaled):
        if is_number(recorded.get(name)):
            setattr(args, name, float(recorded[name]))
    echo(f"rate        {args.learning_rate:g}, as the run recorded when it started")
    search = record.get(FACT)
    return search if isinstance(search, dict) else {}


def settle_rate(train: Train, args: TrainingArguments, scaled: Sequence[str] = (MUON_RATE,)) -> dict[str, object]:
    """Finds the rates of a run with `learning_rate=auto` and sets them in place; returns what its record says on it.

    Raises:
        ValueError: as [`find_rate`].
    """
    found = find_rate(train, args, scaled)
    for name, value in found.rates.items():
        setattr(args, name, value)
    echo(f"rate        auto: {found.line()}")
    return found.record()
