"""The probe leaves no trace, and measures part of a batch where the whole would take too much processor time."""

import copy

import pytest
import torch

from ft_core.training.budget import probe
from ft_core.training.budget.probe import Limit, StepProbe, left_as_it_was, thrifty


@pytest.fixture
def processor(monkeypatch):
    """Processor time that passes only as work is done: a second an item."""
    spent = [0.0]
    monkeypatch.setattr(probe, "processor_clock", lambda: spent[0])

    def work(count):
        spent[0] += count
        return 0.5 * count

    return spent, work


@pytest.mark.parametrize(
    ("many", "share", "counted", "most"),
    [
        (4, 0.4, 4, 20),  # the whole batch, as often as the limit allows
        (6, 0.5, 6, 12),
        (100, 0.5, 8, 12),  # a part of it
        (100, 0.01, 4, 8),  # no more than the first try
    ],
)
def test_what_is_measured_stays_within_the_limit(processor, many, share, counted, most):
    spent, work = processor
    seconds, count = thrifty(work, 4, many, Limit(20), share)
    assert count == counted
    assert seconds == pytest.approx(0.5 * many)
    assert spent[0] <= most


def test_the_fastest_of_several_counts(processor):
    times = iter([9.0, 3.0, 1.0, 2.0, *[4.0] * (probe.MOST_REPEATS - 3)])

    def work(count):
        processor[1](count)
        return next(times)

    assert thrifty(work, 1, 1, Limit(100), 0.5) == (1.0, 1)
    assert not list(times)  # they differ, so there were more repeats than the usual three


def test_a_slow_first_try_does_not_keep_the_whole_batch_from_being_measured(monkeypatch):
    spent, counts = [0.0], []
    monkeypatch.setattr(probe, "processor_clock", lambda: spent[0])

    def work(count):
        seconds = 0.01 * count if counts else 5.0  # the first one loads and compiles
        spent[0] += seconds
        counts.append(count)
        return seconds

    seconds, count = thrifty(work, 4, 16, Limit(20), 0.4)
    assert (round(seconds, 9), count) == (0.16, 16)
    assert counts == [4, 4, *[16] * probe.REPEATS]


@pytest.mark.parametrize("settings", [{}, {"optim": "muon"}, {"ema_decay": 0.9}, {"weight_decay": 0.5}])
def test_nothing_of_a_probe_stays(make_trainer, settings):
    trainer = make_trainer(**settings)
    before, state = copy.deepcopy(trainer.model.state_dict()), torch.get_rng_state()
    with left_as_it_was(trainer):
        steps = StepProbe(trainer)
        assert steps.micro_batch(range(8)) > 0
        assert [steps.step() > 0 for _ in range(2)] == [True, True]
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    assert trainer.optimizer is None
    assert trainer.meter.is_empty
