"""Rules on the curves of training and validation: do they fall, together, and steadily."""

from ..answers import TRAINING, Answer, rule
from ..curves import Gap, best, highest, spikes, trend, variation
from ..facts import RunFacts
from .learning_rate import rate_is_too_high, third_of_rate
from .symptoms import EXPLODED, Explosion, explosion, is_known_unseen, is_unscaled, may_soften_training

BETTER = 0.005  # least gain on the starting weights
RATIO_LIMITS = (1.3, 2.0)  # of an error, validation over training: watch, problem
NATS_LIMITS = (0.15, 0.5)  # of a cross-entropy, validation minus training
EASIER_RATIO, EASIER_NATS = 0.6, -0.5
LAG_RATIO, LAG_NATS = 0.9, 0.1
RISE_LIMITS = (0.02, 0.1)  # of validation since its best
SCATTER = 0.25


@rule(TRAINING, ok="falls", watch="fell_back flat_because flat rewarded", problem="rises")
def falling(facts: RunFacts) -> Answer | None:
    """The main quantity in training, from the first steps to the last."""
    found, exploded = trend(facts.primary), explosion(facts)
    if found is None:
        return None
    values = {"first": found.first, "last": found.last, "change": found.change, "cause": _cause(facts)}
    if facts.is_rewarded:
        return Answer("rewarded", values | {"difference": found.last - found.first})
    if found.direction < 0:
        return Answer("fell_back", _fell_back(facts, exploded, found.last)) if exploded else Answer("falls", values)
    if found.direction > 0:
        return Answer("rises", values, third_of_rate(facts))
    return Answer("flat_because" if values["cause"] else "flat", values)


def _fell_back(facts: RunFacts, exploded: Explosion, last: float) -> dict[str, object]:
    """Start and highest point of training that exploded, each with the series it belongs to, and the change since."""
    name = facts.view.primary
    series, start = name, facts.primary.iloc[0]
    if facts.start is not None and facts.start < start:
        series, start = f"eval_{name}", facts.start
    top, (step, most) = name, highest(facts.primary)
    if most <= EXPLODED * start:  # only validation exploded
        top, step, most = exploded.series, exploded.step, exploded.highest
    found = {"series": series, "start": start, "top": top, "step": step, "highest": most}
    return found | {"last": last, "change": last / start - 1 if start > 0 else None}


def _cause(facts: RunFacts) -> str:
    """The rule whose problem explains that the model learns nothing; empty if there is none."""
    return "scaling" if is_unscaled(facts) else "learning-rate" if rate_is_too_high(facts) else ""


@rule(
    TRAINING,
    ok="better since_first",
    watch="fell_back hardly_because hardly not_since_first",
    problem="not_better",
    on_validation=True,
)
def improved(facts: RunFacts) -> Answer | None:
    """The best validation beside that of the starting weights; of a plain Trainer beside the first one."""
    curve, start = facts.trained_evaluations, facts.start
    if curve.empty or (start is None and (facts.record or len(curve) < 2)):
        return None
    step, value = best(curve)
    values: dict[str, object] = {"best": value, "step": step, "start": curve.iloc[0] if start is None else start}
    if start is None:
        values |= {"first": curve.index[0], "difference": value - values["start"]}
        return Answer("since_first" if value < values["start"] else "not_since_first", values)
    values |= {"cause": _cause(facts), "gain": max(1 - value / start, 0.0) if start > 0 else 0.0}
    if value < start - BETTER * abs(start):
        return Answer("fell_back" if explosion(facts) else "better", values)
    if value < start:
        return Answer("hardly_because" if values["cause"] else "hardly", values)
    return Answer("not_better", values, third_of_rate(facts))


def last_gap(facts: RunFacts) -> tuple[float, tuple[float, float], float] | None:
    """How far validation lies above training at the last evaluation, the limits of watch and problem, and the size
    below which validation is easier; None without one, or if a ratio would say nothing."""
    gap = facts.gaps[-1] if facts.gaps else None
    if gap and facts.view.in_nats:
        return gap.difference, NATS_LIMITS, EASIER_NATS
    return (gap.ratio, RATIO_LIMITS, EASIER_RATIO) if gap and min(gap.training, gap.validation) > 0 else None


