"""`mt5-ft find-lr` and `--learning_rate auto`: what is found, and that a run is not affected."""

import json

import pytest
import torch
from safetensors.torch import load_file

import ft_core.training.find_lr.search
from mt5_ft.cli.main import main
from mt5_ft.training.arguments import MT5Arguments


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(ft_core.training.find_lr.search, "RANGE_STEPS", 4)
    monkeypatch.setattr(ft_core.training.find_lr.search, "MOST_TRIAL_STEPS", 2)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_command_finds_a_rate_with_muon(train, tmp_path, capsys):
    words = ("--max_steps", "4", "--optimizer", "muon", "--learning_rate", "1e-3", "--muon_learning_rate", "2e-3")
    words = ["find-lr", *train.base, *words, "--output_dir", tmp_path / "found"]
    assert main([str(word) for word in words]) == 0
    assert {path.name for path in (tmp_path / "found").iterdir()} == {"find_lr.json", "find_lr.png"}
    found = read(tmp_path / "found" / "find_lr.json")
    rate, muon = found["learning_rate"], found["muon_learning_rate"]
    assert muon == pytest.approx(2 * rate)
    (advice,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("use ")]
    assert f"--learning_rate {rate:g} --muon_learning_rate {muon:g} " in advice


def test_auto_equals_the_number_by_hand(train, capsys):
    words = ("--max_steps", "4", "--metric_for_best_model", "rougeL")
    code, auto = train(*words, "--learning_rate", "auto", output="auto")
    assert code == 0, capsys.readouterr().err
    record = read(auto / "run.json")
    rate = record["arguments"]["learning_rate"]
    assert record["rate_search"]["learning_rate"] == rate
    assert record["rate_search"]["metric"] == "eval_loss"  # trials are too short for generated texts
    assert f"rate        auto: --learning_rate {rate:g} " in capsys.readouterr().out
    code, hand = train(*words, "--learning_rate", rate, output="hand")
    assert code == 0
    one, other = (load_file(run / "final" / "model.safetensors") for run in (auto, hand))
    assert all(torch.equal(one[name], other[name]) for name in other)
    # a finished run that is resumed keeps its rate
    code, _ = train(*words, "--learning_rate", "auto", "--resume", output="auto")
    out = capsys.readouterr().out
    assert code == 0
    assert f"rate        {rate:g}, as the run recorded when it started" in out
    assert "is already finished" in out


@pytest.mark.parametrize(("optimizer", "rate"), [("adamw", 1e-4), ("adafactor", 1e-3)])
def test_auto_in_python_has_the_rate_of_the_optimizer_as_its_value(tmp_path, optimizer, rate):
    args = MT5Arguments(output_dir=str(tmp_path), learning_rate="auto", optimizer=optimizer)
    assert float(args.learning_rate) == rate
    assert f"{args.learning_rate}" == "auto"


def test_settings_that_a_search_has_no_use_for(capsys):
    assert main(["find-lr", "--data", "sample", "--overwrite"]) == 2
    expected = "mt5-ft: overwrite is not a setting of find-lr, which trains nothing that is kept; remove it\n"
    assert capsys.readouterr().err == expected
