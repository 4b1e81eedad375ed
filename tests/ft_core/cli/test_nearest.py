"""A hint names a really similar option, or the commands that have it, or nothing."""

import pytest

from ft_core.cli.nearest import commands_with, hint, nearest

KNOWN = ["--model", "--max_steps", "--max-steps", "--output_dir", "--predictions", "--resume"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("--modle", "--model"),
        ("--pred", "--predictions"),  # an abbreviation
        ("--MAX_STEP", "--max_steps"),
        ("--max-step", "--max_steps"),
        ("--time_budget", None),
        ("--mo", None),
        ("--temperature", None),
    ],
)
def test_only_a_really_similar_name_is_near(name, found):
    assert nearest(name, KNOWN) == found


def test_commands_of_the_same_program_that_have_a_setting():
    assert commands_with("mt5-ft demo", "--max_source_length") == ["train", "plan", "sweep"]
    assert commands_with("mt5-ft train", "max-source-length") == ["plan", "sweep"]
    assert commands_with("kronos-ft demo", "--max_source_length") == []
    assert commands_with("kronos-ft demo", "--model")[:4] == ["finetune", "tokenizer", "predictor", "quantiles"]
    assert commands_with("kronos-ft finetune", "--num_paths") == ["forecast", "evaluate", "calibrate"]
    assert commands_with("program-of-no-package demo", "--model") == []
    assert commands_with("", "--model") == []


def test_one_hint_for_an_unknown_name():
    assert hint("--modle", KNOWN, "mt5-ft demo", "see --help") == "did you mean --model?"
    assert hint("--lora_r", KNOWN, "mt5-ft demo", "see --help") == "mt5-ft train, plan, sweep have it"
    assert hint("--temperature", KNOWN, "mt5-ft demo", "see --help") == "see --help"
    assert hint("--trust_remote_code", KNOWN, "mt5-ft demo", "see --help").startswith(
        "code of a repository is never run"
    )
