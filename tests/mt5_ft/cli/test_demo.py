"""The demonstration replaces its own older run and no other; it is run whole by `make test-docs`."""

import shlex

import pytest

from ft_core.cli.program import command_name
from mt5_ft.cli.demo import DEMO_RUN
from mt5_ft.cli.main import main
from mt5_ft.runs import run as training_run
from mt5_ft.training.presets import PRESETS


@pytest.fixture
def overwrites(tmp_path, monkeypatch):
    """A function that starts a demonstration and tells whether its run may replace what its folder holds."""
    monkeypatch.chdir(tmp_path)

    def start(*words):
        asked = []

        def stop(model, data, args):
            asked.append(args.overwrite)
            raise ValueError("enough of it")

        monkeypatch.setattr(training_run, "run_training", stop)
        assert main(["demo", *words]) == 2
        return asked[0]

    return start


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], True),
        (["--output_dir", f"./{DEMO_RUN}/"], True),
        (["--resume"], False),
        (["--output_dir", "runs/mine"], False),
        (["cases.jsonl"], False),
        (["--output_dir", "runs/mine", "--overwrite"], True),
    ],
)
def test_what_is_replaced(overwrites, words, expected):
    assert overwrites(*words) is expected


def test_the_commands_that_it_prints_go_on_from_its_run(start, data, tmp_path, capsys):
    run = tmp_path / "the run"
    words = ["demo", data, "--model", start, "--output_dir", run, "--max_steps", "2"]
    assert main([str(word) for word in words]) == 0
    called = f" {command_name('mt5-ft')} "
    lines = [line for line in capsys.readouterr().out.splitlines() if called in line]
    commands = [shlex.split(line.partition(called)[2]) for line in lines]
    assert [command[0] for command in commands] == ["summarize", "evaluate", "train"]
    assert commands[0][1:] == [
        *("--model", f"{run}/final", "--input", str(data), "--output", f"{run}/summaries.jsonl"),
    ]
    assert [main(command) for command in commands[:2]] == [0, 0]
    assert f"40 summaries in {run}/summaries.jsonl" in capsys.readouterr().out
    assert commands[2][:-1] == ["train", "--data", "FILE", "--output_dir", "runs/mine", "--preset"]
    assert commands[2][-1] in PRESETS
