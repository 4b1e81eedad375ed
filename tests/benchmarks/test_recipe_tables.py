import math

import pytest

from benchmarks.recipe_tables import PROMISES, Promise, best, interval, of_recipe, reach, table, verdict, write_page

SAVING = Promise("steps", -0.20, lambda reference, run: None)
MT5 = {"seconds": 2.0, "disk_at_peak": 3, "disk_at_end": 2, "rougeL": 40.0}


def run(scores, steps=10, epochs=None, planned=10, **more):
    """A run whose evaluations, one a pass, have these scores; the first is of the starting weights."""
    history = [{"step": steps * number, "epoch": number, "score": score} for number, score in enumerate(scores)]
    done = len(scores) - 1 if epochs is None else epochs
    return {"history": history, "steps": steps * done, "epochs": done, "planned_epochs": planned, "test": None, **more}


def promise(text, stage="mt5"):
    return next(one for one in PROMISES[stage] if one.text.startswith(text))


def test_the_starting_weights_are_no_evaluation_of_training():
    found = run([0.1, 0.5, 0.3, 0.4])
    assert best(found)["step"] == 20
    assert reach(found, 0.45)["step"] == 20
    assert reach(found, 0.2) is None


def test_interval_of_three_seeds_is_students():
    low, high = interval([-0.1, -0.2, -0.3])
    assert (low, high) == pytest.approx(
        (-0.2 - 4.30265 * 0.1 / math.sqrt(3), -0.2 + 4.30265 * 0.1 / math.sqrt(3)), rel=1e-5
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([-0.3, -0.31, -0.29], "held"),
        ([0.1, 0.11, 0.09], "not held"),
        ([-0.2, -0.1, -0.3], "undecided"),
        ([-0.3, -0.3], "not held (1 of 3 seeds never got there)"),
        ([], "not held"),
    ],
)
def test_verdicts_of_a_saving(changes, expected):
    assert verdict(SAVING, changes, 3) == expected


def test_verdict_of_what_must_not_get_worse():
    quality = promise("share of ROUGE-L lost", "mt5")
    assert verdict(quality, [-0.01, 0.0, 0.01], 3) == "held"
    assert verdict(quality, [0.2, 0.21, 0.19], 3) == "not held"


def test_what_is_lost_of_a_score_that_should_grow():
    lost = promise("share of ROUGE-L lost", "mt5").change
    assert lost(run([1, 1], rougeL=50.0), run([1, 1], rougeL=45.0)) == pytest.approx(0.1)
    assert lost(run([1, 1], rougeL=50.0), run([1, 1], rougeL=55.0)) == pytest.approx(-0.1)
    assert lost(run([1, 1], rougeL=0.0), run([1, 1], rougeL=55.0)) == 0.0  # there was nothing to lose


def test_table_pairs_runs_by_seed():
    runs = {
        "mt5/original/1": run([1, 0.5, 0.4], **MT5),
        "mt5/original/2": run([1, 0.5, 0.2], **MT5),
        "mt5/optimized/1": run([1, 0.5, 0.2], **MT5),
        "mt5/optimized/3": run([1, 0.5, 0.1], **MT5),
        "tokenizer/sample/600/best/1": run([1, 0.5]),
    }
    assert sorted(of_recipe(runs, "mt5", "optimized")) == [1, 3]
    lines = table(runs, "mt5", "optimized")
    assert "seeds 1" in lines[0]
    assert any("-50.0 %" in line and "best validation loss |" in line for line in lines)


def test_page_keeps_what_is_outside_of_the_marks(tmp_path):
    page = tmp_path / "recipes.md"
    page.write_text("before\n<!-- mt5 -->\nold\n<!-- end of mt5 -->\nafter\n")
    runs = {f"mt5/{name}/1": run([1, 0.5, score], **MT5) for name, score in (("original", 0.4), ("optimized", 0.2))}
    write_page(runs, page)
    text = page.read_text()
    assert text.startswith("before\n<!-- mt5 -->\n| recipe |")
    assert text.endswith("<!-- end of mt5 -->\nafter\n")
    assert "old" not in text
