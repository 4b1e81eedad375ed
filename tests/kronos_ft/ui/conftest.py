"""A small run of both stages with its evaluation, made by the commands themselves, and what the page reads of it."""

import pytest

from kronos_ft.cli.main import main
from kronos_ft.forecasting.networks import load_predictor
from kronos_ft.models.found_model import find_model

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
