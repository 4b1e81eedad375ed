import json

import pandas as pd
import pytest

from benchmarks import kronos_recipes
from benchmarks.kronos_recipes import BARS, CANDIDATES, EARLIER, KronosRecipes, as_argv, keep, load, run_stage
from ft_core.cli.settings import field_names
from kronos_ft.training.quantile_arguments import STAGE_TYPES


def test_the_recipes_market_is_later_than_that_of_the_starting_weights(tmp_path):
    recipes = KronosRecipes("sample", "tiny", 600, tmp_path)
    earlier, later = (pd.read_csv(path, parse_dates=["timestamps"]) for path in (recipes.earlier, recipes.later))
    assert earlier["timestamps"].max() < later["timestamps"].min()
    assert len(earlier) / (len(earlier) + len(later)) == pytest.approx(EARLIER, abs=1e-4)
    assert (recipes.windows["stride"], recipes.windows["validation_stride"]) == (25, 10)


@pytest.mark.parametrize(("bars", "used", "strides"), [(BARS + 500, BARS, (25, 10)), (7000, 7000, (5, 2))])
def test_markets_of_any_length_have_about_as_many_windows(tmp_path, bars, used, strides):
    times = pd.date_range("2024-01-01", periods=bars, freq="h")
    price = [1.0 + number % 7 / 10 for number in range(bars)]
    table = pd.DataFrame({"timestamps": times, "volume": 1.0} | dict.fromkeys(("open", "high", "low", "close"), price))
    table.to_csv(tmp_path / "one.csv", index=False)
    recipes = KronosRecipes(str(tmp_path / "one.csv"), "tiny", 600, tmp_path / "work")
    later = pd.read_csv(recipes.later, parse_dates=["timestamps"])
    assert later["timestamps"].iloc[-1] == times[-1]
    assert len(pd.read_csv(recipes.earlier)) + len(later) == used
    assert (recipes.windows["stride"], recipes.windows["validation_stride"]) == strides


def test_settings_become_options():
    assert as_argv({"early_stopping": True, "learning_rate": 5e-4}) == [
        *("--early_stopping", "true", "--learning_rate", "0.0005")
    ]


def test_candidates_name_settings_of_both_stages():
    for stage in ("tokenizer", "predictor"):
        known = set(field_names(STAGE_TYPES[stage]))
        assert all(set(candidate) <= known for candidate in CANDIDATES.values())


def test_a_run_is_timed_at_each_evaluation(tmp_path):
    recipes = KronosRecipes("sample", "tiny", 2, tmp_path)
    settings = {"max_steps": 2, "per_device_train_batch_size": 8, "eval_strategy": "steps", "eval_steps": 1}
    found = recipes.train("tokenizer", {**settings, "save_strategy": "steps", "save_steps": 1}, seed=1)
    assert [entry["step"] for entry in found["history"]] == [0, 1, 2]
    seconds = [entry["cpu"] for entry in found["history"]]
    assert seconds == sorted(seconds)
    assert seconds[-1] < found["cpu_run"]
    assert found["test"]["recon_all"] > 0
    assert found["steps"] == 2
    assert [path.name for path in recipes.folder.iterdir() if path.is_dir()] == ["tokenizer-2"]  # the run is removed


def test_a_refused_setting_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="optim=muom is not an optimizer"):
        run_stage("tokenizer", {"data": "sample", "model": "tiny", "optim": "muom"}, tmp_path / "run")


def test_recorded_runs_are_kept_and_not_repeated(tmp_path, monkeypatch):
    path, trained = tmp_path / "recipes.json", []

    def train(self, stage, settings, seed):
        trained.append((stage, settings, seed))
        if seed == 2:
            raise KeyboardInterrupt  # stopped in its second run
        return {"steps": 1, "cpu_run": 1.0, "history": [{"step": 1, "score": 0.5}]}

    monkeypatch.setattr(KronosRecipes, "train", train)
    argv = ["kronos", "--starts", "600", "--presets", "baseline", "--stages", "tokenizer", "--seeds", "1", "2"]
    argv += ["--work", str(tmp_path), "--output", str(path)]
    with pytest.raises(KeyboardInterrupt):
        kronos_recipes.main(argv)
    assert list(load(path)["runs"]) == ["tokenizer/sample/600/baseline/1"]
    del trained[:]
    with pytest.raises(KeyboardInterrupt):
        kronos_recipes.main(argv)
    assert trained == [("tokenizer", {"preset": "baseline"}, 2)]


def test_results_of_several_processes_are_merged(tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    keep(first, {"tokenizer/sample/600/baseline/1": {"steps": 1}})
    keep(second, {"tokenizer/sample/600/baseline/2": {"steps": 2}})
    assert kronos_recipes.main(["merge", str(second), "--output", str(first)]) == 0
    runs = json.loads(first.read_text())["runs"]
    assert [runs[key]["steps"] for key in sorted(runs)] == [1, 2]
