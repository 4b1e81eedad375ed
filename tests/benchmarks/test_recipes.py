import json

import pandas as pd
import pytest

from benchmarks import recipes
from kronos_ft.training.presets import PRESETS


def test_the_recipes_market_is_later_than_that_of_the_starting_weights(tmp_path):
    earlier, later = (pd.read_csv(path, parse_dates=["timestamps"]) for path in recipes.halves(tmp_path))
    assert earlier["timestamps"].max() < later["timestamps"].min()
    assert len(earlier) / (len(earlier) + len(later)) == pytest.approx(recipes.EARLIER, abs=1e-4)


def test_settings_become_words():
    assert recipes._words({"early_stopping": True, "learning_rate": 5e-4}) == [
        *("--early_stopping", "true", "--learning_rate", "0.0005")
    ]


def test_candidates_name_settings_of_a_preset():
    known = {"preset"}.union(*PRESETS.values())
    assert all(set(candidate) <= known for candidate in recipes.CANDIDATES.values())


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
