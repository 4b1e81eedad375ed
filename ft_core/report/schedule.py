"""The learning rates that a run's settings describe, to compare with those that it logged."""

import math
from collections.abc import Mapping

LINEAR_ANNEALED = ("linear", "cosine", "constant", "constant_with_warmup")


def _between(start: float, end: float, share: float) -> float:
    """Cosine from start to end, as `OneCycleLR` anneals."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def one_cycle_rate(step: int, total: int, peak: float, pct_start: float, div: float, final_div: float) -> float:
    """The rate of the one-cycle schedule after `step` of `total` steps (arXiv 1708.07120, as PyTorch computes it)."""
    rise, end = pct_start * total - 1, total - 1
    low = peak / div
    if step <= rise:
        return _between(low, peak, step / rise if rise > 0 else 0.0)
    return _between(peak, low / final_div, (step - rise) / (end - rise))  # the rise may end before the first step


def warmup_rate(name: str, step: int, total: int, peak: float, warmup: int) -> float:
    """The rate of transformers' plain schedules after `step` steps."""
    if step < warmup:
        return peak * step / max(1, warmup)
    share = (step - warmup) / max(1, total - warmup)
    if name == "linear":
        return peak * max(0.0, 1 - share)
    if name == "cosine":
        return peak * max(0.0, 0.5 * (1 + math.cos(math.pi * share)))
    return peak


def expected_rate(settings: Mapping[str, object], step: int, total: int) -> float | None:
    """The rate at a step, or None for a schedule that is not known here.

    Args:
        settings: recorded training settings.
        step: steps of the schedule that have been made.
        total: optimizer steps of the whole run.
    """
    peak = settings.get("learning_rate")
    if not isinstance(peak, int | float) or total < 1:
        return None
    if settings.get("one_cycle"):
        names = ("pct_start", "div_factor", "final_div_factor")
        values = [settings.get(name) for name in names]
        return one_cycle_rate(step, total, peak, *values) if all(isinstance(v, int | float) for v in values) else None
    name, warmup = settings.get("lr_scheduler_type"), settings.get("warmup_steps") or 0
    if name not in LINEAR_ANNEALED or settings.get("lr_scheduler_kwargs"):
        return None
    if name == "constant":
        warmup = 0
    return warmup_rate(name, step, total, peak, math.ceil(warmup * total) if warmup < 1 else int(warmup))
