"""Timestamps of the bars to forecast, inferred from the step and the session pattern of the data.

Notable:
- Continuous markets: equal steps. Session markets: the weekly pattern of the last bars (`session_pattern.py`).
- Weekly bars keep their weekday. Monthly, quarterly and yearly bars follow the calendar if their days of the month
  follow a rule.
- The only input is the data: no list of holidays, no time zones. Holidays get bars, and a clock change within the
  forecast is not predicted.

Shapes: N bars, H bars to forecast.
"""

import numpy as np
import pandas as pd

from .rhythm import duration
from .session_pattern import DAY, WEEK, learn_week

MARKETS = ("continuous", "session")
SHORTEST_MONTH = 26 * DAY  # from the last trading day of January to that of February
RECENT_STEPS = 500  # steps that must show the bar length
RECENT_LONG_BARS = 24  # weekly and longer bars from which the weekday or day of the month is inferred
# Share of steps that must equal the modal step. Illiquid session markets have one-minute bars in 1/3 of the minutes.
STEADY_SHARE = {"continuous": 0.5, "session": 0.1}
EXPLAINED_SHARE = 0.5
EXPLAINED_SHARE_OF_LONG_BARS = 0.75  # two-day bars fall on Monday, Wednesday, Friday only every other week
RULE_SHARE = 0.7  # share of the recent months that must follow a rule: a holiday moves the last trading day


def _nanoseconds(name: str, timestamps: object) -> np.ndarray:
    """Timestamps as int64 nanoseconds, UTC."""
    index = pd.DatetimeIndex(timestamps)
    if index.hasnans:
        raise ValueError(f"{name} contains {int(index.isna().sum())} missing times; give every bar a time")
    if index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    return index.as_unit("ns").asi8


def _written(time: int) -> str:
    return str(np.datetime64(int(time), "ns").astype("datetime64[s]")).replace("T", " ")


def _check_increasing(name: str, times: np.ndarray) -> None:
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        at = int(back[0]) + 1
        raise ValueError(
            f"{name} is not strictly increasing: {_written(times[at])} at position {at} follows "
            f"{_written(times[at - 1])}; sort the times and remove duplicates"
        )


def _mixed(steps: np.ndarray, step: int, detail: str) -> ValueError:
    sizes, counts = np.unique(steps, return_counts=True)
    order = counts.argsort()[::-1][:3]
    found = ", ".join(f"{duration(sizes[i] / 1e9)} ({counts[i] / len(steps):.0%})" for i in order)
    return ValueError(
        f"time steps are mixed: the last {len(steps)} are {found}, and {detail.format(step=duration(step / 1e9))}; "
        "pass candles of one bar length, or pass the future timestamps"
    )


def _modal(values: np.ndarray) -> tuple[int, float]:
    """The most frequent value (on ties, the latest) and its share."""
    found, counts = np.unique(values[::-1], return_counts=True)
    best = found[counts == counts.max()]
    latest = next(value for value in values[::-1] if value in best)
    return int(latest), float(counts.max() / len(values))


def _day_of_month(day: np.ndarray) -> np.ndarray:
    return (day - day.astype("datetime64[M]")).astype(np.int64)


def _month_end(month: np.ndarray) -> np.ndarray:
    return (month + 1).astype("datetime64[D]") - 1


def _last_weekday(month: np.ndarray) -> np.ndarray:
    return np.busday_offset(_month_end(month), 0, roll="backward")


def _first_weekday(month: np.ndarray) -> np.ndarray:
    return np.busday_offset(month.astype("datetime64[D]"), 0, roll="forward")


# rules for the day of a monthly bar, besides a fixed day: months (M,) -> days (M,)
_MONTH_RULES = (_month_end, _last_weekday, _first_weekday)


