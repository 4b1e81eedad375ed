import json

import pytest

from benchmarks import recipes


def test_a_failed_run_is_told_with_its_last_lines(tmp_path):
    with pytest.raises(RuntimeError, match=r"ended with 2:(?s:.*)no_such_setting"):
        recipes._run("kronos_ft", ["tokenizer", "--no_such_setting", "1"], tmp_path / "run")


def _trains(trained):
    def train(preset, seed, data, folder):
        trained.append((preset, seed))
        return {"steps": 1, "seconds": 1.0}

    return train


def test_recorded_runs_are_kept_and_not_repeated(tmp_path, monkeypatch, capsys):
    path, trained = tmp_path / "recipes.json", []

    def train(preset, seed, data, folder):
        trained.append((preset, seed))
        if (preset, seed) == ("optimized", 2):
            raise KeyboardInterrupt  # stopped in its third run
        return {"steps": 1, "seconds": 1.0}

    monkeypatch.setattr(recipes, "train_mt5", train)
    command = ["recipes", "mt5", "--presets", "original", "optimized", "--seeds", "1", "2", "--output", str(path)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(KeyboardInterrupt):
        recipes.main()
    assert list(json.loads(path.read_text())["runs"]) == ["mt5/original/1", "mt5/optimized/1", "mt5/original/2"]
    del trained[:]
    monkeypatch.setattr(recipes, "train_mt5", _trains(trained))
    assert recipes.main() == 0
    assert trained == [("optimized", 2)]
