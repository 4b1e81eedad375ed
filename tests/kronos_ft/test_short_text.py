"""Every public object of `kronos_ft` prints as a few lines with its key facts, and plots where there is a picture."""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import kronos_ft
from ft_core.io.settings_text import settings_text, value_text
from kronos_ft import (
    AugmentationArguments,
    DirectQuantiles,
    EvaluateArguments,
    KronosArguments,
    KronosForecaster,
    KronosForQuantiles,
    KronosPredictor,
    KronosQuantileArguments,
    KronosQuantilesConfig,
    KronosQuantileTrainer,
    KronosTokenizer,
    KronosTrainer,
    QuantilePredictor,
    QuantileWindowDataset,
    TokenWindowDataset,
    WindowShape,
    finish_run,
    forecast_series,
    load_sample,
    run_evaluation,
)
from kronos_ft.windows.quantile_windows import CONTEXT_FEATURES

MOST_LINES, MOST_CHARACTERS = 5, 400
BY_CONVENTION = {  # PyTorch prints the layers of a model, and transformers the keys of a configuration
    "Kronos", "KronosConfig", "KronosForQuantiles", "KronosQuantilesConfig", "KronosTokenizer", "KronosTokenizerConfig",
}  # fmt: skip
FACTS = {
    "AugmentationArguments": ("augment_noise=True",),
    "CandleReport": ("SIM", "900 of 900 rows", "every 1 h", "continuous", "no"),
    "CandleSeries": ("SIM", "900 bars every 1 h", "2020-01-01 00:00 to 2020-02-07 11:00 UTC"),
    "DirectQuantiles": ("close", "3 bars", "2 levels from 0.1 to 0.9"),
    "EvaluateArguments": ("data='sample'", "model='runs/btc'"),
    "Evaluation": ("run", "DataFrame", "origins, 4 bars ahead", "better than persistence"),
    "Forecast": ("SIM", "4 bars", "5 paths", "90 % interval"),
    "FoundModel": ("predictor", "20 bars of context, 4 bars ahead"),
    "KronosArguments": ("output_dir='", "learning_rate=4e-05", "num_train_epochs=", "seed=42"),
    "KronosForecaster": ("tokenizer", "20 bars of context, 4 bars ahead", "on cpu"),
    "KronosPredictor": ("35,744 parameters on cpu", "512 bars of context"),
    "KronosQuantileArguments": ("output_dir='", "learning_rate=0.001"),
    "KronosQuantileTrainer": ("KronosForQuantiles", "parameters on cpu"),
    "KronosTokenizerArguments": ("max_steps=6", "per_device_train_batch_size=8", "seed=42"),
    "KronosTokenizerTrainer": ("22,160 parameters on cpu", "step 0 of 6", "606 training and 23 validation samples"),
    "KronosTrainer": ("35,744 parameters on cpu", "output_dir"),
    "QualityReport": ("900 of 900 rows kept", "defects: none"),
    "QuantilePredictor": ("parameters on cpu", "20 bars of context, 4 bars ahead", "blocks of past bars"),
    "QuantileWindowDataset": ("SIM, validation split: 23 windows", "features (18,)", "targets (4, 5)"),
    "SymbolForecast": ("SIM", "4 bars", "20 bars of context", "3 of the bars are known"),
    "TokenWindowDataset": ("SIM, validation split: 23 windows", "L = 20 + 4 + 1 = 25 bars", "s1 and s2 (L,)"),
    "TrainingResult": ("6 of 6 steps", "best eval_recon_all", "before training; test", "best_model", "loss_curves.png"),
    "WindowDataset": ("SIM, train split: 606 windows", "2020-01-01 to 2020-01-27", "25 bars", "(L, 6)"),
    "WindowShape": ("lookback=90", "horizon=10"),
}


@pytest.fixture(scope="module")
def heads(networks):
    """A quantile head without a body."""
    config = KronosQuantilesConfig(use_body=False, lookback=20, horizon=4, num_features=len(CONTEXT_FEATURES))
    return KronosForQuantiles(config).eval()


