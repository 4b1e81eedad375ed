"""Parses times in any common format to UTC, and derives the calendar features of the predictor.

Shapes: N bars.
"""

import re

import numpy as np
import pandas as pd

CALENDAR_FEATURES = ("minute", "hour", "weekday", "day", "month")

# Dates as digits: 20190102, 201901020935, 20190102093500, and 17 digits with milliseconds. As numbers they are outside
# the ranges of the epoch units below.
_DIGIT_FORMS = ((8, "%Y%m%d"), (12, "%Y%m%d%H%M"), (14, "%Y%m%d%H%M%S"), (17, "%Y%m%d%H%M%S%f"))
# An epoch must be between 1980 and 2100. The ranges of the units do not overlap, so each row shows its own unit
# (exchange archives switched from milliseconds to microseconds).
_EARLIEST, _LATEST = 315_532_800, 4_102_444_800
_UNITS = (1, 10**3, 10**6, 10**9)
_FIRST_YEAR, _LAST_YEAR = 1800, 2200  # well within the range of int64 nanoseconds
_SLASHED = re.compile(r"^\s*(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d{2})(?:\D|$)")
# `+08` (PostgreSQL), `+0800` or `+08:00` after a time of day
_OFFSET = r"(?:\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s*[AP]M)?|T\d{2}(?:\d{2}){0,2})\s*[+-]\d{1,2}(?::?\d{2})?$"
_IN_UTC = r"(?<=[\dM])\s*(?:Z|UTC|GMT)$"
LONGEST = 64  # characters of a time; longer cells are not times
# pandas completes a time without a date, a year or a quarter with parts of today's date: only these forms are read
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DATE_FORMS = (
    r"\d{4}([-/.])\d{1,2}\1\d{1,2}(?!\d)",
    r"\d{1,2}([-/.])\d{1,2}\1(?:\d{4}|\d{2})(?!\d)",
    r"\d{8}(?:\d{4}|\d{6})?(?!\d)",
    rf"(?:[a-z]{{3,9}},?\s+)?(?:\d{{1,2}}[\s-]*(?:{_MONTHS})|(?:{_MONTHS})[a-z]*\.?[\s-]*\d{{1,2}}\b).*\d{{2}}",
    r"\d{4}[-/]\d{1,2}$",
)


def _digit_dates(numbers: pd.Series) -> pd.Series | None:
    """Times without zone from integers such as 20190102; None if most of them are not dates."""
    whole = numbers.where(np.isfinite(numbers) & (numbers == np.floor(numbers)) & (numbers.abs() < 1e18))
    text = whole.map(lambda value: str(int(value)), na_action="ignore").astype("string")
    for digits, form in _DIGIT_FORMS:
        fits = text.str.fullmatch(rf"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{{{digits - 8}}}")
        fits = fits.fillna(False).astype(bool)
        if fits.mean() > 0.5:
            return pd.to_datetime(text.where(fits), format=form, errors="coerce")
    return None


def _epochs(numbers: pd.Series) -> pd.Series:
    """UTC times of epoch numbers, each row in its own unit; numbers outside all ranges become NaT."""
    nanoseconds = pd.Series(pd.array([pd.NA] * len(numbers), dtype="Int64"), index=numbers.index)
    for factor in _UNITS:
        rows = numbers.between(_EARLIEST * factor, _LATEST * factor, inclusive="left")
        found = numbers[rows]
        whole = np.floor(found).astype("int64")  # a float64 of nanoseconds would be exact only to 256 ns
        scale = 10**9 // factor
        fraction = ((found - whole) * scale).round().astype("int64")
        nanoseconds[rows] = whole * scale + fraction
    return pd.to_datetime(nanoseconds, unit="ns", utc=True).dt.as_unit("ns")


def _day_first(text: pd.Series) -> bool:
    parts = text.str.extract(_SLASHED).dropna()
    if parts.empty:
        return False
    first, second, year = parts[0].astype(int), parts[1].astype(int), parts[2]
    remedy = "write them as YYYY-MM-DD HH:MM:SS or as epoch seconds"
    if (year.str.len() == 2).any():
        raise ValueError(f"times like {text.iloc[0]!r} have a two-digit year; {remedy}")
    if (first > 12).any() and (second > 12).any():
        raise ValueError(f"times like {text.iloc[0]!r} mix day-first and month-first dates; {remedy}")
    if (first > 12).any() or (second > 12).any():
        return bool((first > 12).any())
    raise ValueError(f"times like {text.iloc[0]!r} are ambiguous: day or month first; {remedy}")


def _in_range(parsed: pd.Series) -> pd.Series:
    first, last = parsed.min(), parsed.max()
    if not (first is pd.NaT or first.year < _FIRST_YEAR or last.year > _LAST_YEAR):
        return parsed
    return parsed.where(parsed.dt.year.between(_FIRST_YEAR, _LAST_YEAR))


def _localise(parsed: pd.Series, timezone: str) -> pd.Series:
    try:
        return parsed.dt.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
    except (KeyError, ValueError, LookupError, OSError) as error:
        raise ValueError(f"timezone={timezone!r} is not known; use a name such as UTC or Asia/Shanghai") from error


