"""Complete runs of the quantile head: alone, as a third stage, resumed, reported, pushed and pulled."""

import json
import shutil

import numpy as np
import pytest
import yaml

from kronos_ft import KronosForecaster
from kronos_ft.models.modeling_quantiles import KronosForQuantiles
from kronos_ft.runs.routing import read_finetune
from kronos_ft.scoring.targets import TARGETS

SHORT = (
    *("--lookback_window", 20, "--predict_window", 4, "--stride", 4, "--use_cpu", "--speed", "exact"),
    *("--report_to", "none", "--per_device_train_batch_size", 8),
)


@pytest.fixture(scope="module")
def candles(candle_frame, tmp_path_factory):
    path = tmp_path_factory.mktemp("candles") / "sim.csv"
    candle_frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def finetuned(candles, tmp_path_factory):
    """A run of all three stages."""
    from kronos_ft.cli.main import main

    run = tmp_path_factory.mktemp("three") / "run"
    words = (
        *(
            "finetune",
            "--data",
            candles,
            "--output_dir",
            run,
            "--from_scratch",
            "--model",
            "tiny",
            "--tokenizer",
            "tiny",
        ),
        *("--stages", "tokenizer", "predictor", "quantiles", "--max_steps", 4, "--quantiles_max_steps", 6, *SHORT),
    )
    assert main([*map(str, words)]) == 0
    return run


def test_three_stages_in_one_folder(finetuned):
    assert {path.name for path in finetuned.iterdir() if path.is_dir()} >= {"tokenizer", "predictor", "quantiles"}
    record = json.loads((finetuned / "quantiles" / "run.json").read_text())
    assert record["stage"] == "quantiles"
    assert record["model"]["model"] == str(finetuned / "predictor" / "best_model")
    assert record["model"]["tokenizer"] == str(finetuned / "tokenizer" / "best_model")
    assert record["global_step"] == 6
    model = KronosForQuantiles.from_pretrained(finetuned / "quantiles")
    assert (model.config.horizon, model.config.lookback, model.config.use_body) == (4, 20, True)
    metrics = json.loads((finetuned / "quantiles" / "training_metrics.json").read_text())
    assert 0 < metrics["test"]["loss"] < 1
    trained_with = json.loads((finetuned / "quantiles" / "best_model" / "trained_with.json").read_text())
    assert trained_with["tokenizer_sha256"] == record["model"]["tokenizer_sha256"]


def test_too_few_bars_for_the_head_are_refused_before_any_stage_is_trained(candle_frame, tmp_path, run):
    candle_frame.tail(500).to_csv(tmp_path / "short.csv", index=False)
    words = (
        "finetune",
        "--data",
        tmp_path / "short.csv",
        "--from_scratch",
        "--model",
        "tiny",
        "--max_steps",
        2,
        *SHORT,
    )
    words += ("--stages", "tokenizer", "predictor", "quantiles", "--quantiles_predict_window", 30)
    code, lines, errors = run(*words, "--output_dir", tmp_path / "run")
    assert code == 2
    assert errors[0].startswith("kronos-ft: quantiles: the validation split has ")
    assert not any(line.startswith("stage ") for line in lines)
    assert not (tmp_path / "run" / "tokenizer").exists()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_its_report(finetuned, run, language):
    code, lines, _ = run("report", finetuned / "quantiles", "--lang", language)
    assert code == 0
    page = (finetuned / "quantiles" / "report.md").read_text()
    assert {"en": "Kronos quantile head", "zh": "Kronos 分位数头"}[language] in page
    assert "pinball_volatility" in page
    assert lines
    following = yaml.safe_load((finetuned / "quantiles" / "next.yaml").read_text())
    assert following["lookback_window"] == 20


