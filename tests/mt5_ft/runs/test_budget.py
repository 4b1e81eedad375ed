"""`--time_budget` of mT5: steps chosen from what was measured, resumed as recorded; plans measure once."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import ft_core.training.budget.choice
import mt5_ft.runs.planning
from ft_core.training.budget.probe import StepProbe
from mt5_ft.cli.main import main
from mt5_ft.runs.probe import Measured


@pytest.fixture
def measured(monkeypatch):
    """A function that sets what a step costs; few steps are enough here."""
    monkeypatch.setattr(ft_core.training.budget.choice, "LEAST_STEPS", 2)

    def set_costs(step):
        def measure(trainer):
            return Measured(0.0, 1, step, 0.1, 0.1, 2**20, trainer.args.per_device_eval_batch_size)

        monkeypatch.setattr(mt5_ft.runs.planning, "measure", measure)

    set_costs(1.0)
    return set_costs


@pytest.fixture
def words(start, data, small):
    """The command line of a short run without a number of steps."""
    return [str(word) for word in ("--model", start, "--data", data, "--preset", "original", *small[2:])]


def read(run):
    return json.loads((run / "run.json").read_text("utf-8"))


def test_a_run_has_the_steps_that_fit_and_a_resumed_one_the_recorded_steps(words, measured, tmp_path, capsys):
    command = ["train", *words, "--time_budget", "9s", "--output_dir", str(tmp_path / "run")]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    record = read(tmp_path / "run")
    steps = record["arguments"]["max_steps"]
    assert 4 <= steps <= 8
    assert record["budget"]["stages"]["training"]["max_steps"] == steps
    assert any(line.startswith(f"chosen      training: {steps} of 25 steps, ") for line in lines)
    assert any(line.startswith(f"steps       {steps} over ") for line in lines)

    by_hand = ["train", *words, "--max_steps", str(steps), "--output_dir", str(tmp_path / "by-hand")]
    assert main(by_hand) == 0
    expected = load_file(tmp_path / "by-hand" / "final" / "model.safetensors")
    for name in ("final", *(one.name for one in (tmp_path / "run").glob("checkpoint-*"))):
        if name != "checkpoint-2":
            shutil.rmtree(tmp_path / "run" / name)
    (tmp_path / "run" / "training_metrics.json").unlink()
    measured(0.5)  # more steps would fit now
    capsys.readouterr()
    assert main([*command, "--resume"]) == 0
    said = capsys.readouterr().out
    assert f"budget      9s: {steps} steps of the training, as the run recorded when it started" in said
    again = load_file(tmp_path / "run" / "final" / "model.safetensors")
    assert all(torch.equal(again[name], value) for name, value in expected.items())
    assert read(tmp_path / "run")["budget"] == record["budget"]


def test_a_budget_that_is_too_short_names_what_would_fit(words, measured, tmp_path, refused):
    measured(60.0)
    refused(
        ["train", *words, "--time_budget", "1m", "--output_dir", str(tmp_path / "run")],
        "time_budget=1m is too short for 2 steps of the training (training: 60 s a step on this machine); use "
        "--time_budget 3m, or a smaller model such as google/mt5-small, or --trim_vocab true",
    )
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_budget_beside_steps_is_refused(words, refused):
    words = ["train", *words, "--time_budget", "1m", "--max_steps", "3"]
    refused(
        words, "time_budget=1m and max_steps=3 exclude each other: the budget chooses the steps; remove one of them"
    )


def test_a_second_plan_measures_nothing(words, tmp_path, monkeypatch, capsys):
    passes, real = [], StepProbe.passes
    monkeypatch.setattr(StepProbe, "passes", lambda self, inputs: passes.append(1) or real(self, inputs))
    command = ["plan", *words, "--output_dir", str(tmp_path / "none")]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert passes
    passes.clear()
    assert main(command) == 0
    again = capsys.readouterr().out
    assert not passes
    for name in ("time ", "memory ", "steps "):
        assert [one for one in again.splitlines() if one.startswith(name)] == [
            one for one in first.splitlines() if one.startswith(name)
        ]
    assert main([*command, "--time_budget", "1h"]) == 0
    assert not passes
    assert "chosen      training: all 25 steps" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
