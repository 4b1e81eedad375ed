"""`kronos-ft push`, what it refuses, and loading back from a Hub that works or fails."""

import json
import shutil
import traceback

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from ft_core.runs.record_schema import NEEDED
from kronos_ft import Kronos, KronosTokenizer
from kronos_ft.cli.main import main
from kronos_ft.models.adapters import add_adapters, save_adapters
from kronos_ft.models.identity import weights_hash
from kronos_ft.models.pretrained import HubUnreachable
from tests.hub_fixtures import TOKEN
from tests.pushable_hub import Fault

FOREVER = 10**6


@pytest.fixture
def folder(tiny_model, tmp_path):
    path = tmp_path / "tokenizer"
    tiny_model.save_pretrained(path)
    return path


@pytest.fixture
def predictor(tiny_predictor, tmp_path):
    path = tmp_path / "predictor"
    tiny_predictor.save_pretrained(path)
    return path


@pytest.fixture
def push(capfd):
    """A function that runs `kronos-ft push`; exit code, lines of output, lines of errors."""

    def run(*words):
        capfd.readouterr()
        code = main(["push", *map(str, words)])
        captured = capfd.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run


def test_both_models_are_pushed_and_loaded_back(hub, push, folder, predictor, contents, tiny_model, tiny_predictor):
    before = contents(folder)
    code, lines, errors = push(folder, "me/tokenizer", "--private", "--message", "first")
    assert (code, errors) == (0, [])
    (commit,) = hub.history("me/tokenizer")
    assert lines == [f"pushed  {hub.url}/me/tokenizer/commit/{commit.oid}"]
    assert (commit.message, hub.repositories["me/tokenizer"].private) == ("first", True)
    assert weights_hash(KronosTokenizer.from_pretrained("me/tokenizer")) == weights_hash(tiny_model)
    assert "Kronos tokenizer for candlesticks" in commit.files["README.md"].decode()

    assert push(predictor, "me/predictor", "--revision", "tried")[0] == 0
    back = Kronos.from_pretrained("me/predictor", revision="tried")
    assert weights_hash(back) == weights_hash(tiny_predictor)
    with pytest.raises(ValueError):
        Kronos.from_pretrained("me/predictor")

    code, lines, _ = push(folder, "me/tokenizer")
    assert (code, lines) == (0, [f"unchanged, nothing to commit  {hub.url}/me/tokenizer/commit/{commit.oid}"])
    assert contents(folder) == before