def test_a_head_on_a_run_finds_the_predictor_and_its_tokenizer(finetuned, candles, run, tmp_path):
    words = ("quantiles", "--data", candles, "--model", finetuned, "--max_steps", 4, *SHORT)
    code, _, errors = run(*words, "--body", "full", "--output_dir", tmp_path / "head")
    assert code == 0, errors
    record = json.loads((tmp_path / "head" / "run.json").read_text())
    assert record["model"]["tokenizer"].endswith("tokenizer/best_model")
    code, _, errors = run(*words, "--body", "full", "--output_dir", tmp_path / "head", "--resume")
    assert code == 0, errors
    code, _, errors = run(*words, "--body", "frozen", "--output_dir", tmp_path / "head", "--resume")
    assert code == 2
    assert "body" in errors[-1]


def test_features_alone_need_no_model(candles, run, tmp_path):
    words = ("quantiles", "--data", candles, "--body", "none", "--max_steps", 4, *SHORT)
    code, _, errors = run(*words, "--output_dir", tmp_path / "head")
    assert code == 0, errors
    assert not KronosForQuantiles.from_pretrained(tmp_path / "head").config.use_body
    assert repr(KronosForecaster.from_pretrained(tmp_path / "head")).startswith(
        f"KronosForecaster of {tmp_path / 'head'}: no tokenizer\n"
    )
    code, lines, _ = run(*words, "--output_dir", tmp_path / "dry", "--dry_run")
    assert code == 0
    assert not (tmp_path / "dry").exists()
    assert any(line.startswith("time ") for line in lines)


def test_pushed_and_pulled(finetuned, run, hub, tmp_path):
    code, _, errors = run("push", finetuned / "quantiles", "me/head", "--tokenizer", "me/tokenizer")
    assert code == 0, errors
    code, _, errors = run("pull", "me/head", tmp_path / "pulled")
    assert code == 0, errors
    assert KronosForQuantiles.from_pretrained(tmp_path / "pulled").config.horizon == 4
    card = hub.history("me/head")[-1].files["README.md"].decode()
    assert "Kronos quantile head for candlesticks" in card
    assert 'KronosForQuantiles.from_pretrained("me/head")' in card


def test_a_sweep(candles, run, tmp_path):
    (tmp_path / "space.yaml").write_text("head_dim: [4, 8]\n")
    code, _, errors = run(
        *("sweep", "quantiles", "--space", tmp_path / "space.yaml", "--trials", 2, "--data", candles, "--body", "none"),
        *("--max_steps", 3, "--output_dir", tmp_path / "sweep", *SHORT),
    )
    assert code == 0, errors
    assert yaml.safe_load((tmp_path / "sweep" / "best.yaml").read_text())["head_dim"] in (4, 8)


def test_which_settings_reach_the_head():
    folder, given = read_finetune(
        [
            *("--data", "sample", "--stages", "quantiles", "tokenizer", "predictor", "--learning_rate", "1e-5"),
            *("--seed", "3", "--predict_window", "12", "--quantiles_body", "full"),
        ]
    )
    assert list(given) == ["tokenizer", "predictor", "quantiles"]
    assert given["quantiles"]["output_dir"] == str(folder / "quantiles")
    assert given["quantiles"]["seed"] == 3
    assert given["quantiles"]["predict_window"] == 12
    assert given["quantiles"]["body"] == "full"
    assert given["quantiles"].get("learning_rate") == 1e-3  # of its preset
    assert list(read_finetune(["--data", "sample"])[1]) == ["tokenizer", "predictor"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--stages", "head"), "stages=head: 'head' is not a stage"),
        (("--stages", "quantiles"), "stages=quantiles must contain tokenizer and predictor; to train one stage, run"),
        (("--quantiles_model", "x"), "--quantiles_model is not a setting of the quantiles stage"),
        (("--quantiles_augment_noise", "true"), "--quantiles_augment_noise is not a setting of the quantiles stage"),
    ],
)
def test_stages_that_cannot_be_run(words, message, run):
    code, _, errors = run("finetune", "--data", "sample", *words)
    assert code == 2
    assert message in errors[-1]


