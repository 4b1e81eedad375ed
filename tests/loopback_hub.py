"""A Hub on this machine for tests: serves repositories from memory to the real client.

Answers what `huggingface_hub` asks to resolve, list and download files of a model or data set repository.
"""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Handler(BaseHTTPRequestHandler):
    repos: dict[str, dict[str, bytes]]

    def log_message(self, *args):
        pass

    def _send(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value):
        self._send(200, json.dumps(value).encode(), [("Content-Type", "application/json")])

    def do_HEAD(self):
        self.do_GET()

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        asked = json.loads(self.rfile.read(length) or b"{}") if length else {}
        parts = self.path.split("?")[0].strip("/").split("/")
        if "paths-info" in parts:
            files = self.repos.get("/".join(parts[2:4]), {})
            self._json([self._entry(name, files[name]) for name in asked.get("paths", []) if name in files])
        else:
            self._send(404)

    @staticmethod
    def _entry(name, content):
        return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def do_GET(self):
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[0] == "api":
            self._api(parts[2:])
            return
        if parts[0] == "datasets":
            parts = parts[1:]
        name, file = "/".join(parts[:2]), "/".join(parts[4:])
        if name not in self.repos:
            self._send(404, headers=[("X-Error-Code", "RepoNotFound")])
        elif file not in self.repos[name]:
            self._send(404, headers=[("X-Error-Code", "EntryNotFound"), ("X-Repo-Commit", COMMIT)])
        else:
            content = self.repos[name][file]
            etag = f'"{hashlib.sha1(content).hexdigest()}"'
            self._send(200, content, [("ETag", etag), ("X-Repo-Commit", COMMIT), ("Accept-Ranges", "none")])

    def _api(self, parts):
        name = "/".join(parts[:2])
        if name not in self.repos:
            self._send(404, headers=[("X-Error-Code", "RepoNotFound")])
        elif len(parts) > 2 and parts[2] == "tree":
            held = self.repos.get(f"{name}@{unquote('/'.join(parts[3:]))}", self.repos[name])
            self._json([self._entry(file, content) for file, content in held.items()])
        elif len(parts) > 2 and parts[2] == "refs":
            others = [key.partition("@")[2] for key in self.repos if key.startswith(f"{name}@")]
            refs = [{"name": ref, "ref": ref, "targetCommit": COMMIT} for ref in others]
            self._json({"branches": [], "converts": [], "tags": [], "pullRequests": refs})
        else:
            siblings = [{"rfilename": file} for file in self.repos[name]]
            self._json({"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": [], "downloads": 0})


class LoopbackHub:
    """Context manager: `with LoopbackHub({"owner/name": {"config.json": b"..."}}) as url`.

    Files of a pull request stand under `owner/name@refs/pr/N`; they can be listed.
    """

    def __init__(self, repos):
        handler = type("Handler", (_Handler,), {"repos": repos})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