def test_the_best_model_of_a_run_with_a_card_of_its_record(hub, push, predictor, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    predictor.rename(run / "best_model")
    record = (
        dict.fromkeys(NEEDED, 0)
        | {"status": "finished", "started": "", "arguments": {}}
        | {
            "global_step": 80,
            "versions": {"torch": "2.13.0"},
            "arguments": {"learning_rate": 1e-4},
            "model": {"model": "small", "from_scratch": False, "tokenizer": "base", "tokenizer_sha256": "ab" * 32},
            "data": {"data": "/home/someone/btc.csv"},
        }
    )
    (run / "run.json").write_text(json.dumps(record))
    metrics = {"metric": "eval_loss", "start": 7.25, "best": {"step": 80, "value": 1.4416}}
    metrics["validation"] = {"loss": {"first": 7.25, "last": 1.4416}}
    (run / "training_metrics.json").write_text(json.dumps(metrics))
    assert push(run, "me/btc")[0] == 0
    (commit,) = hub.history("me/btc")
    assert sorted(commit.files) == [".gitattributes", "README.md", "config.json", "model.safetensors"]
    card = commit.files["README.md"].decode()
    for text in (
        "base_model: NeoQuasar/Kronos-small", "license: mit", "pipeline_tag: time-series-forecasting",
        'from_pretrained("NeoQuasar/Kronos-Tokenizer-base")', 'Kronos.from_pretrained("me/btc")',
        "| optimizer steps | 80 |",
        "step 80, selected by `eval_loss` on validation data: 1.4416 (before training 7.2500)", "`abababababababab`",
    ):  # fmt: skip
        assert text in card
    assert "/home" not in card


def test_the_card_of_a_checkpoint_is_of_its_own_step(hub, push, predictor, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    record = dict.fromkeys(NEEDED, 0) | {"status": "finished", "started": "", "arguments": {}} | {
        "global_step": 4, "max_steps": 4, "status": "finished", "seconds": 10.0, "arguments": {"learning_rate": 1e-4},
        "model": {"model": "small", "from_scratch": False},
    }  # fmt: skip
    metrics = {"metric": "eval_loss", "start": 7.25, "best": {"step": 4, "value": 1.4416}}
    metrics["validation"] = {"loss": {"first": 7.25, "last": 1.4416}}
    (run / "training_metrics.json").write_text(json.dumps(metrics))
    for step, status in ((2, "finished"), (2, "running"), (4, "running")):
        shutil.copytree(predictor, run / f"checkpoint-{step}", dirs_exist_ok=True)
        (run / "run.json").write_text(json.dumps(record | {"status": status}))
        assert push(run / f"checkpoint-{step}", "me/p")[0] == 0
        card = hub.history("me/p")[-1].files["README.md"].decode()
        assert "base_model: NeoQuasar/Kronos-small" in card
        assert f"| optimizer steps | {step} of 4 |" in card
        assert ("training time" in card) is (step == 4)
        assert (f"Training is in progress: this is step {step} of 4" in card) is (status == "running")
        assert "1.4416" not in card  # the figures of an end


def test_a_tokenizer_is_named_only_where_everybody_can_load_it(hub, push, predictor):
    for named, words, kept in (
        ("runs/client/best_model", (), False),
        ("client/tokenizer", (), False),  # a folder, perhaps
        ("base", (), True),
        ("me/tokenizer@main", ("--tokenizer", "me/tokenizer"), True),
    ):
        content = {"tokenizer": named, "tokenizer_sha256": "ab" * 32}
        (predictor / "trained_with.json").write_text(json.dumps(content))
        assert push(predictor, "me/p", *words)[0] == 0
        pushed = json.loads(hub.history("me/p")[-1].files["trained_with.json"])
        assert pushed == (content if kept else {"tokenizer_sha256": "ab" * 32})
    (predictor / "trained_with.json").write_text(json.dumps({**content, "tokenizer": "runs/client/best_model"}))
    assert push(predictor, "me/p", "--tokenizer", "me/tokenizer")[0] == 0
    pushed = json.loads(hub.history("me/p")[-1].files["trained_with.json"])
    assert pushed == {"tokenizer": "me/tokenizer", "tokenizer_sha256": "ab" * 32}


def test_adapters_are_pushed_with_a_model_of_the_hub_alone(hub, push, predictor, tmp_path):
    assert push(predictor, "me/base")[0] == 0
    for name, words in (("me/base", "hub"), (predictor, "local")):
        adapted = add_adapters(Kronos.from_pretrained(name), r=4, alpha=8, dropout=0.0)
        with torch.no_grad():
            for parameter_name, parameter in adapted.named_parameters():
                if "lora_B" in parameter_name:
                    parameter.fill_(0.1)
        (tmp_path / words).mkdir()
        save_adapters(adapted, tmp_path / words)
    assert push(tmp_path / "hub", "me/adapters")[0] == 0
    (commit,) = hub.history("me/adapters")
    assert "model.safetensors" not in commit.files
    assert "base_model: me/base" in commit.files["README.md"].decode()
    expected = weights_hash(Kronos.from_pretrained(tmp_path / "hub"))
    assert weights_hash(Kronos.from_pretrained("me/adapters")) == expected
    hub.fail("HEAD /me/", Fault(status=503, times=FOREVER))  # from the cache then
    assert weights_hash(Kronos.from_pretrained("me/adapters")) == expected
    hub.mend()
    assert main(["pull", "me/adapters", str(tmp_path / "pulled")]) == 0
    assert push(tmp_path / "pulled", "me/again")[0] == 0
    base, card = hub.history("me/base")[0].oid[:12], hub.history("me/again")[0].files["README.md"].decode()
    assert f"fine-tuned from [me/base](https://huggingface.co/me/base) at commit `{base}`" in card
    code, _, errors = push(tmp_path / "local", "me/local")
    assert code == 2
    assert "contains adapters for the local model" in errors[-1]
    assert "then push MERGED" in errors[-1]
    assert "me/local" not in hub.repositories


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"status": 401}, "the Hub refused the log-in for me/x (401); log in with `hf auth login`, or set HF_TOKEN"),
        ({"status": 403}, "the Hub forbids this for me/x (403)"),
        ({"status": 503}, "the Hub answered 503, 5 times in a row; the local model in"),
        ({"cut": "request"}, "broke the connection (RemoteProtocolError), 5 times in a row; the local model in"),
    ],
    ids=str,
)
def test_failures_are_one_line_without_a_token(hub, push, folder, contents, fault, message):
    before = contents(folder)
    hub.fail("POST /commit/", Fault(**fault, times=FOREVER))
    code, lines, errors = push(folder, "me/x")
    assert code == 2
    (error,) = errors
    assert error.startswith("kronos-ft: ")
    assert message in error
    assert TOKEN not in " ".join([*lines, error])
    assert TOKEN in hub.tokens  # it was sent, though
    assert contents(folder) == before
    hub.mend()
    assert push(folder, "me/x")[0] == 0
    assert len(hub.history("me/x")) == 1


@pytest.mark.fault(27)
def test_bad_names_are_refused_before_anything_is_read(hub, push):
    for repo in ("x", "../x", "me/../x"):
        code, _, errors = push("nowhere", repo)
        assert code == 2
        assert "is not a valid Hub name" in errors[0]


