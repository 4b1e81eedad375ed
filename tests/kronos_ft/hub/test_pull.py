"""`kronos-ft pull`: one commit into a whole folder, every failure of the Hub, and what must not be fetched."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import load, save

from kronos_ft import Kronos, KronosPredictor, KronosTokenizer
from kronos_ft.data.candles import load_candles
from kronos_ft.forecasting.series import forecast_series
from kronos_ft.models.identity import weights_hash
from tests.hub_fixtures import TOKEN
from tests.pushable_hub import Fault

FOREVER = 10**6


def test_what_is_pulled_is_what_was_pushed(hub, run, pushed, candle_frame):
    (commit,) = hub.history("me/predictor")
    extra = {"training_args.bin": b"x", "optimizer.pt": b"x", "run.json": b"{}", "notes.md": b"x", "code.py": b"x"}
    extra |= {"sub/model.safetensors": b"x", "other.safetensors": b"x", "LICENSE": b"MIT"}
    commit.files.update(extra)
    target = pushed / "new" / "pulled"
    code, lines, errors = run("pull", "me/predictor", target)
    assert (code, errors) == (0, [])
    assert lines == [f"pulled      me/predictor at commit {commit.oid} into {target} (3 files, 0.1 MiB)"]
    assert sorted(path.name for path in target.iterdir()) == [
        "LICENSE", "config.json", "model.safetensors", "pulled.json",
    ]  # fmt: skip
    record = json.loads((target / "pulled.json").read_text())
    assert (record["repository"], record["revision"], record["revision_asked"]) == ("me/predictor", commit.oid, "main")
    for name, digest in record["sha256"].items():
        assert hashlib.sha256((target / name).read_bytes()).hexdigest() == digest
        assert (target / name).read_bytes() == commit.files[name]

    assert run("pull", "me/tokenizer", pushed / "codes")[0] == 0
    found = []
    for model, codes in ((target, pushed / "codes"), (pushed / "predictor", pushed / "tokenizer")):
        predictor = KronosPredictor(Kronos.from_pretrained(model), KronosTokenizer.from_pretrained(codes), "cpu")
        series = load_candles({"SIM": candle_frame})
        found.append(forecast_series(predictor, series, 3, lookback=30, num_paths=2)[0].forecast.paths)
    assert (found[0] == found[1]).all()
    assert Kronos.from_pretrained(target).hub_origin.commit == commit.oid

    code, lines, _ = run("pull", "me/predictor", target)
    assert (code, lines) == (0, [f"unchanged   {target} holds me/predictor at commit {commit.oid}"])
    assert run("push", target, "me/again")[1][0] == "left out (record of the pull): pulled.json"
    card = hub.history("me/again")[0].files["README.md"].decode()
    assert f"copy of [me/predictor](https://huggingface.co/me/predictor) at commit `{commit.oid[:12]}`" in card
    assert "base_model" not in card
    assert "fine-tuned" not in card


def test_a_revision_stays_while_the_branch_moves_on(hub, run, pushed, tiny_predictor):
    (first,) = hub.history("me/predictor")
    with torch.no_grad():
        tiny_predictor.head.proj_s1.weight.add_(1.0)
    before = weights_hash(Kronos.from_pretrained(pushed / "predictor"))
    tiny_predictor.save_pretrained(pushed / "predictor")
    assert run("push", pushed / "predictor", "me/predictor")[0] == 0
    second = hub.history("me/predictor")[-1]
    target = pushed / "pulled"
    assert run("pull", "me/predictor", target, "--revision", first.oid)[0] == 0
    assert weights_hash(Kronos.from_pretrained(target)) == before
    code, _, errors = run("pull", "me/predictor", target)
    assert code == 2
    assert (
        f"holds me/predictor at commit {first.oid[:12]}, and main is at {second.oid[:12]}; pass --overwrite"
        in errors[0]
    )
    assert run("pull", "me/predictor", target, "--overwrite")[0] == 0
    assert json.loads((target / "pulled.json").read_text())["revision"] == second.oid
    assert weights_hash(Kronos.from_pretrained(target)) == weights_hash(tiny_predictor)
    assert weights_hash(Kronos.from_pretrained("me/predictor", revision=first.oid)) == before


def test_what_was_changed_or_added_since_is_neither_believed_nor_removed(hub, run, pushed):
    target = pushed / "pulled"
    assert run("pull", "me/predictor", target)[0] == 0
    weights = target / "model.safetensors"
    whole = weights.read_bytes()
    for path, content in ((weights, whole[:-4] + b"\0\1\2\3"), (target / "config.json", b"{}")):
        before = path.read_bytes()
        path.write_bytes(content)
        code, _, errors = run("pull", "me/predictor", target)
        assert code == 2
        assert f", but {path.name} changed since; pass --overwrite to replace them" in errors[0]
        assert run("pull", "me/predictor", target, "--overwrite")[0] == 0
        assert path.read_bytes() == before

    (target / "evaluation").mkdir()
    (target / "mine.csv").write_text("mine")
    assert run("pull", "me/predictor", target)[1][0].startswith("unchanged")
    code, _, errors = run("pull", "me/predictor", target, "--overwrite")
    assert code == 2
    assert (
        "also contains files that were not pulled (evaluation, mine.csv), which --overwrite would remove" in errors[0]
    )
    assert (target / "mine.csv").read_text() == "mine"


def test_a_model_saved_into_a_pulled_folder_has_no_origin(run, pushed):
    target = pushed / "pulled"
    assert run("pull", "me/predictor", target)[0] == 0
    model = Kronos.from_pretrained(target)
    assert model.hub_origin.repository == "me/predictor"
    with torch.no_grad():
        model.head.proj_s1.weight.add_(1.0)
    model.save_pretrained(target)
    assert Kronos.from_pretrained(target).hub_origin is None


def test_a_link_stays_one_and_the_current_folder_is_not_replaced(run, pushed, monkeypatch):
    real, link = pushed / "real", pushed / "link"
    real.mkdir()
    link.symlink_to(real)
    assert run("pull", "me/predictor", link)[0] == 0
    assert link.is_symlink()
    assert (real / "model.safetensors").is_file()
    here = pushed / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    code, _, errors = run("pull", "me/predictor", ".")
    assert code == 2
    assert f"{here} is the current directory, and the pull would replace it; choose another folder" in errors[0]


@pytest.mark.thorough
@pytest.mark.fault(23)
@pytest.mark.parametrize("request_", ["GET /api/models/me/predictor", "GET /model.safetensors"])
@pytest.mark.parametrize(
    ("fault", "waits"),
    [({"status": 503}, 1), ({"status": 429, "headers": {"Retry-After": "7"}}, 7), ({"cut": "answer"}, 1)],
    ids=str,
)
def test_what_fails_once_is_done_again(hub, run, pushed, request_, fault, waits):
    hub.fail(request_, Fault(**fault))
    target = pushed / "pulled"
    code, lines, _ = run("pull", "me/predictor", target)
    assert code == 0
    assert f"trying again in {waits} s (1 of 4)" in lines[0]
    assert weights_hash(Kronos.from_pretrained(target)) == weights_hash(Kronos.from_pretrained(pushed / "predictor"))


@pytest.mark.thorough
@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"status": 401}, "the Hub refused the log-in for me/predictor (401); log in with `hf auth login`"),
        (
            {"status": 404, "headers": {"X-Error-Code": "RepoNotFound"}},
            "me/predictor is not on the Hub, or you",
        ),
        ({"status": 403, "headers": {"X-Error-Code": "GatedRepo"}}, "me/predictor is gated; request access"),
        ({"status": 503}, "the Hub answered 503, 5 times in a row; no partial files are kept: pull again later"),
        ({"cut": "answer"}, "(RemoteProtocolError), 5 times in a row; no partial files are kept: pull again later"),
    ],
    ids=str,
)
def test_what_fails_for_ever_is_one_line_and_leaves_nothing(hub, run, pushed, fault, message):
    for request_ in ("GET /api/models/me/predictor", "GET /model.safetensors"):
        if "model.s" in request_ and "headers" in fault:
            continue  # a repository is hidden as a whole
        hub.fail(request_, Fault(**fault, times=FOREVER))
        code, _, errors = run("pull", "me/predictor", pushed / "pulled")
        assert code == 2
        assert message in errors[-1]
        assert TOKEN not in "".join(errors)
        assert sorted(path.name for path in pushed.iterdir() if path.name != "hub-cache") == ["predictor", "tokenizer"]
        hub.mend()
    assert run("pull", "me/predictor", pushed / "pulled")[0] == 0


@pytest.mark.fault(23)
def test_a_file_that_arrives_damaged_is_fetched_again(hub, run, pushed, tiny_predictor):
    (commit,) = hub.history("me/predictor")
    hub.fail("GET /resolve/", Fault())  # the configuration
    whole = commit.files["model.safetensors"]
    hub.fail(
        "GET /model.safetensors", Fault(status=200, text="x" * len(whole)), Fault(status=200, text="y" * len(whole))
    )
    code, lines, _ = run("pull", "me/predictor", pushed / "pulled")
    assert code == 0
    assert (
        "model.safetensors of me/predictor arrived damaged (its SHA-256 differs from the Hub's); trying again"
        in lines[0]
    )
    assert weights_hash(Kronos.from_pretrained(pushed / "pulled")) == weights_hash(tiny_predictor)


def test_what_is_not_pulled(hub, run, pushed):
    hub.create("me/pickled", files={"config.json": b"{}", "pytorch_model.bin": b"x"})
    hub.create("me/empty")
    files = dict(hub.history("me/predictor")[0].files)
    hub.create("me/bert", files={**files, "config.json": b'{"model_type": "bert"}'})
    hub.create("me/code", files={**files, "config.json": b'{"auto_map": {"AutoModel": "x.Y"}}'})
    hub.create("me/cut", files={**files, "model.safetensors": files["model.safetensors"][:-5]})
    tensors = load(files["model.safetensors"])
    hub.create("me/misfit", files={**files, "model.safetensors": save(dict(list(tensors.items())[1:]))})
    kept = pushed / "kept"
    kept.mkdir()
    (kept / "mine.txt").write_text("mine")
    new = pushed / "new"
    for repo, target, words, message in (
        (
            "me/pickled",
            new,
            (),
            "me/pickled contains only pickled weights (pytorch_model.bin), which are never downloaded",
        ),
        ("me/empty", new, (), "me/empty contains no *.safetensors"),
        ("me/bert", new, (), "is not a Kronos"),
        ("me/code", new, (), "asks to run code of the repository (auto_map)"),
        ("me/cut", new, (), "model.safetensors is truncated or damaged; pass another revision"),
        ("me/misfit", new, (), "do not match its configuration as Kronos: 1 tensors missing"),
        ("me/predictor", kept, ("--overwrite",), "is not empty and is not a pulled model; choose another folder"),
        ("me/predictor", kept / "mine.txt", (), "is a file; choose a folder"),
        ("me/predictor", new, ("--revision", "gone"), "me/predictor has no revision 'gone' on the Hub"),
        ("me/predictor", new, ("--revision", "../up"), "is outside the folder of the model"),
        ("predictor", new, (), "is not a valid Hub name"),
    ):
        code, _, errors = run("pull", repo, target, *words)
        assert code == 2, repo
        assert message in errors[-1]
        assert not new.exists()
    assert (kept / "mine.txt").read_text() == "mine"


def test_another_repository_does_not_take_the_place_of_a_pulled_one(run, pushed):
    target = pushed / "pulled"
    assert run("pull", "me/predictor", target)[0] == 0
    code, _, errors = run("pull", "me/tokenizer", target)
    assert code == 2
    assert "holds me/predictor at commit" in errors[-1]
    assert run("pull", "me/tokenizer", target, "--overwrite")[0] == 0
    assert "n_enc_layers" in (target / "config.json").read_text()


def test_interrupted(hub, run, monkeypatch, tmp_path):
    def interrupt(*args, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("ft_core.hub.pull.pull_model", interrupt)
    code, _, errors = run("pull", "me/x", tmp_path / "x")
    assert (code, errors) == (130, ["kronos-ft: interrupted; run the same command again to complete the pull"])
