"""One-line messages with a remedy for refusals and failures of the Hub; they never contain a token."""

import json
import re

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx

from ..io.retrying import MayPass

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
_TOKENS = re.compile(r"\b(hf|api_org|hf_oauth)_[A-Za-z0-9_.-]{4,}")


class HubRefusal(ValueError):
    """A permanent refusal of the Hub: the request must be changed."""


class HubFailure(MayPass):
    """A temporary failure: the Hub gave no usable answer."""


def without_tokens(text: str) -> str:
    """A text in one line, at most 300 characters, with every Hub token in it blanked."""
    token = get_token()
    if token:
        text = text.replace(token, "***")
    return _TOKENS.sub("***", " ".join(text.split()))[:300]


def cut_connection(error: Exception) -> str:
    """The message of a failed request without its content, because the quote of a bad header contains the token."""
    if isinstance(error, httpx.LocalProtocolError):
        return "the request could not be sent; check HF_TOKEN and the proxy settings for stray characters"
    kind = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "broke the connection"
    return f"the Hub at {constants.ENDPOINT} {kind} ({type(error).__name__})"


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def failure_in(error: BaseException) -> HubFailure | None:
    """The underlying HTTP error, or None; the client wraps errors of its upload threads."""
    return next((one for one in _chain(error) if isinstance(one, HubFailure)), None)


def explain(error: BaseException, name: str, revision: str | None = None) -> ValueError | HubFailure | None:
    """Converts an error of the Hub client to a one-line error with a remedy; None for any other error.

    Args:
        error: what the client raised.
        name: the repository, `owner/name`.
        revision (*optional*): branch, tag or commit that was asked for.
    """
    for one in _chain(error):
        found = _explain_one(one, name, revision)
        if found is not None:
            return found
    return None


def _explain_one(error: BaseException, name: str, revision: str | None) -> ValueError | HubFailure | None:
    if isinstance(error, HubFailure | HubRefusal):
        return error
    if isinstance(error, json.JSONDecodeError):  # of a response
        return HubRefusal(f"the server at {constants.ENDPOINT} is not the Hub; check HF_ENDPOINT and the network")
    if isinstance(error, OfflineModeIsEnabled):
        return HubRefusal(f"HF_HUB_OFFLINE is set, so {name} cannot be accessed; unset it and try again")
    if isinstance(error, RevisionNotFoundError):
        return HubRefusal(f"{name} has no revision {revision or 'main'!r} on the Hub; correct revision")
    if isinstance(error, GatedRepoError):
        return HubRefusal(
            f"{name} is gated; request access at {constants.ENDPOINT}/{name}, then {LOG_IN}, with the same account"
        )
    if isinstance(error, HfHubHTTPError):
        return _explain_status(error, name)
    if isinstance(error, httpx.HTTPError):
        return HubFailure(cut_connection(error))
    return None


def _explain_status(error: HfHubHTTPError, name: str) -> ValueError | HubFailure:
    status = error.response.status_code
    message = without_tokens(error.server_message or "")
    detail = f"{status}: {message}" if message else f"{status}"
    if status == 401 and not isinstance(error, RepositoryNotFoundError):
        return HubRefusal(f"the Hub refused the log-in for {name} ({detail}); {LOG_IN}, with a valid token")
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return HubRefusal(
            f"{name} is not on the Hub, or you have no access to it ({detail}); correct the name, or {LOG_IN}"
        )
    if status == 403:
        return HubRefusal(
            f"the Hub forbids this for {name} ({detail}); use a token with the permission (to push: write), or "
            "another owner"
        )
    if status == 429 or status >= 500:
        return HubFailure(f"the Hub answered {detail} for {name}")
    return HubRefusal(f"the Hub refused the request for {name} ({detail}); see {constants.ENDPOINT}/{name}")
