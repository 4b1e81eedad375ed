"""Signs that more than one rule reads: an explosion, steps that were not finite, inputs of a wrong size."""

from dataclasses import dataclass

from .facts import RunFacts
from .history import Curve
from .trends import best, is_noisy

EXPLODED = 3.0  # times the start of the same series
EXPLODED_NOISY = 30.0  # where entries are of few samples and scatter by themselves
FAR_ABOVE = 10.0  # times validation of the starting weights
MANY_BAD = 3  # steps that were not applied; fewer are the fault of samples
ZH_NOT_FINITE = (
    (r"(\d+) steps? not applied", r"\1 步未应用"),
    (r"(\d+) entr(?:y|ies) without a finite loss", r"\1 条记录的损失非有限值"),
    (r"(\d+) without a finite gradient norm", r"\1 条的梯度范数非有限值"),
    (r"(\d+) evaluations? without a finite loss", r"\1 次验证的损失非有限值"),
)
SCALED_STD, SCALED_MEAN = (0.3, 3.0), 1.0


@dataclass(frozen=True)
class Explosion:
    """The highest point of a series that left its start far behind.

    Attributes:
        series (`str`): its name, with `eval_` in validation.
        start (`float`): its first value, or that of the starting weights in validation.
        step (`int`): of the highest point.
        highest (`float`): its value.
    """

    series: str
    start: float
    step: int
    highest: float

    @property
    def times(self) -> float:
        """Highest value over the start."""
        return self.highest / self.start


def explosion(facts: RunFacts) -> Explosion | None:
    """The worse explosion of training and validation, each beside its own start; None where neither exploded."""
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
    """An explosion that was over its height when the first training entry was logged: it lies far above the starting
    weights' validation, though training and validation end at one level and so can be compared."""
    start = dict(facts.primary_evaluated.points()).get(0)
    if start is None or not facts.gaps or not len(facts.primary):
        return None
    last, (step, first) = facts.gaps[-1], facts.primary.points()[0]
    at_one_level = last.validation > 0 and last.training < EXPLODED * last.validation
    return Explosion(facts.view.primary, start, step, first) if first > FAR_ABOVE * start > 0 and at_one_level else None


def leaves_no_model(facts: RunFacts) -> bool:
    """Whether an explosion left nothing to use: no validation after the start beats it, or the weights of the best one
    had shrunk to less than a third."""
    found, start = best(facts.trained_evaluations), dict(facts.primary_evaluated.points()).get(0)
    if explosion(facts) is None or found is None:
        return False
    norms = facts.training("weight_norm").between(-1, found[0])
    shrunk = len(norms) > 0 and norms.values[-1] < norms.values[0] / 3
    return shrunk or (start is not None and found[1] >= start)


def is_known_unseen(facts: RunFacts) -> bool:
    """Whether it was looked at and found that validation holds nothing that was trained on."""
    looked_at = facts.observed_number("shared_share") is not None or facts.record.get("shared_sources") is not None
    return looked_at and not facts.is_leaked


def may_soften_training(facts: RunFacts) -> bool:
    """Whether dropout or augmentation is on, or is not recorded."""
    config, augmentation = facts.observed("config"), facts.record.get("augmentation")
    config = config if isinstance(config, dict) else {}
    dropout = [value for name, value in config.items() if "dropout" in name and isinstance(value, int | float)]
    augmented = isinstance(augmentation, dict) and any(
        value for name, value in augmentation.items() if name.startswith("augment_")
    )
    return not dropout or any(dropout) or augmented


def guards_steps(facts: RunFacts) -> bool:
    """Whether the run is one of this library's, which never apply a step that is not finite and put it on file."""
    return bool(facts.record or facts.bad_steps)


def lost_norms(facts: RunFacts) -> Curve:
    """Gradient norms; a run that guards its steps has a record of those that were not finite, or scales them."""
    return Curve() if guards_steps(facts) else facts.training("grad_norm")


def lost_evaluations(facts: RunFacts) -> list[int]:
    """Steps whose evaluation has a loss, of whichever data, or a main quantity that is not finite."""
    logged = {name.removeprefix("eval_") for entry in facts.history.entries for name in entry if name[:5] == "eval_"}
    losses = sorted(name for name in logged if name.endswith("loss") or name == facts.view.primary)
    return sorted({step for name in losses for step in facts.evaluated(name).lost_at})


def first_not_finite(facts: RunFacts) -> int | None:
    """The first step of which something that is not finite was logged."""
    steps = (*facts.training("loss").lost_at, *lost_norms(facts).lost_at, *lost_evaluations(facts))
    return min(steps, default=None)


def not_finite(facts: RunFacts) -> str:
    """none, few or many: steps that were not applied, and logged losses and gradient norms that are not finite. A stock
    Trainer logs a loss of NaN as 0, so that only the norms and validation show it; a few norms are those of fp16, whose
    scaling leaves such steps out, unless the last one is among them."""
    norms = lost_norms(facts)
    if facts.training("loss").lost or lost_evaluations(facts):
        return "many"
    if not facts.bad_steps and not norms.lost:
        return "none"
    ends_lost = norms.lost > 0 and norms.lost_at[-1] > max(norms.steps, default=-1)
    return "many" if len(facts.bad_steps) >= MANY_BAD or norms.lost >= MANY_BAD or ends_lost else "few"


def not_finite_words(facts: RunFacts) -> str:
    """How many steps were not applied, where that is on file, and how many logged values are not finite."""
    applied = [f"{counted(len(facts.bad_steps), 'step', 'steps')} not applied"] if guards_steps(facts) else []
    words = [*applied, f"{counted(facts.training('loss').lost, 'entry', 'entries')} without a finite loss"]
    norms, evaluations = lost_norms(facts).lost, len(lost_evaluations(facts))
    if norms:
        words.append(f"{norms:,} without a finite gradient norm")
    if evaluations:
        words.append(f"{counted(evaluations, 'evaluation', 'evaluations')} without a finite loss")
    return ", ".join(words)


def is_unscaled(facts: RunFacts) -> bool:
    """Whether the inputs were looked at and are neither centred nor of unit size."""
    std, mean = (facts.observed_number("train", "inputs", name) for name in ("std", "mean"))
    if std is None or mean is None:
        return False
    return not (SCALED_STD[0] <= std <= SCALED_STD[1] and abs(mean) <= SCALED_MEAN)


def counted(count: int, one: str, several: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{count:,} {one if count == 1 else several}"
