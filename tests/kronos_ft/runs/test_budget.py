"""`--time_budget` and `--preset cpu`: what is chosen, said, recorded and resumed; measured seconds are given."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import ft_core.training.budget.choice
import kronos_ft.runs.budget
from ft_core.training.budget.probe import StepProbe
from kronos_ft.data.sources import simulate_candles
from kronos_ft.runs.both import parse_finetune
from kronos_ft.runs.budget import smaller_sizes, windows_prepared
from kronos_ft.training.measured import UnitSeconds
from kronos_ft.training.presets import STAGE_PRESETS
from kronos_ft.training.quantile_arguments import STAGE_TYPES

SHAPE = ("--lookback_window", "20", "--predict_window", "4", "--per_device_train_batch_size", "8")
SAVES = ("--eval_strategy", "steps", "--eval_steps", "4", "--save_strategy", "steps", "--save_steps", "4")
SCRATCH = ("--model", "tiny", "--from_scratch")
STAGES = ("tokenizer", "predictor", "quantiles")


@pytest.fixture(scope="module")
def candles(tmp_path_factory):
    path = tmp_path_factory.mktemp("candles") / "market.csv"
    simulate_candles(600, seed=5).to_csv(path, index=False)
    return path


@pytest.fixture
def measured(monkeypatch):
    """A function that sets what a step costs, by stage or for all; few steps are enough here."""
    monkeypatch.setattr(ft_core.training.budget.choice, "LEAST_STEPS", 2)

    def set_costs(step=1.0, **steps):
        def units(trainer, prepares="", forecast=None):
            cost = steps.get(trainer.stage, step)
            return UnitSeconds(cost(trainer) if callable(cost) else cost, 0.001, 0.001 * bool(prepares), 0.0)

        monkeypatch.setattr(kronos_ft.runs.budget, "unit_seconds", units)

    set_costs()
    return set_costs


def read(run):
    return json.loads((run / "run.json").read_text("utf-8"))


def weights_of(checkpoint):
    return load_file(checkpoint / "model.safetensors")


def cut_after(run, step, *later):
    """The run as a kill after the checkpoint of a step leaves it."""
    for name in later:
        shutil.rmtree(run / f"checkpoint-{name}")
    shutil.rmtree(run / "best_model")
    (run / "training_metrics.json").unlink()
    assert (run / f"checkpoint-{step}").is_dir()


def test_bad_budgets_are_one_line(run, tmp_path):
    for words, message in (
        (["--time_budget", "soon"], "time_budget='soon' is not a time above zero; write e.g. 90s, 30m, 4h or 1h30m"),
        (["--time_budget", "5m", "--max_steps", "9"], "time_budget=5m and max_steps=9 exclude each other: the budget "
         "chooses the steps; remove one of them"),
    ):  # fmt: skip
        for command in ("finetune", "tokenizer"):
            code, _, errors = run(command, "--data", "sample", "--output_dir", tmp_path / "run", *words)
            assert (code, errors) == (2, [f"kronos-ft: {message}"])
    code, _, errors = run("finetune", "--data", "sample", "--predictor_time_budget", "5m")
    assert code == 2
    assert errors[0].startswith("kronos-ft: --predictor_time_budget is not a setting of the predictor stage; ")
    code, _, errors = run("find-lr", "tokenizer", "--data", "sample", "--time_budget", "5m")
    assert errors == [
        "kronos-ft: time_budget is not a setting of find-lr, which trains nothing that is kept; remove it"
    ]


def test_a_resumed_stage_has_the_recorded_steps_and_the_same_weights(run, candles, tmp_path, measured):
    words = ("tokenizer", "--data", candles, *SHAPE, *SAVES, *SCRATCH, "--time_budget", "11s")
    folder = tmp_path / "run"
    code, lines, errors = run(*words, "--output_dir", folder)
    assert code == 0, errors
    record = read(folder)
    steps = record["arguments"]["max_steps"]
    assert 4 < steps <= 9  # 0.9 x 11 s, and the evaluations
    assert record["arguments"]["time_budget"] == "11s"
    assert record["budget"]["stages"]["tokenizer"]["max_steps"] == steps
    (chosen,) = [line for line in lines if line.startswith("chosen ")]
    assert chosen.startswith(f"chosen      tokenizer: {steps} of ")
    assert chosen.endswith("(1 s a step)")
    advised = (folder / "next.yaml").read_text("utf-8")
    assert "max_steps" in advised
    assert "time_budget" not in advised

    same = ("tokenizer", "--data", candles, *SHAPE, *SAVES, *SCRATCH, "--max_steps", steps)
    assert run(*same, "--output_dir", tmp_path / "by-hand")[0] == 0
    expected = weights_of(tmp_path / "by-hand" / f"checkpoint-{steps}")
    cut_after(folder, 4, *{8, steps} & {int(one.name[11:]) for one in folder.glob("checkpoint-*")})
    measured(step=0.5)  # twice as many steps would fit now
    code, lines, errors = run(*words, "--output_dir", folder, "--resume")
    assert code == 0, errors
    assert f"budget      11s: {steps} steps of the tokenizer, as the run recorded when it started" in lines
    again = weights_of(folder / f"checkpoint-{steps}")
    assert all(torch.equal(again[name], value) for name, value in expected.items())
    assert read(folder)["budget"] == record["budget"]
    code, _, errors = run(*words[:-1], "20s", "--output_dir", folder, "--resume", "--overwrite_lock")
    assert code == 2
    assert f"max_steps: {steps} -> " in errors[0]


def test_a_finetune_shares_its_budget_and_resumes_with_the_shares(run, candles, tmp_path, measured):
    measured(tokenizer=1.0, predictor=2.0, quantiles=0.1)
    words = ("finetune", "--data", candles, *SHAPE, *SAVES, *SCRATCH, "--tokenizer", "tiny", "--stages", *STAGES)
    words = (*words, "--num_train_epochs", "0.5", "--quantiles_num_train_epochs", "0.5", "--time_budget", "40s")
    code, lines, errors = run(*words, "--output_dir", tmp_path / "run")
    assert code == 0, errors
    chosen = {stage: read(tmp_path / "run" / stage)["arguments"]["max_steps"] for stage in STAGES}
    plans = [read(tmp_path / "run" / stage)["budget"] for stage in STAGES]
    assert plans[0] == plans[1] == plans[2]
    assert {stage: one["max_steps"] for stage, one in plans[0]["stages"].items()} == chosen
    assert sum(one["seconds"] for one in plans[0]["stages"].values()) <= 0.9 * 40
    assert chosen["tokenizer"] == chosen["predictor"]  # of the same number of windows
    assert any(line.startswith("budget      40s, about ") and ": tokenizer " in line for line in lines)

    expected = weights_of(tmp_path / "run" / "predictor" / "best_model")
    for stage in STAGES[1:]:
        shutil.rmtree(tmp_path / "run" / stage)
    measured(step=0.01)
    code, lines, errors = run(*words, "--output_dir", tmp_path / "run", "--resume")
    assert code == 0, errors
    assert {stage: read(tmp_path / "run" / stage)["arguments"]["max_steps"] for stage in STAGES} == chosen
    again = weights_of(tmp_path / "run" / "predictor" / "best_model")
    assert all(torch.equal(again[name], value) for name, value in expected.items())


def test_a_model_of_random_weights_becomes_smaller_and_this_is_said_and_resumed(run, candles, tmp_path, measured):
    def slow_if_large(trainer):
        return 0.5 if trainer.model.config.d_model <= 32 else 50.0

    measured(tokenizer=slow_if_large, predictor=slow_if_large)
    words = ("finetune", "--data", candles, *SHAPE, *SAVES, "--model", "small", "--tokenizer", "base", "--from_scratch")
    words = (*words, "--time_budget", "20s", "--output_dir", tmp_path / "run")
    code, lines, errors = run(*words)
    assert code == 0, errors
    assert [line for line in lines if line.startswith("size ")] == [
        "size        predictor mini instead of small, which is too slow for 20s on this machine",
        "size        tokenizer tiny instead of base, which is too slow for 20s on this machine",
        "size        predictor tiny instead of mini, which is too slow for 20s on this machine",
    ]
    assert read(tmp_path / "run" / "predictor")["model"]["model"] == "tiny"
    for name in ("training_metrics.json", "best_model"):
        path = tmp_path / "run" / "predictor" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    code, lines, errors = run(*words, "--resume")
    assert code == 0, errors
    assert not any(line.startswith("size ") for line in lines)


def test_given_weights_are_not_replaced_by_smaller_ones(run, finetuned, tmp_path, measured):
    measured(step=50.0)
    words = ("predictor", "--data", finetuned.data, *SHAPE, "--model", finetuned.folder / "predictor" / "best_model")
    words += ("--tokenizer", finetuned.folder / "tokenizer" / "best_model", "--output_dir", tmp_path / "run")
    code, _, errors = run(*words, "--time_budget", "20s")
    assert code == 2
    assert errors == [
        "kronos-ft: time_budget=20s is too short for 2 steps of the predictor (predictor: 50 s a step on this "
        "machine); use --time_budget 2m, or a smaller batch than --per_device_train_batch_size 8, or --preset cpu, or "
        "--max_steps in place of a budget to try it out"
    ]
    assert not (tmp_path / "run").exists()


def test_sizes_become_smaller_one_at_a_time_and_tiny_together():
    def model(stage, size, from_scratch=True):
        return (STAGE_TYPES[stage][0](model=size, from_scratch=from_scratch),)

    both = {"tokenizer": model("tokenizer", "base"), "predictor": model("predictor", "base")}
    assert smaller_sizes(both) == {"predictor": "small"}
    both["predictor"] = model("predictor", "mini")
    assert smaller_sizes(both) == {"tokenizer": "tiny", "predictor": "tiny"}
    assert smaller_sizes(both | {"tokenizer": model("tokenizer", "base", False)}) == {}
    assert smaller_sizes({"tokenizer": model("tokenizer", "2k")}) == {"tokenizer": "tiny"}
    assert smaller_sizes({"predictor": model("predictor", "mini")}) == {}  # its tokenizer has 10 + 10 bits
    assert smaller_sizes({stage: model(stage, "tiny") for stage in both}) == {}


def test_a_second_dry_run_measures_nothing(run, candles, tmp_path, monkeypatch):
    words = ("finetune", "--data", candles, *SHAPE, *SCRATCH, "--tokenizer", "tiny", "--stages", *STAGES, "--dry_run")
    words = (*words, "--output_dir", tmp_path / "run")
    passes, real = [], StepProbe.passes
    monkeypatch.setattr(StepProbe, "passes", lambda self, inputs: passes.append(1) or real(self, inputs))
    code, first, errors = run(*words)
    assert code == 0, errors
    assert passes
    passes.clear()
    code, again, errors = run(*words)
    assert code == 0, errors
    assert not passes
    assert again == first
    assert run(*words, "--time_budget", "1h")[0] == 0
    assert not passes
    assert run(*words, "--per_device_train_batch_size", "4")[0] == 0
    assert passes
    assert not (tmp_path / "run").exists()


def test_windows_are_prepared_once_or_in_each_step():
    counts = {"train": 1000, "validation": 50, "test": 30}
    assert windows_prepared("", counts, 5000, False) == 0
    assert windows_prepared("tokens", counts, 5000, False) == 1080
    assert windows_prepared("tokens", counts, 400, False) == 480  # ends within its first pass
    assert windows_prepared("tokens", counts, 5000, True) == 5080  # augmented
    assert windows_prepared("states", counts, 400, False) == 1080


def test_a_large_budget_trains_no_less_than_the_preset_for_laptops(run, candles, tmp_path, measured):
    words = ("tokenizer", "--data", candles, *SHAPE[:4], *SCRATCH, "--preset", "cpu", "--output_dir", tmp_path / "run")
    for passes, steps in ((5, 200), (60, 300)):  # an epoch has 5 steps
        _, lines, _ = run(*words, "--dry_run", "--time_budget", "10h", "--num_train_epochs", passes)
        assert any(f"chosen      tokenizer: all {steps} steps" in line for line in lines)


def test_the_preset_for_laptops_is_one_of_every_stage_and_a_budget_replaces_its_steps():
    words = ["--data", "sample", "--preset", "cpu", "--stages", *STAGES]
    settings = parse_finetune(words)
    assert [settings.tokenizer[0].model, settings.predictor[0].model] == ["2k", "mini"]
    for stage in STAGES:
        _, data, *_, args = getattr(settings, stage)
        assert data.stride == 5
        assert args.use_cpu
        assert args.max_steps == STAGE_PRESETS[stage]["cpu"]["max_steps"]
    settings = parse_finetune([*words, "--time_budget", "30m"])
    assert {getattr(settings, stage)[-1].max_steps for stage in STAGES} == {-1}
    with pytest.raises(ValueError, match="time_budget=30m and max_steps=7 exclude each other"):
        parse_finetune([*words, "--time_budget", "30m", "--max_steps", "7"])
