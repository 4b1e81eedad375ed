import math

import pytest

from benchmarks.recipe_tables import Promise, best, interval, of_recipe, reach, verdict, write_page

SAVING = Promise("steps", -0.20, lambda reference, run: None)


def run(scores, steps=10, epochs=None, planned=10, **more):
    """A run whose evaluations, one a pass, have these scores; the first is of the starting weights."""
    history = [{"step": steps * number, "epoch": number, "score": score} for number, score in enumerate(scores)]
    done = len(scores) - 1 if epochs is None else epochs
    return {"history": history, "steps": steps * done, "epochs": done, "planned_epochs": planned, "test": None, **more}


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


def test_runs_of_a_recipe_by_seed():
    runs = {
        "strong/optimized/1": run([1, 0.5]),
        "strong/optimized/3": run([1, 0.4]),
        "strong/original/1": run([1, 0.6]),
        "tokenizer/sample/600/best/1": run([1, 0.5]),
    }
    assert sorted(of_recipe(runs, "strong", "optimized")) == [1, 3]


def test_page_keeps_what_is_outside_of_the_marks(tmp_path):
    page = tmp_path / "recipes.md"
    page.write_text("before\n<!-- kronos -->\nold\n<!-- end of kronos -->\nafter\n")
    write_page({"kronos": ["new", ""]}, page)
    assert page.read_text() == "before\n<!-- kronos -->\nnew\n<!-- end of kronos -->\nafter\n"
