"""The probe leaves no trace, takes the run's own optimizer, and spreads its batches over an epoch."""

import copy

import numpy as np
import pytest
import torch
from datasets import Dataset

from mt5_ft.runs.probe import PeakMemory, _Batches, measure


@pytest.mark.parametrize("settings", [{}, {"optimizer": "adafactor"}, {"activation_checkpointing": True}])
def test_nothing_of_the_probe_stays(make_trainer, records, settings):
    """Weights, random numbers and what follows are those of a run without a probe."""
    trainers = [make_trainer(f"run{name}", records[32:40], **settings) for name in "ab"]
    for trainer in trainers:
        trainer.model.config.dropout_rate = 0.1
        for module in trainer.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.1
    before = copy.deepcopy(trainers[0].model.state_dict())
    torch.manual_seed(5)
    state = torch.get_rng_state()
    measure(trainers[0])
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in trainers[0].model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in trainers[0].model.parameters())
    assert trainers[0].optimizer is None
    assert trainers[0].meter.is_empty
    losses = []
    for trainer in trainers:
        torch.manual_seed(5)
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "learning_rate" in entry])
    assert losses[0] == losses[1]


def test_the_probe_steps_the_optimizer_of_the_run(make_trainer, monkeypatch):
    from transformers.optimization import Adafactor

    steps = []
    real = Adafactor.step
    monkeypatch.setattr(Adafactor, "step", lambda self, *args: steps.append(self.param_groups[0]["lr"]) or real(self))
    measure(make_trainer(optimizer="adafactor"))
    assert steps == [0.0, 0.0]


def test_infinite_gradients_do_not_reach_the_weights(make_trainer, monkeypatch):
    from mt5_ft.training.trainer import MT5Trainer

    real = MT5Trainer.compute_loss
    monkeypatch.setattr(
        MT5Trainer, "compute_loss", lambda self, *args, **kwargs: real(self, *args, **kwargs) * 1e38 * 10
    )
    trainer = make_trainer()
    measure(trainer)
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())


def test_batches_are_spread_over_the_sizes_of_an_epoch():
    rng = np.random.default_rng(0)
    sources, targets = (rng.lognormal(median, 0.8, 400).astype(int) + 1 for median in (4, 3))
    columns = {"input_ids": sources, "labels": targets}
    records = Dataset.from_dict({name: [[0] * n for n in lengths] for name, lengths in columns.items()})
    batches = rng.permutation(400).reshape(100, 4).tolist()

    def size(rows):
        return 4 * (sources[rows].max() + targets[rows].max())

    found = _Batches(records, batches)
    chosen = found.spread(20)
    assert len({tuple(rows) for rows in chosen}) == 20
    assert np.mean([size(rows) for rows in chosen]) == pytest.approx(np.mean([size(r) for r in batches]), rel=0.05)
    assert size(found.largest()) == max(size(rows) for rows in batches)
    assert len(_Batches(records, batches[:3]).spread(20)) == 3


def test_memory_at_the_peak_is_seen():
    with PeakMemory(torch.device("cpu")) as memory:
        block = torch.ones(50_000_000)
        for _ in range(20):
            block.add_(1)
        del block
    with PeakMemory(torch.device("cpu")) as less:
        torch.ones(10).sum()
        less._over.wait(0.05)
    assert memory.bytes - less.bytes > 150_000_000
