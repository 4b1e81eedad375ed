"""The Hub repository and commit that a model came from, read from its folder."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

from ..checkpoints.manifest import file_hash
from ..io.console import printable
from ..io.formats import read_json

PULLED_FILE = "pulled.json"
_SNAPSHOT = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_name(name: object) -> bool:
    """Whether a model's name can only be one of the Hub: owner/name, and no folder here."""
    return isinstance(name, str) and bool(_HUB_NAME.fullmatch(name)) and not Path(name).exists()


@dataclass(frozen=True)
class HubOrigin:
    """A repository on the Hub, `owner/name`, and the hash of one of its commits."""

    repository: str
    commit: str

    def label(self) -> str:
        """The repository at the commit, shortened."""
        return f"{self.repository} at commit {self.commit[:12]}"


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a full commit hash, which never moves."""
    return revision is not None and bool(_COMMIT.fullmatch(revision))


class _PulledFile(TypedDict):
    repository: str
    revision: str
    sha256: dict[str, str]


@dataclass(frozen=True)
class PulledFolder:
    """The record of a pull: the commit, and the SHA-256 of each downloaded file."""

    origin: HubOrigin
    sha256: dict[str, str]

    def changed(self, folder: Path) -> list[str]:
        """Files that were removed or changed since the pull."""
        return sorted(name for name, digest in self.sha256.items() if cached_hash(folder / name) != digest)

    def others(self, folder: Path) -> list[str]:
        """Other files in the folder."""
        return sorted(entry.name for entry in folder.iterdir() if entry.name not in (PULLED_FILE, *self.sha256))


@lru_cache(maxsize=64)
def _hash_of(path: Path, size: int, changed: int) -> str:
    return file_hash(path)


def cached_hash(path: Path) -> str | None:
    """SHA-256 of a file, cached while its size and modification time stay the same; None if there is no file."""
    try:
        found = path.stat()
        return _hash_of(path.absolute(), found.st_size, found.st_mtime_ns)
    except OSError:
        return None


def read_pulled(folder: Path) -> PulledFolder | None:
    """The record of the pull of a folder, even if files changed since; None for a folder that was not pulled."""
    try:
        values = read_json(folder / PULLED_FILE, "", _PulledFile)
    except ValueError:
        return None
    hashes = {Path(name).name: digest for name, digest in values["sha256"].items()}
    return PulledFolder(HubOrigin(printable(values["repository"]), printable(values["revision"])), hashes)


def origin_of(folder: Path) -> HubOrigin | None:
    """The Hub commit of a model folder in the Hub cache or written by `pull`; None for any other folder.

    A pulled folder whose weights changed since, because a model was saved there, has no origin.

    Args:
        folder (`Path`): holds `config.json`.
    """
    pulled = read_pulled(folder)
    if pulled is not None:
        weights = {path.name for path in folder.glob("*.safetensors")}
        weights |= {name for name in pulled.sha256 if name.endswith(".safetensors")}
        same = all(cached_hash(folder / name) == pulled.sha256.get(name) for name in weights)
        return pulled.origin if same else None
    for commit in (folder, *folder.parents):
        place = _SNAPSHOT.fullmatch(commit.parent.parent.name)
        if place and commit.parent.name == "snapshots" and is_commit(commit.name):
            return HubOrigin(f"{place['owner']}/{place['name']}", commit.name)
    return None


def split_revision(name: str) -> tuple[str, str | None]:
    """`owner/name@revision` as name and revision; a folder, and a name without `@`, as they are."""
    if Path(name).exists() or "@" not in name:
        return name, None
    named, _, revision = name.partition("@")
    return named, revision or None
