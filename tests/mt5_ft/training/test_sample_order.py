"""The same records in the same order, however many workers load them and wherever the run was interrupted."""

import pytest
import torch

from tests.sample_order import StopAfterSave, train_and_watch

pytestmark = pytest.mark.fault(14)
STEPS, PER_EPOCH, SAVES = 12, 8, 5  # 32 records, two micro-batches of two a step


@pytest.fixture(params=["group_by_length", pytest.param("random", marks=pytest.mark.thorough)])
def make(request, make_trainer):
    """A function that builds a trainer that takes records in one of the orders."""

    def build(output, **more):
        return make_trainer(
            output,
            train_sampling_strategy=request.param,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            max_steps=STEPS,
            eval_steps=SAVES,
            save_steps=SAVES,
            **more,
        )

    return build


def weights(trainer):
    return torch.cat([parameter.flatten() for parameter in trainer.model.parameters()])


def test_workers_and_interruptions_change_nothing(make):
    whole = make("whole")
    expected = train_and_watch(whole)
    assert len(expected) == 2 * STEPS
    assert len(set(expected[: 2 * PER_EPOCH])) == 2 * PER_EPOCH
    trainer = make("workers", dataloader_num_workers=1)
    assert train_and_watch(trainer) == expected
    assert torch.equal(weights(trainer), weights(whole))
    for before, after, stop in ((2, 0, SAVES), (0, 2, 2 * SAVES)):
        assert stop % PER_EPOCH, "the resume must begin inside an epoch"
        cut = make(f"cut{stop}", callbacks=[StopAfterSave(stop)], dataloader_num_workers=before)
        assert train_and_watch(cut) == expected[: 2 * stop]
        resumed = make(f"cut{stop}", resume=True, dataloader_num_workers=after)
        assert train_and_watch(resumed) == expected[2 * stop :]
        assert torch.equal(weights(resumed), weights(whole))
