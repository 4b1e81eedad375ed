"""`kronos-ft find-lr` and `--learning_rate auto`: what is found, what is written, and that a run is not affected."""

import json

import pytest
import torch
from safetensors.torch import load_file

import ft_core.training.find_lr.search
from ft_core.cli.learning_rates import AutoRate, WidthRate
from ft_core.training.find_lr.rule import best_rate
from ft_core.training.find_lr.search import scaled_rates
from ft_core.training.find_lr.trials import random_states_kept, trial_rates
from kronos_ft.data.sources import simulate_candles
from kronos_ft.runs.routing import route_settings
from kronos_ft.runs.stage import _scale_rate
from kronos_ft.training.arguments import KronosTokenizerArguments

SHAPE = ("--lookback_window", "20", "--predict_window", "4", "--model", "tiny", "--per_device_train_batch_size", "8")
RUN = (*SHAPE, "--from_scratch", "--max_steps", "4", "--logging_steps", "1")
EVALUATE = ("--eval_strategy", "steps", "--eval_steps", "2", "--save_strategy", "steps", "--save_steps", "2")


@pytest.fixture(scope="module")
def candles(tmp_path_factory):
    path = tmp_path_factory.mktemp("candles") / "market.csv"
    simulate_candles(600, seed=5).to_csv(path, index=False)
    return path


@pytest.fixture(autouse=True)
def _short(monkeypatch, tmp_path):
    monkeypatch.setattr(ft_core.training.find_lr.search, "RANGE_STEPS", 4)
    monkeypatch.setattr(ft_core.training.find_lr.search, "MOST_TRIAL_STEPS", 2)
    monkeypatch.setenv("KRONOS_FT_CACHE", str(tmp_path / "cache"))


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_command_writes_a_curve_and_a_picture_and_prints_one_line_of_advice(run, candles, tmp_path):
    folder = tmp_path / "found"
    code, lines, _ = run("find-lr", "tokenizer", "--data", candles, *RUN, "--output_dir", folder)
    assert code == 0
    assert {path.name for path in folder.iterdir()} == {"find_lr.json", "find_lr.png"}
    found = read(folder / "find_lr.json")
    scores = {one["learning_rate"]: one["score"] for one in found["trials"]}
    assert len(scores) >= 5
    assert found["learning_rate"] == best_rate(scores, found["start"])
    (advice,) = [line for line in lines if line.startswith("use ")]
    assert f"--learning_rate {found['learning_rate']:g} " in advice
    test = found["range_test"]
    assert len(test["learning_rate"]) == len(test["loss"]) == len(test["loss_of_start"])


def test_auto_equals_the_number_by_hand_and_a_resume_uses_the_recorded_rate(run, candles, tmp_path, monkeypatch):
    words = ("tokenizer", "--data", candles, *RUN, *EVALUATE)
    code, lines, errors = run(*words, "--learning_rate", "auto", "--output_dir", tmp_path / "auto")
    assert code == 0, errors
    record = read(tmp_path / "auto" / "run.json")
    rate = record["arguments"]["learning_rate"]
    assert record["rate_search"]["learning_rate"] == rate
    assert len(record["rate_search"]["trials"]) >= 5
    assert any(line.startswith(f"rate        auto: --learning_rate {rate:g} ") for line in lines)

    assert run(*words, "--learning_rate", str(rate), "--output_dir", tmp_path / "hand")[0] == 0
    one, other = (load_file(tmp_path / name / "checkpoint-4" / "model.safetensors") for name in ("auto", "hand"))
    assert all(torch.equal(one[name], other[name]) for name in other)
    assert "rate_search" not in read(tmp_path / "hand" / "run.json")

    # cut after the first checkpoint: the rest is trained with the recorded rate, without a second search
    for name in ("best_model", "checkpoint-4"):
        for path in (tmp_path / "auto" / name).iterdir():
            path.unlink()
        (tmp_path / "auto" / name).rmdir()
    (tmp_path / "auto" / "training_metrics.json").unlink()
    monkeypatch.setattr("kronos_ft.runs.stage.settle_rate", lambda *_: pytest.fail("searched again"))
    code, lines, errors = run(*words, "--learning_rate", "auto", "--output_dir", tmp_path / "auto", "--resume")
    assert code == 0, errors
    assert f"rate        {rate:g}, as the run recorded when it started" in lines
    again = load_file(tmp_path / "auto" / "checkpoint-4" / "model.safetensors")
    assert all(torch.equal(again[name], other[name]) for name in other)
    assert read(tmp_path / "auto" / "run.json")["rate_search"] == record["rate_search"]


