"""What a resume refuses, adopts, or finds to be over."""

import json

import pytest

from mt5_ft.cli.main import main
from mt5_ft.training.presets import EARLIER, PRESETS
from mt5_ft.training.resuming import presets_of_run
from mt5_ft.training.trainer import MT5Trainer


@pytest.fixture
def interrupted(train, monkeypatch):
    """A run interrupted at step 5 of 8."""
    real = MT5Trainer.training_step

    def step(self, *args, **kwargs):
        if self.state.global_step == 5:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MT5Trainer, "training_step", step)
        code, run = train("--max_steps", "8")
    assert code == 130
    return run


def test_replaced_data_is_refused_before_anything_is_computed(interrupted, train, data, monkeypatch, capsys):
    lines = data.read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    rows[3]["case_description"] = ["another text"]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    monkeypatch.setattr("mt5_ft.runs.run.prepare", None)
    assert train("--max_steps", "8", "--resume")[0] == 2
    assert "cannot be resumed with other settings (data.content: " in capsys.readouterr().err
    data.write_text("\n".join(lines) + "\n", "utf-8")
    assert train("--max_steps", "8", "--resume", "--gradient_accumulation_steps", "8")[0] == 2
    assert "(batch x accumulation: 2 x 1 -> 2 x 8)" in capsys.readouterr().err


def test_a_finished_run_is_said_to_be_finished(train, monkeypatch, capsys):
    _, run = train()
    log = (run / "metrics.jsonl").read_bytes()
    capsys.readouterr()
    monkeypatch.setattr("mt5_ft.runs.run.prepare", None)
    assert train("--resume")[0] == 0
    out = capsys.readouterr().out
    assert "is already finished: there is nothing left to train" in out
    assert "scores      rouge1" in out
    assert (run / "metrics.jsonl").read_bytes() == log


def test_a_damaged_checkpoint_is_one_line(interrupted, train, capsys):
    for name in ("optimizer.pt", "scheduler.pt", "trainer_state.json", "model.safetensors"):
        path = interrupted / "checkpoint-4" / name
        content = path.read_bytes()
        path.unlink()
        assert train("--max_steps", "8", "--resume")[0] == 2
        err = capsys.readouterr().err.strip().splitlines()[-1]
        assert f"is complete (checkpoint-4: {name} is missing" in err
        assert "restore one, or start over with --overwrite" in err
        assert main(["clean", str(interrupted)]) == 2
        path.write_bytes(content)


def test_another_learning_rate_is_not_taken(interrupted, train, caplog):
    code, run = train("--max_steps", "8", "--resume", "--learning_rate", "1")
    assert code == 0
    assert "learning_rate=1 is ignored: the run continues with 0.001" in caplog.text
    assert json.loads((run / "run.json").read_text("utf-8"))["arguments"]["learning_rate"] == 0.001


def test_a_precision_that_was_timed_is_not_timed_again(train, monkeypatch):
    words = ["--max_steps", "8", "--precision", "auto"]
    answers = iter([True, False])
    monkeypatch.setattr("mt5_ft.training.arguments.bf16_pays_on_cpu", lambda: next(answers))
    real = MT5Trainer.training_step

    def step(self, *args, **kwargs):
        if self.state.global_step == 5:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MT5Trainer, "training_step", step)
        assert train(*words)[0] == 130
    code, run = train(*words, "--resume")
    assert code == 0
    assert json.loads((run / "run.json").read_text("utf-8"))["arguments"]["precision"] == "bf16"


def test_a_run_of_an_earlier_definition_of_its_preset_resumes_with_it(train, monkeypatch, capsys):
    real, earlier = MT5Trainer.training_step, EARLIER["optimized"][-1]

    def step(self, *args, **kwargs):
        if self.state.global_step == 5:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setitem(PRESETS, "optimized", earlier)
        patch.setattr(MT5Trainer, "training_step", step)
        assert train("--max_steps", "8")[0] == 130
    with monkeypatch.context() as patch:
        patch.setattr("mt5_ft.training.resuming.EARLIER", {})
        assert train("--max_steps", "8", "--resume")[0] == 2
    assert "cannot be resumed with other settings" in capsys.readouterr().err
    code, run = train("--max_steps", "8", "--resume")
    assert code == 0
    assert json.loads((run / "run.json").read_text("utf-8"))["global_step"] == 8
    recorded = json.loads((run / "run.json").read_text("utf-8"))["arguments"]
    assert {name: recorded[name] for name in ("num_train_epochs", "max_grad_norm", "save_total_limit")} == {
        name: earlier[name] for name in ("num_train_epochs", "max_grad_norm", "save_total_limit")
    }


def test_a_run_takes_the_definition_of_its_preset_that_it_was_started_with(tmp_path):
    earlier = EARLIER["optimized"][-1]
    arguments = dict.fromkeys(earlier, None) | earlier
    record = {"status": "stopped", "seconds": 1.0, "started": "2026-01-01T00:00:00+00:00", "best_step": None}
    record |= {"world_size": 1, "arguments": arguments, "model": {"preset": "optimized"}}

    def presets(preset="optimized", explicit=(), **changed):
        (tmp_path / "run.json").write_text(json.dumps(record | {"arguments": arguments | changed}), "utf-8")
        return presets_of_run(tmp_path, preset, explicit)[preset]

    assert presets() == earlier
    assert presets(num_train_epochs=7) == PRESETS["optimized"]
    assert presets(num_train_epochs=7, explicit=["num_train_epochs"]) == earlier
    assert presets(**PRESETS["optimized"]) == PRESETS["optimized"]
    assert presets("original") == PRESETS["original"]
    (tmp_path / "run.json").unlink()
    assert presets_of_run(tmp_path, "optimized", ()) == PRESETS
