"""The page answers under its own addresses and to its own pages only, and its uploads are bounded."""

import asyncio
import os

import pytest

from kronos_ft.ui.access import KEEP_SECONDS, Access, host_of


async def echo(scope, receive, send):
    body, event = b"", {"more_body": True}
    while event.get("more_body"):
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ConnectionError("disconnected")
        body += event.get("body", b"")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def ask(tmp_path):
    """A function: status and text of a request; `pieces` is its body."""

    def request(headers, path="/", pieces=(b"",), quota=100, kind="http", names=("studio", "x.gradio.live")):
        events = [
            {"type": "http.request", "body": piece, "more_body": number < len(pieces) - 1}
            for number, piece in enumerate(pieces)
        ]
        sent = []

        async def receive():
            return events.pop(0)

        async def send(event):
            sent.append(event)

        scope = {
            "type": kind,
            "path": path,
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        }
        asyncio.run(Access(echo, set(names), tmp_path, quota)(scope, receive, send))
        if kind == "websocket":
            return sent[0]["type"], sent[0].get("reason", "")
        return sent[0]["status"], sent[1]["body"].decode()

    return request


OWN = [
    "127.0.0.1:7860",
    "localhost:7860",
    "LOCALHOST",
    "[::1]:7860",
    "192.168.1.5",
    "studio:7860",
    "x.gradio.live",
    "studio.",
]
FOREIGN = [
    "evil.example",
    "evil.example:7860",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "studio.evil.example",
]


@pytest.mark.parametrize("host", OWN)
def test_own_addresses_are_served(ask, host):
    assert ask([("host", host)])[0] == 200


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", ["/", "/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/file=/etc/passwd"])
def test_foreign_names_are_refused_on_every_route(ask, host, path):
    """DNS rebinding: a foreign name that leads to this machine."""
    status, text = ask([("host", host)], path)
    assert status == 421
    assert "open it under the address that the command printed" in text


@pytest.mark.parametrize("headers", [[], [("host", "")], [("host", "a"), ("host", "localhost")], [("host", "[::1")]])
def test_a_request_without_one_valid_host(ask, headers):
    assert ask(headers)[0] == 400


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://evil.example:7860",
        "null",
        "http://localhost:9999",
        "http://127.0.0.1:7860",
        "http://[::1",
    ],
)
def test_other_sites_cannot_send_requests(ask, origin):
    status, text = ask([("host", "localhost:7860"), ("origin", origin)], "/gradio_api/upload")
    assert (status, text) == (403, "requests from other sites are refused")


def test_own_pages_can(ask):
    assert ask([("host", "localhost:7860"), ("origin", "http://localhost:7860")])[0] == 200
    assert ask([("host", "x.gradio.live"), ("origin", "https://x.gradio.live")])[0] == 200


def test_browsers_that_tell_the_site(ask):
    site = [("host", "localhost:7860"), ("sec-fetch-site", "cross-site")]
    assert ask([*site, ("sec-fetch-mode", "no-cors")])[0] == 403
    assert ask([*site, ("sec-fetch-mode", "navigate")])[0] == 200  # a link to the page
    assert ask([("host", "localhost:7860"), ("sec-fetch-site", "same-origin")])[0] == 200


def test_websockets_are_checked_too(ask):
    assert ask([("host", "evil.example")], kind="websocket")[0] == "websocket.close"


LOCAL = [("host", "localhost:7860")]


def test_uploads_within_the_quota(ask):
    assert ask([*LOCAL, ("content-length", "100")], "/gradio_api/upload", [b"x" * 60, b"x" * 40]) == (200, "x" * 100)


def test_a_declared_upload_above_the_quota(ask):
    status, text = ask([*LOCAL, ("content-length", "101")], "/gradio_api/upload", [])
    assert status == 413
    assert "uploads are limited" in text


def test_an_undeclared_upload_above_the_quota(ask):
    assert ask(LOCAL, "/gradio_api/upload", [b"x" * 60, b"x" * 60])[0] == 413


def test_stored_uploads_count_until_they_are_old(ask, tmp_path):
    (tmp_path / "a").mkdir()
    stored = tmp_path / "a" / "candles.csv"
    stored.write_bytes(b"x" * 80)
    assert ask(LOCAL, "/gradio_api/upload", [b"x" * 40])[0] == 413
    past = stored.stat().st_mtime - KEEP_SECONDS - 1
    os.utime(stored, (past, past))
    assert ask(LOCAL, "/gradio_api/upload", [b"x" * 40])[0] == 200
    assert not stored.exists()


def test_hosts_of_addresses():
    assert [host_of(one) for one in ("A.b:80", "[::1]:80", "x.", "", "[")] == ["a.b", "::1", "x", "", ""]
