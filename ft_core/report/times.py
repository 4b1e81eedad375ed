"""How long a plain Trainer took, from what it logged and from the times of its checkpoints."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from .curves import curve
from .reading import Entry, History

EPOCH_SECONDS = re.compile(r"epoch.*(time|sec|duration|runtime)|(time|sec|duration).*epoch")  # a logged term
ROUNDED = 5e-4  # of the logged steps a second
LOST = 0.02  # of the sum of logged losses, by rounding


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
