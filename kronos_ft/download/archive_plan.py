"""Plans which archives cover a span: monthly files, daily files for months without one, and what is missing.

Archives appear late: a monthly file some days after the end of the month, a daily file on the next day. The last months
may therefore have only daily files. The first month of a symbol has a monthly file even if trading began in the middle.
Months before the first monthly file are searched day by day, backwards, until a month without any daily file.
"""

import calendar
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from .archive_store import NAME, Store
from .spans import text_of

DAY = 86_400_000  # milliseconds
RECENT_MONTHS = 2  # months to search by day if a server has no monthly file of the symbol


@dataclass
class ArchivePlan:
    """Archives of one symbol.

    Attributes:
        names (`list[str]`): file names in time order.
        missing (`list[str]`): months and days without an archive, such as `2023-04` and `2023-05-17`.
        end (`int`): end of the archives in the span, milliseconds since 1970 UTC.
    """

    names: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    end: int = 0


def _day_of(time: int) -> date:
    return datetime.fromtimestamp(time / 1000, UTC).date()


def start_of(day: str) -> int:
    """Start of a month (`2023-04`) or a day (`2023-04-17`) in UTC, milliseconds since 1970."""
    first = date.fromisoformat(day if len(day) == 10 else f"{day}-01")
    return int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp() * 1000)


def end_of(day: str) -> int:
    """End of a month or a day in UTC, milliseconds since 1970."""
    if len(day) == 10:
        return start_of(day) + DAY
    return start_of(day) + calendar.monthrange(int(day[:4]), int(day[5:7]))[1] * DAY


def day_in(name: str) -> str:
    """The month or day in an archive's name."""
    return NAME.fullmatch(name)["day"]


def _months(first: date, last: date) -> Iterator[str]:
    year, month = first.year, first.month
    while (year, month) <= (last.year, last.month):
        yield f"{year:04d}-{month:02d}"
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


def _days(month: str, first: date, last: date) -> list[str]:
    begin = date.fromisoformat(f"{month}-01")
    count = calendar.monthrange(begin.year, begin.month)[1]
    days = [begin + timedelta(days=number) for number in range(count)]
    return [day.isoformat() for day in days if first <= day <= last]


def plan_archives(
    store: Store,
    symbol: str,
    timeframe: str,
    since: int,
    until: int | None,
    look: Callable[[int, int], None] = lambda done, total: None,
) -> ArchivePlan:
    """Finds the archives of a span.

    Args:
        store ([`Store`]): the archives.
        symbol (`str`), timeframe (`str`): as in the file names.
        since (`int`), until (`int`, *optional*): milliseconds since 1970 UTC; by default until the last archive.
        look: called with (months searched, total months).

    Raises:
        ValueError: there is no archive, or the last one ends before `since`.
    """
    prefix = f"{symbol}-{timeframe}-"
    first = _day_of(since)
    last = store.last_day(symbol, timeframe)
    if first > last:
        raise ValueError(
            f"since={text_of(since)} is after the last archive of {symbol}, {timeframe}, in {store.name} ({last}); "
            "pass an earlier since"
        )
    if until is not None:
        newest = _day_of(store.now()) if store.is_listed else last  # a folder may lack recent files
        last = min(newest, _day_of(until - 1))
    months = list(_months(first, last))
    present = {}
    for number, month in enumerate(months, 1):
        present[month] = store.has(f"{prefix}{month}.zip")
        look(number, len(months))
    monthly = [month for month in months if present[month]]
    found_of = {}
    begin = months.index(monthly[0]) if monthly else max(0, len(months) - RECENT_MONTHS)
    while monthly and begin > 0 and (begin == months.index(monthly[0]) or found_of[months[begin]]):
        begin -= 1
        days = _days(months[begin], first, last)
        found_of[months[begin]] = [day for day in days if store.has(f"{prefix}{day}.zip")]
    plan = ArchivePlan(end=since)
    for number, month in enumerate(months):
        if present[month]:
            plan.names.append(f"{prefix}{month}.zip")
            continue
        if number < begin and not store.is_listed:
            continue
        days = _days(month, first, last)
        found = found_of[month] if month in found_of else [day for day in days if store.has(f"{prefix}{day}.zip")]
        plan.names += [f"{prefix}{day}.zip" for day in found]
        if found or plan.names:  # days before the first candle are not missing
            begun = found[0] if len(plan.names) == len(found) else ""
            plan.missing += [day for day in days if day not in found and day > begun] if found else [month]
        if until is None and plan.names and not found and not any(present[later] for later in months[number:]):
            break
    if not plan.names:
        raise ValueError(
            f"{store.name} has no archive of {symbol}, {timeframe}, from {text_of(since)[:10]} to {last}; correct "
            "symbol (as in the file names, e.g. BTCUSDT), timeframe or since"
        )
    plan.end = end_of(day_in(plan.names[-1]))
    if until is None:  # files after the last one are not published yet
        plan.missing = [day for day in plan.missing if start_of(day) < plan.end]
    else:
        plan.end = until
    return plan
