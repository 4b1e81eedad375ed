"""A Hub on this machine that this process talks to, without waiting between tries."""

import re
import socket
import tempfile
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.file_download
import huggingface_hub.utils._http
import pytest
from huggingface_hub import constants

from ft_core.hub import client as hub_client, training_push
from ft_core.hub.pushed_files import STATE
from ft_core.io.pickles import is_pickle
from tests.pushable_hub import PushableHub

TOKEN = "hf_NotARealTokenButLongEnough"


def talk_to(url: str, patch: pytest.MonkeyPatch, folder: Path) -> None:
    """The client reads its address at import, so its constants are set too; its cache is in a folder."""
    patch.setattr(constants, "ENDPOINT", url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub-cache"))
    patch.setattr(constants, "HF_TOKEN_PATH", str(folder / "no-token"))
    for name, value in (("ENDPOINT", url), ("HUB_OFFLINE", "0"), ("HUB_DISABLE_XET", "1")):
        patch.setenv(f"HF_{name}", value)  # of processes that a training starts
    patch.setattr("transformers.utils.hub._hf_api", None)  # keeps the address of its first use


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub that takes pushes; `hub.waits` are the seconds not waited."""
    with PushableHub() as hub:
        talk_to(hub.url, monkeypatch, tmp_path)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        hub.waits = []
        monkeypatch.setattr(hub_client, "wait", hub.waits.append)
        for module in (huggingface_hub.utils._http, huggingface_hub.file_download):
            monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None))
        yield hub


@pytest.fixture
def traces(tmp_path):
    """A function: what is pushed to a Hub that must not be: pickles, files of a training, paths of this machine."""
    places = [str(tmp_path), str(Path.cwd()), tempfile.gettempdir(), TOKEN, str(Path.home()) + "/"]
    host = re.compile(rf"\b{re.escape(socket.gethostname())}\b".encode())

    def find(hub):
        found = []
        for name, repository in hub.repositories.items():
            for commit in (commit for history in repository.branches.values() for commit in history):
                for file, content in commit.files.items():
                    if is_pickle(file) or file in STATE:
                        found.append(f"{name}: {file}")
                    found += [f"{name}: {file} holds {place}" for place in places if place.encode() in content]
                    if not file.endswith(".safetensors") and host.search(content):
                        found.append(f"{name}: {file} names the host")
        return found

    return find


@pytest.fixture
def contents():
    """A function that reads a folder: equal before and after for a folder that nobody touched."""

    def read(folder):
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    return read


@pytest.fixture
def one_at_a_time(monkeypatch):
    """Each push ends before the training goes on, so that the number of commits does not depend on the machine."""
    start = training_push.PushCheckpoints._start

    def started(self, staged, state, args):
        start(self, staged, state, args)
        self._process.wait(120)

    monkeypatch.setattr(training_push.PushCheckpoints, "_start", started)
