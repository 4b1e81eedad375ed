"""Settings of `finetune` before they reach a stage: whatever the YAML file holds is a value or one line."""

import json
from pathlib import Path

import pytest

from kronos_ft.cli.main import main
from kronos_ft.models.found_model import find_model
from kronos_ft.runs.both import data_words
from kronos_ft.runs.routing import read_finetune, route_settings
from kronos_ft.training.arguments import DataArguments

SHORT = {"lookback_window": 20, "predict_window": 4, "max_steps": 2, "per_device_train_batch_size": 8}
SHORT |= {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2}
SETTINGS = [f"--{name}={value}" for name, value in SHORT.items()]


def test_the_run_folder_and_its_stages():
    folder, given = read_finetune(["--output_dir", "runs/btc", "--data", "sample"])
    assert folder == Path("runs/btc")
    assert {stage: values["output_dir"] for stage, values in given.items()} == {
        "tokenizer": "runs/btc/tokenizer",
        "predictor": "runs/btc/predictor",
    }


@pytest.mark.fault(28)
@pytest.mark.parametrize("written", ["[null]", "{a: 1}", "[a, b]", "[]", "''", "5", "null"])
def test_a_folder_that_is_none(written, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(f"output_dir: {written}\ndata: sample\n")
    assert main(["finetune", "--config", "run.yaml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("kronos-ft: output_dir=")
    assert len(error.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_muon_is_not_for_the_head_of_a_frozen_body():
    found = route_settings({"optim": ["muon"], "muon_learning_rate": ["3e-3"], "ema_decay": ["0.9"]})
    for stage in ("tokenizer", "predictor"):
        assert found[stage]["optim"] == ["muon"]
    assert "ema_decay" in found["quantiles"]
    assert not {"optim", "muon_learning_rate"} & found["quantiles"].keys()
    own = route_settings({"quantiles_optim": ["muon"], "quantiles_body": ["full"]})
    assert own["quantiles"]["optim"] == ["muon"]


def test_a_tiny_predictor_from_random_weights_gets_a_tokenizer_that_fits():
    _, given = read_finetune(["--model", "tiny", "--from_scratch", "--data", "sample"])
    assert given["tokenizer"]["model"] == "tiny"
    _, given = read_finetune(["--model", "small", "--from_scratch", "--data", "sample"])
    assert "model" not in given["tokenizer"]


def test_the_next_command_reads_the_data_in_the_same_way():
    data = DataArguments("my data.csv", timezone="Asia/Shanghai", columns="time=Datum", policy="drop")
    assert data_words(data) == "'my data.csv' --columns time=Datum --timezone Asia/Shanghai --policy drop"
    assert data_words(DataArguments("sample")) == "FILE"


def test_a_run_folder_names_both_models_to_start_from(finetuned, run, tmp_path):
    _, given = read_finetune(["--model", str(finetuned.folder), "--data", "sample"])
    assert given["tokenizer"]["model"] == str(finetuned.folder / "tokenizer")
    _, given = read_finetune(["--model", str(finetuned.folder), "--tokenizer", "base", "--data", "sample"])
    assert given["tokenizer"]["model"] == "base"
    words = ["--data", finetuned.data, "--model", finetuned.folder, *SETTINGS]
    assert run("finetune", *words, "--output_dir", tmp_path / "again")[0] == 0
    recorded = json.loads((tmp_path / "again" / "tokenizer" / "run.json").read_text(encoding="utf-8"))
    assert recorded["model"]["model"] == str(finetuned.folder / "tokenizer")
    assert run("predictor", *words, "--output_dir", tmp_path / "alone")[0] == 0
    found = find_model(str(tmp_path / "alone"))
    assert Path(found.tokenizer) == finetuned.folder / "tokenizer"


def test_a_resumed_run_keeps_the_tokenizer_that_it_started_from(finetuned, run, tmp_path):
    other = finetuned.folder / "tokenizer" / "best_model"
    words = ["--data", finetuned.data, "--model", finetuned.folder, *SETTINGS, "--output_dir", tmp_path / "run"]
    assert run("finetune", *words, "--tokenizer", other)[0] == 0
    _, given = read_finetune([*map(str, words), "--resume"])
    assert given["tokenizer"]["model"] == str(other)
    assert run("finetune", *words, "--resume")[0] == 0
