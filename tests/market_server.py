"""What the exchange and the archive of these tests share: an HTTP server on this machine that fails by script."""

import json
import socket
import struct
import threading
import time
from collections import defaultdict
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tests.pushable_hub import Fault


class MarketHandler(BaseHTTPRequestHandler):
    """Answers from `server.market.answer(path, query)`: an object for JSON, bytes, or None for 404."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits for the client's acknowledgement of its headers

    def log_message(self, *args):
        pass

    def date_time_string(self, timestamp=None):
        return formatdate(self.server.market.clock / 1000, usegmt=True)

    def do_GET(self):
        market = self.server.market
        parts = urlsplit(self.path)
        with market.lock:
            market.requests.append(self.path)
            waiting = [faults for part, faults in market.faults.items() if part in self.path and faults]
            fault = waiting[0].pop(0) if waiting else Fault()
        time.sleep(fault.stall + market.slow)
        if fault.cut == "answer":
            # closing with a linger of 0 s resets the connection
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        found = market.answer(parts.path, dict(parse_qsl(parts.query)))
        status = fault.status or (404 if found is None else 200)
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        body = body if status == 200 and not fault.text else fault.text.encode()
        if isinstance(found, tuple) and not fault.status:
            status, body = found[0], json.dumps(found[1]).encode()
        self.send_response(status)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if fault.cut == "body" else body)
        self.close_connection = fault.cut == "body"

    do_HEAD = do_GET


class MarketServer:
    """Context manager; `clock` is the server's time in milliseconds, `slow` seconds before each answer."""

    def __init__(self, clock):
        self.clock = clock
        self.slow = 0.0
        self.requests: list[str] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), MarketHandler)
        self.server.daemon_threads = True
        self.server.market = self
        self.server.handle_error = lambda *_: None  # clients that are killed break their connections
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path, query):
        raise NotImplementedError

    def asked(self, part):
        """Requests so far whose path and query hold a text."""
        with self.lock:
            return [path for path in self.requests if part in path]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
