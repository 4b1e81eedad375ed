"""Pushing from an mT5 training, pulling what it pushed, and starting again from the commit that was recorded."""

import json

import pytest
import yaml
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from mt5_ft.cli.main import main
from mt5_ft.models.loading import load_model, load_tokenizer
from tests.mt5_ft.hub.test_push import equal
from tests.pushable_hub import Fault

FOREVER = 10**6
PUSH = ["--push_to_hub", "--hub_model_id", "me/cases"]


def test_every_save_and_the_final_model_are_pushed_and_pulled(hub, train, traces, one_at_a_time, tmp_path, data, capfd):
    plain = train(output="plain")[1]
    code, run = train(*PUSH, "--hub_strategy", "every_save", output="pushed")
    assert code == 0
    weights = "model.safetensors"
    assert (plain / "final" / weights).read_bytes() == (run / "final" / weights).read_bytes()
    *saved, last = hub.history("me/cases")
    assert [one.message for one in saved] == ["Step 2 of 4, in training", "Step 4 of 4, in training"]
    assert last.files[weights] == (run / "final" / weights).read_bytes()
    assert traces(hub) == []
    _, metadata, card = last.files["README.md"].decode().split("---\n", 2)
    values = yaml.safe_load(metadata)
    final = json.loads((run / "training_metrics.json").read_text())["final"]
    figures = {one["name"]: one["value"] for one in values["model-index"][0]["results"][0]["metrics"]}
    assert figures["ROUGE-L"] == final["rougeL"]
    assert values["language"] == ["zh"]  # the embedded sample is Chinese
    assert "This is not a clinical tool" in card
    assert "| records | 36 for training, 4 for validation |" in card

    pulled = tmp_path / "pulled"
    assert main(["pull", "me/cases", str(pulled)]) == 0
    assert json.loads((pulled / "pulled.json").read_text())["revision"] == last.oid
    assert equal(load_model(str(pulled)), load_model(str(run / "final")))
    out = [tmp_path / f"{name}.jsonl" for name in ("pulled", "final")]
    for model, path in zip((pulled, run / "final"), out, strict=True):
        assert main(["summarize", "--model", str(model), "--input", str(data), "--output", str(path)]) == 0
    assert out[0].read_bytes() == out[1].read_bytes()

    # what the card says: plain transformers loads the same weights
    theirs = AutoModelForSeq2SeqLM.from_pretrained("me/cases")
    assert equal(theirs, load_model(str(run / "final")))
    text = "患者主诉胸闷"
    assert (
        AutoTokenizer.from_pretrained("me/cases")(text).input_ids == load_tokenizer(str(run / "final"))(text).input_ids
    )


@pytest.mark.fault(23)
@pytest.mark.thorough
def test_a_failed_push_is_a_warning_and_the_run_is_whole(hub, train, caplog):
    hub.fail("POST /commit/", Fault(status=503, times=FOREVER))
    code, run = train(*PUSH)
    assert code == 0
    assert (run / "training_metrics.json").is_file()
    (line,) = [line for line in caplog.messages if "not pushed to me/cases" in line]
    assert f"5 times in a row; the local model in {run / 'final'} is intact" in line
    assert line.endswith(f"to push it again, run: mt5-ft push {run} me/cases")
    hub.mend()
    assert main(["push", str(run), "me/cases"]) == 0


def test_the_hub_is_asked_once_before_anything_is_read(hub, train):
    place = train.base.index("--generation_max_length")
    del train.base[place : place + 2]  # the run goes on with a copy of its settings then
    assert train(*PUSH, "--max_steps", "2")[0] == 0
    assert [path for _, path in hub.requests].count("/api/whoami-v2") == 1
    assert len(hub.history("me/cases")) == 1


def test_a_hub_that_refuses_ends_the_run_before_it_begins(hub, train, capfd):
    hub.fail("GET /whoami", Fault(status=401, times=FOREVER))
    code, run = train(*PUSH)
    assert code == 2
    assert "the Hub refused the log-in for me/cases (401)" in capfd.readouterr().err
    assert not (run / "run.json").exists()


@pytest.mark.parametrize("lora", [False, True])
def test_a_run_from_the_hub_records_its_commit(hub, train, start, tmp_path, lora, capfd):
    assert main(["push", str(start), "me/base"]) == 0
    (commit,) = hub.history("me/base")
    words = ["--model", "me/base", *(["--lora"] if lora else [])]
    code, run = train(*words)
    assert code == 0
    record = json.loads((run / "run.json").read_text())["model"]
    assert (record["repository"], record["revision"], record["revision_asked"]) == ("me/base", commit.oid, None)
    if lora:
        assert json.loads((run / "final" / "adapter_config.json").read_text())["revision"] == commit.oid
        before = load_model(str(run / "final"))
    (start / "LICENSE").write_text("mine")  # the repository moves on
    assert main(["push", str(start), "me/base"]) == 0
    assert len(hub.history("me/base")) == 2
    assert train(*words, "--resume")[0] == 0
    assert json.loads((run / "run.json").read_text())["model"]["revision"] == commit.oid
    capfd.readouterr()
    assert train(*words, "--resume", "--revision", hub.history("me/base")[-1].oid)[0] == 2
    assert f"model.revision: {commit.oid} ->" in capfd.readouterr().err
    if lora:
        assert equal(load_model(str(run / "final")), before)
        assert main(["push", str(run), "me/adapters"]) == 0
        card = hub.history("me/adapters")[0].files["README.md"].decode()
        assert "base_model: me/base" in card
        assert "library_name: peft" in card
        assert "base_model_relation: adapter" in card


def test_what_is_no_mt5_is_not_pulled(hub, tmp_path, start, capfd):
    files = {path.name: path.read_bytes() for path in start.iterdir()}
    hub.create("me/bert", files={**files, "config.json": b'{"model_type": "bert"}'})
    assert main(["pull", "me/bert", str(tmp_path / "new")]) == 2
    assert "contains a bert model, not an encoder-decoder" in capfd.readouterr().err
    assert not (tmp_path / "new").exists()
