"""Serves the page: on this machine alone unless asked, without telemetry, and with nothing of the disk to be read.

Notable:
- Uploads and downloads live in a temporary folder that goes with the page; no other path is served.
- gradio takes settings from `GRADIO_*` variables too; they are removed, so that the command line says all there is.
"""

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def check_address(host: str, port: int) -> int:
    """The port to listen on; a free one for 0.

    Raises:
        ValueError: a port out of range, one that is taken, or a host that is not this machine's.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port={port} is outside 0 to 65535; use e.g. 7860, or 0 for any that is free")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return probe.getsockname()[1]
    except OSError as error:
        raise ValueError(
            f"host={host} port={port} cannot be listened on ({error.strerror or error}); pass another --port or --host"
        ) from error


def warnings_of(host: str, share: bool) -> list[str]:
    """Lines on who else can reach the page."""
    found = []
    if host not in LOOPBACK:
        found.append(f"host={host}: whoever reaches this machine can use the page and upload files; it has no password")
    if share:
        found.append(
            "share: the page gets a public address through gradio's servers, for whoever knows it; no password"
        )
    return found


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def serve(build: Callable[[Path], object], host: str, port: int, share: bool, say: Callable[[str], None]) -> None:
    """Serves a page until the process is interrupted or asked to end.

    Args:
        build: makes the `gr.Blocks` page; is given the folder of its files.
        host, port: where to listen.
        share (`bool`): ask gradio's servers for a public address.
        say: receives each line of text.

    Raises:
        ValueError: an address that cannot be used.
    """
    port = check_address(host, port)
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    previous = signal.signal(signal.SIGTERM, _stop)  # or a page that is ended while it starts leaves its folder
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
        from .page import STYLE_FILE, UPLOAD_LIMIT, page_theme

        page = build(Path(folder))
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
        )
        try:
            say(f"page        {local}")
            if public:
                say(f"public      {public}")
            say("Ctrl-C ends it")
            threading.Event().wait()
        finally:
            page.close(verbose=False)