def test_folders_that_are_not_pushed(hub, push, folder, tmp_path):
    run = tmp_path / "both"
    for stage in ("tokenizer", "predictor"):
        shutil.copytree(folder, run / stage / "best_model")
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "bert"}')
    cut = tmp_path / "cut"
    shutil.copytree(folder, cut)
    (cut / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9])
    misfit = tmp_path / "misfit"
    shutil.copytree(folder, misfit)
    tensors = load_file(misfit / "model.safetensors")
    save_file(dict(list(tensors.items())[1:]), misfit / "model.safetensors", metadata={"format": "pt"})
    for path, message in (
        (misfit, "do not match its configuration as KronosTokenizer: 1 tensors missing"),
        (tmp_path / "nowhere", "is missing; pass a model folder or a run folder"),
        (run, "contains several models; push each to its own repository"),
        (other, "has no model.safetensors"),
        (cut, "model.safetensors is damaged"),
    ):
        code, _, errors = push(path, "me/x")
        assert code == 2
        assert message in errors[-1]
    assert not hub.requests


def test_interrupted(hub, push, folder, monkeypatch):
    def interrupt(*args, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("ft_core.hub.push.push_model", interrupt)
    code, _, errors = push(folder, "me/x")
    assert (code, errors) == (130, ["kronos-ft: interrupted; run the same command again to complete the push"])


DOWNLOADS = [
    ({"status": 401}, ValueError, r"refused the log-in for me/x \(401\); log in with `hf auth login`"),
    (
        {"status": 401, "headers": {"X-Error-Code": "RepoNotFound"}},
        ValueError,
        "is not a folder or a Hub repository that you",
    ),
    (
        {"status": 404, "headers": {"X-Error-Code": "RepoNotFound"}},
        ValueError,
        "is not a folder or a Hub repository that you",
    ),
    ({"status": 403, "headers": {"X-Error-Code": "GatedRepo"}}, ValueError, "me/x is gated; request access at"),
    ({"status": 403}, ValueError, r"forbids this for me/x \(403\)"),
    ({"status": 429, "headers": {"Retry-After": "5"}}, HubUnreachable, "answered 429 for me/x.* try again later"),
    ({"status": 500}, HubUnreachable, "answered 500 for me/x.* try again later"),
    ({"status": 503}, HubUnreachable, "answered 503 for me/x.* try again later"),
    ({"cut": "answer"}, HubUnreachable, "broke the connection .* try again later"),
]


@pytest.mark.fault(23)
@pytest.mark.combinations
@pytest.mark.parametrize("request_", ["HEAD /config.json", "GET /config.json", "HEAD /model", "GET /model"])
@pytest.mark.parametrize(("fault", "kind", "message"), DOWNLOADS, ids=lambda value: str(value)[:20])
def test_a_download_that_fails_is_one_line_and_completes_later(
    hub, push, folder, request_, fault, kind, message, tiny_model
):
    push(folder, "me/x")
    hub.fail(request_, Fault(**fault, times=FOREVER))
    with pytest.raises(kind, match=message) as error:
        KronosTokenizer.from_pretrained("me/x")
    assert "\n" not in str(error.value)
    assert TOKEN not in str(error.value)
    assert "".join(traceback.format_exception(error.value)).count("Traceback") == 1
    hub.mend()
    assert weights_hash(KronosTokenizer.from_pretrained("me/x")) == weights_hash(tiny_model)


@pytest.mark.fault(23)
def test_a_file_that_breaks_in_the_middle_is_never_used(hub, push, folder, tmp_path, tiny_model):
    push(folder, "me/x")
    hub.fail("GET /model.safetensors", Fault(cut="body", times=FOREVER))
    with pytest.raises(HubUnreachable, match=r"broke the connection .*; no incomplete file is kept; try again later"):
        KronosTokenizer.from_pretrained("me/x")
    cached = [path.name for path in (tmp_path / "hub-cache").rglob("*") if "safetensors" in path.name]
    assert cached == []
    hub.mend()
    hub.fail("GET /model.safetensors", Fault(cut="body"))  # once: the client goes on by itself
    assert weights_hash(KronosTokenizer.from_pretrained("me/x")) == weights_hash(tiny_model)


@pytest.mark.fault(23)
@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"status": 401}, {"cut": "answer"}], ids=str)
def test_a_model_in_the_cache_needs_no_working_hub(hub, push, folder, fault, tiny_model):
    push(folder, "me/x")
    KronosTokenizer.from_pretrained("me/x")
    hub.fail("HEAD /me/x", Fault(**fault, times=FOREVER))
    assert weights_hash(KronosTokenizer.from_pretrained("me/x")) == weights_hash(tiny_model)


def test_offline_says_so(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnreachable, match="it is not in the local cache"):
        KronosTokenizer.from_pretrained("me/x")
