"""Infers the weekly schedule of a session market from its bars: on which weekdays, at which times, is there a bar?

Notable:
- The last weeks vote on each (weekday, time of day); newer weeks weigh more. A holiday or a half-day loses the vote; a
  permanent change of the session wins it after three weeks.
- A clock change (daylight saving time) shifts the session by an hour in UTC, while the market is closed. Each week is
  therefore first shifted by -1, 0 or +1 hours to match the next newer week, and the elected week to match the current
  week. The first bars after a clock change are enough for this.
- A week starts in the middle of the longest closed period, so a clock change never falls inside a week.

Times are int64 nanoseconds since the epoch, UTC; a pattern stores offsets from the start of the week.
Shapes: N bars, W weeks, 7 weekdays, T times of day.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
WEEK = 7 * DAY
_MONDAY = 4 * DAY  # the epoch was a Thursday

WEEKS = 8  # weeks that vote besides the current one
# Weight of a week relative to the next newer one. Two weeks in a row (Christmas and New Year) have less than half of
# the votes of nine weeks, three have more.
DECAY = 0.75
MAJORITY = 0.5
THIN = 0.25  # share of the usual votes that a time between the first and last bar of a day needs
BORROWED = 1 / 3  # weight of the mean of all weekdays in the vote of one weekday
OPEN_HOUR_SHARE = 0.25  # an hour with bars in fewer weeks than this share of the busiest hour counts as closed
# Clocks change only in these months. In other months, an apparent shift of an hour comes from missing bars.
CLOCK_CHANGE_MONTHS = (3, 4, 9, 10, 11)


@dataclass(frozen=True)
class WeekPattern:
    """A week of a session market.

    Attributes:
        start (`int`): start of the week that contains the last bar.
        offsets (`np.ndarray` of int64): time of each bar since the start of the week, increasing, below one week.
        explained (`float`): share of the bars at one of the offsets, in all weeks or in the newest two, whichever is
            larger (the newest two fit better after a recent change of the session).
    """

    start: int
    offsets: np.ndarray
    explained: float

    def after(self, first: int, count: int) -> np.ndarray:
        """The next `count` times of the pattern at or after `first`, shape `(count,)`."""
        weeks = 2 + count // len(self.offsets) + max(first - self.start, 0) // WEEK
        times = (self.start + WEEK * np.arange(weeks)[:, None] + self.offsets).ravel()
        return times[times >= first][:count]


def _cut(times: np.ndarray) -> int:
    """Middle of the longest closed period of the week, as an offset from the epoch."""
    visits = np.unique(np.stack((times // WEEK, times % WEEK // HOUR)), axis=1)
    weeks_open = np.bincount(visits[1], minlength=WEEK // HOUR)
    open_hours = np.flatnonzero(weeks_open > OPEN_HOUR_SHARE * weeks_open.max())
    closed = np.diff(np.append(open_hours, open_hours[0] + WEEK // HOUR)) - 1
    longest = int(closed.argmax())
    return int((open_hours[longest] + 1) * HOUR + closed[longest] * HOUR // 2) % WEEK


def _in_clock_change_month(time: int) -> bool:
    return np.datetime64(time, "ns").astype("datetime64[M]").astype(int) % 12 + 1 in CLOCK_CHANGE_MONTHS


def _shift(older: np.ndarray, newer: np.ndarray, end: int) -> int:
    """The shift (-1, 0 or +1 hours) with which a week's offsets best match a newer week that is known until `end`."""

    def fit(hours: int) -> int:
        moved = older + hours
        moved = moved[moved <= end]
        found = int(np.isin(moved, newer).sum())
        return found - (len(moved) - found)

    return max((0, -HOUR, HOUR), key=fit)


