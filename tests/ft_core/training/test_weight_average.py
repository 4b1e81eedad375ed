"""The moving average of the weights: its values, and a model that is unchanged by evaluations and saves."""

import pytest
import torch
from torch import nn

from ft_core.training.weight_average import TRAINING_WEIGHTS, WeightAverage


@pytest.fixture
def model():
    torch.manual_seed(1)
    found = nn.Linear(3, 2)
    found.bias.requires_grad_(False)
    return found


def move(model, by):
    with torch.no_grad():
        model.weight.add_(by)


def test_the_average_is_that_of_its_formula(model):
    average = WeightAverage(model, 0.9)
    expected = model.weight.detach().double()
    for n, by in enumerate((0.5, -0.25, 1.0, *[0.1] * 90), 1):
        move(model, by)
        average.update()
        decay = min(0.9, (1 + n) / (10 + n))  # a short run forgets its start
        expected = decay * expected + (1 - decay) * model.weight.detach().double()
    torch.testing.assert_close(average.average[0].double(), expected, rtol=1e-5, atol=1e-6)
    assert len(average.average) == 1  # what is not trained has no average


def test_the_model_gets_its_weights_back(model):
    average = WeightAverage(model, 0.9)
    move(model, 1.0)
    own = model.weight.detach().clone()
    with average.in_model():
        assert torch.equal(model.weight, average.average[0])
        assert not torch.equal(model.weight, own)
    assert torch.equal(model.weight, own)

    def fail():
        with average.in_model():
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert torch.equal(model.weight, own)


def test_both_are_restored_from_a_checkpoint(model, tmp_path):
    average = WeightAverage(model, 0.9)
    move(model, 1.0)
    average.update()
    average.save(tmp_path)
    other = nn.Linear(3, 2)
    with torch.no_grad():
        other.weight.copy_(average.average[0])  # as from the model's file
    other.bias.requires_grad_(False)
    restored = WeightAverage(other, 0.9)
    restored.load(tmp_path)
    assert torch.equal(other.weight, model.weight)
    assert torch.equal(restored.average[0], average.average[0])
    assert restored.updates == 1


def test_a_checkpoint_of_a_run_without_average(model, tmp_path):
    with pytest.raises(ValueError, match=f"{TRAINING_WEIGHTS}: its run had no ema_decay"):
        WeightAverage(model, 0.9).load(tmp_path)
