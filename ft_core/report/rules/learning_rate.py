"""The rule on the learning rate: symptoms that it is too high, the worst first."""

from ..answers import TRAINING, Answer, rule
from ..curves import best, calmed, is_noisy, spikes, trend
from ..facts import RunFacts
from .symptoms import explosion, not_finite

WORSE = 1.02  # validation over that of the starting weights that only too high a learning rate explains
SOME_SPIKES = 3


def lower_rate(facts: RunFacts, factor: float) -> dict[str, object]:
    """Advises a learning rate that is lower by a factor.

    It is no higher than the rate advised for random weights or, for other starting weights, the default of the stage.
    """
    usual = facts.view.untrained_rates[1] if facts.is_untrained_at_start else facts.view.default("learning_rate")
    return {"learning_rate": min(facts.rate / factor, usual or facts.rate)} if facts.rate else {}


def third_of_rate(facts: RunFacts) -> dict[str, object]:
    """Advises a third of the recorded learning rate."""
    rate = facts.settings.number("learning_rate")
    return {"learning_rate": rate / 3} if rate else {}


@rule(TRAINING, ok="bearable", problem="not_finite exploded worse thrown_back jumps")
def learning_rate(facts: RunFacts) -> Answer | None:
    """Symptoms of too high a learning rate: steps that were not finite, an explosion, worse than the start."""
    rate, primary = facts.rate, facts.primary
    if rate is None or len(primary) < 4:
        return None
    values: dict[str, object] = {"peak": max(facts.training("learning_rate"), default=rate)}
    (amount, lost), exploded = not_finite(facts), explosion(facts)
    if amount == "many":
        return Answer("not_finite", values | lost, lower_rate(facts, 10))
    if exploded is not None:
        limit = facts.view.default("max_grad_norm")
        clip = {"max_grad_norm": limit} if limit and facts.settings.number("max_grad_norm") == 0 else {}
        return Answer("exploded", values | {"top": exploded}, lower_rate(facts, 10) | clip)
    found, start = best(facts.trained_evaluations), facts.start
    if found is not None and start is not None and found[1] > WORSE * start > 0:
        return Answer("worse", values | {"best": found[1], "start": start}, lower_rate(facts, 10))
    calm = calmed(primary)
    (step, lowest), last = best(calm), trend(calm)
    holds = is_noisy(primary) and found is not None and facts.trained_evaluations.iloc[-1] <= WORSE * found[1]
    if last and not holds and step < 0.7 * primary.index[-1] and last.last > 1.5 * lowest > 0:
        values |= {"lowest": lowest, "step": step, "last": last.last}
        return Answer("thrown_back", values, {"learning_rate": rate / 3})
    jumps, entries = len(spikes(primary)), len(primary)
    if jumps > SOME_SPIKES and jumps > 0.05 * entries:
        return Answer("jumps", values | {"count": jumps, "entries": entries}, {"learning_rate": rate / 3})
    return Answer("bearable", values)


def rate_is_too_high(facts: RunFacts) -> bool:
    """Whether the rule finds a problem."""
    found = learning_rate(facts)
    return found is not None and found.case != "bearable"
