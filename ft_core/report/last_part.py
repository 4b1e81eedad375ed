"""The time of a run without a record: the last entry of a Trainer times the part since the last resume, not the run."""

from collections.abc import Sequence
from dataclasses import dataclass

from .history import Curve, Entry, curve

ROUNDED = 5e-4  # of the logged steps a second
LOST = 0.02  # of the sum of logged losses, by rounding


@dataclass(frozen=True)
class LastPart:
    """What the last `train_runtime` covers.

    Attributes:
        seconds (`float`): of the part.
        steps (`float`, *optional*): made in it; None where that cannot be told.
        is_whole (`bool`): it is known to be the whole run up to the last logged step.
    """

    seconds: float
    steps: float | None
    is_whole: bool


def last_part(entries: Sequence[Entry], step: int) -> LastPart | None:
    """The part of a run that its last `train_runtime` covers; None without one.

    Args:
        entries: as logged.
        step: the last step of the run.
    """
    runtime = curve(entries, "train_runtime")
    if not len(runtime) or runtime.values[-1] <= 0:
        return None
    end, seconds = runtime.points()[-1]
    speed = dict(curve(entries, "train_steps_per_second").points()).get(end)
    if not speed or end <= 0:
        return LastPart(seconds, None, False)
    steps, error = speed * seconds, ROUNDED * seconds + 0.5
    # older Trainers divide by all planned steps, also those of earlier parts or those that were never made
    if steps > end + error or (steps > end - error and not _holds_all_losses(entries, end)):
        return LastPart(seconds, None, False)
    is_whole = steps > end - error
    return LastPart(seconds, end if is_whole else steps, is_whole and end == step)


def _holds_all_losses(entries: Sequence[Entry], end: int) -> bool:
    """Whether the mean loss of the last entry has all that was logged in it: that of a part, divided by all steps as
    older Trainers do, is too small. True where it cannot be told."""
    mean = dict(curve(entries, "train_loss").points()).get(end)
    losses = curve(entries, "loss", training=True).between(0, end)
    return mean is None or not len(losses) or min(losses.values) < 0 or mean * end >= (1 - LOST) * _sum(losses)


def _sum(losses: Curve) -> float:
    """Of the losses of all steps, each logged one the mean since the one before."""
    before = (0, *losses.steps)
    return sum(value * (step - since) for (step, value), since in zip(losses.points(), before, strict=False))
