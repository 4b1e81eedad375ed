"""What a step costs is measured without a trace, once for a shape of a run."""

import copy

import torch

from ft_core.training.budget.probe import StepProbe
from kronos_ft.training.measured import unit_seconds


def test_a_measured_trainer_trains_as_one_that_was_not(make_trainer, tmp_path):
    trainers = [make_trainer(output=tmp_path / name) for name in "ab"]
    before = copy.deepcopy(trainers[0].model.state_dict())
    state = torch.get_rng_state()
    found = unit_seconds(trainers[0])
    assert found.step > 0
    assert found.evaluated > 0
    assert found.prepared == found.forecast == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in trainers[0].model.state_dict().items())
    losses = []
    for trainer in trainers:
        torch.manual_seed(5)
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "learning_rate" in entry])
    assert losses[0] == losses[1]


def test_the_same_shape_is_measured_once(make_trainer, tmp_path, monkeypatch):
    first = unit_seconds(make_trainer())
    passes, real = [], StepProbe.passes
    monkeypatch.setattr(StepProbe, "passes", lambda self, inputs: passes.append(1) or real(self, inputs))
    for same in ({"learning_rate": 5e-4}, {"max_steps": 30}, {"output": tmp_path / "other"}):
        assert unit_seconds(make_trainer(**same)) == first
    assert not passes
    for other in ({"per_device_train_batch_size": 4}, {"gradient_accumulation_steps": 2}, {"optim": "muon"}):
        passes.clear()
        unit_seconds(make_trainer(**other))
        assert passes, other
