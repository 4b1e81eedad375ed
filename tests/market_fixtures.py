"""Shared fixtures: a tiny model and small simulated candles, made once and copied for each test."""

import copy

import pytest
import torch

from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
from kronos_ft.training.arguments import KronosTokenizerArguments
from kronos_ft.training.tokenizer_trainer import KronosTokenizerTrainer
from kronos_ft.windows.dataset import WindowDataset, WindowShape


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """Cached tokens of a test end with it."""
    monkeypatch.setenv("KRONOS_FT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def candle_frame():
    return simulate_candles(900, seed=3)


@pytest.fixture(scope="session")
def series(candle_frame):
    return load_candles({"SIM": candle_frame})


@pytest.fixture(scope="session")
def train_windows(series):
    return WindowDataset(series, "train", WindowShape(lookback=20, horizon=4))


@pytest.fixture(scope="session")
def validation_windows(series):
    return WindowDataset(series, "validation", WindowShape(lookback=20, horizon=4, stride=5))


@pytest.fixture(scope="session")
def _tiny_model():
    torch.manual_seed(0)
    return KronosTokenizer(KronosTokenizerConfig.from_size("tiny"))


@pytest.fixture
def tiny_model(_tiny_model):
    return copy.deepcopy(_tiny_model)


@pytest.fixture(scope="session")
def _tiny_predictor():
    torch.manual_seed(1)
    return Kronos(KronosConfig.from_size("tiny"))


@pytest.fixture
def tiny_predictor(_tiny_predictor):
    return copy.deepcopy(_tiny_predictor)


@pytest.fixture
def make_trainer(tiny_model, train_windows, validation_windows, tmp_path):
    """A function that builds a trainer of the tiny model; keyword arguments override the settings."""

    def make(train=None, validation=None, model=None, output=None, callbacks=None, **settings):
        values = {
            "output_dir": str(output or tmp_path / "run"),
            "per_device_train_batch_size": 8,
            "max_steps": 6,
            "eval_strategy": "steps",
            "eval_steps": 3,
            "save_strategy": "steps",
            "save_steps": 3,
            "logging_steps": 1,
            "learning_rate": 1e-3,
            "use_cpu": True,
            **settings,
        }
        return KronosTokenizerTrainer(
            copy.deepcopy(model or tiny_model),
            KronosTokenizerArguments(**values),
            train or train_windows,
            validation or validation_windows,
            callbacks=callbacks,
        )

    return make
