"""Retries of requests to exchanges and archives."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from ft_core.io import retrying
from ft_core.io.console import note
from ft_core.io.secrets import without_secrets

WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)  # seconds before each retry
FIRST_WAITS = WAITS[:3]  # for the first request: without a network, fail after seconds instead of minutes
# 418: Binance, for clients that ignored 429; 520 and above: content delivery networks
TEMPORARY = (408, 418, 425, 429, 500, 502, 503, 504, 520, 521, 522, 524, 525, 530)

wait = time.sleep
T = TypeVar("T")


class SourceFailure(retrying.MayPass):
    """The server gave no usable answer; a later attempt may succeed."""


def ask_again(
    action: Callable[[], T],
    failure_in: Callable[[BaseException], SourceFailure | None],
    waits: Sequence[float],
) -> T:
    """Calls [`retrying.try_again`].

    Raises:
        SourceFailure: every attempt failed, or the server requests a too long wait.
    """
    return retrying.try_again(action, failure_in, waits, lambda seconds: wait(seconds), note)


def check_url(field: str, url: str) -> str:
    """Validates a URL and removes the trailing slash.

    Raises:
        ValueError: not an http or https URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{field}={without_secrets(url)!r} is not a URL; write it as https://HOST")
    return url.rstrip("/")
