"""Pushing from a training: the same weights as without, one commit a push, and failures that stop nothing."""

import json
import random
import shutil

import numpy as np
import pytest
import torch
import yaml

from kronos_ft.cli.main import main
from kronos_ft.data.sources import simulate_candles
from kronos_ft.models.identity import weights_hash
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
from tests.hub_fixtures import TOKEN
from tests.pushable_hub import Fault

FOREVER = 10**6
SMALL = [
    "--model", "tiny", "--from_scratch", "--lookback_window", "20", "--predict_window", "4", "--max_steps", "4",
    "--eval_strategy", "steps", "--eval_steps", "2", "--save_strategy", "steps", "--save_steps", "2",
    "--logging_steps", "1", "--per_device_train_batch_size", "8",
]  # fmt: skip
PUSH = ["--push_to_hub", "--hub_model_id"]


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "simulated.csv"
    simulate_candles(600).to_csv(path, index=False)
    return path


@pytest.fixture
def train(csv, tmp_path, capfd):
    """A function that runs `kronos-ft tokenizer`; exit code, run folder, all that was printed."""

    def run(*words, output="run"):
        capfd.readouterr()
        folder = tmp_path / output
        code = main([*map(str, ["tokenizer", "--data", csv, "--output_dir", folder, *SMALL, *words])])
        captured = capfd.readouterr()
        return code, folder, captured.out + captured.err

    return run


def random_states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()


