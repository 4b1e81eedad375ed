"""`mt5-ft push`, what it refuses, and loading back from a Hub that works or fails."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from mt5_ft.cli.main import main
from mt5_ft.models.loading import ModelUnreachable, load_model, load_tokenizer
from tests.hub_fixtures import TOKEN
from tests.pushable_hub import Fault

FOREVER = 10**6


@pytest.fixture
def push(capfd):
    """A function that runs `mt5-ft push`; exit code, lines of output, lines of errors."""

    def run(*words):
        capfd.readouterr()
        code = main(["push", *map(str, words)])
        captured = capfd.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run


def equal(model, other):
    pairs = zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(one, two) for one, two in pairs)


def test_a_run_is_pushed_and_loaded_back(hub, train, push, contents, tmp_path):
    code, run = train()
    assert code == 0
    before = contents(run)
    code, lines, errors = push(run, "me/cases", "--private")
    assert (code, errors) == (0, [])
    (commit,) = hub.history("me/cases")
    assert lines == [f"pushed  {hub.url}/me/cases/commit/{commit.oid}"]
    assert {"config.json", "model.safetensors", "tokenizer.json", "task.json", "README.md"} <= commit.files.keys()
    assert not [name for name in commit.files if name.endswith((".bin", ".pt", ".pth")) or name == "run.json"]
    assert not [name for name, content in commit.files.items() if str(tmp_path).encode() in content]
    card = commit.files["README.md"].decode()
    assert "library_name: transformers" in card
    assert "pipeline_tag: summarization" in card
    assert "| writes | experience_and_reflection |" in card

    assert load_tokenizer("me/cases").get_vocab() == load_tokenizer(str(run / "final")).get_vocab()
    assert equal(load_model("me/cases"), load_model(str(run / "final")))
    assert push(run, "me/cases")[1] == [f"unchanged, nothing to commit  {hub.url}/me/cases/commit/{commit.oid}"]
    assert contents(run) == before


def test_a_checkpoint_is_pushed_without_the_state_of_its_optimizer(hub, train, push):
    _, run = train()
    checkpoint = max(run.glob("checkpoint-*"))
    assert (checkpoint / "optimizer.pt").is_file()
    code, lines, _ = push(checkpoint, "me/step")
    assert code == 0
    (commit,) = hub.history("me/step")
    assert {name for name in commit.files if "." in name and name.split(".")[-1] in ("pt", "pth", "bin")} == set()
    assert any(line.startswith("left out (pickled: could run code): ") and "optimizer.pt" in line for line in lines)


def test_adapters_are_pushed_with_a_model_of_the_hub_alone(hub, start, push, tmp_path):
    from peft import LoraConfig, get_peft_model

    assert push(start, "me/base")[0] == 0
    for base, name in (("me/base", "hub"), (str(start), "local")):
        settings = LoraConfig(task_type="SEQ_2_SEQ_LM", r=4, target_modules=["q", "v"], init_lora_weights=False)
        adapted = get_peft_model(load_model(base), settings)
        adapted.save_pretrained(tmp_path / name)
        load_tokenizer(base).save_pretrained(tmp_path / name)
    assert push(tmp_path / "hub", "me/adapters")[0] == 0
    (commit,) = hub.history("me/adapters")
    assert "model.safetensors" not in commit.files
    card = commit.files["README.md"].decode()
    assert "base_model: me/base" in card
    assert "[More Information Needed]" not in card
    expected = load_model(str(tmp_path / "hub"))
    assert equal(load_model("me/adapters", load_tokenizer("me/adapters")), expected)
    hub.fail("HEAD /me/", Fault(status=503, times=FOREVER))  # from the cache then
    assert equal(load_model("me/adapters"), expected)
    hub.mend()
    code, _, errors = push(tmp_path / "local", "me/local")
    assert code == 2
    assert "contains adapters for the local model" in errors[-1]
    assert "me/local" not in hub.repositories


def test_folders_that_are_not_pushed(hub, start, push, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(start, other)
    (other / "config.json").write_text('{"model_type": "bert"}')
    bare = tmp_path / "bare"
    shutil.copytree(start, bare)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (bare / name).unlink()
    for path, message in (
        (tmp_path / "nowhere", "is missing; pass a model folder or a run folder"),
        (other, "contains a bert model, not an encoder-decoder"),
        (bare, "has no tokenizer (tokenizer.json or spiece.model)"),
    ):
        code, _, errors = push(path, "me/x")
        assert code == 2
        assert message in errors[-1]
    assert not hub.requests


def changed(folder, change):
    """The folder, after a function has changed the tensors of its weights."""
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.fault(15)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: dict(list(tensors.items())[1:]), "do not fit its config.json: missing tensors: 1 ("),
        (lambda tensors: tensors | {"more": torch.ones(1)}, "do not fit its config.json: unexpected tensors: 1 (more)"),
        (lambda tensors: tensors | {"lm_head.weight": torch.ones(2, 2)}, "tensors of another shape: 1 (lm_head.weight"),
    ],
)
def test_weights_that_do_not_fit_are_neither_pushed_nor_pulled(hub, start, push, tmp_path, capfd, change, message):
    assert push(start, "me/x")[0] == 0
    files = dict(hub.history("me/x")[0].files)
    code, _, errors = push(changed(start, change), "me/y")
    assert code == 2
    assert message in errors[-1]
    assert "me/y" not in hub.repositories

    hub.create("me/misfit", files={**files, "model.safetensors": (start / "model.safetensors").read_bytes()})
    assert main(["pull", "me/misfit", str(tmp_path / "new")]) == 2
    assert message in capfd.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "new").exists()


@pytest.mark.fault(15)
def test_a_prefix_of_names_is_not_pushed_but_pulled(hub, start, push, tmp_path):
    expected = load_model(str(start))
    assert push(start, "me/x")[0] == 0
    files = dict(hub.history("me/x")[0].files)
    changed(start, lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()})
    code, _, errors = push(start, "me/y")
    assert code == 2
    assert "begin with 'module.', and transformers alone would not load them; save the model without" in errors[-1]

    hub.create("me/prefixed", files={**files, "model.safetensors": (start / "model.safetensors").read_bytes()})
    assert main(["pull", "me/prefixed", str(tmp_path / "new")]) == 0
    assert equal(load_model(str(tmp_path / "new")), expected)


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("request_", "fault", "message"),
    [
        ("GET /revision/main", {"status": 401}, "the Hub refused the log-in for me/x (401)"),
        ("POST /preupload/", {"status": 429, "headers": {"Retry-After": "4"}}, "answered 429, 5 times in a row"),
        ("PUT /lfs/", {"cut": "request"}, "broke the connection (RemoteProtocolError), 5 times in a row"),
        ("POST /commit/", {"status": 500}, "answered 500, 5 times in a row; the local model in"),
    ],
)
def test_a_push_that_fails_is_one_line_and_completes_later(hub, start, push, contents, request_, fault, message):
    before = contents(start)
    hub.fail(request_, Fault(**fault, times=FOREVER))
    code, _, errors = push(start, "me/x")
    assert code == 2
    assert message in errors[-1]
    assert not any(TOKEN in line or "Traceback" in line for line in errors)
    assert contents(start) == before
    hub.mend()
    assert push(start, "me/x")[0] == 0
    assert len(hub.history("me/x")) == 1


@pytest.mark.fault(23)
@pytest.mark.combinations
@pytest.mark.parametrize("request_", ["HEAD /config.json", "GET /config.json", "GET /model.safetensors"])
@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ({"status": 401}, ValueError, r"refused the log-in for me/x \(401\)"),
        (
            {"status": 404, "headers": {"X-Error-Code": "RepoNotFound"}},
            ValueError,
            "is not a folder or a Hub repository",
        ),
        ({"status": 429}, ModelUnreachable, "answered 429 for me/x"),
        ({"status": 403, "headers": {"X-Error-Code": "GatedRepo"}}, ValueError, "me/x is gated; request access"),
        ({"status": 503}, ModelUnreachable, "answered 503 for me/x.* try again later"),
        ({"cut": "body"}, ModelUnreachable, "broke the connection .* try again later"),
        ({"cut": "answer"}, ModelUnreachable, "broke the connection .* try again later"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_download_that_fails_is_one_line_and_completes_later(hub, start, push, request_, fault, kind, message):
    of_a_file = fault.get("cut") == "body"  # an answer to HEAD has none
    if (of_a_file and request_.startswith("HEAD")) or ("gated" in message and "config" not in request_):
        return  # a repository is gated as a whole
    push(start, "me/x")
    hub.fail(request_, Fault(**fault, times=FOREVER))
    with pytest.raises(kind, match=message) as error:
        load_model("me/x")
    assert "\n" not in str(error.value)
    assert TOKEN not in str(error.value)
    hub.mend()
    assert equal(load_model("me/x"), load_model(str(start)))


@pytest.mark.fault(23)
@pytest.mark.parametrize("fault", [{"status": 503}, {"cut": "answer"}], ids=str)
def test_a_model_in_the_cache_needs_no_working_hub(hub, start, push, fault, tmp_path):
    push(start, "me/x")
    expected = load_model("me/x", load_tokenizer("me/x"))
    for folder in (tmp_path / "hub-cache").rglob(".no_exist"):  # as if nobody had asked for files that are not there
        shutil.rmtree(folder)
    hub.fail("HEAD /me/x", Fault(**fault, times=FOREVER))
    hub.fail("GET /api/models", Fault(**fault, times=FOREVER))
    assert equal(load_model("me/x", load_tokenizer("me/x")), expected)


def test_help(capsys):
    with pytest.raises(SystemExit) as done:
        main(["push", "--help"])
    assert done.value.code == 0
    assert "created if it does not exist" in capsys.readouterr().out
