"""How often and how patiently a server of candles is asked again; the same for exchanges and archives."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from ft_core.io import retrying
from ft_core.io.secrets import without_secrets

WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)  # seconds before each further try
FIRST_WAITS = WAITS[:3]  # nothing is lost yet: somebody without a network need not wait two minutes to hear it
# 418 is Binance's for who went on after 429; those from 520 are of the networks before exchanges
TEMPORARY = (408, 418, 425, 429, 500, 502, 503, 504, 520, 521, 522, 524, 525, 530)

wait = time.sleep
T = TypeVar("T")


class SourceFailure(retrying.MayPass):
    """The server gave no usable answer; it may give one later."""


def ask_again(
    action: Callable[[], T],
    failure_in: Callable[[BaseException], SourceFailure | None],
    waits: Sequence[float],
) -> T:
    """As [`retrying.try_again`].

    Raises:
        SourceFailure: at every try, or the server asks for too long a wait.
    """
    return retrying.try_again(action, failure_in, waits, lambda seconds: wait(seconds))


def check_url(field: str, url: str) -> str:
    """An address without its last slash.

    Raises:
        ValueError: when it is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{field}={without_secrets(url)!r} is no address; write it as https://HOST")
    return url.rstrip("/")
