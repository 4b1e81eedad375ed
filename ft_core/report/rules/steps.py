"""Rules on the optimizer's steps: gradients, weights, and steps that were not finite."""

import statistics

from ..answers import TRAINING, Answer, Rule
from ..facts import RunFacts
from .learning_rate import lower_rate, rate_is_too_high, third_of_rate
from .symptoms import guards_steps, is_unscaled, not_finite

OFTEN = 0.5
GROWTH = 5.0
SPIKE = 100.0  # times the median
VANISHED = 1e-7
WEIGHT_LIMITS = (1.5, 3.0)


def gradients(facts: RunFacts) -> Answer | None:
    """Gradient norms before clipping, in the second half of the run beside the first."""
    norms = facts.training("grad_norm")
    if len(norms) < 4:
        return None
    half = len(norms) // 2
    early, late = statistics.median(norms.values[:half]), statistics.median(norms.values[half:])
    usual = statistics.median(norms.values)
    step, highest = max(norms.points(), key=lambda point: point[1])
    recorded = facts.amount("max_grad_norm")
    limit = max(recorded or 0.0, 0.0)
    clipped = sum(value > limit for value in norms.values[half:]) / (len(norms) - half) if limit else 0.0
    values = {"early": early, "late": late, "limit": limit, "clipped": clipped}
    if late < VANISHED:
        return Answer("vanished", values)
    if early > 0 and late > GROWTH * early and not is_unscaled(facts):
        return Answer("grows", values | {"times": late / early}, third_of_rate(facts))
    if clipped > OFTEN:
        return Answer("clipped", values)
    if highest > SPIKE * usual > 0:
        values |= {"usual": usual, "highest": highest, "times": highest / usual, "step": step}
        if recorded is None:
            return Answer("spiked_unknown", values)
        default = facts.view.default("max_grad_norm")
        advice = {"max_grad_norm": default} if recorded == 0 and default else {}
        return Answer("held" if limit else "spiked", values, advice)
    if recorded is None:
        return Answer("calm_unknown", values)
    return Answer("calm" if limit else "calm_unclipped", values)


def finite(facts: RunFacts) -> Answer | None:
    """Steps that were not applied, and logged values that are not finite."""
    amount, values = not_finite(facts)
    if not facts.record and not len(facts.training("loss")) and amount == "none":
        return None
    if not guards_steps(facts):
        return Answer({"none": "all_logged", "few": "few_logged", "many": "many_logged"}[amount], values)
    if amount == "none":
        return Answer("all", values)
    steps = [entry.get("step") for entry in facts.bad_steps]
    samples = [name for entry in facts.bad_steps for name in entry.get("offending") or ()]
    values |= {"steps": steps[:3] or ["-"], "samples": samples[:2] or ["-"]}
    return Answer(amount, values, lower_rate(facts, 10) if amount == "many" else {})


def weights(facts: RunFacts) -> Answer | None:
    """The norm of all weights at the end beside the beginning."""
    norms = facts.training("weight_norm")
    if len(norms) < 2 or norms.values[0] <= 0:
        return None
    first, last, highest = norms.values[0], norms.values[-1], max(norms.values)
    values = {"first": first, "last": last, "highest": highest, "change": last / first - 1}
    decay = facts.amount("weight_decay")
    # if the learning rate is at fault, weight decay is not
    tunable = decay is not None and not rate_is_too_high(facts)
    more = {"weight_decay": round(max(2 * decay, 0.01), 4)} if tunable else {}
    if highest > WEIGHT_LIMITS[1] * first and last < first / WEIGHT_LIMITS[1]:
        return Answer("destroyed", values)
    if highest > WEIGHT_LIMITS[1] * first:
        return Answer("blows_up", values, more)
    # random weights have no size to keep
    if highest > WEIGHT_LIMITS[0] * first and not facts.is_untrained_at_start:
        return Answer("grows", values, more)
    if last < first / WEIGHT_LIMITS[0]:
        return Answer("shrinks", values, {"weight_decay": decay / 4} if tunable and decay else {})
    return Answer("steady", values)


RULES = (
    Rule(
        "gradients",
        TRAINING,
        gradients,
        "calm calm_unclipped calm_unknown",
        "clipped spiked_unknown held",
        "spiked grows vanished",
    ),
    Rule("finite", TRAINING, finite, "all all_logged", "few few_logged", "many many_logged"),
    Rule("weights", TRAINING, weights, "steady", "grows shrinks", "blows_up destroyed"),
)
