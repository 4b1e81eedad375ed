"""Infers from times the step between bars, and whether the market is continuous or has sessions.

A forecast uses only the bars before its origin: later bars would reveal future nights and weekends.

Shapes: N bars.
"""

import numpy as np

CONTINUOUS_COVERAGE = 0.9  # a market with at least this share of the expected bars is continuous
SESSION_GAP_DAYS = 14  # a session market has at least one gap in this many days on average
RECENT_BARS = 10_000  # before an origin: five weeks of one-minute stock bars, or a year of hourly bars
LONGEST_PAUSE = 3600 * 10**9  # nanoseconds: longer steps may be nights, breaks or weekends
DAY, LONG_BARS = 86_400 * 10**9, 4 * 3600 * 10**9  # nanoseconds
STEP_PARTS, LEAST_PART, PREVAILS = 10, 20, 0.9


def duration(seconds: float) -> str:
    """Formats a time span in its largest unit: `30 min`, `1 h`, `2.7 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def modal_step(steps: np.ndarray) -> int:
    """The most frequent step between bars (on ties, the shortest), in the unit of `steps`."""
    unique, counts = np.unique(steps, return_counts=True)
    return int(unique[counts.argmax()])


def step_change(steps: np.ndarray, modal: int) -> int | None:
    """Index at which the bar length changes: the start of the first part in which another step prevails, or None."""
    parts = np.array_split(np.arange(len(steps)), STEP_PARTS)
    if len(parts[0]) < LEAST_PART:
        return None
    usual = [(steps[part] == modal).mean() for part in parts]
    few = [len(np.unique(steps[part])) < len(part) / 4 for part in parts]
    other = [share < 1 - PREVAILS and one for share, one in zip(usual, few, strict=True)]
    same = [share > PREVAILS for share in usual]
    if not any(other) or not any(same):
        return None
    as_usual_first = same.index(True) < other.index(True)
    part = parts[other.index(True) if as_usual_first else same.index(True)]
    before = np.flatnonzero((steps[: part[0]] == modal) == as_usual_first)
    return int(before[-1]) + 1


def missing_bars(steps: np.ndarray, step: float) -> np.ndarray:
    """Number of bars missing within each step, int64 of the same shape."""
    return np.maximum(np.round(steps / step).astype(np.int64) - 1, 0)


def market_of(steps: np.ndarray, step: int) -> str:
    """`session` if gaps recur (nights, weekends), else `continuous`. One long outage is not a session.

    Args:
        steps (`np.ndarray` of int64, shape `(N - 1,)`): nanoseconds between bars.
        step (`int`): their modal step.
    """
    coverage = (len(steps) + 1) / (len(steps) + 1 + missing_bars(steps, step).sum())
    span_days = steps.sum() / 86_400e9
    gaps = int((steps > 1.5 * step).sum())
    session = coverage < CONTINUOUS_COVERAGE and gaps >= max(2, span_days / SESSION_GAP_DAYS)
    return "session" if session else "continuous"


def closings(timestamps: np.ndarray, step: int) -> np.ndarray:
    """Whether each step is a closing of a session market, such as a night or a weekend.

    Closings begin at few times of the day or, for bars of four hours and longer, on few days of the week; bars that are
    missing at random do not.

    Args:
        timestamps (`np.ndarray` of `datetime64[ns]`, shape `(N,)`): strictly increasing.
        step (`int`): the modal step in nanoseconds.
    """
    steps = np.diff(timestamps).astype(np.int64)
    longer = steps > max(step, LONGEST_PAUSE)
    began = timestamps[:-1][longer].astype("datetime64[ns]").astype(np.int64)
    by_day = step >= LONG_BARS
    _, counts = np.unique(began // DAY % 7 if by_day else began % DAY, return_counts=True)
    number, share = (2, 0.6) if by_day else (4, 0.75)
    recur = np.sort(counts)[-number:].sum() >= share * len(began)
    return longer & (recur and market_of(steps, step) == "session")


def rhythm_before(timestamps: np.ndarray, origin: int) -> tuple[float, str]:
    """Step in seconds and market, inferred from the last bars before a forecast origin.

    Args:
        timestamps (`np.ndarray` of `datetime64[ns]`, shape `(N,)`): strictly increasing.
        origin (`int`): index of the first unknown bar.

    Raises:
        ValueError: fewer than 2 known bars.
    """
    if origin < 2:
        raise ValueError(f"only {origin} bars before the origin; at least 2 are needed to infer the bar length")
    steps = np.diff(timestamps[max(origin - RECENT_BARS, 0) : origin].astype("datetime64[ns]")).astype(np.int64)
    step = modal_step(steps)
    return step / 1e9, market_of(steps, step)
