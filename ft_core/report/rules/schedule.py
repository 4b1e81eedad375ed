"""The rule on the learning-rate schedule, and the rates that a run's settings describe."""

import math
from collections.abc import Mapping

from ..answers import TRAINING, Answer, rule
from ..curves import highest
from ..facts import RunFacts
from ..reading import Record

CHECKED = ("linear", "cosine", "constant", "constant_with_warmup")
ON_SCHEDULE = 0.02  # of the peak
RATE_POINTS, NEAR_PEAK = 200, 0.9  # where the schedule is looked at; of the peak
USUAL_WARMUP = 0.1  # of all steps


def _between(start: float, end: float, share: float) -> float:
    """Cosine from start to end, as `OneCycleLR` anneals."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def one_cycle_rate(step: int, total: int, peak: float, pct_start: float, div: float, final_div: float) -> float:
    """The rate of the one-cycle schedule after `step` of `total` steps (arXiv 1708.07120, as PyTorch computes it)."""
    rise, end = pct_start * total - 1, total - 1
    low = peak / div
    if step <= rise:
        return _between(low, peak, step / rise if rise > 0 else 0.0)
    # the rise may end before the first step, or with the last one
    return _between(peak, low / final_div, (step - rise) / ((end - rise) or 1))


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
    """The rate after `step` of `total` steps by recorded training settings; None for a schedule not known here."""
    recorded = Record(settings)
    peak, name = recorded.number("learning_rate"), recorded.text("lr_scheduler_type")
    if peak is None or total < 1:
        return None
    if recorded.get("one_cycle"):
        values = [recorded.number(name) for name in ("pct_start", "div_factor", "final_div_factor")]
        return one_cycle_rate(step, total, peak, *values) if None not in values and all(values[1:]) else None
    if name not in CHECKED or recorded.get("lr_scheduler_kwargs"):
        return None
    warmup = 0.0 if name == "constant" else recorded.number("warmup_steps") or 0.0
    return warmup_rate(name, step, total, peak, math.ceil(warmup * total) if warmup < 1 else int(warmup))


@rule(TRAINING, ok="followed described", watch="never_peaks", problem="left")
def schedule(facts: RunFacts) -> Answer | None:
    """Logged learning rates beside those that the settings describe."""
    settings, total = facts.record.group("arguments"), facts.max_steps
    logged, peak = facts.training("learning_rate"), facts.settings.number("learning_rate")
    if not facts.record:
        return _described(facts) if len(logged) > 1 else None
    if not total or not peak or logged.empty:
        return None
    off = []
    for step, rate in logged.items():
        # the rate of an entry is that of its last step, or of the next one, by the place where it was logged
        both = [expected_rate(settings, at, total) for at in (step - 1, step)]
        if None in both:
            return None
        off.append((min(abs(rate - one) for one in both) / peak, step, rate, both[0]))
    worst, step, rate, expected = max(off)
    kind = "one-cycle" if settings.get("one_cycle") else settings.text("lr_scheduler_type")
    values = {"kind": kind, "top": highest(logged), "last": logged.iloc[-1]}
    if worst > ON_SCHEDULE:
        return Answer("left", values | {"step": step, "rate": rate, "expected": expected})
    planned = max(expected_rate(settings, at * total // RATE_POINTS, total) for at in range(RATE_POINTS + 1))
    if planned >= NEAR_PEAK * peak:
        return Answer("followed", values)
    values |= {"peak": peak, "planned": planned, "warmup": facts.settings.number("warmup_steps")}
    return Answer("never_peaks", values, {"warmup_steps": USUAL_WARMUP})


def _described(facts: RunFacts) -> Answer:
    """The shape of logged rates whose settings are not recorded."""
    logged = facts.training("learning_rate")
    first, last, top = logged.iloc[0], logged.iloc[-1], highest(logged)
    shape = ("rises" if top[0] > logged.index[0] else "") + ("falls" if last < top[1] else "")
    values = {"first": first, "last": last, "top": top, "peak_at": facts.place(top[0])}
    return Answer("described", values | {"shape": shape or "constant"})
