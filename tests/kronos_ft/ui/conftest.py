"""Small runs with their evaluations, with and without a quantile head, made by the commands themselves."""

import shutil

import pytest

from kronos_ft.cli.main import main
from kronos_ft.forecasting.networks import load_predictor
from kronos_ft.models.found_model import find_model
from kronos_ft.models.pairing import write_forecaster
from kronos_ft.ui.forecast_kinds import load_page_predictor

EVALUATION = {"horizon": 3, "step": 10, "max_origins": 6, "num_paths": 5}


@pytest.fixture(scope="session")
def run(finetuned):
    """The run's folder with an evaluation in it, its candles as a file and as a series."""
    words = [f"--data={finetuned.data}", f"--model={finetuned.folder}"]
    words += [f"--{name}={value}" for name, value in EVALUATION.items()]
    assert main(["evaluate", *words, f"--output_dir={finetuned.folder / 'evaluation'}"]) == 0
    return finetuned


@pytest.fixture(scope="session")
def shown(run):
    return find_model(str(run.folder))


@pytest.fixture(scope="session")
def predictor(shown):
    return load_predictor(shown, device="cpu")


HEAD = {
    "model": "tiny", "tokenizer": "tiny", "lookback_window": 20, "predict_window": 4, "max_steps": 4,
    "quantiles_max_steps": 6, "stride": 4, "per_device_train_batch_size": 8,
}  # fmt: skip


@pytest.fixture(scope="session")
def head_run(run, tmp_path_factory):
    """The folder of a run of all three stages, on the same candles, with an evaluation of its head and its paths."""
    folder = tmp_path_factory.mktemp("head") / "run"
    words = [f"--data={run.data}", f"--output_dir={folder}", "--from_scratch", "--use_cpu", "--report_to=none"]
    words += [f"--{name}={value}" for name, value in HEAD.items()]
    assert main(["finetune", *words, "--stages", "tokenizer", "predictor", "quantiles"]) == 0
    words = [f"--data={run.data}", "--compare", f"paths={folder / 'predictor'}", f"head={folder}"]
    words += [f"--{name}={value}" for name, value in {**EVALUATION, "step": 1, "max_origins": 40}.items()]
    assert main(["evaluate", *words, f"--output_dir={folder / 'evaluation'}"]) == 0
    return folder


@pytest.fixture(scope="session")
def head(head_run):
    """The head of this run with the predictor that samples its paths."""
    return load_page_predictor(find_model(str(head_run)), "cpu")[0]


@pytest.fixture(scope="session")
def calibrated(run, shown, tmp_path_factory):
    """The name of a predictor with calibrated sampling settings: T 0.8, top_p 0.9."""
    folder = tmp_path_factory.mktemp("calibrated") / "best_model"
    shutil.copytree(shown.model, folder)
    write_forecaster(folder, {"T": 0.8, "top_p": 0.9, "tokenizer": shown.tokenizer})
    return str(folder)
