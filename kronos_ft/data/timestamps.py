"""Reads times of any common notation as UTC, and derives the calendar features of the predictor.

Shapes: N bars.
"""

import re

import numpy as np
import pandas as pd

CALENDAR_FEATURES = ("minute", "hour", "weekday", "day", "month")

# Upper bounds of |value|: seconds reach 2100 at 4.1e9, so each unit has a range of its own. Compact dates (20190102,
# 201901020935, 20190102093500 and the 17 digits with milliseconds) fall between them.
_COMPACT_DATES = ((8, "%Y%m%d"), (12, "%Y%m%d%H%M"), (14, "%Y%m%d%H%M%S"), (17, "%Y%m%d%H%M%S%f"))
_EPOCH_UNITS = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (np.inf, "ns"))
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_SLASHED = re.compile(r"^\s*(\d{1,2})[/.-](\d{1,2})[/.-]\d{4}")


def _compact_format(values: pd.Series) -> str | None:
    """Format of integers like 20190102 that write a date in digits, or None when they count an epoch."""
    text = values.astype("int64").astype(str)
    for digits, form in _COMPACT_DATES:
        if (text.str.len() == digits).all() and text.str[:4].astype(int).between(1900, 2100).all():
            months, days = text.str[4:6].astype(int), text.str[6:8].astype(int)
            if months.between(1, 12).all() and days.between(1, 31).all():
                return form
    return None


def _from_numbers(numbers: pd.Series) -> pd.Series:
    valid = numbers[np.isfinite(numbers)]
    if not len(valid):
        return pd.Series(pd.NaT, index=numbers.index, dtype="datetime64[ns, UTC]")
    form = _compact_format(valid) if (valid == valid.round()).all() else None
    if form:
        text = numbers.map(lambda value: str(int(value)), na_action="ignore")
        return pd.to_datetime(text, format=form, utc=True, errors="coerce").dt.as_unit("ns")
    magnitude = float(valid.abs().median())
    unit = next(unit for bound, unit in _EPOCH_UNITS if magnitude < bound)
    whole = np.floor(numbers)
    scale = _NANOSECONDS[unit]
    fraction = ((numbers - whole) * scale).round()
    # whole units as integers: a float of nanoseconds is only exact to 256 ns
    nanoseconds = whole.astype("Int64") * scale + fraction.astype("Int64")
    return pd.to_datetime(nanoseconds, unit="ns", utc=True, errors="coerce").dt.as_unit("ns")


def _day_first(text: pd.Series) -> bool:
    parts = text.str.extract(_SLASHED).dropna().astype(int)
    if parts.empty:
        return False
    if (parts[0] > 12).any():
        return True
    if (parts[1] > 12).any():
        return False
    raise ValueError(
        f"times like {text.iloc[0]!r} do not tell day from month; write them as YYYY-MM-DD HH:MM:SS or as epoch seconds"
    )


def parse_times(values: pd.Series, timezone: str = "UTC") -> pd.Series:
    """Times as UTC with nanosecond resolution; what cannot be read becomes NaT.

    Numbers are epoch seconds, milliseconds, microseconds or nanoseconds, told apart by magnitude, or dates written in
    digits (20190102). Texts with an offset are converted; texts without one are taken to be in `timezone`.

    Raises:
        ValueError: when day and month cannot be told apart, or the time zone is unknown.
    """
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        parsed = values
    else:
        numbers = values if pd.api.types.is_numeric_dtype(values.dtype) else pd.to_numeric(values, errors="coerce")
        if len(values) and numbers.notna().mean() > 0.5:
            return _from_numbers(numbers)
        text = values.astype("string").str.strip()
        given = text.dropna()
        day_first = _day_first(given) if len(given) else False
        has_offset = len(given) and bool(re.search(r"(Z|[+-]\d{2}:?\d{2})$", str(given.iloc[0])))
        parsed = pd.to_datetime(text, errors="coerce", format="mixed", dayfirst=day_first, utc=bool(has_offset))
    if parsed.dt.tz is None:
        try:
            parsed = parsed.dt.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT")
        except (KeyError, ValueError, LookupError, OSError) as error:
            raise ValueError(f"timezone={timezone!r} is not known; use a name such as UTC or Asia/Shanghai") from error
    return parsed.dt.tz_convert("UTC").dt.as_unit("ns")


def calendar_features(timestamps: np.ndarray) -> np.ndarray:
    """Minute, hour, weekday (Monday 0), day and month of each bar.

    Args:
        timestamps (`np.ndarray` of `datetime64[ns]`, shape `(N,)`): UTC times.

    Returns:
        `np.ndarray` of int8, shape `(N, 5)`, in the order of `CALENDAR_FEATURES`.
    """
    index = pd.DatetimeIndex(timestamps)
    return np.stack([getattr(index, name) for name in CALENDAR_FEATURES], axis=1).astype(np.int8)
