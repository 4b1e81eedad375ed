"""How often bars come: their step, and whether the market trades around the clock or in sessions; from times alone.

What is forecast from an origin asks it of the bars before the origin: those after it would tell of nights and weekends
that nobody had seen yet.

Shapes: N bars.
"""

import numpy as np

CONTINUOUS_COVERAGE = 0.9  # share of the expected bars from which on a market counts as trading around the clock
SESSION_GAP_DAYS = 14  # a session market has at least one gap in so many days on average
RECENT_BARS = 10_000  # before an origin: five weeks of one-minute bars of stocks, years of hours


def modal_step(steps: np.ndarray) -> int:
    """The most frequent of the times between bars, the shortest of equals; any whole unit."""
    unique, counts = np.unique(steps, return_counts=True)
    return int(unique[counts.argmax()])


def missing_bars(steps: np.ndarray, step: float) -> np.ndarray:
    """Bars missing in each of the times between bars, int64 of the same shape."""
    return np.maximum(np.round(steps / step).astype(np.int64) - 1, 0)


def market_of(steps: np.ndarray, step: int) -> str:
    """`session` where gaps recur, as nights and weekends do, else `continuous`: one long outage makes no session.

    Args:
        steps (`np.ndarray` of int64, shape `(N - 1,)`): nanoseconds between bars.
        step (`int`): their modal step.
    """
    coverage = (len(steps) + 1) / (len(steps) + 1 + missing_bars(steps, step).sum())
    span_days = steps.sum() / 86_400e9
    gaps = int((steps > 1.5 * step).sum())
    session = coverage < CONTINUOUS_COVERAGE and gaps >= max(2, span_days / SESSION_GAP_DAYS)
    return "session" if session else "continuous"


def rhythm_before(timestamps: np.ndarray, origin: int) -> tuple[float, str]:
    """Step in seconds and market, as the last bars before an origin show them.

    Args:
        timestamps (`np.ndarray` of `datetime64[ns]`, shape `(N,)`): strictly increasing.
        origin (`int`): the first bar that is not known.

    Raises:
        ValueError: fewer than 2 bars are known.
    """
    if origin < 2:
        raise ValueError(f"{origin} bars show no time between bars; at least 2 are needed")
    steps = np.diff(timestamps[max(origin - RECENT_BARS, 0) : origin].astype("datetime64[ns]")).astype(np.int64)
    step = modal_step(steps)
    return step / 1e9, market_of(steps, step)
