"""The same windows in the same order, however many workers load them and wherever the run was interrupted."""

import pytest
import torch

from kronos_ft.models.configuration_kronos import KronosConfig
from kronos_ft.models.modeling_kronos import Kronos
from kronos_ft.windows.augmentation import AugmentationArguments
from kronos_ft.windows.dataset import WindowDataset, WindowShape
from kronos_ft.windows.tokens import TokenWindowDataset
from tests.sample_order import StopAfterSave, train_and_watch

pytestmark = pytest.mark.fault(14)
SHAPE = WindowShape(20, 4, stride=8)  # 76 windows: 9 steps of 8 an epoch
STEPS, PER_EPOCH, SAVES = 12, 9, 5
AUGMENTATION = AugmentationArguments(augment_noise=True, augment_time_shift=True)


@pytest.fixture(params=["tokenizer", pytest.param("predictor", marks=pytest.mark.thorough)])
def make(request, make_trainer, make_predictor_trainer, series, tiny_model):
    """A function that builds a trainer over augmented windows or tokens, two micro-batches a step."""
    augmented = WindowDataset(series, "train", SHAPE, augmentation=AUGMENTATION, seed=5)
    settings = {"max_steps": STEPS, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    settings |= {"eval_steps": SAVES, "save_steps": SAVES}
    if request.param == "tokenizer":
        return lambda **more: make_trainer(train=augmented, **settings, **more)
    torch.manual_seed(0)
    dropout = {**KronosConfig.from_size("tiny").to_dict(), "resid_dropout_p": 0.2}  # draws on each step
    settings["model"] = Kronos(KronosConfig(**dropout))
    tokens = TokenWindowDataset(WindowDataset(series, "train", SHAPE), tiny_model)
    return lambda **more: make_predictor_trainer(train=tokens, **settings, **more)


def weights(trainer):
    return torch.cat([parameter.flatten() for parameter in trainer.model.parameters()])


def test_workers_and_interruptions_change_nothing(make, tmp_path):
    whole = make(output=tmp_path / "whole")
    expected = train_and_watch(whole)
    assert len(expected) == 2 * STEPS
    assert len(set(expected)) == len(expected)
    trainer = make(output=tmp_path / "workers", dataloader_num_workers=1)
    assert train_and_watch(trainer) == expected
    assert torch.equal(weights(trainer), weights(whole))
    for before, after, stop in ((2, 0, SAVES), (0, 2, 2 * SAVES)):
        assert stop % PER_EPOCH, "the resume must begin inside an epoch"
        cut = make(output=tmp_path / f"cut{stop}", callbacks=[StopAfterSave(stop)], dataloader_num_workers=before)
        assert train_and_watch(cut) == expected[: 2 * stop]
        resumed = make(output=tmp_path / f"cut{stop}", resume=True, dataloader_num_workers=after)
        assert train_and_watch(resumed) == expected[2 * stop :]
        assert torch.equal(weights(resumed), weights(whole))
