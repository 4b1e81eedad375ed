"""Curves of logged terms: do they fall, are they steady, how far apart are training and validation, how long it took.

A curve is a pandas Series of finite values by step. A change only counts as one if it exceeds the scatter of the curve.
Quantities that cannot be negative are compared by ratios; losses in nats by differences (0.1 nats is a factor of 1.105
in perplexity).
"""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from .reading import Entry, History, is_number

CLEAR = 2.0  # standard errors
SPIKE = 1.5  # times the median of the points before, at least
FAR_OUT = 4.5  # outlier threshold, in median absolute differences of neighbouring log values
NOISY = 0.2  # variation of entries of few samples: a single one tells little
LEAST_SCATTERED = 20  # points that an estimate of the scatter needs
SMOOTHED = 9  # points of a running median
BEFORE = 5  # points that a spike is compared with
LEAST_POINTS = 4
EPOCH_SECONDS = re.compile(r"epoch.*(time|sec|duration|runtime)|(time|sec|duration).*epoch")  # a logged term
ROUNDED = 5e-4  # of the logged steps a second
LOST = 0.02  # of the sum of logged losses, by rounding


def _logged(entries: Sequence[Entry], name: str, training: bool) -> pd.Series:
    """All values of a term by step, NaN where one is not a number; the last entry of a step counts."""
    found = {
        entry["step"]: entry[name]
        for entry in entries
        if name in entry and not (training and ("loss" not in entry or "train_runtime" in entry))
    }
    values = [float(value) if is_number(value) else math.nan for value in found.values()]
    return pd.Series(values, index=pd.Index(list(found), dtype="int64"), dtype=float).sort_index()


def curve(entries: Sequence[Entry], name: str, training: bool = False) -> pd.Series:
    """The finite values of a term by step, optionally of training steps only."""
    return _logged(entries, name, training).dropna()


def lost_steps(entries: Sequence[Entry], name: str, training: bool = False) -> list[int]:
    """The steps at which a term was logged with a value that is not finite."""
    values = _logged(entries, name, training)
    return values.index[values.isna()].tolist()


def highest(curve: pd.Series) -> tuple[int, float]:
    """Step and value of the highest point, the earliest of equals, of a curve that is not empty."""
    return int(curve.idxmax()), float(curve.max())


def best(curve: pd.Series, greater: bool = False) -> tuple[int, float] | None:
    """Step and value of the best point, the earliest of equals; None for an empty curve."""
    if curve.empty:
        return None
    return highest(curve) if greater else (int(curve.idxmin()), float(curve.min()))


class Trend(NamedTuple):
    """How a curve moved."""

    first: float  # mean of the first tenth
    last: float  # mean of the last tenth
    direction: int  # from the first to the last third: -1 falls, 1 rises, 0 does not exceed the scatter
    change: float  # relative, from `first` to `last`; NaN if the first is not positive