@pytest.mark.fault(28)
def test_models_that_cannot_carry_a_head(run, tiny_model, tiny_predictor, candles, tmp_path):
    tiny_predictor.save_pretrained(tmp_path / "alone")
    tiny_model.save_pretrained(tmp_path / "tokenizer")
    words = ("quantiles", "--data", candles, "--output_dir", tmp_path / "head", *SHORT, "--model")
    code, _, errors = run(*words, tmp_path / "alone")
    assert (code, len(errors)) == (2, 1)
    assert "has no record of its tokenizer; pass --tokenizer DIR" in errors[0]
    code, _, errors = run(*words, tmp_path / "tokenizer", "--tokenizer", tmp_path / "tokenizer")
    assert code == 2
    assert "contains a tokenizer, not a predictor" in errors[-1]
    assert not (tmp_path / "head").exists()


def test_every_surface_uses_the_head_of_a_run(finetuned, candles, run, tmp_path):
    forecaster = KronosForecaster.from_pretrained(finetuned)
    assert (forecaster.lookback, forecaster.horizon) == (20, 4)
    forecast = forecaster.predict(candles, num_paths=199)
    assert forecast.direct.close.shape == (4, 13)
    levels = [0.05, 0.5, 0.95]
    assert np.array_equal(forecast.quantiles(levels).to_numpy(), forecast.direct.at("close", levels))
    assert forecast.paths.shape == (199, 4, 6)
    code, lines, errors = run("forecast", "--data", candles, "--model", finetuned, "--quantiles", tmp_path / "log.csv")
    assert code == 0, errors
    assert "20 bars of context, 4 bars ahead, 100 paths, quantile head" in "\n".join(lines)
    first = (tmp_path / "log.csv").read_text().splitlines()[1].split(",")
    assert any(abs(float(word) - forecast.direct.at("close", [0.05])[0, 0]) < 1e-6 for word in first if "." in word)
    assert repr(forecaster).splitlines() == [
        f"KronosForecaster of {finetuned}: tokenizer {finetuned / 'tokenizer'}",
        "20 bars of context, 4 bars ahead, quantile head, paths of past bars, on cpu",
    ]
    # the paths of the predictor, by its own name
    sampled = KronosForecaster.from_pretrained(finetuned / "predictor").predict(candles, num_paths=3)
    assert sampled.direct is None
    # and coupled with the distributions of the head
    coupled = KronosForecaster.from_pretrained(finetuned, paths="sampled").predict(candles, num_paths=99)
    raw = KronosForecaster.from_pretrained(finetuned / "predictor").predict(candles, num_paths=99)
    wanted = coupled.direct.samples("close", 99).T
    assert np.sort(coupled.paths[..., 3], axis=0) == pytest.approx(wanted)
    order = np.argsort(raw.paths[..., 3], axis=0, kind="stable")
    assert (np.diff(np.take_along_axis(coupled.paths[..., 3], order, axis=0), axis=0) >= 0).all()
    with pytest.raises(ValueError, match=r"paths=sampled needs a predictor, and .* has only a quantile head"):
        KronosForecaster.from_pretrained(finetuned / "quantiles", paths="sampled")
    with pytest.raises(ValueError, match="horizon=5 is outside 1 to 4, which the quantile head was trained for"):
        forecaster.predict(candles, horizon=5)


