"""Does again what failed for a reason that may pass: growing waits, what the server asks for, and an end."""

import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import TypeVar

from .console import echo

LONGEST_WAIT = 300.0  # seconds; a server that asks for more is left alone

T = TypeVar("T")


class MayPass(ConnectionError):
    """A server gave no usable answer; it may give one later.

    Args:
        reason: what went wrong, in words.
        retry_after: seconds after which the server wants to be asked again, if it said so.
    """

    def __init__(self, reason: str, retry_after: float | None = None):
        super().__init__(reason)
        self.retry_after = retry_after


def moment_of(value: str) -> float | None:
    """Seconds since 1970 of a date in a header; None for anything else."""
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError):
        return None


def retry_after(value: str) -> float | None:
    """Seconds that a `Retry-After` header asks to wait, a number or a date; None for anything else."""
    if value.strip().isdecimal():
        return float(value)
    moment = moment_of(value)
    return None if moment is None else max(0.0, moment - time.time())


def try_again(
    action: Callable[[], T],
    failure_in: Callable[[BaseException], MayPass | None],
    waits: Sequence[float],
    wait: Callable[[float], None] = time.sleep,
    tell: Callable[[str], object] = echo,
) -> T:
    """Calls a function that may be repeated, and calls it again after temporary failures.

    Args:
        action: does it, from the beginning each time.
        failure_in: the failure that an error means, None for an error that would come again.
        waits: seconds before each further try, at least; longer where the server asks for it.
        wait: passes the time.
        tell: receives a line for each failure that is tried again.

    Raises:
        MayPass: of the kind that `failure_in` gives, when every try failed or the server asks to wait longer than
            `LONGEST_WAIT`.
    """
    for number, usual in enumerate((*waits, None), 1):
        try:
            return action()
        except Exception as error:
            failure = failure_in(error)
            if failure is None:
                raise
        asked = failure.retry_after
        if usual is None:
            raise type(failure)(f"{failure}, {number} times in a row")
        if asked is not None and asked > LONGEST_WAIT:
            raise type(failure)(f"{failure} and the server asks to wait {asked:.0f} s")
        seconds = usual if asked is None else max(usual, asked)  # one that asks for 0 s may do so for ever
        tell(f"{failure}; trying again in {seconds:.0f} s ({number} of {len(waits)})")
        wait(seconds)
    raise AssertionError("unreachable")
