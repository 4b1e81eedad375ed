"""Expected learning rates beside PyTorch's and transformers' own schedules."""

import pytest
import torch
from transformers import get_scheduler

from ft_core.report.answers import ask
from ft_core.report.rules.schedule import expected_rate, schedule
from ft_core.training.one_cycle import OneCycle, build_one_cycle
from kronos_ft.report.views import VIEWS
from tests.written_runs import tokenizer_run


def stepped(scheduler, optimizer, total):
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.fixture
def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)


@pytest.mark.parametrize("total", [7, 60])
@pytest.mark.parametrize("pct_start", [0.03, 0.3])
def test_one_cycle_is_pytorchs(optimizer, total, pct_start):
    settings = {"learning_rate": 0.01, "pct_start": pct_start, "div_factor": 10.0, "final_div_factor": 1e4}
    schedule = build_one_cycle(optimizer, OneCycle(0.01, pct_start, 10.0, 1e4), total)
    found = [expected_rate(settings | {"one_cycle": True}, step, total) for step in range(total)]
    assert found == pytest.approx(stepped(schedule, optimizer, total), rel=1e-6)


@pytest.mark.parametrize("name", ["linear", "cosine", "constant", "constant_with_warmup"])
@pytest.mark.parametrize("warmup", [0, 10, 0.25])
def test_plain_schedules_are_transformers_own(optimizer, name, warmup):
    total = 40
    steps = int(warmup * total) if 0 < warmup < 1 else warmup
    schedule = get_scheduler(name, optimizer, num_warmup_steps=steps, num_training_steps=total)
    settings = {"learning_rate": 0.01, "lr_scheduler_type": name, "warmup_steps": warmup}
    found = [expected_rate(settings, step, total) for step in range(total)]
    assert found == pytest.approx(stepped(schedule, optimizer, total), rel=1e-6)


def test_a_schedule_that_is_not_known_is_not_guessed():
    assert expected_rate({"learning_rate": 0.1, "lr_scheduler_type": "polynomial"}, 3, 10) is None
    assert expected_rate({}, 3, 10) is None


def test_the_highest_rate_is_that_of_a_log_entry(tmp_path):
    """The peak is at step 20; the run logs every 50 steps."""
    run = tokenizer_run()
    run.entries = [entry for entry in run.entries if "learning_rate" not in entry or entry["step"] % 50 == 0]
    finding = ask(schedule, run.facts(tmp_path / "run", VIEWS))
    assert finding.answer.case == "followed"
    assert finding.reason("en").endswith("the highest logged rate is at step 50.")
    assert ", highest logged rate 9.3" in finding.figure("en")
    assert finding.reason("zh").endswith("日志点中的最高值在第 50 步。")
    assert "日志点中最高" in finding.figure("zh")
