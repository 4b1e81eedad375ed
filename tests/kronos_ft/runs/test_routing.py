"""Settings of `finetune` before they reach a stage: whatever the YAML file holds is a value or one line."""

from pathlib import Path

import pytest

from kronos_ft.cli.main import main
from kronos_ft.runs.routing import read_finetune


def test_the_run_folder_and_its_stages():
    folder, given = read_finetune(["--output_dir", "runs/btc", "--data", "sample"])
    assert folder == Path("runs/btc")
    assert {stage: values["output_dir"] for stage, values in given.items()} == {
        "tokenizer": "runs/btc/tokenizer",
        "predictor": "runs/btc/predictor",
    }


@pytest.mark.fault(28)
@pytest.mark.parametrize("written", ["[null]", "{a: 1}", "[a, b]", "[]", "''", "5", "null"])
def test_a_folder_that_is_none(written, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(f"output_dir: {written}\ndata: sample\n")
    assert main(["finetune", "--config", "run.yaml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("kronos-ft: output_dir=")
    assert len(error.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]
