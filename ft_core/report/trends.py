"""Trends of logged curves: does it fall, is it steady, how far apart are training and validation.

A change is only called one when it stands out of the scatter of the curve. Ratios are taken of quantities that cannot
be negative; for losses in nats a difference is what means something (0.1 nats is a factor of 1.105 in perplexity).
"""

import math
import statistics
from dataclasses import dataclass
from itertools import pairwise

from .history import Curve

CLEAR = 2.0  # standard errors
SPIKE = 1.5  # times the median of the points before, at least
FAR_OUT = 4.5  # median distances of neighbours, on a log scale: beyond what entries scatter by themselves
NOISY = 0.2  # variation of entries of few samples: one of them tells little
LEAST_SCATTERED = 20  # points from which scatter is told
SMOOTHED = 9  # points of a running median
BEFORE = 5  # points that a spike is compared with
LEAST_POINTS = 4


@dataclass(frozen=True)
class Trend:
    """How a curve moved from its first to its last third."""

    first: float  # mean of the first tenth
    last: float
    direction: int  # -1 it falls, 1 it rises, 0 neither stands out of the scatter

    @property
    def change(self) -> float:
        """Relative change; NaN where the start is not positive."""
        return self.last / self.first - 1 if self.first > 0 else math.nan


def trend(curve: Curve, least: float = 0.01) -> Trend | None:
    """The trend of a curve, by the least relative change that counts; None with fewer than four points."""
    n = len(curve)
    if n < LEAST_POINTS:
        return None
    third, tenth = max(n // 3, 2), max(n // 10, 1)
    early, late = curve.values[:third], curve.values[-third:]
    difference = statistics.fmean(late) - statistics.fmean(early)
    # neighbours differ by noise alone, so that the trend itself does not count as scatter
    steps = [b - a for a, b in pairwise(curve.values)]
    noise = math.sqrt(statistics.fmean(step * step for step in steps) / 2)
    error = noise * math.sqrt(2 / third)
    scale = abs(statistics.fmean(early)) or 1.0
    clear = abs(difference) > CLEAR * error or (third < 4 and abs(difference) > 0.1 * scale)
    direction = (difference > 0) - (difference < 0) if clear and abs(difference) > least * scale else 0
    return Trend(statistics.fmean(curve.values[:tenth]), statistics.fmean(curve.values[-tenth:]), direction)


def spikes(curve: Curve) -> list[int]:
    """Steps whose value exceeds the median of the points before by more than half, and by more than entries of so few
    samples scatter, of a curve of positive values."""
    found = []
    scatter = variation(curve) if len(curve) >= LEAST_SCATTERED else 0.0
    limit = max(SPIKE, (1 + scatter) ** FAR_OUT)
    for position in range(BEFORE, len(curve)):
        usual = statistics.median(curve.values[position - BEFORE : position])
        if usual > 0 and curve.values[position] > limit * usual:
            found.append(curve.steps[position])
    return found


def variation(curve: Curve) -> float:
    """Scatter of the relative change from point to point in the second half of a curve of positive values: its median
    distance from the mean change, so that a steep fall is no scatter. NaN with too few points."""
    points = curve.points()[len(curve) // 2 :]
    changes = [math.log(b / a) for (_, a), (_, b) in pairwise(points) if a > 0 and b > 0]
    if not changes:
        return math.nan
    usual = statistics.fmean(changes)
    return math.expm1(statistics.median(abs(change - usual) for change in changes))


def is_noisy(curve: Curve) -> bool:
    """Whether single entries tell little, as those of small batches do."""
    return len(curve) >= LEAST_SCATTERED and variation(curve) > NOISY


def calmed(curve: Curve) -> Curve:
    """The running median of a curve that is noisy; any other as it is."""
    if not is_noisy(curve):
        return curve
    half = SMOOTHED // 2
    middle = range(half, len(curve) - half)
    medians = [statistics.median(curve.values[position - half : position + half + 1]) for position in middle]
    return Curve(tuple(curve.steps[position] for position in middle), tuple(medians))


@dataclass(frozen=True)
class Gap:
    """Training and validation of the same quantity around one step: validation at `step`, training before it."""

    step: int
    training: float
    validation: float

    @property
    def ratio(self) -> float:
        """Validation over training."""
        return self.validation / self.training if self.training else math.nan

    @property
    def difference(self) -> float:
        """Validation less training."""
        return self.validation - self.training


def gaps(training: Curve, validation: Curve) -> list[Gap]:
    """The gap at each evaluation after the first step; training is the mean of the later half since the one before."""
    found, before = [], 0
    for step, value in validation.points():
        since = training.between(before, step)
        if step > 0 and len(since):
            half = since.values[len(since) // 2 :]
            found.append(Gap(step, statistics.fmean(half), value))
        before = max(step, 0)
    return found


def best(curve: Curve, greater: bool = False) -> tuple[int, float] | None:
    """Step and value of the best point, the earliest of equals; None of an empty curve."""
    sign = -1.0 if greater else 1.0
    return min(curve.points(), key=lambda point: (sign * point[1], point[0]), default=None)


def still_improving(curve: Curve, least: float = 0.02) -> float | None:
    """Relative gain of the last of at least three evaluations over the one before, where each of the last two brought
    more than `least`; else None. For quantities that should fall."""
    if len(curve) < 3 or min(curve.values[-3:]) <= 0:
        return None
    gains = [1 - b / a for a, b in pairwise(curve.values[-3:])]
    return gains[-1] if min(gains) > least else None
