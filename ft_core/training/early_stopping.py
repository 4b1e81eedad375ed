"""Early stopping whose patience counts from the last real improvement.

The callback of transformers compares with the best value so far. Every small gain moves that value, so a run that
improves slowly but steadily is stopped. Here an evaluation counts as an improvement if it beats the value at the last
improvement by more than `min_delta`. The count is computed from the logged history, so it needs no state in a
checkpoint.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..checkpoints.retention import metric_history


@dataclass(frozen=True)
class Patience:
    """The state of early stopping: reference value, its step, and evaluations since then without improvement."""

    best: float
    best_step: int
    waited: int


def measure_patience(history: Iterable[tuple[int, float]], min_delta: float, greater_is_better: bool) -> Patience:
    """Computes the state from a history of (step, value); NaN is never an improvement."""
    sign = 1.0 if greater_is_better else -1.0
    best, best_step, waited = math.nan, 0, 0
    for step, value in history:
        if math.isnan(value):
            waited += 1
        elif math.isnan(best) or sign * (value - best) > min_delta:
            best, best_step, waited = value, step, 0
        else:
            waited += 1
    return Patience(best, best_step, waited)


class EarlyStopping(TrainerCallback):
    """Stops after `patience` evaluations in a row without an improvement of more than `min_delta`.

    Args:
        patience (`int`): evaluations to wait.
        min_delta (`float`): minimum improvement that counts, in units of the metric.

    Raises:
        ValueError: for a patience below 1 or a negative min_delta.
    """

    def __init__(self, patience: int, min_delta: float):
        if patience < 1:
            raise ValueError(f"early_stopping_patience={patience} is below 1; wait for at least one evaluation")
        if min_delta < 0:
            raise ValueError(f"early_stopping_min_delta={min_delta} is negative; use 0 or more")
        self.patience = patience
        self.min_delta = min_delta

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        history = metric_history(state, args.metric_for_best_model)
        if measure_patience(history, self.min_delta, args.greater_is_better).waited >= self.patience:
            control.should_training_stop = True


def check_metric_name(name: str, terms: Iterable[str]) -> str:
    """Adds the prefix `eval_` to the name of an evaluation term; without it, training entries would be ranked.

    Raises:
        ValueError: there is no evaluation term of that name.
    """
    term = name.removeprefix("eval_")
    if term not in terms:
        raise ValueError(
            f"metric_for_best_model={name!r} is not evaluated; use one of {', '.join(f'eval_{term}' for term in terms)}"
        )
    return f"eval_{term}"
