"""Whether the last bar of candles has ended: exchanges also return the current bar, whose close is not final.

Times are those at which bars begin, in UTC. Imports nothing heavy.
"""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from ..data.candles import CandleSeries


def utc_now() -> np.datetime64:
    """The current time, UTC."""
    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "ns")


def is_unfinished(series: CandleSeries) -> bool:
    """Whether the last bar has not ended: now is before its time, at which it begins, plus one step."""
    step = np.timedelta64(round(series.report.step_seconds * 1e9), "ns")
    return bool(utc_now() < series.timestamps[-1].astype("datetime64[ns]") + step)


def begins_later(series: CandleSeries) -> bool:
    """Whether the last bar begins after now: no exchange returns such a bar, so its time is probably not in UTC."""
    return bool(utc_now() < series.timestamps[-1].astype("datetime64[ns]"))


def finished_bars(series: CandleSeries) -> CandleSeries:
    """The series without a last bar that has not ended."""
    if not is_unfinished(series):
        return series
    return replace(series, timestamps=series.timestamps[:-1], values=series.values[:-1])