def test_the_best_model_is_pushed_at_the_end_in_one_commit(hub, train, traces):
    code, run, said = train(*PUSH, "me/tok", "--hub_private_repo", "true")
    assert code == 0
    (commit,) = hub.history("me/tok")
    assert hub.repositories["me/tok"].private
    assert f"pushed      {hub.url}/me/tok/commit/{commit.oid}" in said
    assert sorted(commit.files) == [".gitattributes", "README.md", "config.json", "model.safetensors"]
    best = run / "best_model" / "model.safetensors"
    assert commit.files["model.safetensors"] == best.read_bytes()
    back = KronosTokenizer.from_pretrained("me/tok")
    assert weights_hash(back) == weights_hash(KronosTokenizer.from_pretrained(run / "best_model"))
    assert (back.hub_origin.repository, back.hub_origin.commit) == ("me/tok", commit.oid)
    assert traces(hub) == []
    assert TOKEN not in said + (run / "run.json").read_text()

    _, metadata, card = commit.files["README.md"].decode().split("---\n", 2)
    metrics = json.loads((run / "training_metrics.json").read_text())
    (result,) = yaml.safe_load(metadata)["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == metrics["test"]["recon_all"]
    assert "| symbols | simulated |" in card
    assert "2020-01-01T00:00:00 to 2020-01-25T23:00:00" in card
    assert "| optimizer steps | 4 of 4 |" in card
    assert "This is not investment advice" in card


def test_every_save_is_pushed_beside_the_training_without_a_change_to_it(hub, train, traces, one_at_a_time):
    _, plain, _ = train(output="plain")
    after = random_states()
    code, run, said = train(*PUSH, "me/tok", "--hub_strategy", "every_save", output="pushed")
    assert code == 0
    assert random_states() == after
    for name in ("checkpoint-2", "checkpoint-4", "best_model"):
        weights = (folder / name / "model.safetensors" for folder in (plain, run))
        assert next(weights).read_bytes() == next(weights).read_bytes()
    first, second, last = hub.history("me/tok")
    assert first.message == "Step 2 of 4, in training"
    assert first.files["model.safetensors"] == (run / "checkpoint-2" / "model.safetensors").read_bytes()
    assert "**Training is in progress: this is step 2 of 4.**" in first.files["README.md"].decode()
    assert second.files["model.safetensors"] == (run / "checkpoint-4" / "model.safetensors").read_bytes()
    assert last.files["model.safetensors"] == (run / "best_model" / "model.safetensors").read_bytes()
    assert "Training is in progress" not in last.files["README.md"].decode()
    assert traces(hub) == []
    assert "was not pushed" not in said
    assert not (run / ".pushing").exists()


@pytest.mark.fault(23)
@pytest.mark.thorough
def test_pushes_that_fail_are_warnings_with_the_command_that_repeats_them(hub, train, one_at_a_time, caplog):
    hub.fail("POST /commit/", Fault(status=403, times=FOREVER))
    code, run, _ = train(*PUSH, "me/tok", "--hub_strategy", "every_save", "--hub_revision", "tried")
    assert code == 0
    assert (run / "training_metrics.json").is_file()
    lines = [line for line in caplog.messages if "not pushed to me/tok" in line]
    assert len(lines) == 3
    assert f"to push this one again, run: kronos-ft push {run / 'checkpoint-2'} me/tok --revision tried" in lines[0]
    assert "the Hub forbids this for me/tok (403)" in lines[0]
    assert lines[-1].endswith(f"to push it again, run: kronos-ft push {run} me/tok --revision tried")
    hub.mend()
    code, _, said = train(*PUSH, "me/tok", "--resume")  # the run is over: what is left is the push
    assert code == 0
    assert "nothing left to train" in said
    assert len(hub.history("me/tok")) == 1


@pytest.mark.parametrize(
    ("request_", "fault", "message"),
    [
        ("GET /whoami", {"status": 401}, "the Hub refused the log-in for me/tok (401); log in with `hf auth login`"),
        ("GET /whoami", {"status": 503}, "the Hub answered 503, 5 times in a row, so push_to_hub may fail"),
        ("GET /whoami", {"cut": "answer"}, "5 times in a row, so push_to_hub may fail; start again later"),
    ],
    ids=str,
)
def test_a_hub_that_refuses_or_fails_ends_the_run_before_it_begins(hub, train, request_, fault, message):
    hub.fail(request_, Fault(**fault, times=FOREVER))
    code, run, said = train(*PUSH, "me/tok")
    assert code == 2
    assert message in said.splitlines()[-1]
    assert TOKEN not in said
    assert not run.exists() or not any(run.iterdir())
    assert not hub.repositories


@pytest.mark.fault(23)
@pytest.mark.thorough
def test_a_hub_that_fails_once_is_asked_again(hub, train):
    hub.fail("GET /whoami", Fault(status=503))
    hub.fail("POST /commit/", Fault(status=503))
    assert train(*PUSH, "me/tok")[0] == 0
    assert len(hub.history("me/tok")) == 1
    assert hub.waits == [1.0, 1.0]


def test_tokens_and_repositories_that_cannot_work(hub, train, monkeypatch):
    hub.role = "read"
    assert "the Hub token is read-only, but me/tok needs write permission" in train(*PUSH, "me/tok")[2]
    hub.role = "write"
    hub.create("me/tok")
    code, _, said = train(*PUSH, "me/tok", "--hub_private_repo", "true")
    assert code == 2
    assert "me/tok already exists and is public, but hub_private_repo is only for new repositories" in said
    monkeypatch.delenv("HF_TOKEN")
    code, run, said = train(*PUSH, "me/tok")
    assert (code, run.exists()) == (2, False)
    assert "no Hub token was found, but me/tok needs one with write permission" in said


def test_a_dry_run_asks_no_hub(hub, train):
    assert train(*PUSH, "me/tok", "--dry_run")[0] == 0
    assert not hub.requests


@pytest.mark.fault(23)
@pytest.mark.thorough
def test_both_stages_go_to_a_repository_each_and_the_card_names_the_tokenizer(hub, csv, tmp_path, traces):
    words = ["--data", csv, "--output_dir", tmp_path / "both", "--tokenizer", "tiny", *SMALL, *PUSH, "me/btc"]
    assert main(["finetune", *map(str, words)]) == 0
    (tokenizer,), (predictor,) = hub.history("me/btc-tokenizer"), hub.history("me/btc-predictor")
    assert "Kronos tokenizer" in tokenizer.files["README.md"].decode()
    assert 'KronosTokenizer.from_pretrained("me/btc-tokenizer")' in predictor.files["README.md"].decode()
    # the repository, and not the folder of this machine
    assert json.loads(predictor.files["trained_with.json"])["tokenizer"] == "me/btc-tokenizer"
    assert traces(hub) == []


def test_a_run_from_the_hub_is_resumed_with_the_commit_that_it_began_with(hub, csv, tmp_path, tiny_model, capfd):
    tiny_model.save_pretrained(tmp_path / "start")
    assert main(["push", str(tmp_path / "start"), "me/base"]) == 0
    (before,) = hub.history("me/base")
    words = [word for word in SMALL if word != "--from_scratch"]
    words = [*map(str, ["tokenizer", "--data", csv, *words, "--model", "me/base"])]
    assert main([*words, "--output_dir", str(tmp_path / "whole")]) == 0
    run = tmp_path / "run"
    assert main([*words, "--output_dir", str(run)]) == 0
    record = json.loads((run / "run.json").read_text())["model"]
    assert (record["repository"], record["revision"], record["revision_asked"]) == ("me/base", before.oid, None)
    for name in ("checkpoint-4", "best_model"):
        shutil.rmtree(run / name)
    (run / "training_metrics.json").unlink()

    with torch.no_grad():
        tiny_model.head.weight.add_(1.0)  # the repository moves on
    tiny_model.save_pretrained(tmp_path / "start")
    assert main(["push", str(tmp_path / "start"), "me/base"]) == 0
    now = hub.history("me/base")[-1]
    assert main([*words, "--output_dir", str(run), "--resume"]) == 0
    assert json.loads((run / "run.json").read_text())["model"]["revision"] == before.oid
    weights = (folder / "best_model" / "model.safetensors" for folder in (tmp_path / "whole", run))
    assert next(weights).read_bytes() == next(weights).read_bytes()
    capfd.readouterr()
    assert main([*words, "--output_dir", str(run), "--resume", "--revision", now.oid]) == 2
    assert f"model.revision: {before.oid} -> {now.oid}" in capfd.readouterr().err
    assert main([*words, "--output_dir", str(run), "--resume", "--revision", before.oid]) == 0
    assert Kronos.hub_origin is None
