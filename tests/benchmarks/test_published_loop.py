import pytest

from benchmarks import published_loop
from benchmarks.kronos_recipes import KronosRecipes


@pytest.mark.parametrize("stage", ["tokenizer", "predictor"])
def test_the_published_loop_starts_from_the_score_of_the_trainer(tmp_path, monkeypatch, stage):
    monkeypatch.setattr(published_loop, "PASSES", 2)
    recipes = KronosRecipes("sample", "tiny", 2, tmp_path)
    recipes.windows |= {"stride": 90, "validation_stride": 90}
    short = {"max_steps": 1, "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    ours, theirs = recipes.train(stage, short, seed=1), recipes.train(stage, None, seed=1)
    assert theirs["history"][0]["score"] == pytest.approx(ours["history"][0]["score"], rel=1e-5)
    assert [entry["step"] for entry in theirs["history"]] == [0, 2, 4]
    assert theirs["history"][2]["cpu"] > theirs["history"][1]["cpu"] > 0
    assert theirs["history"][2]["score"] < theirs["history"][0]["score"]
