"""Family 19: constant prices and no volume give finite inputs, losses, forecasts and figures, or a clear refusal."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from kronos_ft.cli.main import main as kronos
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.models.modeling_kronos import KronosTokenizer
from kronos_ft.windows.dataset import WindowDataset, WindowShape
from tests.untrusted import files_of, refusal

pytestmark = pytest.mark.fault(19)

PRICES = ["open", "high", "low", "close"]
STEPS = ["--eval_strategy", "steps", "--eval_steps", 1, "--save_strategy", "steps", "--save_steps", 1]
WINDOW = ["--lookback_window", 20, "--predict_window", 4, "--max_steps", 2, "--logging_steps", 1, *STEPS]


def market(kind, bars=600):
    frame = simulate_candles(bars, seed=2)
    if kind == "no volume":
        frame[["volume", "amount"]] = 0.0
    if kind == "no volume column":
        frame = frame.drop(columns=["volume", "amount"])
    if kind == "long flat spell":
        frame.loc[100:260, PRICES] = frame.close[99]
    if kind == "every bar flat":
        for name in PRICES[:3]:
            frame[name] = frame.close
    if kind == "almost constant":
        frame[PRICES] = 100 + 1e-9 * frame[PRICES]
    if kind == "tiny prices":
        frame[PRICES] *= 1e-12
    if kind == "huge prices":
        frame[PRICES] *= 1e12
    if kind == "one jump":
        frame[PRICES] = 5.0
        frame.loc[300:, PRICES] = 6.0
    return frame


KINDS = [
    "no volume", "no volume column", "long flat spell", "every bar flat", "almost constant", "tiny prices",
    "huge prices", "one jump",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_windows_and_losses_are_finite(made, kind):
    series = load_candles({"SIM": market(kind)}, policy="repair")
    windows = WindowDataset(series, "train", WindowShape(lookback=20, horizon=4))
    batch = windows.__getitems__(list(range(0, len(windows), 7)))
    assert torch.isfinite(batch["candles"]).all()
    assert torch.isfinite(batch["target"]).all()
    output = KronosTokenizer.from_pretrained(made / "tokenizer")(batch["candles"])
    assert torch.isfinite(output.reconstruction).all()


@pytest.mark.parametrize("kind", ["no volume", "one jump"])
@pytest.mark.parametrize("stage", ["tokenizer", "predictor"])
def test_training_logs_finite_figures(made, tmp_path, kind, stage):
    market(kind).to_csv(tmp_path / "sim.csv", index=False)
    run = tmp_path / "run"
    words = [stage, "--data", tmp_path / "sim.csv", "--model", "tiny", "--from_scratch", *WINDOW, "--output_dir", run]
    if stage == "predictor":
        words += ["--tokenizer", made / "tokenizer"]
    assert kronos([str(word) for word in words]) == 0
    for line in (run / "metrics.jsonl").read_text().splitlines():
        figures = json.loads(line)
        assert None not in [figures.get("loss", 0), figures.get("eval_loss", 0)]
        assert all(np.isfinite(value) for value in figures.values() if isinstance(value, float))


@pytest.mark.parametrize("kind", ["no volume", "no volume column", "every bar flat", "tiny prices", "huge prices"])
def test_forecasts_are_finite(made, tmp_path, kind):
    market(kind, 120).to_csv(tmp_path / "sim.csv", index=False)
    words = [
        *("forecast", "--data", tmp_path / "sim.csv", "--model", made / "predictor", "--tokenizer", made / "tokenizer"),
        *("--lookback", 40, "--horizon", 5, "--num_paths", 4, "--output", tmp_path / "paths.csv"),
    ]
    assert kronos([str(word) for word in words]) == 0
    table = pd.read_csv(tmp_path / "paths.csv")
    assert np.isfinite(table[[*PRICES, "volume", "amount"]].to_numpy()).all()
    assert (table[PRICES] > 0).all().all()
    assert (table[["volume", "amount"]] >= 0).all().all()


def test_a_flat_context_is_refused_and_nothing_written(made, tmp_path, capsys):
    frame = market("plain", 200)
    frame.loc[100:, PRICES] = 7.0
    frame.to_csv(tmp_path / "sim.csv", index=False)
    before = files_of(tmp_path)
    words = ["forecast", "--data", tmp_path / "sim.csv", "--model", made / "predictor", "--tokenizer",
             made / "tokenizer", "--lookback", 40, "--horizon", 5, "--output", tmp_path / "paths.csv"]  # fmt: skip
    assert "all prices of the context are 7; pass a context in which the price changes" in refusal(
        capsys, kronos, words
    )
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("command", ["tokenizer", "forecast", "evaluate"])
def test_a_constant_market_is_refused(made, tmp_path, capsys, command):
    frame = market("plain", 200)
    frame[PRICES] = 7.0
    frame.to_csv(tmp_path / "sim.csv", index=False)
    words = [command, "--data", tmp_path / "sim.csv", "--model", made / "predictor"]
    words += [] if command == "tokenizer" else ["--tokenizer", made / "tokenizer"]
    assert "the close is constant at 7; a model cannot learn from it" in refusal(capsys, kronos, words)


@pytest.mark.parametrize("kind", ["no volume", "flat test spell"])
def test_an_evaluation_is_finite(made, tmp_path, kind):
    frame = market(kind, 900)
    if kind == "flat test spell":
        frame.loc[800:860, PRICES] = frame.close[799]
    frame.to_csv(tmp_path / "sim.csv", index=False)
    out = tmp_path / "out"
    words = [
        *("evaluate", "--data", tmp_path / "sim.csv", "--model", made / "predictor", "--tokenizer", made / "tokenizer"),
        *("--lookback", 30, "--horizon", 4, "--step", 3, "--num_paths", 5, "--output_dir", out),
    ]
    assert kronos([str(word) for word in words]) == 0
    text = (out / "evaluation.json").read_text("utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
    assert "nan" not in (out / "evaluation.md").read_text("utf-8").lower().replace("finance", "")


def test_a_forecast_of_moves_too_small_is_refused(made, tmp_path, capsys):
    market("almost constant", 120).to_csv(tmp_path / "sim.csv", index=False)
    words = ["forecast", "--data", tmp_path / "sim.csv", "--model", made / "predictor", "--tokenizer"]
    words += [made / "tokenizer", "--lookback", 40, "--horizon", 5, "--output", tmp_path / "paths.csv"]
    assert kronos([str(word) for word in words]) == 2
    assert "less than the model's tokens can resolve" in capsys.readouterr().err
    assert not (tmp_path / "paths.csv").exists()
