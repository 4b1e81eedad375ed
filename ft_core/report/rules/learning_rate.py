"""The rule on the learning rate: symptoms that it is too high, the worst first."""

from ..answers import TRAINING, Answer, Rule
from ..facts import RunFacts
from ..trends import best, calmed, is_noisy, spikes, trend
from .symptoms import explosion, not_finite

WORSE = 1.02  # validation over that of the starting weights that only too high a learning rate explains
SOME_SPIKES = 3


def lower_rate(facts: RunFacts, factor: float) -> dict[str, object]:
    """Advises a learning rate lower by a factor, and no higher than the default of the kind of run."""
    usual = facts.view.default("learning_rate")
    return {"learning_rate": min(facts.rate / factor, usual or facts.rate)} if facts.rate else {}


def third_of_rate(facts: RunFacts) -> dict[str, object]:
    """Advises a third of the recorded learning rate."""
    rate = facts.amount("learning_rate")
    return {"learning_rate": rate / 3} if rate else {}


def learning_rate(facts: RunFacts) -> Answer | None:
    """Symptoms of too high a learning rate: steps that were not finite, an explosion, worse than the start."""
    rate, name = facts.rate, facts.view.primary
    if rate is None or len(facts.primary) < 4:
        return None
    peak = max(facts.training("learning_rate").values, default=rate)
    values: dict[str, object] = {"rate": rate, "peak": peak, "term": name}
    (amount, lost), exploded = not_finite(facts), explosion(facts)
    if amount == "many":
        return Answer("not_finite", values | lost, lower_rate(facts, 10))
    if exploded is not None:
        limit = facts.view.default("max_grad_norm")
        clip = {"max_grad_norm": limit} if limit and facts.amount("max_grad_norm") == 0 else {}
        values |= {"series": exploded.series, "start": exploded.start, "highest": exploded.highest}
        values |= {"step": exploded.step, "times": exploded.times}
        return Answer("exploded", values, lower_rate(facts, 10) | clip)
    found, start = best(facts.trained_evaluations), facts.start
    if found is not None and start is not None and found[1] > WORSE * start > 0:
        return Answer("worse", values | {"best": found[1], "start": start}, lower_rate(facts, 10))
    calm = calmed(facts.primary)
    lowest, last = best(calm), trend(calm)
    holds = is_noisy(facts.primary) and found is not None and facts.trained_evaluations.values[-1] <= WORSE * found[1]
    if last and not holds and lowest[0] < 0.7 * facts.primary.steps[-1] and last.last > 1.5 * lowest[1] > 0:
        values |= {"lowest": lowest[1], "step": lowest[0], "last": last.last}
        return Answer("thrown_back", values, {"learning_rate": rate / 3})
    jumps, entries = len(spikes(facts.primary)), len(facts.primary)
    if jumps > SOME_SPIKES and jumps > 0.05 * entries:
        return Answer("jumps", values | {"count": jumps, "entries": entries}, {"learning_rate": rate / 3})
    return Answer("bearable", values)


def rate_is_too_high(facts: RunFacts) -> bool:
    """Whether the rule finds a problem."""
    found = learning_rate(facts)
    return found is not None and found.case != "bearable"


RULES = (Rule("learning-rate", TRAINING, learning_rate, "bearable", "", "not_finite exploded worse thrown_back jumps"),)
