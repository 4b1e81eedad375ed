"""A Hub on this machine that takes commits, keeps branches and history, and fails by script.

Notable:
- Speaks what `huggingface_hub` speaks to create a repository, ask how files are to be sent, upload large ones, commit,
  and download. Large files go the way of Git LFS; the client must have xet switched off.
- `hub.fail("POST /commit/", Fault(status=503), Fault(cut="answer"))` lets the next requests that match fail, in order.
"""

import base64
import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

LARGE = (".safetensors",)


@dataclass
class Fault:
    """What goes wrong with one request.

    `cut` closes the connection: in the middle of the `request`, before the `answer` to a request that was served, or
    after half of the `body` of an answer. `stall` seconds pass before anything is answered.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    cut: str = ""
    stall: float = 0.0
    times: float = 1


@dataclass
class Commit:
    """One commit: what it is named, what it says, and every file that it holds."""

    oid: str
    message: str
    files: dict[str, bytes]


@dataclass
class Repository:
    """A repository: its branches, each a list of commits from the first to the newest."""

    private: bool
    branches: dict[str, list[Commit]]

    def commit(self, branch: str, message: str, files: dict[str, bytes]) -> Commit:
        history = self.branches[branch]
        text = "\n".join([branch, str(len(history)), message, *sorted(files)])
        history.append(Commit(hashlib.sha1(text.encode()).hexdigest(), message, files))
        return history[-1]

    def find(self, revision: str) -> Commit | None:
        if revision in self.branches:
            return self.branches[revision][-1]
        return next((c for history in self.branches.values() for c in history if c.oid == revision), None)


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def oid_of(name: str, content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if name.endswith(LARGE) else git_oid(content)


class _Cut(Exception):
    pass


class _Handler(BaseHTTPRequestHandler):
    hub: "PushableHub"

    def log_message(self, *args):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (_Cut, BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _serve(self):
        self.fault = self.hub.next_fault(self.command, self.path) or Fault()
        length = int(self.headers.get("Content-Length", 0))
        self.hub.requests.append((self.command, self.path))
        self.hub.tokens.add(self.headers.get("Authorization", "").removeprefix("Bearer "))
        if self.fault.cut == "request":
            self.rfile.read(length // 2)
            raise _Cut
        self.body = self.rfile.read(length)
        time.sleep(self.fault.stall)
        if self.fault.status:
            self._send(self.fault.status, self.fault.text.encode(), self.fault.headers.items())
            return
        parts = [unquote(part) for part in self.path.split("?")[0].strip("/").split("/")]
        self._route(parts)

    do_GET = do_HEAD = do_POST = do_PUT = _serve

    def _send(self, status, body=b"", headers=()):
        if self.fault.cut == "answer":
            raise _Cut
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault.cut == "body":
            self.wfile.write(body[: len(body) // 2])
            raise _Cut
        self.wfile.write(body)

    def _json(self, value, status=200):
        self._send(status, json.dumps(value).encode(), [("Content-Type", "application/json")])

    def _missing(self, what):
        self._send(404, b"", [("X-Error-Code", what)])

    def _route(self, parts):
        kind = self.headers.get("Content-Type", "")
        asked = json.loads(self.body) if self.body and kind.endswith("json") and "ndjson" not in kind else {}
        match parts:
            case ["api", "repos", "create"]:
                self._create(asked)
            case ["api", "whoami-v2"]:
                self._json({"name": "me", "type": "user", "auth": {"accessToken": {"role": self.hub.role}}})
            case ["api", "validate-yaml"]:
                self._json({"errors": [], "warnings": []})
            case ["lfs", oid]:
                whole = hashlib.sha256(self.body).hexdigest() == oid
                if whole:
                    self.hub.large[oid] = self.body
                self._send(200 if whole else 400)
            case ["api", "models", owner, name, *rest]:
                self._of_repository(f"{owner}/{name}", rest, asked)
            case [owner, name, "info", "lfs", "objects", "batch"]:
                self._batch(f"{owner}/{name}".removesuffix(".git"), asked)
            case [owner, name, "resolve", revision, *path]:
                self._resolve(f"{owner}/{name}", revision, "/".join(path))
            case _:
                self._send(404)

    def _create(self, asked):
        name = f"{asked['organization']}/{asked['name']}"
        known = name in self.hub.repositories
        if not known:
            self.hub.create(name, private=asked.get("visibility") == "private")
        self._json({"url": f"{self.hub.url}/{name}"}, 409 if known else 200)

    def _of_repository(self, name, rest, asked):
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._missing("RepoNotFound")
            return
        match rest:
            case ["branch", branch]:
                known = branch in repository.branches
                if not known:
                    repository.branches[branch] = list(repository.branches["main"])
                self._json({}, 409 if known else 200)
                return
            case ["preupload" | "commit" | "revision" | "tree" as what, revision, *_]:
                pass
            case _:
                what, revision = "revision", "main"
        found = repository.find(revision)
        if found is None:
            self._missing("RevisionNotFound")
        elif what == "preupload":
            self._json({"files": [self._mode(found, file["path"]) for file in asked["files"]]})
        elif what == "commit":
            self._commit(name, repository, revision, found)
        elif what == "tree":
            self._json([{"type": "file", "path": p, "size": len(c), "oid": git_oid(c)} for p, c in found.files.items()])
        else:
            siblings = [self._sibling(*file) for file in found.files.items()]
            facts = {"id": name, "sha": found.oid, "siblings": siblings, "private": repository.private}
            self._json({**facts, "tags": [], "downloads": 0})

    @staticmethod
    def _sibling(path, content):
        large = {"sha256": oid_of(path, content), "size": len(content), "pointerSize": 134}
        return {"rfilename": path, "size": len(content), **({"lfs": large} if path.endswith(LARGE) else {})}

    @staticmethod
    def _mode(found, path):
        known = found.files.get(path)
        mode = "lfs" if path.endswith(LARGE) else "regular"
        entry = {"path": path, "uploadMode": mode, "shouldIgnore": False}
        return entry if known is None else {**entry, "oid": oid_of(path, known)}

    def _batch(self, name, asked):
        objects = []
        for one in asked["objects"]:
            entry = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.large:
                entry["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}
            objects.append(entry)
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, name, repository, branch, head):
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        with self.hub.lock:
            if header.get("parentCommit", head.oid) != repository.branches[branch][-1].oid:
                self._json({"error": "the branch has moved"}, 412)
                return
            files = dict(head.files)
            for line in lines[1:]:
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.hub.large[value["oid"]]
                else:
                    del files[value["path"]]
            made = repository.commit(branch, header["summary"], files)
        self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{made.oid}", "commitOid": made.oid})

    def _resolve(self, name, revision, path):
        repository = self.hub.repositories.get(name)
        found = repository and repository.find(revision)
        if not found:
            self._missing("RevisionNotFound" if repository else "RepoNotFound")
            return
        headers = [("X-Repo-Commit", found.oid), ("Accept-Ranges", "bytes")]
        if path not in found.files:
            self._send(404, b"", [("X-Error-Code", "EntryNotFound"), *headers])
            return
        content = found.files[path]
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        headers.append(("ETag", f'"{oid_of(path, content)}"'))
        if start:
            headers.append(("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"))
        self._send(206 if start else 200, content[start:], headers)


class PushableHub:
    """Context manager: `with PushableHub() as hub:` then `hub.url`, `hub.repositories`, `hub.fail(...)`."""

    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str] = set()
        self.role = "write"  # what its tokens may do
        self.lock = threading.Lock()
        self._faults: list[tuple[str, str, list[Fault]]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def create(self, name: str, private: bool = False, files: dict[str, bytes] | None = None) -> Repository:
        repository = Repository(private, {"main": []})
        repository.commit("main", "initial commit", {".gitattributes": b"", **(files or {})})
        self.repositories[name] = repository
        return repository

    def history(self, name: str, branch: str = "main") -> list[Commit]:
        """Commits of a branch after the one that every repository begins with."""
        return self.repositories[name].branches[branch][1:]

    def fail(self, request: str, *faults: Fault) -> None:
        """Lets the next requests fail; `request` is a method and a part of the path, such as `POST /commit/`."""
        method, part = request.split(" ", 1)
        self._faults.append((method, part, list(faults)))

    def mend(self) -> None:
        """Ends all failures."""
        self._faults.clear()

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for wanted, part, faults in self._faults:
                if wanted == method and part in path and faults:
                    faults[0].times -= 1
                    return faults[0] if faults[0].times > 0 else faults.pop(0)
        return None

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
