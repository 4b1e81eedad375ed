"""The schedule against PyTorch's own, and the faults of the stock one that are mended."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import OneCycleLR

from ft_core.one_cycle import OneCycle, build_one_cycle


def optimizer():
    return torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0, betas=(0.9, 0.95))


def rates(schedule, steps):
    values = []
    for _ in range(steps):
        values.append(schedule.get_last_lr()[0])
        schedule.optimizer.step()
        schedule.step() if len(values) < steps else None
    return values


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 200), st.floats(0.02, 0.9), st.floats(1, 50), st.floats(1, 1e4))
def test_equals_pytorch(steps, pct_start, div, final_div):
    if abs(pct_start * steps - 1) < 1e-6:
        return
    ours = rates(build_one_cycle(optimizer(), OneCycle(1e-3, pct_start, div, final_div), steps), steps)
    theirs = rates(
        OneCycleLR(optimizer(), 1e-3, total_steps=steps, pct_start=pct_start, div_factor=div,
                   final_div_factor=final_div, cycle_momentum=False),
        steps,
    )  # fmt: skip
    assert ours == pytest.approx(theirs, rel=1e-9)
    assert ours[0] <= 1e-3 * 1.0001
    assert ours[-1] == pytest.approx(1e-3 / div / final_div, rel=1e-6)


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
