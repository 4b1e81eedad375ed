"""Symptoms that several rules read: an explosion, values that are not finite, inputs of a wrong scale."""

from dataclasses import dataclass

from ..facts import RunFacts
from ..history import Curve
from ..trends import best, is_noisy

EXPLODED = 3.0  # times the start of the same series
EXPLODED_NOISY = 30.0  # where entries are of few samples and scatter by themselves
FAR_ABOVE = 10.0  # times validation of the starting weights
MANY_BAD = 3  # steps that were not applied; fewer are the fault of samples
SCALED_STD, SCALED_MEAN = (0.3, 3.0), 1.0


@dataclass(frozen=True)
class Explosion:
    """The highest point of a series far above its start."""

    series: str  # with `eval_` in validation
    start: float  # its first value, or that of the starting weights in validation
    step: int
    highest: float

    @property
    def times(self) -> float:
        """Highest value over the start."""
        return self.highest / self.start


def explosion(facts: RunFacts) -> Explosion | None:
    """The worse explosion of training and validation, each beside its own start; None if neither exploded."""
    name, found = facts.view.primary, []
    for series, curve in ((name, facts.primary), (f"eval_{name}", facts.primary_evaluated)):
        if not len(curve) or (series != name and curve.steps[0] != 0):
            continue
        step, highest = max(curve.points(), key=lambda point: point[1])
        limit = EXPLODED_NOISY if series == name and is_noisy(curve) else EXPLODED
        if highest > limit * curve.values[0] > 0:
            found.append(Explosion(series, curve.values[0], step, highest))
    return max(found, key=lambda one: one.times, default=None) or _before_the_first_entry(facts)


def _before_the_first_entry(facts: RunFacts) -> Explosion | None:
    """An explosion that was past its peak when the first training entry was logged: the entry lies far above
    validation of the starting weights, although training and validation end at a comparable level."""
    if facts.start is None or not facts.gaps or not len(facts.primary):
        return None
    last, (step, first) = facts.gaps[-1], facts.primary.points()[0]
    at_one_level = last.validation > 0 and last.training < EXPLODED * last.validation
    is_far = first > FAR_ABOVE * facts.start > 0
    return Explosion(facts.view.primary, facts.start, step, first) if is_far and at_one_level else None


def leaves_no_model(facts: RunFacts) -> bool:
    """Whether an explosion left nothing to use: no later validation beats the start, or the weights of the best one
    had shrunk to less than a third."""
    found = best(facts.trained_evaluations)
    if explosion(facts) is None or found is None:
        return False
    norms = facts.training("weight_norm").between(-1, found[0])
    shrunk = len(norms) > 0 and norms.values[-1] < norms.values[0] / 3
    return shrunk or (facts.start is not None and found[1] >= facts.start)


def is_known_unseen(facts: RunFacts) -> bool:
    """Whether it was checked that validation holds nothing that was trained on."""
    checked = facts.observed_number("shared_share") is not None or facts.record.get("shared_sources") is not None
    return checked and not facts.is_leaked


def may_soften_training(facts: RunFacts) -> bool:
    """Whether dropout or augmentation is on, or not recorded."""
    config, augmentation = facts.observed_object("config"), facts.record.get("augmentation")
    dropout = [value for name, value in config.items() if "dropout" in name and isinstance(value, int | float)]
    augmented = isinstance(augmentation, dict) and any(
        value for name, value in augmentation.items() if name.startswith("augment_")
    )
    return not dropout or any(dropout) or augmented


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
    logged = {name.removeprefix("eval_") for entry in facts.history.entries for name in entry if name[:5] == "eval_"}
    terms = [name for name in logged if name.endswith("loss") or name == facts.view.primary]
    evaluations = {step for name in terms for step in facts.evaluated(name).lost_at}
    losses, norms = facts.training("loss").lost_at, Curve() if guards_steps(facts) else facts.training("grad_norm")
    values = {"applied": skipped, "losses": len(losses), "norms": len(norms.lost_at), "evaluations": len(evaluations)}
    values["first_lost"] = min((*losses, *norms.lost_at, *evaluations), default=None)
    if losses or evaluations:
        return "many", values
    ends_lost = bool(norms.lost_at) and norms.lost_at[-1] > max(norms.steps, default=-1)
    count = max(skipped or 0, len(norms.lost_at))
    return "many" if count >= MANY_BAD or ends_lost else "few" if count else "none", values


def is_unscaled(facts: RunFacts) -> bool:
    """Whether the inputs were inspected and are neither centred nor of unit size."""
    std, mean = (facts.observed_number("train", "inputs", name) for name in ("std", "mean"))
    if std is None or mean is None:
        return False
    return not (SCALED_STD[0] <= std <= SCALED_STD[1] and abs(mean) <= SCALED_MEAN)
