import math

import pytest

from benchmarks.recipe_tables import PROMISES, best, interval, of_recipe, reach, table, variation, verdict, write_page


def run(scores, steps=10, epochs=None, planned=10, **more):
    """A run whose evaluations, one a pass, have these scores; the first is of the starting weights."""
    history = [{"step": steps * number, "epoch": number, "score": score} for number, score in enumerate(scores)]
    done = len(scores) - 1 if epochs is None else epochs
    return {"history": history, "steps": steps * done, "epochs": done, "planned_epochs": planned, "test": None, **more}


def promise(text, stage="tokenizer"):
    return next(one for one in PROMISES[stage] if one.text.startswith(text))


def test_the_starting_weights_are_no_evaluation_of_training():
    found = run([0.1, 0.5, 0.3, 0.4])
    assert best(found)["step"] == 20
    assert reach(found, 0.45)["step"] == 20
    assert reach(found, 0.2) is None


def test_steps_to_reach_count_optimizer_steps_and_passes():
    reference, ours = run([1.0, 0.5, 0.4], steps=10), run([1.0, 0.4, 0.3], steps=8)
    assert promise("optimizer steps").change(reference, ours) == pytest.approx(8 / 20 - 1)
    assert promise("passes over").change(reference, ours) == pytest.approx(-0.5)
    assert promise("optimizer steps").change(ours, reference) is None


def test_gains():
    reference, ours = run([1.0, 0.5, 0.4]), run([1.0, 0.45, 0.36], planned=4)
    assert promise("best validation").change(reference, ours) == pytest.approx(-0.1)
    assert promise("passes left out").change(reference, ours) == pytest.approx(-0.5)


def test_a_run_that_learnt_nothing_saves_nothing_by_its_end():
    reference = run([1.0, 0.5, 0.4])
    assert promise("passes left out").change(reference, run([1.0, 0.5], planned=4)) == pytest.approx(-0.75)
    assert promise("passes left out").change(reference, run([1.0, 0.995, 1.2], planned=4)) is None


def test_variation_is_that_of_the_second_half():
    assert variation(run([9, 8, 1, 1.0, 1.1, 1.0])) == pytest.approx((0.0 + 0.1 + (1 - 1 / 1.1)) / 3)


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
    assert verdict(promise("optimizer steps"), changes, 3) == expected


def test_table_pairs_runs_by_seed():
    runs = {
        "tokenizer/baseline/1": run([1, 0.5, 0.4]),
        "tokenizer/baseline/2": run([1, 0.5, 0.2]),
        "tokenizer/optimized/1": run([1, 0.5, 0.2]),
        "tokenizer/optimized/3": run([1, 0.5, 0.1]),
    }
    assert sorted(of_recipe(runs, "tokenizer", "optimized")) == [1, 3]
    lines = table(runs, "tokenizer", "optimized")
    assert "seeds 1" in lines[0]
    assert any("-50.0 %" in line and "best validation |" in line for line in lines)


def test_page_keeps_what_is_outside_of_the_marks(tmp_path):
    page = tmp_path / "recipes.md"
    page.write_text("before\n<!-- tokenizer -->\nold\n<!-- end of tokenizer -->\nafter\n")
    runs = {f"tokenizer/{name}/1": run([1, 0.5, score]) for name, score in (("baseline", 0.4), ("optimized", 0.2))}
    write_page(runs, page)
    text = page.read_text()
    assert text.startswith("before\n<!-- tokenizer -->\n| recipe |")
    assert text.endswith("<!-- end of tokenizer -->\nafter\n")
    assert "old" not in text
