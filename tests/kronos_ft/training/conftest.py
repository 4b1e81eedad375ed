"""A tokenised tiny market and a function that builds predictor trainers on it."""

import copy

import pytest

from kronos_ft.training.predictor_arguments import KronosArguments
from kronos_ft.training.predictor_trainer import KronosTrainer
from kronos_ft.windows.tokens import TokenWindowDataset


@pytest.fixture(scope="session")
def train_tokens(train_windows, _tiny_model):
    return TokenWindowDataset(train_windows, _tiny_model)


@pytest.fixture(scope="session")
def validation_tokens(validation_windows, _tiny_model):
    return TokenWindowDataset(validation_windows, _tiny_model)


@pytest.fixture
def make_predictor_trainer(tiny_predictor, train_tokens, validation_tokens, tmp_path):
    """A function that builds a trainer of the tiny predictor; keyword arguments override the settings."""

    def make(train=None, validation=None, model=None, output=None, tokenizer=None, callbacks=None, **settings):
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
        return KronosTrainer(
            copy.deepcopy(model or tiny_predictor),
            KronosArguments(**values),
            train or train_tokens,
            validation or validation_tokens,
            tokenizer=tokenizer,
            callbacks=callbacks,
        )

    return make
