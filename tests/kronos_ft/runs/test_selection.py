"""The final weights are those with the best validation forecasts, and the starting weights are among the candidates."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kronos_ft.models.modeling_kronos import Kronos
from kronos_ft.runs.finish import summary_table
from kronos_ft.runs.selection import START, ForecastScore, candidates, interpolate
from kronos_ft.training.arguments import DataArguments

SHORT = (
    *("--lookback_window", 20, "--predict_window", 4, "--stride", 4, "--use_cpu", "--speed", "exact"),
    *(
        "--report_to",
        "none",
        "--per_device_train_batch_size",
        8,
        "--eval_strategy",
        "steps",
        "--save_strategy",
        "steps",
    ),
    *("--eval_steps", 2, "--save_steps", 2, "--max_steps", 4),
)


@pytest.fixture
def trained(candle_frame, tiny_model, tiny_predictor, run, tmp_path):
    """A function that fine-tunes the tiny predictor; the run folder, and the lines it wrote."""
    candle_frame.to_csv(tmp_path / "sim.csv", index=False)
    tiny_model.save_pretrained(tmp_path / "tokenizer")
    tiny_predictor.save_pretrained(tmp_path / "start")

    def train(rate, *further):
        words = ("predictor", "--data", tmp_path / "sim.csv", "--model", tmp_path / "start", "--output_dir")
        words += (tmp_path / "run", "--tokenizer", tmp_path / "tokenizer", "--learning_rate", rate, *SHORT, *further)
        code, lines, errors = run(*words)
        assert code == 0, errors
        return tmp_path / "run", lines

    return train


def test_interpolation_of_weights():
    start, tuned = {"a": torch.zeros(2), "n": torch.tensor(1)}, {"a": torch.ones(2), "n": torch.tensor(7)}
    found = interpolate(start, tuned, 0.25)
    assert found["a"].tolist() == [0.25, 0.25]
    assert found["n"] == 7


def test_which_weights_are_candidates(tmp_path):
    found = [
        name for name, _ in candidates({}, {}, "checkpoint-4", {"checkpoint-2": tmp_path, "checkpoint-4": tmp_path})
    ]
    assert found == [
        *(START, "checkpoint-4", "checkpoint-2"),
        *("0.25 of checkpoint-4", "0.5 of checkpoint-4", "0.75 of checkpoint-4"),
    ]
    assert [name for name, _ in candidates(None, {}, "checkpoint-4", {})] == ["checkpoint-4"]


def test_the_score_is_that_of_the_same_forecasts_each_time(series, tiny_model, tiny_predictor):
    data = DataArguments(data="sample", lookback_window=20, predict_window=4)
    score = ForecastScore(series, data, tiny_model, 7, seed=1)
    assert len(score) == 7
    first = score(tiny_predictor, torch.device("cpu"))
    assert score(tiny_predictor, torch.device("cpu")) == first
    assert 0 < first < 0.2
    for part, truth, last in zip(score.contexts, score.truth, score.last, strict=True):
        assert part[-1, 3] == last
        assert truth.shape == (4,)
        assert not np.isin(truth, part[:, 3]).all()


def test_the_candidate_with_the_best_forecasts_is_saved(trained, monkeypatch, tmp_path):
    """With a score that is the distance to weights at a known place between start and best checkpoint."""
    run, lines = trained(1e-2)
    assert not any(line.startswith("selected") for line in lines)  # by loss nothing is forecast
    assert "selection" not in json.loads((run / "training_metrics.json").read_text())
    start, tuned = (load_file(path / "model.safetensors") for path in (tmp_path / "start", run / "best_model"))
    wanted = {}

    def distance(score, model, device):
        assert len(score) == 20
        return sum(float((value - wanted[name]).abs().sum()) for name, value in model.state_dict().items())

    monkeypatch.setattr(ForecastScore, "__call__", distance)
    for target, winner in ((0.0, START), (0.5, "0.5 of checkpoint-4"), (1.0, "checkpoint-4")):
        wanted.update(interpolate(start, tuned, target))
        run, lines = trained(1e-2, "--select_by", "forecasts", "--overwrite")
        chosen = json.loads((run / "training_metrics.json").read_text())["selection"]
        assert chosen["candidates"][chosen["winner"]] == pytest.approx(0, abs=1)
        assert chosen["winner"] == winner
        best = load_file(run / "best_model" / "model.safetensors")
        assert all(torch.equal(best[name], value) for name, value in wanted.items())
        assert any("fine-tuning did not improve the forecasts" in line for line in lines) is (target == 0)


def test_forecasts_choose_among_all(trained):
    run, lines = trained(1e-3, "--select_by", "forecasts")
    chosen = json.loads((run / "training_metrics.json").read_text())["selection"]
    assert list(chosen["candidates"])[:3] == [START, "checkpoint-4", "checkpoint-2"]
    assert chosen["winner"] == min(chosen["candidates"], key=chosen["candidates"].get)
    assert len(set(chosen["candidates"].values())) == 6
    for start in (
        f"selected    {chosen['winner']}: validation CRPS",
        f"best_model         {chosen['winner']}: validat",
    ):
        assert any(line.startswith(start) for line in lines)
    Kronos.from_pretrained(run)


def test_each_line_of_the_summary_says_by_what_it_is_best(trained):
    run, lines = trained(1e-3, "--select_by", "forecasts")
    figures = json.loads((run / "training_metrics.json").read_text())
    figures["selection"] |= {"winner": "0.5 of checkpoint-4"}
    best, crps = figures["best"], figures["selection"]["candidates"]["0.5 of checkpoint-4"]
    table = summary_table(figures).splitlines()
    assert [line for line in table if "best" in line] == [
        next(line for line in lines if line.startswith(f"validation         best eval_loss {best['value']:.4f} at ")),
        f"best checkpoint    {figures['best_checkpoint']} (by eval_loss)",
        f"best_model         0.5 of checkpoint-4 + the rest of the starting weights: validation CRPS of its forecasts "
        f"{crps:.2f} bp, the lowest of 6 candidates",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--select_by", "luck"), "select_by='luck' is not known; use one of loss, forecasts"),
        (("--select_by", "forecasts", "--lora"), "select_by=forecasts cannot interpolate adapters"),
    ],
)
def test_settings_that_are_refused(run, words, message):
    code, _, errors = run("predictor", "--data", "sample", *words)
    assert code == 2
    assert message in errors[-1]
