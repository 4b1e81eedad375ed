"""The usual range of learning rates for a run, and what helps a run that learnt too little."""

from typing import NamedTuple

from ..curves import still_improving, trend
from ..facts import EARLY, RunFacts
from .learning_rate import rate_is_too_high
from .length import longer

FAST_OPTIMIZERS = ("adafactor", "muon")  # their usual rates are about ten times those of AdamW
TWICE = 2.0


class RateRange(NamedTuple):
    """The usual learning rates of a run, and the rates to advise outside of them."""

    low: float
    high: float
    raised: float  # advised below `low`
    lowered: float  # advised above `high`


def usual_range(facts: RunFacts) -> RateRange:
    """The range for the starting weights and the optimizer of a run."""
    view = facts.view
    (low, high), (untrained_low, untrained, untrained_high) = view.usual_rates, view.untrained_rates
    if facts.is_untrained_at_start:
        return RateRange(untrained_low, untrained_high, untrained, untrained)
    if facts.settings.text("optim") in FAST_OPTIMIZERS:
        high = max(10 * high, untrained_high)
    # the default is for published weights
    return RateRange(low, high, low, view.default("learning_rate") or high)


def more_training(facts: RunFacts) -> tuple[dict[str, object], dict[str, object]]:
    """What helps a run whose model learnt too little.

    Returns:
        The values for texts, and the advised settings. The value `cure` is rate (the learning rate is below the usual
        range), length (the loss was still falling), lower (the rate is too high) or empty.
    """
    rate, usual = facts.settings.number("learning_rate"), usual_range(facts)
    values: dict[str, object] = {"rate": rate, "raised": usual.raised, "untrained": facts.is_untrained_at_start}
    if rate_is_too_high(facts):
        return values | {"cure": "lower"}, {}
    if rate is not None and rate < usual.low:
        return values | {"cure": "rate"}, {"learning_rate": usual.raised}
    if facts.status != EARLY and _was_falling(facts):
        return values | {"cure": "length"}, longer(facts, TWICE)
    return values | {"cure": ""}, {}


def _was_falling(facts: RunFacts) -> bool:
    """Whether the last evaluation is the best, and validation or the second half of training was falling."""
    evaluated, training = facts.trained_evaluations, facts.primary
    if evaluated.empty or evaluated.iloc[-1] > evaluated.min():
        return False
    found = trend(training.iloc[len(training) // 2 :])
    return still_improving(evaluated) is not None or (found is not None and found.direction < 0)