def test_a_predictor_with_muon_scales_the_rate_of_muon(run, finetuned, tmp_path):
    tokenizer = finetuned.folder / "tokenizer" / "best_model"
    words = (*SHAPE, "--max_steps", "4", "--model", finetuned.folder / "predictor" / "best_model")
    words += ("--tokenizer", tokenizer, "--optim", "muon", "--learning_rate", "2e-3", "--muon_learning_rate", "6e-3")
    code, _, errors = run("find-lr", "predictor", "--data", finetuned.data, *words, "--output_dir", tmp_path / "found")
    assert code == 0, errors
    found = read(tmp_path / "found" / "find_lr.json")
    assert found["metric"] == "eval_loss"
    assert found["muon_learning_rate"] == pytest.approx(3 * found["learning_rate"])
    scores = {one["learning_rate"]: one["score"] for one in found["trials"]}
    assert found["learning_rate"] == best_rate(scores, found["start"], recipe=2e-3)
    assert (2e-3 in scores) == (min(scores) < 2e-3 < max(scores))  # the rate of the recipe is tried too


def test_a_quantile_head_scales_the_rate_of_a_body_that_is_trained(run, finetuned, tmp_path):
    words = ("quantiles", "--data", finetuned.data, "--model", finetuned.folder, "--max_steps", "4", *SHAPE[:4])
    words += ("--per_device_train_batch_size", "8")
    for body, ratio in (("full", 10), ("frozen", None)):
        code, _, errors = run("find-lr", *words, "--body", body, "--output_dir", tmp_path / body)
        assert code == 0, errors
        found = read(tmp_path / body / "find_lr.json")
        assert ("body_learning_rate" in found) is (ratio is not None)
        if ratio:
            assert found["learning_rate"] == pytest.approx(ratio * found["body_learning_rate"])


