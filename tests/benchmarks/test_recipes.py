import json
from typing import ClassVar

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


class _Recipes:
    """In place of the trained starting weights; stopped in its third run."""

    trained: ClassVar[list[tuple]] = []
    stops = True

    def __init__(self, folder):
        pass

    def train(self, stage, settings, seed):
        self.trained.append((settings["preset"], seed))
        if self.stops and len(self.trained) == 3:
            raise KeyboardInterrupt
        return {"steps": 1, "seconds": 1.0}


def test_recorded_runs_are_kept_and_not_repeated(tmp_path, monkeypatch):
    path, trained = tmp_path / "recipes.json", []
    monkeypatch.setattr(recipes, "KronosRecipes", _Recipes)
    monkeypatch.setattr(_Recipes, "trained", trained)
    command = ["recipes", "kronos", "--presets", "baseline", "optimized", "--seeds", "1", "2", "--stages", "tokenizer"]
    monkeypatch.setattr("sys.argv", [*command, "--output", str(path)])
    with pytest.raises(KeyboardInterrupt):
        recipes.main()
    assert list(json.loads(path.read_text())["runs"]) == ["tokenizer/baseline/1", "tokenizer/optimized/1"]
    del trained[:]
    monkeypatch.setattr(_Recipes, "stops", False)
    assert recipes.main() == 0
    assert trained == [("baseline", 2), ("optimized", 2)]
