"""A Hub on this machine that this process talks to, without waiting between tries."""

from types import SimpleNamespace

import huggingface_hub.file_download
import huggingface_hub.utils._http
import pytest
from huggingface_hub import constants

from ft_core import hub_client

from .pushable_hub import PushableHub

TOKEN = "hf_NotARealTokenButLongEnough"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The client reads its address at import, so its constants are set too; `hub.waits` are the seconds not waited."""
    with PushableHub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("transformers.utils.hub._hf_api", None)  # keeps the address of its first use
        hub.waits = []
        monkeypatch.setattr(hub_client, "wait", hub.waits.append)
        for module in (huggingface_hub.utils._http, huggingface_hub.file_download):
            monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None))
        yield hub


@pytest.fixture
def contents():
    """A function that reads a folder: equal before and after for a folder that nobody touched."""

    def read(folder):
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    return read
