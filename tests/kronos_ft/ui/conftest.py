"""A small run of both stages with its evaluation, made by the commands themselves, and what the page reads of it."""

from types import SimpleNamespace

import pytest

from kronos_ft.cli.main import main
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.forecasting.networks import load_networks
from kronos_ft.forecasting.predictor import KronosPredictor
from kronos_ft.ui.shown_model import find_shown

SMALL = {
    "model": "tiny", "tokenizer": "tiny", "lookback_window": 20, "predict_window": 4, "max_steps": 2,
    "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2, "logging_steps": 1,
    "per_device_train_batch_size": 8, "learning_rate": "1e-3",
}  # fmt: skip
EVALUATION = {"lookback": 20, "horizon": 3, "step": 10, "max_origins": 6, "num_paths": 5}


def options(settings):
    return [f"--{name}={value}" for name, value in settings.items()]


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The run's folder, its candles as a file and as a series."""
    root = tmp_path_factory.mktemp("ui")
    simulate_candles(600, seed=5).to_csv(root / "market.csv", index=False)
    folder, data = root / "run", str(root / "market.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KRONOS_FT_CACHE", str(root / "cache"))
        words = [f"--data={data}", "--from_scratch", f"--output_dir={folder}"]
        assert main(["finetune", *words, *options(SMALL)]) == 0
        words = [f"--data={data}", f"--model={folder / 'predictor'}", f"--tokenizer={folder / 'tokenizer'}"]
        assert main(["evaluate", *words, *options(EVALUATION), f"--output_dir={folder / 'evaluation'}"]) == 0
    return SimpleNamespace(folder=folder, data=data, series=load_candles(data)[0])


@pytest.fixture(scope="session")
def shown(run):
    return find_shown(str(run.folder))


@pytest.fixture(scope="session")
def predictor(shown):
    return KronosPredictor(*load_networks(shown.model, shown.tokenizer), device="cpu")
