"""A Hub on this machine that this process talks to, without waiting between tries."""

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
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        hub.waits = []
        monkeypatch.setattr(hub_client, "wait", hub.waits.append)
        yield hub
