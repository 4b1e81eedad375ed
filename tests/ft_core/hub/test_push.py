"""Pushing: one commit, again without one, and every failure of the Hub, at every request, in the real client."""

import shutil
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.utils import httpx
from safetensors.torch import save_file

from ft_core.hub import client as hub_client
from ft_core.hub.card import CardFacts
from ft_core.hub.errors import HubFailure, HubRefusal
from ft_core.hub.push import push_model
from ft_core.io.console import lines_to
from tests.hub_fixtures import TOKEN
from tests.pushable_hub import Fault

CARD = CardFacts("A model", "kronos-ft", "time-series-forecasting", ["kronos"], 'load("{repo}")')
REPO = "me/model"
REQUESTS = (
    *("GET /revision/main", "POST /repos/create", "POST /validate-yaml", "POST /preupload/", "POST /objects/batch"),
    *("PUT /lfs/", "POST /commit/"),
)
FOREVER = 10**6
pytestmark = pytest.mark.fault(23)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    save_file({"weight": torch.arange(1000.0)}, path / "model.safetensors")
    (path / "config.json").write_text('{"model_type": "any"}')
    return path


@pytest.fixture
def push(folder):
    """A function that pushes; what was said is in `push.lines`."""

    def run(repo=REPO, **settings):
        with lines_to(run.lines.append):
            return push_model(folder, repo, CARD, **settings)

    run.lines = []
    return run


def held_whole(hub, folder, branch="main"):
    """Whether the branch holds the folder, and one commit made it."""
    (commit,) = hub.history(REPO, branch)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return all(commit.files[name] == content for name, content in files.items())


def test_one_commit_then_none_then_one_more(hub, push, folder, contents):
    before = contents(folder)
    pushed = push(message="the first")
    assert pushed.changed
    (commit,) = hub.history(REPO)
    assert (commit.message, commit.oid) == ("the first", pushed.commit)
    assert pushed.url == f"{hub.url}/{REPO}/commit/{commit.oid}"
    assert sorted(commit.files) == [".gitattributes", "README.md", "config.json", "model.safetensors"]
    assert not hub.repositories[REPO].private

    again = push()
    assert (again.changed, again.commit) == (False, pushed.commit)
    assert held_whole(hub, folder)
    assert contents(folder) == before

    save_file({"weight": torch.zeros(1000)}, folder / "model.safetensors")
    assert push().changed
    assert len(hub.history(REPO)) == 2
    assert hub.history(REPO)[-1].files["model.safetensors"] == (folder / "model.safetensors").read_bytes()


def test_a_private_repository(hub, push):
    push(private=True)
    assert hub.repositories[REPO].private
    assert not push(private=True).changed


def test_private_is_not_promised_for_a_public_repository(hub, push):
    hub.create(REPO)
    with pytest.raises(HubRefusal, match=r"me/model already exists and is public, .* or push without --private"):
        push(private=True)
    assert not hub.history(REPO)


def test_a_branch(hub, push, folder):
    push(revision="tried/one")
    assert held_whole(hub, folder, "tried/one")
    assert not hub.history(REPO)
    assert not push(revision="tried/one").changed


def test_weights_of_another_model_do_not_stay_beside_new_ones(hub, push):
    weights = {"adapter_model.safetensors": b"old", "adapter_config.json": b"{}"}
    beside = dict.fromkeys(("trained_with.json", "kept_ids.json", "task.json", "tokenizer.json", "spiece.model"), b"{}")
    mine = dict.fromkeys(("LICENSE", "notes.txt", "README.md", "sub/config.json"), b"mine")
    hub.create(REPO, files={**weights, **beside, **mine})
    push()
    (commit,) = hub.history(REPO)
    assert commit.files.keys() == {".gitattributes", "config.json", "model.safetensors", *mine}
    assert commit.files["README.md"] == b"mine"


@pytest.mark.combinations
@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        ({"status": 500}, [1.0]),
        ({"status": 503, "headers": {"Retry-After": "3"}}, [3.0]),
        ({"status": 429, "headers": {"Retry-After": "7"}}, [7.0]),
        ({"status": 429, "headers": {"ratelimit": '"api";r=0;t=11'}}, [11.0]),
        ({"status": 412}, [1.0]),
        ({"cut": "request"}, [1.0]),
        ({"cut": "answer"}, [1.0]),
    ],
    ids=["500", "503", "429", "429-ratelimit", "412", "cut-request", "answer-lost"],
)
def test_what_fails_once_is_done_again(hub, push, folder, contents, request_, fault, waits):
    before = contents(folder)
    hub.fail(request_, Fault(**fault))
    pushed = push()
    assert pushed.changed
    assert pushed.commit == hub.history(REPO)[-1].oid
    assert held_whole(hub, folder)
    assert hub.waits == waits
    (line,) = push.lines
    assert line.endswith(f"; trying again in {waits[0]:.0f} s (1 of 4)")
    assert contents(folder) == before


@pytest.mark.combinations
@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("fault", [{"status": 503}, {"cut": "request"}, {"cut": "answer"}], ids=str)
def test_what_fails_for_ever_is_given_up_in_one_line_and_completed_later(hub, push, folder, contents, request_, fault):
    before = contents(folder)
    hub.fail(request_, Fault(**fault, times=FOREVER))
    # the second try finds what the first one made
    done_unseen = fault == {"cut": "answer"} and request_ in ("POST /repos/create", "PUT /lfs/", "POST /commit/")
    if done_unseen:
        assert push().changed
    else:
        with pytest.raises(HubFailure, match=f"5 times in a row; the local model in {folder} is intact: push") as error:
            push()
        assert "\n" not in str(error.value)
        assert hub.waits == list(hub_client.WAITS)
    assert contents(folder) == before
    hub.mend()
    assert push().changed is not done_unseen
    assert held_whole(hub, folder)


