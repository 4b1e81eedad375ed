"""Serves the page: by default only on this machine, without telemetry and without access to files on disk.

Notable:
- Uploads and downloads are in a temporary folder that is deleted with the page; no other path is served.
- Requests under foreign host names or from other sites are refused, see `kronos_ft/ui/access.py`.
- `GRADIO_*` environment variables are removed, so that only the command line configures the page.
"""

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from .access import Access

UPLOAD_QUOTA = 2**30  # bytes of all uploads at one time
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def check_address(host: str, port: int) -> int:
    """Checks host and port; returns the port, or a free one for 0.

    Raises:
        ValueError: the port is out of range or in use, or the host is not an address of this machine.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port={port} is outside 0 to 65535; use e.g. 7860, or 0 for a free port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return probe.getsockname()[1]
    except OSError as error:
        raise ValueError(
            f"cannot listen on host={host} port={port} ({error.strerror or error}); pass another --port or --host"
        ) from error


def warnings_of(host: str, share: bool) -> list[str]:
    """Warnings about access from other machines."""
    found = []
    if host not in LOOPBACK:
        found.append(
            f"host={host}: everyone who can reach this machine can use the page and upload files; it has no password"
        )
    if share:
        found.append(
            "share: the page gets a public address on gradio's servers; everyone who knows it can use the page without "
            "a password"
        )
    return found


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def serve(build: Callable[[Path], object], host: str, port: int, share: bool, say: Callable[[str], None]) -> None:
    """Serves a page until the process is interrupted or terminated.

    Args:
        build: creates the `gr.Blocks` page; receives the folder for its files.
        host, port: address to listen on.
        share (`bool`): request a public address from gradio's servers.
        say: receives each line of text.

    Raises:
        ValueError: the address cannot be used.
    """
    port = check_address(host, port)
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    previous = signal.signal(signal.SIGTERM, _stop)  # so that the temporary folder is deleted even during the start
    try:
        _serve(build, host, port, share, say)
    except KeyboardInterrupt:
        say("ended")
    finally:
        signal.signal(signal.SIGTERM, previous)


def _serve(build: Callable[[Path], object], host: str, port: int, share: bool, say: Callable[[str], None]) -> None:
    """Starts the page and waits for its end."""
    with tempfile.TemporaryDirectory(prefix="kronos-ft-ui-") as folder:
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": folder}
        from starlette.middleware import Middleware

        from .page import STYLE_FILE, UPLOAD_LIMIT, page_theme

        page = build(Path(folder))
        names = {host.lower(), socket.gethostname().lower()}
        access = Middleware(Access, names=names, folder=Path(folder), quota=UPLOAD_QUOTA)
        _, local, public = page.launch(
            server_name=host,
            server_port=port,
            share=share,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=UPLOAD_LIMIT,
            allowed_paths=[],
            footer_links=[],
            show_error=True,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            enable_monitoring=False,
            theme=page_theme(),
            css=STYLE_FILE.read_text(encoding="utf-8"),
            app_kwargs={"middleware": [access]},
        )
        if public:
            names.add(urlsplit(public).hostname or "")
        try:
            say(f"page        {local}")
            if public:
                say(f"public      {public}")
            say("press Ctrl-C to stop")
            threading.Event().wait()
        finally:
            page.close(verbose=False)