class _Votes:
    """Votes of weeks on a grid of 7 weekdays and all times of day that occur.

    Args:
        weeks (list of (start, times)): newest first, times already shifted to the newest week's clock.
        ages: age of each week, in weeks.
        first, last (`int`): range of the known bars.
    """

    def __init__(self, weeks: list[tuple[int, np.ndarray]], ages: list[int], first: int, last: int):
        times = np.concatenate([bars for _, bars in weeks])
        clock = np.unique(times % DAY)
        grid = (np.arange(7)[:, None] * DAY + clock).ravel()  # from Monday on
        shape = (7, len(clock))
        votes, seen = np.zeros(grid.shape), np.zeros(grid.shape)
        day_votes, day_seen = np.zeros(7), np.zeros(7)
        for (start, bars), age in zip(weeks, ages, strict=True):
            weight = DECAY**age
            present = np.isin(grid, (bars - _MONDAY) % WEEK)
            at = start + (grid + _MONDAY - start) % WEEK
            observed = (first <= at) & (at <= last)
            votes += weight * present
            seen += weight * observed
            day_votes += weight * present.reshape(shape).any(axis=1)
            day_seen += weight * observed.reshape(shape).any(axis=1)
        self.grid = grid
        self.votes, self.seen = votes.reshape(shape), seen.reshape(shape)
        self.day_votes, self.day_seen = day_votes, day_seen

    def winners(self) -> np.ndarray:
        """The elected times as offsets from Monday 00:00."""
        open_days = (self.day_seen > 0) & (self.day_votes >= MAJORITY * self.day_seen)
        share = self.votes / np.maximum(self.seen, 1e-12)
        pooled = self.votes[open_days].sum(axis=0) / np.maximum(self.seen[open_days].sum(axis=0), 1e-12)
        # In an illiquid market, a time of the session has a bar in only some of the weeks. `usual` is that share: the
        # vote-weighted median of the shares. Times of a former session are many, but have few votes.
        order = pooled.argsort()
        mass = pooled[order].cumsum()
        usual = pooled[order][mass.searchsorted(mass[-1] / 2)]
        # the other weekdays contribute: they outvote holidays and react faster to a change of the session
        share = (1 - BORROWED) * share + BORROWED * pooled
        own = open_days[:, None] & (self.seen > 0) & (share >= MAJORITY * usual)
        # between the first and last bar of a day, a time with few bars is illiquid, not closed
        inside = np.logical_or.accumulate(own, axis=1) & np.logical_or.accumulate(own[:, ::-1], axis=1)[:, ::-1]
        # a history shorter than a week lacks some weekdays: treat Monday to Friday as equal
        unseen_weekday = (self.day_seen == 0) & (np.arange(7) < 5)
        unseen = (self.seen == 0) & (open_days | unseen_weekday)[:, None]
        elected = own | (inside & (pooled >= THIN * usual)) | (unseen & (pooled >= MAJORITY * usual))
        return self.grid[elected.ravel()]


def learn_week(times: np.ndarray) -> WeekPattern:
    """Infers the weekly schedule from the last bars of a session market.

    Args:
        times (`np.ndarray` of int64, shape `(N,)`): nanoseconds since the epoch, strictly increasing, N >= 2.

    Returns:
        [`WeekPattern`] in the clock of the last bar.
    """
    blocks = (times[-1] - times) // WEEK
    used = np.flatnonzero(blocks <= np.unique(blocks)[: WEEKS + 2][-1])
    times = times[used]
    cut = _cut(times)
    number = (times - cut) // WEEK
    weeks = [(int(cut + n * WEEK), times[number == n]) for n in np.unique(number)[::-1][: WEEKS + 1]]
    first, last = int(weeks[-1][1][0]), int(times[-1])

    current, past = weeks[0], weeks[1:]
    moved, clock = past[:1], 0
    for (newer_start, newer), (start, bars) in pairwise(past):
        if _in_clock_change_month(int(newer[0])):
            clock += _shift(bars - start, newer - newer_start, WEEK)
        moved.append((start, bars + clock))
    if past and _in_clock_change_month(int(current[1][0])):
        elected = _Votes(moved, list(range(1, len(weeks))), first + clock, last).winners()
        start = current[0]
        now = _shift((elected + _MONDAY - start) % WEEK, current[1] - start, last - start)
        moved, clock = [(start, bars + now) for start, bars in moved], clock + now
    elected = _Votes([current, *moved], list(range(len(weeks))), first + clock, last).winners()
    hits = [np.isin((bars - _MONDAY) % WEEK, elected) for _, bars in (current, *moved)]
    explained = max(float(np.concatenate(some).mean()) for some in (hits, hits[:2]))
    return WeekPattern(current[0], np.sort((elected + _MONDAY - current[0]) % WEEK), explained)
