"""The demonstration refuses what would show nothing; it is run whole by `make test-docs` and `make wheel-check`."""

import pytest

from kronos_ft.cli import main
from kronos_ft.demo import demo_parser, run_demo


def test_too_few_steps_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"steps=3 is too few for two evaluations; use 4 or more"):
        run_demo(output_dir=str(tmp_path / "run"), steps=3)
    assert not (tmp_path / "run").exists()


def test_the_command_says_it_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--steps", "0"]) == 2
    assert capsys.readouterr().err.startswith("kronos-ft: steps=0 is too few")


def test_the_sample_is_the_default():
    assert demo_parser().parse_args([]).data == "sample"
