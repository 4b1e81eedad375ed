"""Who may use the page: requests to its own addresses, from its own pages, with bounded uploads.

Notable:
- Another site can point its own name at this machine (DNS rebinding) and read the answers in the visitor's browser. A
  page of this machine is therefore served only under an IP address, `localhost`, or a name that is known to be its own.
- Another site can send a form or a fetch here. A request with an `Origin` other than the page's own is refused.
- Uploads that nothing reads stay on disk: their sum is limited, and files older than `KEEP_SECONDS` are deleted.

The middleware is plain ASGI and checks every route, including the queue.
"""

import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from urllib.parse import urlsplit

KEEP_SECONDS = 600
UPLOAD_PATH = "/upload"

Scope = MutableMapping[str, object]
Receive = Callable[[], Awaitable[MutableMapping[str, object]]]
Send = Callable[[MutableMapping[str, object]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def host_of(netloc: str) -> str:
    """The host of `host:port` in lower case, without port and brackets; empty if it is malformed."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _stored(folder: Path) -> int:
    """Bytes of the uploads in a folder; deletes files older than `KEEP_SECONDS`."""
    total = 0
    for path in folder.rglob("*"):
        try:
            if not path.is_file():
                continue
            found = path.stat()
            if time.time() - found.st_mtime > KEEP_SECONDS:
                path.unlink()
            else:
                total += found.st_size
        except OSError:  # deleted meanwhile
            continue
    return total


class Access:
    """ASGI middleware that refuses foreign hosts, foreign origins and uploads above a quota.

    Args:
        app: the application.
        names (`set` of `str`): host names of the page, besides IP addresses and `localhost`; may grow later.
        folder (`Path`): where uploads are stored.
        quota (`int`): maximum bytes of all stored uploads.
    """

    def __init__(self, app: App, names: set[str], folder: Path, quota: int):
        self.app, self.names, self.folder, self.quota = app, names, folder, quota

    def refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, str] | None:
        """Status and reason for a refused request, or None."""
        values: dict[str, list[str]] = {}
        for name, value in headers:
            values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts = values.get("host", [])
        host = host_of(hosts[0]) if len(hosts) == 1 else ""
        if not host:
            return 400, "the request has no valid Host header"
        if not (host == "localhost" or _is_address(host) or host in self.names):
            return 421, f"this page is not served as {host[:60]!r}; open it under the address that the command printed"
        for origin in values.get("origin", []):
            if origin.partition("://")[2].lower() != hosts[0].lower():
                return 403, "requests from other sites are refused"
        if "cross-site" in values.get("sec-fetch-site", []) and values.get("sec-fetch-mode") != ["navigate"]:
            return 403, "requests from other sites are refused"
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes an allowed request on; answers the others itself."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refused = self.refusal(scope["headers"])
        if refused is not None:
            await _answer(scope, send, *refused)
        elif scope["type"] == "http" and str(scope["path"]).endswith(UPLOAD_PATH):
            await self._upload(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes an upload on until it exceeds the quota; a declared length is checked before the first byte."""
        left = self.quota - _stored(self.folder)
        lengths = [value for name, value in scope["headers"] if name.lower() == b"content-length"]
        declared = int(lengths[0]) if lengths and lengths[0].isdigit() else 0
        message = (413, f"uploads are limited to {self.quota / 2**20:,.0f} MiB in all; try again in a few minutes")
        if declared > left:
            await _answer(scope, send, *message)
            return
        started = exceeded = False

        async def counted() -> MutableMapping[str, object]:
            nonlocal left, exceeded
            event = await receive()
            left -= len(event.get("body") or b"")
            if left < 0:
                exceeded = True
                return {"type": "http.disconnect"}
            return event

        async def noted(event: MutableMapping[str, object]) -> None:
            nonlocal started
            started = True
            await send(event)

        try:
            await self.app(scope, counted, noted)
        except Exception:
            if not exceeded or started:
                raise
        if exceeded and not started:
            await _answer(scope, send, *message)


async def _answer(scope: Scope, send: Send, status: int, text: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": text[:100]})
        return
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
