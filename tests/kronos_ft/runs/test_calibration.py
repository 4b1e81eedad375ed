"""Sampling settings chosen on the validation split: stored with the weights, used by every forecast of them."""

import json
import shutil

import numpy as np
import pytest

from kronos_ft import KronosForecaster
from kronos_ft.forecasting.arguments import CalibrateArguments
from kronos_ft.runs.calibration import run_calibration, with_recorded_split
from kronos_ft.runs.selection import ForecastScore


@pytest.fixture
def model(candle_frame, tiny_model, tiny_predictor, tmp_path):
    """A folder of a predictor that names its tokenizer and its window, and candles beside it."""
    candle_frame.to_csv(tmp_path / "sim.csv", index=False)
    tiny_model.save_pretrained(tmp_path / "tokenizer")
    tiny_predictor.save_pretrained(tmp_path / "model")
    kept = {"tokenizer": str(tmp_path / "tokenizer"), "lookback": 20, "horizon": 4}
    (tmp_path / "model" / "forecaster.json").write_text(json.dumps(kept))
    return tmp_path / "model"


def test_the_setting_with_the_lowest_crps_is_stored_and_used(model, candle_frame, run, monkeypatch, tmp_path):
    asked = []

    def crps(score, network, device, T, top_p):
        asked.append((T, top_p))
        return 0.01 + abs(T - 1.1) + abs(top_p - 0.97)

    monkeypatch.setattr(ForecastScore, "__call__", crps)
    code, lines, errors = run("calibrate", model, "--data", tmp_path / "sim.csv", "--max_origins", 5)
    assert code == 0, errors
    assert len(set(asked)) == 15
    kept = json.loads((model / "forecaster.json").read_text())
    assert (kept["T"], kept["top_p"], kept["top_k"], kept["lookback"]) == (1.1, 0.97, 0, 20)
    ((symbol, (first, last)),) = kept["calibrated_on"].items()
    times, bounds = candle_frame["timestamps"], round(0.85 * len(candle_frame))
    assert symbol == "sim"
    assert times[round(0.7 * len(candle_frame))] < np.datetime64(first) < np.datetime64(last) <= times[bounds - 1]
    assert any(line.startswith("chosen      T 1.1, top_p 0.97: CRPS ") for line in lines)
    assert KronosForecaster.from_pretrained(model).sampling == {"T": 1.1, "top_p": 0.97, "top_k": 0}
    # again, over an earlier calibration
    assert run("calibrate", model, "--data", tmp_path / "sim.csv", "--max_origins", 5)[0] == 0


def test_the_scores_are_those_of_forecasts(model, tmp_path):
    args = CalibrateArguments(data=str(tmp_path / "sim.csv"), model=str(model), max_origins=3, num_paths=4)
    found = run_calibration(args)
    assert len(set(found["crps"].values())) > 5
    chosen = f"T {found['T']:g}, top_p {found['top_p']:g}"
    assert found["crps"][chosen] == min(found["crps"].values())
    assert found["origins"] == 3


def test_a_calibration_of_other_weights_is_refused(model, run, tiny_predictor, tmp_path):
    assert run("calibrate", model, "--data", tmp_path / "sim.csv", "--max_origins", 2, "--num_paths", 2)[0] == 0
    tiny_predictor.norm.weight.data.mul_(1.1)
    tiny_predictor.save_pretrained(model)
    code, _, errors = run("forecast", "--data", tmp_path / "sim.csv", "--model", model, "--num_paths", 2)
    assert (code, len(errors)) == (2, 1)
    assert "was calibrated for other weights" in errors[0]


def test_the_test_split_of_the_training_run_stays_unseen(model, tmp_path):
    from kronos_ft.models.found_model import find_model

    found = find_model(str(model))
    found.record["data"] = {"split_ratios": [0.5, 0.2, 0.3], "embargo": 7, "split_dates": None}
    args = CalibrateArguments(data="sample", model=str(model))
    assert with_recorded_split(args, found).split_ratios == [0.5, 0.2, 0.3]
    assert with_recorded_split(args, found).embargo == 7
    own = CalibrateArguments(data="sample", model=str(model), split_ratios=[0.6, 0.2, 0.2])
    merged = with_recorded_split(own, found)
    assert (merged.split_ratios, merged.split_dates, merged.embargo) == ([0.6, 0.2, 0.2], None, 7)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "model is not set; write kronos-ft calibrate RUN --data FILE"),
        (("MODEL",), "data is not set; pass --data FILE"),
        (("MODEL", "--data", "sample", "--num_paths", 1), "num_paths=1 is below 2"),
        (("small", "--data", "sample"), "pull it first: kronos-ft pull NeoQuasar/Kronos-small DIR"),
        (("TOKENIZER", "--data", "sample"), "contains a tokenizer, not a predictor"),
        (("MODEL", "--data", "sample", "--split_ratios", 0.99, 0.0, 0.01), "has no origin with 20 bars before and 4"),
    ],
)
def test_what_cannot_be_calibrated(model, run, tmp_path, words, message):
    places = {"MODEL": model, "TOKENIZER": tmp_path / "tokenizer"}
    before = (model / "forecaster.json").read_bytes()
    code, _, errors = run("calibrate", *(places.get(word, word) for word in words))
    assert code == 2
    assert message in errors[-1]
    assert (model / "forecaster.json").read_bytes() == before


