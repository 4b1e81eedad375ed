"""Rules on the optimizer's steps: gradients, weights, and steps that were not finite."""

from ..answers import TRAINING, Answer, rule
from ..curves import highest
from ..facts import RunFacts
from .learning_rate import lower_rate, rate_is_too_high, third_of_rate
from .symptoms import guards_steps, is_unscaled, not_finite

OFTEN = 0.5
GROWTH = 5.0
SPIKE = 100.0  # times the median
VANISHED = 1e-7
WEIGHT_LIMITS = (1.5, 3.0)


@rule(
    TRAINING,
    ok="calm calm_unclipped calm_unknown",
    watch="clipped spiked_unknown held",
    problem="spiked grows vanished",
)
def gradients(facts: RunFacts) -> Answer | None:
    """Gradient norms before clipping, in the second half of the run beside the first."""
    norms = facts.training("grad_norm")
    if len(norms) < 4:
        return None
    half = len(norms) // 2
    early, late, usual = norms.iloc[:half].median(), norms.iloc[half:].median(), norms.median()
    recorded, default = facts.settings.number("max_grad_norm"), facts.view.default("max_grad_norm")
    limit, top = max(recorded or 0.0, 0.0), highest(norms)
    clipped = (norms.iloc[half:] > limit).mean() if limit else 0.0
    values = {"early": early, "late": late, "limit": limit, "clipped": clipped}
    if late < VANISHED:
        return Answer("vanished", values)
    if early > 0 and late > GROWTH * early and not is_unscaled(facts):
        return Answer("grows", values | {"times": late / early}, third_of_rate(facts))
    if clipped > OFTEN:
        return Answer("clipped", values)
    kind = "unknown" if recorded is None else "clipped" if limit else "unclipped"
    if top[1] > SPIKE * usual > 0:
        values |= {"usual": usual, "top": top, "times": top[1] / usual}
        advice = {"max_grad_norm": default} if recorded == 0 and default else {}
        return Answer({"unknown": "spiked_unknown", "clipped": "held", "unclipped": "spiked"}[kind], values, advice)
    return Answer("calm" if kind == "clipped" else f"calm_{kind}", values)


@rule(TRAINING, ok="all all_logged", watch="few few_logged", problem="many many_logged")
def finite(facts: RunFacts) -> Answer | None:
    """Steps that were not applied, and logged values that are not finite."""
    amount, values = not_finite(facts)
    if not facts.record and facts.training("loss").empty and amount == "none":
        return None
    case = "all" if amount == "none" else amount
    if not guards_steps(facts):
        return Answer(f"{case}_logged", values)
    if case == "all":
        return Answer(case, values)
    offending = [names for entry in facts.bad_steps if isinstance(names := entry.get("offending"), list)]
    values |= {"steps": [entry.get("step") for entry in facts.bad_steps[:3]] or ["-"]}
    values |= {"samples": [name for names in offending for name in names][:2] or ["-"]}
    return Answer(case, values, lower_rate(facts, 10) if case == "many" else {})


@rule(TRAINING, ok="steady", watch="grows shrinks", problem="blows_up destroyed")
def weights(facts: RunFacts) -> Answer | None:
    """The norm of all weights at the end beside the beginning."""
    norms = facts.training("weight_norm")
    if len(norms) < 2 or norms.iloc[0] <= 0:
        return None
    first, last, most = norms.iloc[0], norms.iloc[-1], norms.max()
    values = {"first": first, "last": last, "highest": most, "change": last / first - 1}
    decay = facts.settings.number("weight_decay")
    # if the learning rate is at fault, weight decay is not
    tunable = decay is not None and not rate_is_too_high(facts)
    more = {"weight_decay": round(max(2 * decay, 0.01), 4)} if tunable else {}
    if most > WEIGHT_LIMITS[1] * first:
        is_destroyed = last < first / WEIGHT_LIMITS[1]
        return Answer("destroyed", values) if is_destroyed else Answer("blows_up", values, more)
    # random weights have no size to keep
    if most > WEIGHT_LIMITS[0] * first and not facts.is_untrained_at_start:
        return Answer("grows", values, more)
    if last < first / WEIGHT_LIMITS[0]:
        return Answer("shrinks", values, {"weight_decay": decay / 4} if tunable and decay else {})
    return Answer("steady", values)
