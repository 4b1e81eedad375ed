"""An evaluation before the training: the folder stays free for the run, and the figures are those of its start."""

import json

import pytest


@pytest.mark.parametrize("rows", [0, 2])
def test_evaluate_then_train(make_trainer, records, tmp_path, rows):
    trainer = make_trainer(eval_records=records[32:40], eval_generate_rows=rows)
    before = trainer.evaluate()
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    trainer.train()
    logged = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert logged == [json.loads(json.dumps(entry)) for entry in trainer.state.log_history]
    assert logged[0]["step"] == 0
    assert logged[0]["eval_loss"] == pytest.approx(before["eval_loss"])


def test_files_of_somebody_else_are_still_refused(make_trainer, records, tmp_path):
    trainer = make_trainer(eval_records=records[32:40], eval_generate_rows=2)
    trainer.evaluate()
    (tmp_path / "run" / "predictions" / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(ValueError, match="is not empty; pass --resume to continue it or --overwrite"):
        trainer.train()