def _without_zone(text: pd.Series, options: dict) -> pd.Series:
    try:
        parsed = pd.to_datetime(text, **options)
    except ValueError:  # pandas found a time zone in only some of them
        parsed = None
    if parsed is None or parsed.dt.tz is not None:
        raise ValueError(
            f"times like {text.dropna().iloc[0]!r} have a time zone that cannot be read; write it as an offset, e.g. "
            "2023-05-01 09:30:00+08:00"
        )
    return parsed


def _of_one_form(text: pd.Series) -> pd.Series:
    """The cells whose date has the most frequent form of the column; other cells become missing."""
    best = pd.Series(False, index=text.index)
    for form in _DATE_FORMS:
        fits = text.str.match(form, case=False).fillna(False).astype(bool)
        if fits.sum() > best.sum():
            best = fits
        if fits.mean() > 0.5:
            break
    return text.where(best)


def _from_text(text: pd.Series, timezone: str) -> pd.Series:
    text = _of_one_form(text.astype("string"))
    given = text.dropna()
    day_first = _day_first(given) if len(given) else False
    has_offset = text.str.contains(f"{_OFFSET}|{_IN_UTC}", case=False, regex=True).fillna(False).astype(bool)
    text = text.str.replace(_IN_UTC, "", case=False, regex=True)
    options = {"errors": "coerce", "format": "mixed", "dayfirst": day_first}
    plain = _without_zone(text.where(~has_offset), options)
    parsed = _localise(_in_range(plain), timezone).dt.as_unit("ns")
    if has_offset.any():
        zoned = _in_range(pd.to_datetime(text.where(has_offset), utc=True, **options)).dt.as_unit("ns")
        parsed = parsed.where(~has_offset, zoned)
    return parsed


def parse_times(values: pd.Series, timezone: str = "UTC") -> pd.Series:
    """Parses times to UTC with nanosecond resolution; unreadable values become NaT.

    Numbers are epoch seconds, milliseconds, microseconds or nanoseconds (the magnitude of each row shows its unit, from
    1980 to 2100), or dates as digits (20190102). Times without an offset are in `timezone`. Text without a full date
    (`09:30`, `now`, `2021Q2`), or with a date of another form than most of the column, is unreadable.

    Raises:
        ValueError: ambiguous day and month, a two-digit year, or an unknown time zone.
    """
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        values = pd.Series(pd.DatetimeIndex(values), index=values.index)  # Arrow times cannot be localised
        if values.dt.tz is not None:
            return _in_range(values.dt.tz_convert("UTC")).dt.as_unit("ns")
        return _localise(_in_range(values), timezone).dt.as_unit("ns")
    if pd.api.types.is_numeric_dtype(values.dtype):
        numbers = values
    else:
        values = values.astype("string").str.strip()
        values = values.mask((values.str.len() > LONGEST).fillna(False).astype(bool))
        numbers = pd.to_numeric(values, errors="coerce")
    if len(values) and numbers.notna().mean() > 0.5:
        written = _digit_dates(numbers)
        return _epochs(numbers) if written is None else _localise(_in_range(written), timezone).dt.as_unit("ns")
    return _from_text(values, timezone)


def time_of_day(values: pd.Series) -> pd.Series:
    """Time since midnight from `09:30`, `09:30:00`, or digits like 93000 and 930; NaT for unreadable values."""
    text = values.astype("string").str.strip()
    text = text.mask((text.str.len() > LONGEST).fillna(False).astype(bool))
    digits = text.str.replace(r"\.0$", "", regex=True)
    if digits.str.fullmatch(r"\d{1,6}").mean() > 0.5:
        width = 6 if digits.str.len().max() > 4 else 4
        padded = digits.str.zfill(width)
        text = padded.str[:2] + ":" + padded.str[2:4] + ":" + (padded.str[4:6] if width == 6 else "00")
    text = text.where(text.str.count(":") != 1, text + ":00")
    found = pd.to_timedelta(text, errors="coerce")
    return found.where((found >= pd.Timedelta(0)) & (found < pd.Timedelta(1, "D")))


def calendar_features(timestamps: np.ndarray) -> np.ndarray:
    """Minute, hour, weekday (Monday 0), day and month of each bar.

    Args:
        timestamps (`np.ndarray` of `datetime64[ns]`, shape `(N,)`): UTC times.

    Returns:
        `np.ndarray` of int8, shape `(N, 5)`, in the order of `CALENDAR_FEATURES`.
    """
    times = np.asarray(timestamps, dtype="datetime64[ns]")
    days, months = times.astype("datetime64[D]"), times.astype("datetime64[M]")
    minutes = times.view(np.int64) // 60_000_000_000
    features = {
        "minute": minutes % 60,
        "hour": minutes // 60 % 24,
        "weekday": (days.view(np.int64) + 3) % 7,  # 1970-01-01 was a Thursday
        "day": (days - months.astype("datetime64[D]")).view(np.int64) + 1,
        "month": months.view(np.int64) % 12 + 1,
    }
    return np.stack([features[name] for name in CALENDAR_FEATURES], axis=1).astype(np.int8)