def test_a_dry_run_does_not_search(run, candles, tmp_path):
    words = ("tokenizer", "--data", candles, *RUN, "--learning_rate", "auto", "--output_dir", tmp_path / "run")
    code, lines, _ = run(*words, "--dry_run")
    assert code == 0
    assert not (tmp_path / "run").exists()
    assert "recipe      baseline, learning rate auto" in lines


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("find-lr", "forecaster"), "kronos-ft: 'forecaster' has no learning rate to find; use one of tokenizer, "
         "predictor, quantiles"),
        (("find-lr", "tokenizer", "--data", "sample", "--resume"), "kronos-ft: resume is not a setting of find-lr, "
         "which trains nothing that is kept; remove it"),
        (("find-lr", "tokenizer", "--lerning_rate", "1"), "kronos-ft: --lerning_rate is not a setting; did you mean "
         "learning_rate?"),
        (("tokenizer", "--data", "sample", "--learning_rate", "automatic"), "kronos-ft: argument "
         "--learning_rate/--learning-rate: invalid float value: 'automatic'; use a number or auto; see --help"),
        (("tokenizer", "--data", "sample", "--muon_learning_rate", "auto"), "kronos-ft: argument "
         "--muon_learning_rate/--muon-learning-rate: invalid float value: 'auto'; see --help"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(run, words, message):
    assert run(*words) == (2, [], [message])


def test_the_folder_of_a_run_is_not_written_to(run, finetuned):
    folder = finetuned.folder / "tokenizer"
    code, _, errors = run("find-lr", "tokenizer", "--data", finetuned.data, "--output_dir", folder)
    assert (code, errors) == (
        2, [f"kronos-ft: output_dir={folder} holds a run; pass another folder for the curve and the picture"]
    )  # fmt: skip


def test_a_sweep_refuses_auto(run, candles, tmp_path):
    space = tmp_path / "space.yaml"
    space.write_text("weight_decay: [0.0, 0.1]\n")
    words = ("sweep", "tokenizer", "--data", candles, "--space", space, "--output_dir", tmp_path / "sweep")
    code, _, errors = run(*words, "--learning_rate", "auto")
    assert code == 2
    assert errors == [
        "kronos-ft: learning_rate=auto is not a setting of a sweep, whose trials would each find another rate; search "
        "over learning_rate, or pass a number (find-lr gives one)"
    ]
    space.write_text("learning_rate: [auto, 1e-3]\n")
    assert "learning_rate='auto' is not of type float" in run(*words)[2][0]


def test_auto_goes_to_each_stage_of_finetune_and_a_number_not_to_the_head():
    assert all(one["learning_rate"] == ["auto"] for one in route_settings({"learning_rate": ["auto"]}).values())
    found = route_settings({"predictor_learning_rate": ["auto"], "learning_rate": ["1e-3"]})
    assert found["predictor"]["learning_rate"] == ["auto"]
    assert found["tokenizer"]["learning_rate"] == ["1e-3"]
    assert "learning_rate" not in found["quantiles"]


def test_auto_in_python_has_the_rate_of_the_class_as_its_value(tmp_path):
    args = KronosTokenizerArguments(output_dir=str(tmp_path), learning_rate="auto", optim="muon")
    assert isinstance(args.learning_rate, AutoRate)
    assert float(args.learning_rate) == 2e-4
    assert f"{args.learning_rate:g}" == "auto"
    args.muon_learning_rate = 6e-4
    assert scaled_rates(args, 1e-3, ("muon_learning_rate",)) == {"learning_rate": 1e-3, "muon_learning_rate": 3e-3}


def test_a_trial_rises_to_its_rate_and_falls_to_nearly_zero():
    rates = trial_rates(1e-3, 40)
    assert len(rates) == 40
    assert rates[0] == pytest.approx(2.5e-4)
    assert rates[3] == max(rates) == pytest.approx(1e-3)
    assert 0 < rates[-1] < 1e-5
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert trial_rates(1e-3, 2) == pytest.approx([1e-3, 5e-4])


def test_random_states_are_restored():
    import random

    import numpy as np

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with random_states_kept():
        random.random(), np.random.rand(), torch.rand(1)
    found = random.random(), np.random.rand(), float(torch.rand(1))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert found == (random.random(), np.random.rand(), float(torch.rand(1)))


def test_finetune_finds_a_rate_for_each_stage(run, candles, tmp_path):
    words = ("--data", candles, *SHAPE, "--tokenizer", "tiny", "--from_scratch", "--max_steps", "2", *EVALUATE)
    words = ("finetune", *words, "--learning_rate", "auto", "--output_dir", tmp_path / "run")
    code, lines, errors = run(*words)
    assert code == 0, errors
    records = [read(tmp_path / "run" / stage / "run.json") for stage in ("tokenizer", "predictor")]
    for record in records:
        assert record["rate_search"]["learning_rate"] == record["arguments"]["learning_rate"]
    found = [line for line in lines if line.startswith("rate        auto: ")]
    assert ["recon_all" in line for line in found] == [True, False]  # in the order of the stages
    code, lines, errors = run(*words, "--resume")
    assert code == 0, errors
    assert not any("auto: " in line for line in lines)


@pytest.mark.parametrize(
    ("words", "rate"),
    [((), 0.01), (("--model", "2k"), 0.00125), (("--learning_rate", "0.01", "--model", "2k"), 0.01)],
    ids=["width 32", "width 256", "chosen by the user"],
)
def test_the_rate_of_best_falls_with_the_width(run, candles, tmp_path, words, rate):
    settings = (*RUN, "--preset", "best", *words, "--dry_run", "--output_dir", tmp_path / "run")
    code, lines, errors = run("tokenizer", "--data", candles, *settings)
    assert code == 0, errors
    assert f"recipe      best, learning rate {rate:g}" in lines


@pytest.mark.parametrize(("rate", "is_low"), [("2e-4", True), ("5e-4", False), ("auto", False)])
def test_random_weights_at_a_low_rate_are_warned_of(run, candles, tmp_path, rate, is_low):
    words = (*RUN, "--learning_rate", rate, "--dry_run", "--output_dir", tmp_path / "run")
    _, lines, _ = run("tokenizer", "--data", candles, *words)
    warning = (
        "WARNING     random weights learn little at learning_rate=0.0002; pass --learning_rate 0.001, or auto to find"
    )
    assert any(line.startswith(warning) for line in lines) == is_low


def test_a_null_in_a_file_leaves_the_rate_of_the_preset(run, candles, tmp_path):
    (tmp_path / "c.yaml").write_text("learning_rate: null\npreset: best\nmodel: 2k\n")
    words = ("tokenizer", "--data", candles, *RUN, "--config", tmp_path / "c.yaml", "--dry_run")
    code, lines, errors = run(
        *(word for word in words if word not in ("--model", "tiny")), "--output_dir", tmp_path / "r"
    )
    assert code == 0, errors
    assert "recipe      best, learning rate 0.00125" in lines


def test_auto_relates_a_given_rate_of_muon_to_the_scaled_rate(tmp_path):
    args = KronosTokenizerArguments(str(tmp_path), learning_rate="auto", optim="muon", muon_learning_rate=2.5e-3)
    _scale_rate(args, WidthRate(1e-2), 256)
    assert isinstance(args.learning_rate, AutoRate)
    assert scaled_rates(args, 1e-3, ["muon_learning_rate"]) == {"learning_rate": 1e-3, "muon_learning_rate": 2e-3}


def test_the_rates_of_the_published_predictors():
    assert [WidthRate(3e-3).at(width) for width in (32, 256, 512, 832)] == [3e-3, 3.75e-4, 1.88e-4, 1.15e-4]


def test_a_run_of_best_records_its_rate_and_resumes_with_it(run, candles, tmp_path):
    words = ("tokenizer", "--data", candles, *RUN, *EVALUATE, "--preset", "best")
    words += ("--model", "2k", "--max_steps", "2", "--output_dir", tmp_path / "run")
    assert run(*words)[0] == 0
    assert read(tmp_path / "run" / "run.json")["arguments"]["learning_rate"] == 0.00125
    code, lines, errors = run(*words, "--resume")
    assert code == 0, errors
    assert "recipe      best, learning rate 0.00125" in lines