def test_an_evaluation_judges_the_head_by_its_own_distribution(finetuned, candles, run, tmp_path):
    words = ("--data", candles, "--step", 4, "--num_paths", 20, "--output_dir", tmp_path / "evaluation")
    code, _, errors = run("evaluate", *words, "--compare", f"paths={finetuned / 'predictor'}", f"head={finetuned}")
    assert code == 0, errors
    found = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert found["settings"]["horizon"] == 4
    assert {"paths", "head", "scaled cone"} <= set(found["forecasters"])
    assert found["forecasters"]["head"]["sampling"] is None
    assert found["forecasters"]["paths"]["sampling"]["T"] == 1
    report = (tmp_path / "evaluation" / "evaluation.md").read_text()
    assert "- sampling of paths: paths T 1, top_p 1, top_k 0; head no sampling" in report.replace("\\", "")
    for target in ("range", "volume"):
        assert found["skill"]["head"]["paths"][target]["crps"]["origins"] == found["origins"]["test"]
    assert found["forecasters"]["head"]["exact"] == sorted(TARGETS)
    assert found["scores"]["head"]["volatility"]["crps"]["by_horizon"] != found["scores"]["paths"]["volatility"]["crps"]


def test_a_head_without_a_body_is_a_forecaster_too(candles, run, tmp_path):
    words = (
        "quantiles",
        "--data",
        candles,
        "--body",
        "none",
        "--max_steps",
        4,
        *SHORT,
        "--output_dir",
        tmp_path / "head",
    )
    assert run(*words)[0] == 0
    assert KronosForecaster.from_pretrained(tmp_path / "head").predict(candles).direct is not None
    code, _, errors = run(
        *("evaluate", "--data", candles, "--model", tmp_path / "head", "--step", 4, "--num_paths", 20),
        *("--output_dir", tmp_path / "evaluation"),
    )
    assert code == 0, errors


def test_the_future_changes_no_quantile_and_no_path(finetuned, candle_frame):
    forecaster = KronosForecaster.from_pretrained(finetuned)
    times = candle_frame["timestamps"]
    changed = candle_frame.copy()
    changed.loc[700:, ["open", "high", "low", "close"]] *= 1.3
    changed.loc[700:, "volume"] *= 9
    both = [forecaster.predict(frame, origin=str(times[700])) for frame in (candle_frame, changed)]
    for name in ("close", "high", "low", "volatility", "volume"):
        assert np.array_equal(getattr(both[0].direct, name), getattr(both[1].direct, name)), name
    assert np.array_equal(both[0].paths, both[1].paths)


def test_coupled_paths_are_sampled_as_the_predictor_was_calibrated(finetuned, candles, run, tmp_path):
    run_folder = tmp_path / "copy"
    shutil.copytree(finetuned, run_folder)
    assert run("calibrate", run_folder, "--data", candles, "--max_origins", 2, "--num_paths", 2)[0] == 0
    kept = json.loads((run_folder / "predictor" / "best_model" / "forecaster.json").read_text())
    forecaster = KronosForecaster.from_pretrained(run_folder, paths="sampled")
    assert forecaster.predictor.sampling() == {name: kept[name] for name in ("T", "top_p", "top_k")}
    words = ("forecast", "--data", candles, "--model", run_folder)
    assert any("no effect" in line for line in run(*words, "--T", 0.5)[1])
    assert any("no effect" in line for line in run(*words[:-1], run_folder / "predictor", "--paths", "sampled")[1])


def test_a_dry_run_of_three_stages_checks_the_third(candles, run, tmp_path):
    words = ("finetune", "--data", candles, "--from_scratch", "--model", "tiny", "--tokenizer", "tiny", *SHORT)
    words += ("--stages", "tokenizer", "predictor", "quantiles", "--dry_run", "--output_dir", tmp_path / "run")
    code, lines, errors = run(*words)
    assert code == 0, errors
    assert "stage 3 of 3: quantiles" in lines
    code, _, errors = run(*words, "--quantiles_predict_window", 200)
    assert code == 2
    assert "too few for a window" in errors[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("body", ["none", "frozen"])
def test_muon_needs_a_body_that_is_trained(finetuned, candles, run, tmp_path, body):
    words = ("quantiles", "--data", candles, "--model", finetuned, "--optim", "muon", "--body", body, *SHORT)
    code, _, errors = run(*words, "--output_dir", tmp_path / "head", "--dry_run")
    assert code == 2
    assert f"body={body} trains none; set body full" in errors[-1]
