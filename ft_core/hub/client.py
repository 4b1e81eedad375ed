"""Requests to the Hub with one policy: every request has a timeout, and one place decides on retries.

By default, `huggingface_hub` retries only some requests, waits as long as the server asks, and has no timeout for
uploads.
"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants, set_client_factory
from huggingface_hub.utils import httpx, logging, parse_ratelimit_headers
from huggingface_hub.utils._http import default_client_factory  # no public way back to it

from ..io import retrying
from ..io.console import echo
from .errors import HubFailure, cut_connection, failure_in

TIMEOUT = httpx.Timeout(120.0, connect=15.0)  # seconds without a byte; a large commit takes the Hub a while
WAITS = (1.0, 4.0, 16.0, 32.0)  # seconds before each further try
TEMPORARY = (408, 412, 425, 429, 500, 502, 503, 504)  # 412: the branch moved between reading and writing

wait = time.sleep
T = TypeVar("T")


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds to wait as requested in `ratelimit` or `Retry-After` (a number or a date)."""
    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    return retrying.retry_after(headers.get("retry-after", ""))


class _Client(httpx.Client):
    """Raises HubFailure for temporary failures, so that the Hub client does not retry by itself."""

    def send(self, request: httpx.Request, **options: object) -> httpx.Response:
        try:
            response = super().send(request, **options)
        except httpx.TransportError as error:
            raise HubFailure(cut_connection(error)) from None
        if response.status_code in TEMPORARY:
            response.close()
            raise HubFailure(f"the Hub answered {response.status_code}", _retry_after(response.headers))
        return response


@contextmanager
def _one_policy() -> Iterator[None]:
    hooks = default_client_factory().event_hooks
    verbosity = logging.get_verbosity()
    set_client_factory(lambda: _Client(event_hooks=hooks, follow_redirects=True, timeout=TIMEOUT))
    logging.set_verbosity_error()
    try:
        yield
    finally:
        set_client_factory(default_client_factory)
        logging.set_verbosity(verbosity)


def try_again(action: Callable[[], T], tell: Callable[[str], object] = echo) -> T:
    """Calls an idempotent function that sends requests to the Hub, and retries after temporary failures.

    Args:
        action: asks the Hub, from the beginning each time.
        tell: receives a line for each failure that is retried.

    Raises:
        HubFailure: the Hub failed at every try, or asks to wait longer than `retrying.LONGEST_WAIT`.
    """
    with _one_policy():
        return retrying.try_again(action, failure_in, WAITS, wait, tell)


def hub_answers(timeout: float = 5.0) -> bool:
    """Whether the Hub accepts a connection: without a network, the client would retry for 23 seconds."""
    if getproxies():
        return True
    hub = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((hub.hostname, hub.port or (443 if hub.scheme == "https" else 80)), timeout).close()
    except OSError:
        return False
    return True
