"""How a time budget is written, what it excludes, and that a trainer alone refuses it."""

import dataclasses

import pytest

from ft_core.training.budget.choice import in_words, settle
from ft_core.training.budget.duration import SettledBudget, is_open, read_duration
from kronos_ft.training.arguments import KronosTokenizerArguments


@pytest.mark.parametrize(
    ("word", "seconds"),
    [("90s", 90), ("30m", 1800), ("4h", 14_400), ("1h30m", 5400), ("1h0m5s", 3605), ("2M", 120), (" 5m ", 300)],
)
def test_a_budget_is_hours_minutes_and_seconds(word, seconds):
    assert read_duration(word) == seconds


@pytest.mark.parametrize("word", ["", "30", "0s", "-5m", "30 m", "1.5h", "m", "30m1h", "soon"])
def test_another_spelling_is_one_line(word):
    with pytest.raises(ValueError, match=r"^time_budget=.* is not a time above zero; write e.g. 90s, 30m, 4h or"):
        read_duration(word)


@pytest.mark.parametrize(("seconds", "word"), [(0.2, "1s"), (89.1, "90s"), (91, "2m"), (3600, "1h"), (7261, "2h2m")])
def test_a_budget_that_would_fit_is_said_as_the_setting_takes_it(seconds, word):
    assert in_words(seconds) == word
    assert read_duration(word) >= seconds


def test_settings_whose_steps_are_chosen_can_be_copied(tmp_path):
    args = KronosTokenizerArguments(output_dir=str(tmp_path), time_budget="30m")
    assert is_open(args)
    settle(args, 12)
    copied = dataclasses.replace(args, weight_decay=0.2)
    assert not is_open(copied)
    assert (copied.max_steps, copied.time_budget) == (12, "30m")
    assert isinstance(copied.time_budget, SettledBudget)


def test_a_trainer_by_itself_refuses_a_budget(make_trainer):
    trainer = make_trainer(max_steps=-1, time_budget="30m")
    with pytest.raises(ValueError, match="time_budget=30m is turned into steps by the commands kronos-ft and mt5-ft"):
        trainer.train()