def test_an_answer_that_is_cut_short(hub, push, folder):
    hub.fail("POST /commit/", Fault(cut="body"))
    assert push().changed
    assert held_whole(hub, folder)


def test_a_hub_that_does_not_answer_in_time(hub, push, folder, monkeypatch):
    monkeypatch.setattr(hub_client, "TIMEOUT", httpx.Timeout(0.2))
    hub.fail("POST /preupload/", Fault(stall=0.6))
    push()
    assert held_whole(hub, folder)
    assert "did not answer in time (ReadTimeout)" in push.lines[0]


def test_an_upload_that_breaks_in_the_middle_goes_on_with_what_is_missing(hub, push, folder):
    save_file({"weight": torch.ones(50_000)}, folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors").rename(folder / "model-00002-of-00002.safetensors")
    hub.fail("PUT /lfs/", Fault(), Fault(cut="request", times=FOREVER))
    with pytest.raises(HubFailure, match="is intact"):
        push()
    (sent,) = hub.large
    hub.mend()
    hub.requests.clear()
    push()
    (upload,) = [path for method, path in hub.requests if method == "PUT"]
    assert sent not in upload
    assert held_whole(hub, folder)


def test_retry_after_as_a_date_and_one_that_is_too_long(hub, push):
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    hub.fail("POST /preupload/", Fault(status=429, headers={"Retry-After": at}))
    push()
    assert 90 < hub.waits[0] <= 100
    hub.fail("POST /preupload/", Fault(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(
        HubFailure, match=r"answered 429 and the server asks to wait 3600 s; the local model in .* is intact"
    ):
        push()
    assert len(hub.waits) == 1


@pytest.mark.combinations
@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, r"refused the log-in for me/model \(401: you are \*\*\*\); log in with `hf auth login`, or set HF_TOKEN"),
        (403, r"forbids this for me/model \(403: you are \*\*\*\); use a token with the permission"),
        (404, r"me/model is not on the Hub, or you have no access to it \(404: you are \*\*\*\); correct the name"),
        (413, r"refused the request for me/model \(413: you are \*\*\*\)"),
    ],
)
def test_refusals_are_not_repeated_and_tell_no_token(hub, push, folder, contents, request_, status, message):
    before = contents(folder)
    hub.fail(request_, Fault(status=status, text=f'{{"error": "you are {TOKEN}"}}', times=FOREVER))
    if request_ == "GET /revision/main" and status == 404:
        hub.fail("POST /repos/create", Fault(status=404, text=f'{{"error": "you are {TOKEN}"}}'))
    with pytest.raises(ValueError, match=message) as error:
        push()
    assert TOKEN not in str(error.value) + "".join(push.lines)
    assert "\n" not in str(error.value)
    assert hub.waits == []
    assert contents(folder) == before


def test_a_repository_that_may_not_be_seen(hub, push):
    hub.fail("GET /revision/main", Fault(status=401, headers={"X-Error-Code": "RepoNotFound"}))
    with pytest.raises(ValueError, match=r"me/model is not on the Hub, or you have no access to it \(401\)"):
        push()
    assert REPO not in hub.repositories


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    "repo", ["model", "me/you/model", "../model", "me/..", "me/a..b", "me/-a", "/tmp/model", "me/mod el", "", "me/"]
)
def test_names_that_are_none(hub, push, repo):
    with pytest.raises(ValueError, match=r"is not a valid Hub name .*; write owner/name"):
        push(repo)
    assert not hub.requests


@pytest.mark.parametrize("revision", ["", "-x", "../up", "a//b", "a/", "a b", "x.lock", "0" * 40])
def test_branches_that_are_none(hub, push, revision):
    with pytest.raises(ValueError, match="is not a valid branch name"):
        push(revision=revision)
    assert not hub.requests


def test_without_a_usable_token_nothing_is_asked(hub, push, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_broken in two")
    with pytest.raises(ValueError, match="contains a space or a non-ASCII character") as error:
        push()
    assert "broken" not in str(error.value)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ValueError, match=r"no Hub token was found, .* `hf auth login`, or set HF_TOKEN"):
        push()
    assert not hub.requests


def test_offline(hub, push, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE is set, so nothing is pushed to me/model"):
        push()


def test_what_is_no_hub(hub, push):
    hub.fail("GET /revision/main", Fault(status=200, text="<html>log in to this network</html>"))
    with pytest.raises(ValueError, match="is not the Hub; check HF_ENDPOINT and the network"):
        push()


@pytest.mark.parametrize(
    ("said", "kind", "remedy"),
    [
        ("HTTP status client error (401 Unauthorized)", HubRefusal, "log in with `hf auth login`"),
        ("HTTP status server error (503 Service Unavailable)", HubFailure, "is intact: push again later"),
    ],
)
def test_failures_of_the_xet_library(hub, push, monkeypatch, said, kind, remedy):
    """It speaks to the Hub by itself, tries again by itself, and raises ConnectionError."""

    def upload(**settings):
        raise ConnectionError(f"Request error: {said}, domain: {hub.url}/xet?token={TOKEN}")

    monkeypatch.setattr("huggingface_hub._commit_api._upload_files", upload)
    with pytest.raises(kind, match=remedy) as error:
        push()
    assert TOKEN not in str(error.value)
    assert hub.waits == []


@pytest.mark.fault(15)
def test_a_folder_that_is_not_whole_is_not_pushed(hub, push, folder):
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-3])
    with pytest.raises(ValueError, match=r"is not pushed: model.safetensors is truncated or damaged"):
        push()
    shutil.move(weights, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"is not pushed: it holds only pickled weights \(pytorch_model.bin\)"):
        push()
    assert not hub.requests
