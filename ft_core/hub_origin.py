"""Which repository and commit of the Hub a model came from, read off its folder."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

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

    def words(self) -> str:
        """The repository at the commit, shortened."""
        return f"{self.repository} at commit {self.commit[:12]}"


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a whole commit hash, which never moves."""
    return revision is not None and bool(_COMMIT.fullmatch(revision))


def origin_of(folder: Path) -> HubOrigin | None:
    """The commit that a model folder holds: one of the Hub's cache, or one that `pull` wrote; None for any other.

    Args:
        folder (`Path`): holds `config.json`.
    """
    try:
        pulled = json.loads((folder / PULLED_FILE).read_text(encoding="utf-8"))
        return HubOrigin(str(pulled["repository"]), str(pulled["revision"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
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