def test_a_stale_calibration_is_replaced_and_training_on_it_is_not_lost(model, run, tiny_predictor, tmp_path):
    kept = json.loads((model / "forecaster.json").read_text())
    (model / "forecaster.json").write_text(json.dumps({**kept, "T": 0.8, "top_p": 0.9, "predictor_sha256": "0" * 64}))
    words = ("--data", tmp_path / "sim.csv", "--max_origins", 2, "--num_paths", 2)
    code, _, errors = run("calibrate", model, *words)
    assert code == 0, errors
    code, lines, errors = run(
        *("predictor", "--data", tmp_path / "sim.csv", "--model", model, "--tokenizer", tmp_path / "tokenizer"),
        *("--output_dir", tmp_path / "tuned", "--select_by", "forecasts", "--max_steps", 2, "--use_cpu"),
        *("--lookback_window", 20, "--predict_window", 4, "--speed", "exact", "--report_to", "none"),
    )
    assert code == 0, errors
    assert any(line.startswith("selected ") for line in lines)
    assert KronosForecaster.from_pretrained(tmp_path / "tuned").sampling == {"T": 1, "top_p": 1, "top_k": 0}


def test_an_evaluation_tells_how_each_model_is_sampled_and_on_which_bars_that_was_chosen(model, run, tmp_path):
    data = ("--data", tmp_path / "sim.csv")
    shutil.copytree(model, tmp_path / "plain")
    ratios = ("--split_ratios", 0.5, 0.4, 0.1)  # the validation split reaches into the test split of the evaluation
    assert run("calibrate", model, *data, "--max_origins", 40, "--num_paths", 2, *ratios)[0] == 0
    kept = json.loads((model / "forecaster.json").read_text())
    words = (*data, "--num_paths", 4, "--max_origins", 32, "--output_dir", tmp_path / "out", "--overwrite")
    both = ("--compare", f"plain={tmp_path / 'plain'}", f"tuned={model}")
    assert run("evaluate", *words, *both)[0] == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    sampling = {name: found["forecasters"][name]["sampling"] for name in ("plain", "tuned")}
    assert sampling["plain"] == {"T": 1.0, "top_p": 1.0, "top_k": 0, "calibrated": False}
    assert sampling["tuned"] == {**{name: kept[name] for name in ("T", "top_p", "top_k")}, "calibrated": True}
    assert {name: found["settings"][name] for name in ("T", "top_p", "top_k")} == {"T": 1.0, "top_p": 1.0, "top_k": 0}
    report = (tmp_path / "out" / "evaluation.md").read_text()
    tuned = f"tuned T {kept['T']:g}, top_p {kept['top_p']:g}, top_k 0 (calibrated)"
    assert f"- sampling of paths: plain T 1, top_p 1, top_k 0; {tuned}" in report.replace("\\", "")
    (warning,) = found["warnings"]
    assert warning.startswith("T and top_p of tuned were calibrated on bars up to ")
    assert found["doubts"] == [{"model": "tuned", "kind": "calibrated_on_test"}]
    # of the command line: nothing was chosen on these bars, and both models are sampled alike
    assert run("evaluate", *words, *both, "--T", 0.7, "--top_p", 0.8)[0] == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    for name in ("plain", "tuned"):
        assert found["forecasters"][name]["sampling"] == {"T": 0.7, "top_p": 0.8, "top_k": 0, "calibrated": False}
    assert (found["warnings"], found["doubts"]) == ([], [])
    assert "sampling of paths" not in (tmp_path / "out" / "evaluation.md").read_text()
    # chosen on the validation split of the evaluation
    assert run("calibrate", model, *data, "--max_origins", 40, "--num_paths", 2)[0] == 0
    assert run("evaluate", *words, "--model", model)[0] == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (found["warnings"], found["doubts"]) == ([], [])
    assert found["forecasters"]["model"]["sampling"]["calibrated"] is True