def is_far_above(facts: RunFacts) -> bool:
    """Whether validation lies far above training at the last evaluation."""
    found = last_gap(facts)
    return found is not None and found[0] > found[1][1]


@rule(
    TRAINING,
    ok="in_step lags",
    watch="apart easier easier_plain",
    problem="far",
    not_applicable="rewarded",
    on_validation=True,
)
def in_step(facts: RunFacts) -> Answer | None:
    """Validation beside training, of the same quantity, at the last evaluation."""
    if not facts.gaps:
        return None
    gap, found = facts.gaps[-1], last_gap(facts)
    shown = f"{gap.difference:+.3g} nats" if facts.view.in_nats else f"x {gap.ratio:.2f}"
    values = {"gap": gap, "shown": shown, "ruled_out": is_known_unseen(facts)}
    if found is None:
        return Answer("rewarded", values) if facts.is_rewarded else None
    size, (some, much), easier = found
    if size > some:
        decay = facts.settings.number("weight_decay")
        advice = {"weight_decay": round(max(2 * decay, 0.05), 4)} if decay is not None and size > much else {}
        return Answer("far" if size > much else "apart", values, _stop_early(facts) | advice)
    if size < easier:
        return Answer("easier" if may_soften_training(facts) else "easier_plain", values)
    return Answer("lags" if _lags(facts, gap) else "in_step", values)


def _stop_early(facts: RunFacts) -> dict[str, object]:
    return {"early_stopping": True} if facts.settings.get("early_stopping") is False else {}


def _lags(facts: RunFacts, gap: Gap) -> bool:
    """Whether validation lies clearly below a mean of training that was still falling at that time."""
    last = facts.primary.loc[: gap.step].iloc[-1]
    if facts.view.in_nats:
        return gap.difference < -LAG_NATS and last < gap.training - LAG_NATS
    return gap.ratio < LAG_RATIO and last < LAG_RATIO * gap.training


@rule(TRAINING, ok="none", watch="some both_rise", problem="much", not_applicable="rewarded", on_validation=True)
def overfitting(facts: RunFacts) -> Answer | None:
    """Validation since its best, while training still falls."""
    curve = facts.trained_evaluations
    if len(curve) < 3:
        return None
    (step, value), last = best(curve), curve.iloc[-1]
    values = {"step": step, "best": value, "last": last, "rise": last / value - 1 if value > 0 else None}
    if values["rise"] is None:
        return Answer("rewarded", values)
    if values["rise"] <= RISE_LIMITS[0]:
        return Answer("none", values)
    before, after = facts.primary.loc[:step], facts.primary.loc[step + 1 :]
    if before.empty or after.empty or after.iloc[-1] >= before.iloc[-1]:
        return Answer("both_rise", values)
    return Answer("much" if values["rise"] > RISE_LIMITS[1] else "some", values, _stop_early(facts))


@rule(TRAINING, ok="steady", watch="jumps scatters exploded", not_applicable="rewarded")
def steady(facts: RunFacts) -> Answer | None:
    """Scatter of the main quantity from entry to entry in the second half, and jumps."""
    curve, scatter = facts.primary, variation(facts.primary)
    if len(curve) < 6 or not (facts.is_rewarded or scatter >= 0):
        return None
    if facts.is_rewarded:
        return Answer("rewarded", {"first": curve.iloc[0], "last": curve.iloc[-1]})
    jumps, batch = spikes(curve), facts.settings.number("gradient_accumulation_steps")
    values = {"scatter": scatter, "jumps": len(jumps), "steps": jumps[:3]}
    if explosion(facts):
        return Answer("exploded", values)
    if scatter > SCATTER:
        return Answer("scatters", values, {"gradient_accumulation_steps": int(2 * batch)} if batch else {})
    return Answer("jumps" if jumps else "steady", values)
