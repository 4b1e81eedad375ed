"""What `clean` removes, and what it never does."""

import json

import pytest

from ft_core.checkpoints.listing import list_checkpoints
from mt5_ft.cli.main import main


def test_clean_keeps_final_and_the_best(train, capsys):
    _, run = train("--save_total_limit", "3", "--max_steps", "6")
    best = json.loads((run / "run.json").read_text("utf-8"))["best_step"]
    capsys.readouterr()
    assert main(["clean", str(run)]) == 0
    assert "would remove" in capsys.readouterr().out
    assert len(list_checkpoints(run)) == 3
    assert main(["clean", str(run), "--yes"]) == 0
    assert list(list_checkpoints(run)) == [best]
    assert (run / "final" / "model.safetensors").is_file()


def test_without_final_the_newest_checkpoint_stays(train, capsys):
    _, run = train(
        "--save_total_limit", "3", "--max_steps", "6", "--eval_strategy", "no", "--load_best_model_at_end", "false"
    )
    (run / "final" / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    capsys.readouterr()
    assert main(["clean", str(run), "--yes"]) == 0
    assert "is missing or damaged: the newest checkpoint is kept too" in capsys.readouterr().out
    assert list(list_checkpoints(run)) == [6]
    assert main(["clean", str(run)]) == 0
    assert "nothing to remove" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"status": "finished"}'])
def test_a_record_that_is_none(tmp_path, text, refused):
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    refused(["clean", tmp_path], "run.json ")


def test_a_run_that_is_not_over_is_left_alone(train, refused):
    _, run = train()
    record = run / "run.json"
    record.write_text(record.read_text("utf-8").replace('"finished"', '"interrupted: KeyboardInterrupt"'), "utf-8")
    refused(["clean", run, "--yes"], "is not finished, so its checkpoints are still needed; resume it first")
