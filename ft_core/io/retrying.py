"""Retries temporary failures: growing waits, waits requested by the server, and a maximum number of attempts."""

import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import TypeVar

from .console import echo

LONGEST_WAIT = 300.0  # seconds; a server that asks for more is left alone

T = TypeVar("T")


class MayPass(ConnectionError):
    """A temporary failure: the server gave no usable answer.

    Args:
        reason: what went wrong, for the message.
        retry_after: seconds to wait as requested by the server, if any.
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
    """Calls an idempotent function, and repeats the call after temporary failures.

    Args:
        action: does it, from the beginning each time.
        failure_in: the temporary failure that an error means, or None for a permanent error.
        waits: minimum seconds before each retry; longer if the server requests it.
        wait: passes the time.
        tell: receives a line for each failure that is retried.

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
