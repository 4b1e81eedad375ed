"""Rows of the mT5 benchmarks: what carries the goal, and what is said where nothing is measured."""

import sys

from benchmarks import mt5_epoch, mt5_step


class Quick:
    """Answers as a rival does, at once."""

    start_seconds = 1.0

    def __init__(self, folder, name, settings):
        self.made = {}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def ask(self, work, **words):
        if work == "make":
            self.made[words["batch"]] = words["share"]
        return {
            "kept": {"pieces": [3, 1, 2]},
            "loss": {"loss": 2.0, "own": 2.0},
            "sizes": {"memory": 2**30, "checkpoint": 2**30, "precision": "fp32"},
            "step": {"counted": 5},
            "epoch": {"steps": 9, "pieces": 7, "records": 70},
            "validate": {"loss": 2.0, "tokens": 5},
        }.get(work, {})


def test_the_goal_is_on_the_step_that_the_reference_settings_take(monkeypatch):
    monkeypatch.setattr(mt5_step, "Process", Quick)
    monkeypatch.setattr(mt5_step, "write_full_model", lambda *args: None)
    monkeypatch.setattr(mt5_step, "extra_pieces", lambda *args: 0)
    found = mt5_step.rows(repeats=2, length=8)
    assert [row.goal for row in found] == [3.0, None, 0.4, 0.4]
    assert "every label real" in found[0].note
    assert "labels padded to max_length, 30 % real" in found[1].work
    assert all(row.correct for row in found)


def test_an_epoch_without_records_is_not_measured(tmp_path, monkeypatch, capsys):
    results = tmp_path / "results.json"
    monkeypatch.setattr(sys, "argv", ["mt5_epoch", "--output", str(results)])
    assert mt5_epoch.main() == 0
    out = capsys.readouterr().out
    assert "not measured, " in out
    assert "(pass --data FILE.jsonl" in out
    before = results.read_bytes()
    results.write_bytes(before + b" ")
    assert mt5_epoch.main() == 0
    assert results.read_bytes() == before + b" ", "what was measured before stays"


def test_the_spread_of_pairs_and_of_the_references_seeds(tmp_path, monkeypatch):
    losses = iter([1.0, 2.0, 9.0, 2.5])  # ours and the reference's, in turns

    class Seeded(Quick):
        def ask(self, work, **words):
            return {"loss": next(losses), "tokens": 5} if work == "validate" else super().ask(work, **words)

    data = tmp_path / "data.jsonl"
    data.write_text('{"text": "a", "summary": "b"}\n', "utf-8")
    monkeypatch.setattr(mt5_epoch, "Process", Seeded)
    monkeypatch.setattr(mt5_epoch, "write_full_model", lambda *args: None)
    monkeypatch.setattr(mt5_epoch, "extra_pieces", lambda *args: 0)
    epoch, loss = mt5_epoch.rows(data, steps=2, seeds=2, records=1)
    assert set(epoch.details["pairs"]) == {"min", "median", "max"}
    assert loss.details["spread_of_seeds"] == 0.5, "the reference's alone"
    assert loss.correct is False
    assert epoch.correct is False
