"""Times and timeframes of a download (`--since`, `--until`, `--timeframe`), in milliseconds.

A span contains the candles that open at or after `since` and before `until`. A candle is finished one timeframe after
its opening time; unfinished candles are excluded.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd

from ..data.timestamps import parse_times

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class Span:
    """Opening times to fetch, in milliseconds since 1970 UTC.

    Attributes:
        start (`int`): first opening time.
        end (`int`): end of the span, exclusive.
        step (`int`): time between candles.
    """

    start: int
    end: int
    step: int


def step_of(timeframe: str) -> int:
    """Milliseconds between candles.

    Raises:
        ValueError: not a timeframe, or without a fixed length (such as `1M`, a month).
    """
    match = re.fullmatch(r"([1-9]\d{0,3})([smhdw])", timeframe)
    if match is None:
        months = " (months have no fixed length)" if re.fullmatch(r"\d+(M|mo|y)", timeframe) else ""
        raise ValueError(
            f"timeframe={timeframe!r} is not valid{months}; use a number and one of s, m, h, d, w, e.g. 1h"
        )
    return int(match[1]) * SECONDS[match[2]] * 1000


def milliseconds(name: str, text: str) -> int:
    """Parses a time to milliseconds since 1970; UTC if it has no offset.

    Raises:
        ValueError: not a time.
    """
    remedy = "write it as 2018-01-01 or 2018-01-01T09:30 (UTC)"
    try:
        time = parse_times(pd.Series([text])).iloc[0]
    except ValueError as error:
        raise ValueError(f"{name}={text!r}: {error}") from None
    if pd.isna(time):
        raise ValueError(f"{name}={text!r} is not a time; {remedy}")
    return int(time.value // 10**6)


def text_of(time: float) -> str:
    """Formats milliseconds since 1970 as `2018-01-01 09:30`, with seconds if they are not 0."""
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S" if time % 60_000 else "%Y-%m-%d %H:%M")


def span_of(since: int, until: int | None, step: int, now: int, clock: str) -> Span:
    """The span of finished candles.

    Args:
        since: first opening time.
        until: only earlier opening times; None for all finished candles.
        step: milliseconds between candles.
        now: current time by the source's clock.
        clock: name of the clock, for messages.

    Raises:
        ValueError: the span is empty.
    """
    if until is not None and until <= since:
        raise ValueError(f"until={text_of(until)} is not after since={text_of(since)}; correct one of them")
    if since >= now:
        raise ValueError(f"since={text_of(since)} is in the future ({clock}: {text_of(now)} UTC); pass an earlier time")
    finished = now - step + 1
    if since >= finished:
        raise ValueError(
            f"no candle since {text_of(since)} is finished yet ({clock}: {text_of(now)} UTC); pass an earlier since"
        )
    return Span(since, finished if until is None else min(until, finished), step)
