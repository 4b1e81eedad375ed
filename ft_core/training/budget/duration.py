"""The setting `time_budget`: how it is written, and when its steps are chosen. Imports nothing heavy."""

import re

UNITS = (3600, 60, 1)  # seconds of an hour, a minute, a second
_WRITTEN = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")


class SettledBudget(str):
    """A time budget whose steps are in `max_steps`. It prints and is recorded as it was given."""


def read_duration(word: str) -> int:
    """Seconds of a time budget written as `90s`, `30m`, `4h` or `1h30m`.

    Raises:
        ValueError: written otherwise, or not positive.
    """
    found = _WRITTEN.fullmatch(str(word).strip().lower())
    parts = found.groups(default="0") if found else ("0",) * len(UNITS)
    seconds = sum(int(part) * unit for part, unit in zip(parts, UNITS, strict=True))
    if not seconds:
        raise ValueError(f"time_budget={word!r:.40} is not a time above zero; write e.g. 90s, 30m, 4h or 1h30m")
    return seconds


def check_budget(time_budget: str | None, max_steps: int) -> None:
    """Checks a time budget that is given with the other settings.

    Raises:
        ValueError: a time that cannot be read, or one beside a number of steps.
    """
    if time_budget is None or isinstance(time_budget, SettledBudget):
        return
    read_duration(time_budget)
    if max_steps > 0:
        raise ValueError(
            f"time_budget={time_budget} and max_steps={max_steps} exclude each other: the budget chooses the steps; "
            "remove one of them"
        )


def is_open(args: object) -> bool:
    """Whether settings have a time budget whose steps are not chosen yet."""
    budget = getattr(args, "time_budget", None)
    return budget is not None and not isinstance(budget, SettledBudget)


def refuse_open_budget(args: object) -> None:
    """Raises ValueError for a time budget that a trainer would not keep."""
    if is_open(args):
        raise ValueError(
            f"time_budget={args.time_budget} is turned into steps by the commands kronos-ft and mt5-ft, not by a "
            "trainer; set max_steps instead"
        )