@pytest.fixture
def objects(series, networks, heads, finetuned, validation_windows, train_windows, make_trainer, tmp_path):
    """One object of each class, by the name of the class."""
    predictor, tokenizer = networks
    tokens, windows = TokenWindowDataset(validation_windows, tokenizer), QuantileWindowDataset(validation_windows)
    trainer = make_trainer()
    forecaster = KronosForecaster.from_pretrained(finetuned.folder, device="cpu")
    told = forecast_series(forecaster.predictor, series, num_paths=5, origin=str(series[0].timestamps[-3]))[0]
    settings = {"use_cpu": True, "output_dir": str(tmp_path / "other")}
    arguments, head_arguments = KronosArguments(**settings), KronosQuantileArguments(**settings)
    found = [
        *(AugmentationArguments(augment_noise=True), EvaluateArguments(data="sample", model="runs/btc"), WindowShape()),
        *(series[0], series[0].report, series[0].report.quality, train_windows, tokens, windows),
        *(trainer, trainer.args, KronosTrainer(predictor, arguments, tokens, tokens), arguments),
        *(KronosQuantileTrainer(heads, head_arguments, windows, windows), head_arguments),
        *(forecaster, forecaster.found, KronosPredictor(predictor, tokenizer, device="cpu"), told, told.forecast),
        *(QuantilePredictor(heads, device="cpu"), DirectQuantiles([0.1, 0.9], np.ones((3, 2)))),
    ]
    return {type(one).__name__: one for one in found}


@pytest.fixture
def result(make_trainer, validation_windows):
    trainer = make_trainer()
    trainer.train()
    return finish_run(trainer, validation_windows)


@pytest.fixture
def evaluation(finetuned, tmp_path):
    args = EvaluateArguments(
        data=finetuned.series.to_frame(), model=str(finetuned.folder), num_paths=5, output_dir=str(tmp_path / "out")
    )
    return run_evaluation(args, say=lambda line: None)


def check(name, one):
    text = repr(one)
    assert len(text.splitlines()) <= MOST_LINES, text
    assert len(text) <= MOST_CHARACTERS, text
    missing = [fact for fact in FACTS[name] if fact not in text]
    assert not missing, text


def test_short_texts(objects):
    public = {name for name in kronos_ft.__all__ if inspect.isclass(getattr(kronos_ft, name))}
    assert public <= objects.keys() | BY_CONVENTION
    assert {*objects, "Evaluation", "TrainingResult"} == FACTS.keys()
    for name, one in objects.items():
        check(name, one)


def test_the_embedded_sample():
    assert repr(load_sample()[0]) == (
        "CandleSeries btcusd_30m_2017_2019: 35,019 bars every 30 min, 2017-10-01 00:00 to 2019-10-01 00:00 UTC, "
        "22 bars missing"
    )


def test_results_of_a_run_and_of_an_evaluation(result, evaluation):
    check("TrainingResult", result)
    check("Evaluation", evaluation)
    assert isinstance(result, dict)
    assert result["steps"] == 6


def test_pictures(objects, result, evaluation, monkeypatch, tmp_path):
    for one in (objects["CandleSeries"], objects["Forecast"], objects["SymbolForecast"], result, evaluation):
        assert isinstance(one.plot(), Axes)
        assert pyplot.get_fignums() == []  # a script keeps no figure that it does not use
        axes = Figure().add_subplot()
        assert one.plot(ax=axes) is axes
        assert axes.lines or axes.collections
    objects["SymbolForecast"].plot(tmp_path / "forecast.png")
    assert (tmp_path / "forecast.png").stat().st_size > 5000
    with monkeypatch.context() as patch:
        patch.setattr("ft_core.io.figures.in_notebook", lambda: True)
        for one in (objects["CandleSeries"], objects["Forecast"], objects["SymbolForecast"], result, evaluation):
            axes = one.plot()
            assert pyplot.gcf() is axes.figure
            pyplot.close("all")
        objects["SymbolForecast"].plot(tmp_path / "forecast.png")
        assert pyplot.get_fignums() == []
    result.history.clear()
    with pytest.raises(ValueError, match=r"nothing was logged, since .* was finished before; see its loss_curves.png"):
        result.plot()
    with pytest.raises(ValueError, match="bars=0 of 900 leaves no candle to draw; use 1 or more"):
        objects["CandleSeries"].plot(bars=0)


def test_values_of_settings():
    assert value_text("x" * 60) == f"'{'x' * 36}..."
    assert value_text(torch.zeros(3, 3)) == "<Tensor>"
    many = EvaluateArguments(
        data="sample", policy="drop", timezone="CET", columns="time=t", model="m", tokenizer="t", horizon=3, lookback=9,
        num_paths=3, step=2,
    )  # fmt: skip
    assert settings_text(many).endswith(", and 2 more)")
    assert "hub_token" not in repr(KronosArguments(use_cpu=True, hub_token=SimpleNamespace()))


def test_loading_shows_no_bar(finetuned, capfd):
    KronosForecaster.from_pretrained(finetuned.folder, device="cpu")
    KronosTokenizer.from_pretrained(finetuned.folder / "tokenizer" / "best_model")
    assert capfd.readouterr() == ("", "")