def trend(curve: pd.Series, least: float = 0.01) -> Trend | None:
    """The trend of a curve; None with fewer than four points.

    Args:
        curve: values by step.
        least: the smallest relative change that counts.
    """
    n = len(curve)
    if n < LEAST_POINTS:
        return None
    third, tenth = max(n // 3, 2), max(n // 10, 1)
    early, late = curve.iloc[:third].mean(), curve.iloc[-third:].mean()
    difference, scale = late - early, abs(early) or 1.0
    # neighbours differ by noise alone, so that the trend itself does not count as scatter
    noise = math.sqrt((curve.diff() ** 2).mean() / 2)
    is_clear = abs(difference) > CLEAR * noise * math.sqrt(2 / third) or (third < 4 and abs(difference) > 0.1 * scale)
    direction = int(np.sign(difference)) if is_clear and abs(difference) > least * scale else 0
    first, last = float(curve.iloc[:tenth].mean()), float(curve.iloc[-tenth:].mean())
    return Trend(first, last, direction, last / first - 1 if first > 0 else math.nan)


def variation(curve: pd.Series) -> float:
    """Scatter of the relative change from point to point in the second half of a curve of positive values: its median
    distance from the mean change, so that a steep fall does not count as scatter. NaN with too few points."""
    half = curve.iloc[len(curve) // 2 :]
    changes = np.log(half.where(half > 0)).diff()
    return math.expm1((changes - changes.mean()).abs().median())


def is_noisy(curve: pd.Series) -> bool:
    """Whether single entries tell little, such as those of small batches."""
    return len(curve) >= LEAST_SCATTERED and variation(curve) > NOISY


def calmed(curve: pd.Series) -> pd.Series:
    """The running median of a noisy curve; any other curve unchanged."""
    return curve.rolling(SMOOTHED, center=True).median().dropna() if is_noisy(curve) else curve


def spikes(curve: pd.Series) -> list[int]:
    """Steps of a curve of positive values that exceed the median of the points before by more than half, and by more
    than the scatter of the entries explains."""
    scatter = variation(curve) if len(curve) >= LEAST_SCATTERED else 0.0
    usual = curve.rolling(BEFORE).median().shift()
    is_spike = (usual > 0) & (curve > np.fmax(SPIKE, (1 + scatter) ** FAR_OUT) * usual)
    return curve.index[is_spike].tolist()


class Gap(NamedTuple):
    """Training and validation of one quantity: validation at `step`, training before it."""

    step: int
    training: float
    validation: float
    ratio: float  # validation over training
    difference: float  # validation minus training


def gaps(training: pd.Series, validation: pd.Series) -> list[Gap]:
    """The gap at each evaluation after step 0; training is the mean of the later half of the entries since the previous
    evaluation."""
    found, before = [], 0
    for step, value in validation.items():
        since = training.loc[before + 1 : step]
        if step > 0 and len(since):
            mean = float(since.iloc[len(since) // 2 :].mean())
            found.append(Gap(step, mean, value, value / mean if mean else math.nan, value - mean))
        before = max(step, 0)
    return found


def still_improving(curve: pd.Series, least: float = 0.02) -> float | None:
    """The relative gain of the last evaluation over the one before, of a quantity that should fall; None unless each of
    the last two evaluations gained more than `least`."""
    if len(curve) < 3 or curve.iloc[-3:].min() <= 0:
        return None
    gains = -curve.iloc[-3:].pct_change().dropna()
    return float(gains.iloc[-1]) if gains.min() > least else None


# How long a plain Trainer took


def epoch_times(
    history: History, saved_at: Mapping[int, float], step: int, steps_an_epoch: float | None
) -> list[float]:
    """Seconds of each epoch: logged ones, else those between the checkpoints up to a step; empty if not known."""
    names = sorted(name for name in history.terms if EPOCH_SECONDS.search(name))
    logged = curve(history.entries, names[0]).tolist() if names else []
    if logged or not steps_an_epoch:
        return logged
    saved = [(at, time) for at, time in sorted(saved_at.items()) if at <= step]
    found = [(after - time) / (later - at) * steps_an_epoch for (at, time), (later, after) in pairwise(saved)]
    return found if min(found, default=0.0) >= 1.0 else []  # files within one second are copies


def timed(entries: Sequence[Entry], step: int) -> tuple[float | None, float | None] | None:
    """Seconds of the run up to a step, and seconds per step, by the last logged `train_runtime`.

    A resumed run logs the time of its last part only: what cannot be told from it is None. None without an entry.
    """
    runtime = curve(entries, "train_runtime")
    if runtime.empty or runtime.iloc[-1] <= 0:
        return None
    end, seconds = int(runtime.index[-1]), float(runtime.iloc[-1])
    speed = curve(entries, "train_steps_per_second").get(end)
    if not speed or end <= 0:
        return None, None
    steps, error = speed * seconds, ROUNDED * seconds + 0.5
    covers_all = steps > end - error
    # older Trainers divide by all planned steps, also by those of earlier parts or those that were never made
    if steps > end + error or (covers_all and not _holds_all_losses(entries, end)):
        return None, None
    return seconds if covers_all and end == step else None, seconds / (end if covers_all else steps)


def _holds_all_losses(entries: Sequence[Entry], end: int) -> bool:
    """Whether the logged mean loss is that of all steps. The mean of a part, divided by all steps as older Trainers do,
    is too small. True if it cannot be told."""
    mean = curve(entries, "train_loss").get(end)
    losses = curve(entries, "loss", training=True).loc[1:end]
    if mean is None or losses.empty or losses.min() < 0:
        return True
    # each logged loss is the mean since the one before
    since = losses.index.to_series().diff().fillna(losses.index[0])
    return bool(mean * end >= (1 - LOST) * (losses * since).sum())
