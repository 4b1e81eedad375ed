"""Symptoms that several rules read: an explosion, values that are not finite, inputs of a wrong scale."""

from typing import NamedTuple

from ..curves import best, highest, is_noisy, lost_steps
from ..facts import RunFacts

EXPLODED = 3.0  # times the start of the same series
EXPLODED_NOISY = 30.0  # where entries are of few samples and scatter by themselves
FAR_ABOVE = 10.0  # times validation of the starting weights
MANY_BAD = 3  # steps that were not applied; fewer are the fault of samples
SCALED_STD, SCALED_MEAN = (0.3, 3.0), 1.0


class Explosion(NamedTuple):
    """The highest point of a series far above its start."""

    series: str  # with `eval_` in validation
    start: float  # its first value, or that of the starting weights in validation
    step: int
    highest: float
    times: float  # highest value over the start


def explosion(facts: RunFacts) -> Explosion | None:
    """The worse explosion of training and validation, each beside its own start; None if neither exploded."""
    name, found = facts.view.primary, []
    limit = EXPLODED_NOISY if is_noisy(facts.primary) else EXPLODED
    evaluated = facts.primary_evaluated if facts.start is not None else facts.primary_evaluated.iloc[:0]
    for series, curve, most in ((name, facts.primary, limit), (f"eval_{name}", evaluated, EXPLODED)):
        if len(curve) and curve.max() > most * curve.iloc[0] > 0:
            found.append(Explosion(series, curve.iloc[0], *highest(curve), curve.max() / curve.iloc[0]))
    return max(found, key=lambda one: one.times, default=None) or _before_the_first_entry(facts)


def _before_the_first_entry(facts: RunFacts) -> Explosion | None:
    """An explosion that was past its peak when the first training entry was logged: the entry is far above validation
    of the starting weights, although training and validation end at a comparable level."""
    if facts.start is None or not facts.gaps:
        return None
    last, step, first = facts.gaps[-1], int(facts.primary.index[0]), facts.primary.iloc[0]
    at_one_level = last.validation > 0 and last.training < EXPLODED * last.validation
    is_far = first > FAR_ABOVE * facts.start > 0
    return (
        Explosion(facts.view.primary, facts.start, step, first, first / facts.start)
        if is_far and at_one_level
        else None
    )


def leaves_no_model(facts: RunFacts) -> bool:
    """Whether an explosion left nothing to use: no later validation beats the start, or the weights of the best one
    had shrunk to less than a third."""
    found = best(facts.trained_evaluations)
    if explosion(facts) is None or found is None:
        return False
    norms = facts.training("weight_norm").loc[: found[0]]
    shrunk = len(norms) > 0 and norms.iloc[-1] < norms.iloc[0] / 3
    return shrunk or (facts.start is not None and found[1] >= facts.start)


def is_known_unseen(facts: RunFacts) -> bool:
    """Whether leakage was checked and ruled out."""
    checked = facts.observed.number("shared_share") is not None or facts.record.get("shared_sources") is not None
    return checked and not facts.is_leaked


def may_soften_training(facts: RunFacts) -> bool:
    """Whether dropout or augmentation is on, or not recorded."""
    config = facts.observed.group("config")
    dropout = [value for name in config if "dropout" in name and (value := config.number(name)) is not None]
    augmentation = facts.record.group("augmentation").items()
    return not dropout or any(dropout) or any(value for name, value in augmentation if name.startswith("augment_"))


def guards_steps(facts: RunFacts) -> bool:
    """Whether the run is one of this library, which skips and records each step that is not finite."""
    return bool(facts.record or facts.bad_steps)


def not_finite(facts: RunFacts) -> tuple[str, dict[str, object]]:
    """How much was not finite (none, few or many), and the counts for the places in texts.

    A stock Trainer logs a loss of NaN as 0, so that only gradient norms and validation show it. A few norms are those
    of fp16, whose loss scaling skips such steps, unless the last one is among them. Runs that skip such steps
    themselves have them on record, and their norms do not count.
    """
    skipped = len(facts.bad_steps) if guards_steps(facts) else None
    logged = {name.removeprefix("eval_") for name in facts.history.terms if name.startswith("eval_")}
    terms = [name for name in logged if name.endswith("loss") or name == facts.view.primary]
    evaluations = {step for name in terms for step in lost_steps(facts.history.entries, f"eval_{name}")}
    losses, norms = facts.lost("loss"), [] if guards_steps(facts) else facts.lost("grad_norm")
    values = {"applied": skipped, "losses": len(losses), "norms": len(norms), "evaluations": len(evaluations)}
    values["first_lost"] = min((*losses, *norms, *evaluations), default=None)
    if losses or evaluations:
        return "many", values
    ends_lost = bool(norms) and norms[-1] > max(facts.training("grad_norm").index, default=-1)
    count = max(skipped or 0, len(norms))
    return "many" if count >= MANY_BAD or ends_lost else "few" if count else "none", values


def is_unscaled(facts: RunFacts) -> bool:
    """Whether the inputs were inspected and are neither centred nor of unit size."""
    std, mean = (facts.observed.number("train", "inputs", name) for name in ("std", "mean"))
    if std is None or mean is None:
        return False
    return not (SCALED_STD[0] <= std <= SCALED_STD[1] and abs(mean) <= SCALED_MEAN)