def _calendar_months(times: np.ndarray, horizon: int) -> np.ndarray | None:
    """The next monthly, quarterly or yearly bars; None if the days of the month follow no rule.

    A month that begins at midnight in New York or Shanghai begins some hours before or after midnight UTC. The function
    tries the day as written and the day of the nearest midnight, and uses the one with the clearer rule.
    """
    recent = times[-RECENT_LONG_BARS:]
    found, clearest = None, RULE_SHARE
    for half in (0, DAY // 2):
        days = ((recent + half) // DAY).astype("datetime64[D]")
        months = days.astype("datetime64[M]")
        length, steady = _modal(np.diff(months).astype(np.int64))
        if length < 1 or steady < RULE_SHARE:
            continue
        ahead = months[-1] + length * np.arange(1, horizon + 1)
        day, same_day = _modal(_day_of_month(days))
        rules = [(same_day, np.minimum(ahead.astype("datetime64[D]") + day, _month_end(ahead)))]
        rules += [(float((rule(months) == days).mean()), rule(ahead)) for rule in _MONTH_RULES]
        agreement, bars = max(rules, key=lambda rule: rule[0])
        if agreement >= clearest and (found is None or agreement > clearest):
            clearest = agreement
            found = bars.astype(np.int64) * DAY + (recent[-1] - days[-1].astype(np.int64) * DAY)
    return found


def _regular(times: np.ndarray, step: int, horizon: int) -> np.ndarray:
    """Equal steps. If a holiday moved the last weekly bar, the next bars return to the usual day."""
    phases = times[-RECENT_LONG_BARS:] % step
    usual = _modal(phases)[0]
    moved = (int(times[-1]) - usual + step // 2) % step - step // 2
    start = int(times[-1]) - (moved if step >= WEEK and abs(moved) >= DAY // 2 else 0)
    return start + step * np.arange(1, horizon + 1)


def _skips_weekends(times: np.ndarray, step: int) -> bool:
    """Whether these are daily bars that span at least a week and contain no Saturday."""
    days = times // DAY
    return step == DAY and int(days[-1] - days[0]) >= 7 and not ((days + 3) % 7 == 5).any()


def future_timestamps(timestamps: np.ndarray, horizon: int, step_seconds: float, market: str) -> np.ndarray:
    """Infers the times of the next bars.

    Args:
        timestamps (`np.ndarray` of `datetime64[ns]`, shape `(N,)`): UTC times of the known bars, strictly increasing.
        horizon (`int`): bars to forecast, at least 1.
        step_seconds (`float`): bar length, as `CandleReport.step_seconds`.
        market (`str`): `continuous` or `session`, as `CandleReport.market`.

    Returns:
        `np.ndarray` of `datetime64[ns]`, shape `(H,)`: strictly increasing, all after the last bar.

    Raises:
        ValueError: horizon below 1, fewer than 2 bars, times not strictly increasing, an unknown market, or time steps
            without a pattern.
    """
    if horizon != int(horizon) or horizon < 1:
        raise ValueError(f"horizon={horizon} must be a whole number of bars, at least 1")
    if market not in MARKETS:
        raise ValueError(f"market={market!r} is not known; use one of {', '.join(MARKETS)}")
    if not 0 < step_seconds < np.inf:
        raise ValueError(f"step_seconds={step_seconds} must be positive; pass the time between two bars")
    times = _nanoseconds("timestamps", timestamps)
    if len(times) < 2:
        raise ValueError(f"timestamps contains {len(times)} bars; at least 2 are needed to infer the bar length")
    _check_increasing("timestamps", times)
    horizon, step = int(horizon), round(step_seconds * 1e9)
    if step >= SHORTEST_MONTH:
        months = _calendar_months(times, horizon)
        if months is not None:
            return months.astype("datetime64[ns]")
    steps = np.diff(times)[-RECENT_STEPS:]
    # a holiday or a clock change may lengthen a weekly bar by a day
    near = np.abs(steps - step) <= (DAY if step >= WEEK else 0)
    if near.mean() < STEADY_SHARE["continuous" if step >= WEEK else market]:
        raise _mixed(steps, step, f"only {near.mean():.0%} are {{step}}")
    if step >= WEEK or (market == "continuous" and not _skips_weekends(times, step)):
        return _regular(times, step, horizon).astype("datetime64[ns]")
    pattern = learn_week(times)
    apart = np.diff(np.append(pattern.offsets, pattern.offsets[:1] + WEEK))
    enough = EXPLAINED_SHARE if step <= DAY else EXPLAINED_SHARE_OF_LONG_BARS
    if pattern.explained < enough or (apart == step).mean() < STEADY_SHARE[market]:
        raise _mixed(steps, step, "bars of {step} do not repeat at the same times of the week")
    # plus half a step: after a bar stamped at an early close, the usual close of the same day is not a next bar
    return pattern.after(int(times[-1]) + (step + 1) // 2, horizon).astype("datetime64[ns]")


def check_future(past: object, future: object, horizon: int | None = None) -> None:
    """Validates future timestamps against the past.

    Args:
        past: times of the known bars (array, Series or index); times without an offset are UTC.
        future: times of the bars to forecast.
        horizon (`int`, *optional*): the required number of future times.

    Raises:
        ValueError: a time is missing, the past is empty, the number is wrong, the future is not strictly increasing, or
            it begins at or before the last bar of the past.
    """
    known, ahead = _nanoseconds("past timestamps", past), _nanoseconds("future timestamps", future)
    if not len(known):
        raise ValueError("past timestamps is empty; at least 2 bars of context are needed")
    if horizon is not None and len(ahead) != horizon:
        raise ValueError(
            f"future timestamps contains {len(ahead)} times for a horizon of {horizon} bars; pass one time per bar"
        )
    _check_increasing("future timestamps", ahead)
    if len(ahead) and ahead[0] <= known.max():
        raise ValueError(
            f"future timestamps begins at {_written(ahead[0])}, not after the last bar of the past at "
            f"{_written(known.max())}; pass later times"
        )
