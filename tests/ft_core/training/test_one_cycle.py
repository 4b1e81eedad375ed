"""The schedule against PyTorch's own, and the faults of the stock one that are mended."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.optim.lr_scheduler import OneCycleLR

from ft_core.training.one_cycle import OneCycle, build_one_cycle
from tests.examples import examples


def optimizer():
    return torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0, betas=(0.9, 0.95))


def rates(schedule, steps):
    values = []
    for _ in range(steps):
        values.append(schedule.get_last_lr()[0])
        schedule.optimizer.step()
        schedule.step() if len(values) < steps else None
    return values


def pytorchs(settings_, steps):
    """PyTorch's own schedule of an optimizer of its own."""
    return OneCycleLR(optimizer(), total_steps=steps, **vars(settings_))


def follow(schedule, steps):
    """Rates and beta1 of so many steps, and where the schedule stands then."""
    seen = []
    for _ in range(steps):
        group = schedule.optimizer.param_groups[0]
        seen.append((group["lr"], schedule.get_last_lr()[0], group["betas"][0]))
        schedule.optimizer.step()
        schedule.step()
    return seen


SETTINGS = st.builds(
    OneCycle,
    max_lr=st.floats(1e-7, 10),
    pct_start=st.floats(0.001, 0.999),
    div_factor=st.floats(1, 1e4),
    final_div_factor=st.floats(1, 1e6),
    cycle_momentum=st.booleans(),
)


@examples(80)
@given(SETTINGS, st.integers(1, 150))
def test_equals_pytorch_bit_for_bit(one, steps):
    if abs(one.pct_start * steps - 1) < 1e-9:
        return
    ours, theirs = follow(build_one_cycle(optimizer(), one, steps), steps - 1), follow(pytorchs(one, steps), steps - 1)
    assert ours == theirs
    assert all(0 < rate <= one.max_lr * (1 + 1e-6) for rate, _, _ in ours)


@settings(max_examples=60)
@given(SETTINGS, st.integers(2, 150))
def test_a_rise_of_one_step_is_pytorchs_limit(one, steps):
    """pct_start * total_steps == 1, where PyTorch divides by zero: as a rise that is longer by next to nothing."""
    one = dataclasses.replace(one, pct_start=1 / steps)
    near = dataclasses.replace(one, pct_start=(1 + 1e-5) / steps)
    ours, theirs = follow(build_one_cycle(optimizer(), one, steps), steps - 1), follow(pytorchs(near, steps), steps - 1)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    rates = [rate for rate, _, _ in ours]
    assert rates[0] == pytest.approx(one.max_lr / one.div_factor)
    assert rates[1:] == sorted(rates[1:], reverse=True)


@settings(max_examples=60)
@given(SETTINGS, st.integers(2, 80), st.data())
def test_a_schedule_resumed_at_any_step_goes_on_as_if_never_stopped(one, steps, data):
    stop = data.draw(st.integers(0, steps - 1))
    if data.draw(st.booleans()):
        one = dataclasses.replace(one, pct_start=1 / steps)
    whole = build_one_cycle(optimizer(), one, steps)
    cut = build_one_cycle(optimizer(), one, steps)
    first = follow(cut, stop)
    # as a Trainer does: schedule and optimizer are built anew, then both are given their states
    other = build_one_cycle(optimizer(), one, steps)
    other.optimizer.load_state_dict(cut.optimizer.state_dict())
    other.load_state_dict(json.loads(json.dumps(cut.state_dict())))
    assert first + follow(other, steps - 1 - stop) == follow(whole, steps - 1)
    assert other.get_last_lr() == whole.get_last_lr()


def test_a_rise_of_just_one_step_works_where_pytorch_divides_by_zero():
    with pytest.raises(ZeroDivisionError):
        OneCycleLR(optimizer(), 1e-3, total_steps=10, pct_start=0.1)
    values = rates(build_one_cycle(optimizer(), OneCycle(1e-3, 0.1, 10, 100), 10), 10)
    assert values[0] == pytest.approx(1e-4)
    assert values[1] == max(values) == pytest.approx(1e-3, rel=0.05)
    assert values == sorted(values[:1]) + sorted(values[1:], reverse=True)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_short_runs(steps):
    assert len(rates(build_one_cycle(optimizer(), OneCycle(1e-3, 0.3, 10, 100), steps), steps)) == steps


def test_beta1_is_kept_unless_asked():
    kept, cycled = optimizer(), optimizer()
    build_one_cycle(kept, OneCycle(1e-3, 0.3, 10, 100), 10)
    build_one_cycle(cycled, OneCycle(1e-3, 0.3, 10, 100, cycle_momentum=True), 10)
    assert kept.param_groups[0]["betas"] == (0.9, 0.95)
    assert cycled.param_groups[0]["betas"] == (0.95, 0.95)


def test_a_state_of_another_length_is_refused():
    settings_ = OneCycle(1e-3, 0.3, 10, 100)
    saved = build_one_cycle(optimizer(), settings_, 10).state_dict()
    build_one_cycle(optimizer(), settings_, 10).load_state_dict(saved)
    with pytest.raises(ValueError, match=r"this run has 20 optimizer steps but .* schedule has 10"):
        build_one_cycle(optimizer(), settings_, 20).load_state_dict(saved)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.0, 0.1, 10, 10), "learning_rate=0.0 is not positive"),
        ((1e-3, 0.0, 10, 10), "pct_start=0.0 is outside"),
        ((1e-3, 1.0, 10, 10), "pct_start=1.0 is outside"),
        ((1e-3, 0.1, 0.5, 10), "div_factor=0.5 is below 1"),
        ((1e-3, 0.1, 10, 0.5), "final_div_factor=0.5 is below 1"),
    ],
)
def test_settings_out_of_range(values, message):
    with pytest.raises(ValueError, match=message):
        OneCycle(*values)


def test_no_steps():
    with pytest.raises(ValueError, match="a schedule over 0 steps is empty"):
        build_one_cycle(optimizer(), OneCycle(1e-3, 0.3, 10, 100), 0)
