"""Which rates to try, and which one to choose. Pure functions of numbers.

Notable:
- The range test (Smith 2017, arXiv 1506.01186) raises the rate exponentially. Losses of single batches differ more
  than a few steps change them, so the loss of the starting weights on the same batches is subtracted. The rate at
  which the difference is lowest bounds what can be useful.
- The training loss does not show which rate below it is best: that depends on how well trained the weights are, and on
  the length of the run (Wu et al. 2018, arXiv 1803.02021: short runs prefer other rates than long ones). Rates 1, 3,
  10, 30 ... around it are tried, each in a run of its own from the same weights, and compared on validation data.
- Of rates whose trials gain nearly the same, the highest is chosen, because a longer run favours higher rates. With
  Muon, this went too far: there the best is chosen, or the rate of the recipe if that is higher and nearly as good.
- Scores need not have a single minimum, so neighbours are all tried instead of descending from one to the next.
"""

import math
from collections.abc import Mapping, Sequence

LOWEST, HIGHEST = 1e-6, 1.0  # of the range test
SMOOTHING = 0.7  # weight of the past in the smoothed training loss
MOST_RISE, RISEN = 4.0, 0.2  # standard deviations over batches and share of the loss: a larger rise ends the test
DIGITS = ("1", "3")  # leading digits of the rates that are tried
NEARLY = 0.95  # of the gain of the best rate
NEARLY_OF_RECIPE = 0.8  # of the gain of a lower rate
ABOVE, FIRST_TRIALS, MOST_TRIALS = 2, 5, 9  # steps of the ladder above the ceiling; number of rates


def range_rates(steps: int) -> list[float]:
    """The rates of a range test: exponential from the lowest to the highest."""
    return [LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1)) for step in range(steps)]


def smoothed(losses: Sequence[float]) -> list[float]:
    """Exponential moving averages of losses, without the bias towards zero at the start."""
    found, average = [], 0.0
    for step, loss in enumerate(losses):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        found.append(average / (1 - SMOOTHING ** (step + 1)))
    return found


def changes(losses: Sequence[float], before: Sequence[float]) -> list[float]:
    """What training has changed in the loss of each batch, where it is finite.

    Args:
        losses (`list` of `float`): of the steps of a range test.
        before (`list` of `float`): of the starting weights, on the same batches.
    """
    return [loss - first for loss, first in zip(losses, before, strict=False) if math.isfinite(loss)]


def has_diverged(losses: Sequence[float], before: Sequence[float]) -> bool:
    """Whether a range test can end: its last loss is not finite, or far above that of the starting weights.

    Arguments as for [`changes`].
    """
    if not losses or not math.isfinite(losses[-1]):
        return bool(losses)
    mean = sum(before) / len(before)
    spread = math.sqrt(sum((loss - mean) ** 2 for loss in before) / len(before))
    return losses[-1] - before[len(losses) - 1] > max(MOST_RISE * spread, RISEN * abs(mean))


def ceiling(rates: Sequence[float], losses: Sequence[float], before: Sequence[float]) -> float:
    """The rate at which a range test has lowered the smoothed loss most; arguments as for [`changes`]."""
    curve = smoothed(changes(losses, before))
    return rates[curve.index(min(curve))] if curve else rates[0]


def ladder(rate: float, steps: int = 0) -> float:
    """The rate 1 or 3 times a power of ten at or below a rate, and so many steps above that.

    The result is the float that its shortest decimal stands for, such as 0.0003.
    """
    power = math.floor(math.log10(rate) + 1e-9)
    digit = int(rate / 10.0**power >= 3 * (1 - 1e-9))
    place = 2 * power + digit + steps
    return float(f"{DIGITS[place % 2]}e{place // 2}")


def first_rates(top: float) -> list[float]:
    """The rates that are tried first, around the ceiling of a range test."""
    return [rate for step in (ABOVE - n for n in range(FIRST_TRIALS)) if LOWEST <= (rate := ladder(top, step)) <= 1]


def next_rate(scores: Mapping[float, float], start: float, recipe: float | None = None) -> float | None:
    """The next rate beyond the ones tried, if the best is at their end; None when the search is over.

    Args:
        scores (`Mapping` of rate to score): smaller is better; infinite where a trial diverged.
        start (`float`): the score of the starting weights.
        recipe (`float`, *optional*): as for [`best_rate`].
    """
    best = best_rate(scores, start, recipe)
    if len(scores) >= MOST_TRIALS or min(scores) < best < max(scores):
        return None
    rate = ladder(best, -1 if best == min(scores) else 1)
    return rate if LOWEST <= rate <= HIGHEST else None


def best_rate(scores: Mapping[float, float], start: float, recipe: float | None = None) -> float:
    """The highest rate that gains nearly as much as the best; or, if `recipe` is given, the best or `recipe`.

    Args:
        scores (`Mapping` of rate to score): as for [`next_rate`].
        start (`float`): the score of the starting weights.
        recipe (`float`, *optional*): a rate that was found best in complete runs. It is chosen if the best trial has a
            lower rate and gains little more, because trials are too short for high rates.
    """
    lowest = min(scores.values())
    best = min(rate for rate, score in scores.items() if score == lowest)
    gains = {rate: start - score for rate, score in scores.items()}
    if not lowest < start:
        return best
    if recipe is None:
        return max(rate for rate, gain in gains.items() if gain >= NEARLY * gains[best])
    is_near = best < recipe and gains.get(recipe, -math.inf) >= NEARLY_OF_RECIPE * gains[best]
    return recipe if is_near else best
