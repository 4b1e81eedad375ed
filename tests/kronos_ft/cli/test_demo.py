"""The demonstration refuses what would show nothing; it is run whole by `make test-docs` and `make wheel-check`."""

import pytest

from kronos_ft.cli.demo import DEMO_RUN, demo_parser, run_demo
from kronos_ft.cli.main import main


def test_too_few_steps_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"steps=3 is too small for two evaluations; use 4 or more"):
        run_demo(output_dir=str(tmp_path / "run"), steps=3)
    assert not (tmp_path / "run").exists()


def test_the_command_says_it_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--steps", "0"]) == 2
    assert capsys.readouterr().err.startswith("kronos-ft: steps=0 is too small")


def test_the_sample_is_the_default():
    assert demo_parser().parse_args([]).data == "sample"


def test_a_run_in_a_named_folder_is_not_replaced(tmp_path, monkeypatch, capsys):
    """Refused before anything is read, made or removed; --overwrite and the default folder get past that check."""
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "runs" / "btc" / "predictor" / "run.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    for data in ("sample", "none.csv"):
        assert main(["demo", data, "--output_dir", "runs/btc"]) == 2
        line = capsys.readouterr().err
        assert line.startswith("kronos-ft: output_dir=runs/btc is not empty; pass --overwrite to replace the run in it")
    assert kept.read_text() == "{}"
    (tmp_path / DEMO_RUN).mkdir()
    (tmp_path / DEMO_RUN / "forecast.png").write_text("an older demonstration")
    for words in (["--output_dir", "runs/btc", "--overwrite"], []):
        assert main(["demo", "none.csv", *words]) == 2
        assert "none.csv does not exist" in capsys.readouterr().err
