import json
import math

import pytest

from benchmarks import mt5_recipes
from benchmarks.mt5_recipe_tables import PROMISES, comparison, figures, load, write_page
from benchmarks.mt5_recipes import (
    CANDIDATES,
    COMMON,
    FACTOR,
    measure,
    settings_of,
    starting_weights,
    train,
    wanted_runs,
)
from benchmarks.recipe_tables import verdict
from mt5_ft.training.arguments import LEARNING_RATES, MT5Arguments
from mt5_ft.training.presets import PRESETS


def run(rouge=50.0, cpu=10.0, disk=8e6, loss=1.0):
    history = [{"step": 0, "epoch": 0, "score": 9.0}, {"step": 10, "epoch": 1, "score": loss}]
    return {"history": history, "steps": 10, "rougeL": rouge, "cpu_seconds": cpu, "records": 8} | dict.fromkeys(
        ("disk_at_peak", "disk_at_end"), disk
    )


def test_start_and_fine_tuning_have_different_topics_and_seeds_different_records():
    earlier, later = mt5_recipes.topics()
    assert (len(earlier), len(later), set(earlier) & set(later)) == (10, 2, set())
    train_records, validation = mt5_recipes.records_of(1)
    assert len(validation) >= 300
    assert {record["topic"] for record in train_records + validation} == set(later)
    sources = [[mt5_recipes.texts_of(record)[0] for record in records] for records in (train_records, validation)]
    assert not set(sources[0]) & set(sources[1])
    assert mt5_recipes.records_of(2)[0] != train_records


def test_settings_are_those_of_the_preset_with_scaled_rates():
    original = settings_of({"preset": "original"}, 20)
    assert original["learning_rate"] == pytest.approx(20 * 5e-5)
    assert original["num_train_epochs"] == PRESETS["original"]["num_train_epochs"]
    assert settings_of({"preset": "fast"}, 3)["learning_rate"] == pytest.approx(3 * LEARNING_RATES["adamw"])
    assert all(original[name] == value for name, value in COMMON.items())
    for recipe in CANDIDATES.values():
        MT5Arguments(output_dir="none", **settings_of(recipe, FACTOR))


def test_baselines_take_the_beginning_and_a_summary_of_the_same_topic():
    def record(topic, source, target):
        return {
            "topic": topic,
            "case_description": [source],
            "consultation_process": [],
            "experience_and_reflection": target,
        }

    records = [
        record("a", "一二三四五六", "一二三四"),
        record("b", "七八九十", "七八"),
        record("a", "天地人和", "一二地人"),
    ]
    found = mt5_recipes.baselines(records)
    assert found["lead"] == pytest.approx(100 * (1 + 1 + 0.5) / 3)
    assert found["same topic"] == pytest.approx(100 * (0.5 + 1 + 0.5) / 3)


def test_tiny_run_records_its_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(mt5_recipes, "RECORDS", 8)
    monkeypatch.setattr(mt5_recipes, "VALIDATION_RECORDS", 3)
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_heads": 2, "num_layers": 1, "num_decoder_layers": 1}
    start = starting_weights(tmp_path, 1, shape, 20)
    written = (start / "model.safetensors").stat().st_mtime_ns
    assert starting_weights(tmp_path, 1) == start
    assert (start / "model.safetensors").stat().st_mtime_ns == written
    found = train({"preset": "original", "num_train_epochs": 2}, start, 1, tmp_path)
    assert found["steps"] == 2
    assert [entry["step"] for entry in found["history"]] == [1, 2]
    assert found["summarised"] == 3
    assert found["disk_at_peak"] >= found["disk_at_end"] > (start / "model.safetensors").stat().st_size
    assert found["cpu_seconds"] > 0
    assert math.isfinite(found["rougeL"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["random", "start-1", "train.jsonl", "validation.jsonl"]


def test_recorded_runs_are_kept_and_not_repeated(tmp_path, monkeypatch):
    path, trained = tmp_path / "results.json", []
    monkeypatch.setattr(mt5_recipes, "starting_weights", lambda work, steps: work / str(steps))

    def one(recipe, start, seed, work, factor):
        trained.append((recipe["preset"], start.name, seed, factor))
        if seed == 2:
            raise KeyboardInterrupt
        return run()

    wanted = wanted_runs("judge", ["original"], ["weak"], [1, 2])
    with pytest.raises(KeyboardInterrupt):
        measure(path, wanted, tmp_path, one)
    assert list(json.loads(path.read_text())["runs"]) == ["weak/original/1"]
    assert trained == [("original", str(mt5_recipes.STARTS["weak"]), seed, FACTOR) for seed in (1, 2)]
    del trained[:]
    measure(path, {"weak/original/1": wanted["weak/original/1"]}, tmp_path, one)
    assert not trained


def test_candidates_have_keys_of_their_own():
    assert list(wanted_runs("search", ["8-adamw-2x"], ["weak"], [11])) == ["search-weak/8-adamw-2x/11"]


def test_the_factor_is_searched_with_original_alone():
    wanted = wanted_runs("rates", [], ["weak"], [11])
    assert {key: values[3] for key, values in wanted.items()} == {
        f"rates-weak/{factor:g}/11": factor for factor in mt5_recipes.FACTORS
    }


def test_tables_compare_the_runs_of_a_seed():
    runs = {
        **{f"weak/original/{seed}": run(50.0, 10.0 + seed) for seed in (1, 2, 3)},
        **{f"weak/optimized/{seed}": run(49.0, 4.0 + 0.4 * seed, 4e6) for seed in (1, 2)},
        "search-weak/muon-2x/11": run(),
    }
    rows = [line for line in comparison(runs, ["optimized", "fast"]) if line.startswith("| weak")]
    assert len(rows) == 1
    assert "| -60.0 % (-60.0 to -60.0), held | -50.0 % (-50.0 to -50.0), held |" in rows[0]
    assert "| +2.0 % (+2.0 to +2.0), held |" in rows[0]
    table = figures(runs)
    assert "| weak | `original` | 1, 2, 3 | 8 | 50.0 ± 0.0 | 1.000 ± 0.000 | 12 ± 1 | 10 | 8.0 |" in table
    assert "| search-weak | `muon-2x` | 11 | 8 | 50.0 | 1.000 | 10 | 10 | 8.0 |" in table


def test_page_keeps_the_text_outside_of_its_marks(tmp_path):
    page = tmp_path / "recipes.md"
    page.write_text("before\n<!-- mt5 -->\nold\n<!-- end of mt5 -->\nafter\n")
    write_page({"runs": {f"strong/{name}/1": run() for name in ("original", "best")}}, page=page)
    text = page.read_text()
    assert text.startswith("before\n<!-- mt5 -->\n| start | recipe |")
    assert text.endswith("<!-- end of mt5 -->\nafter\n")
    assert "| strong | `best` | +0.0 % |" in text
    assert "old" not in text


def test_quality_must_not_get_worse_than_promised():
    lost = next(one for one in PROMISES if one.text == "ROUGE-L lost")
    assert lost.change(run(50), run(55)) == pytest.approx(-0.1)
    assert lost.change(run(50), run(45)) == pytest.approx(0.1)
    assert verdict(lost, [-0.01, 0.0, 0.01], 3) == "held"
    assert verdict(lost, [0.2, 0.21, 0.19], 3) == "not held"


def test_results_may_be_missing(tmp_path):
    assert load(tmp_path / "none.json") == {"runs": {}}
