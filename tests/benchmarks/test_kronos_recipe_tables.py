import pytest

from benchmarks.kronos_recipe_tables import (
    LOWER,
    SAVED,
    SOONER,
    Place,
    end_score,
    is_worse,
    kept,
    places,
    quality_table,
    sections,
    speed_up,
    stage_tables,
    summary,
)
from benchmarks.recipe_picture import draw
from benchmarks.recipe_tables import write_page

WEAK = Place("tokenizer", "sample", 600)


def run(scores, seconds=1.0, total=None, test=1.0):
    """A run whose evaluations, one a pass of ten steps, have these scores; the first is of the starting weights."""
    history = [
        {"step": 10 * number, "epoch": number, "score": score, "cpu": seconds * number}
        for number, score in enumerate(scores)
    ]
    done = len(scores) - 1
    return {"history": history, "steps": 10 * done, "cpu_run": total or seconds * done, "test": {"recon_all": test}}


def runs_of(reference, ours, place="tokenizer/sample/600", recipe="best", seeds=(1, 2, 3)):
    return {f"{place}/{name}/{seed}": one for seed in seeds for name, one in (("baseline", reference), (recipe, ours))}


def test_quality_is_timed_by_the_processor():
    reference, ours = run([1.0, 0.8, 0.7], seconds=3.0), run([1.0, 0.9, 0.69], seconds=1.0)
    assert speed_up(reference, ours) == pytest.approx(6 / 2)
    assert speed_up(ours, reference) is None
    assert SOONER.change(reference, ours) == pytest.approx(2 / 6 - 1)


def test_a_run_returns_its_best_checkpoint_even_if_its_start_was_better():
    assert end_score(run([1.0, 1.2, 1.1])) == 1.1
    assert LOWER.change(run([1.0, 0.8]), run([1.0, 1.2, 1.0])) == pytest.approx(0.25)


def test_a_run_that_ends_worse_saves_no_time():
    reference = run([1.0, 0.8], total=10.0)
    assert SAVED.change(reference, run([1.0, 0.75], total=5.0)) == pytest.approx(-0.5)
    assert SAVED.change(reference, run([1.0, 0.9], total=5.0)) is None


def test_seeds_of_the_search_are_not_judged():
    found = runs_of(run([1.0, 0.8]), run([1.0, 0.6]), seeds=(1, 11))
    assert list(WEAK.runs(found, "best")) == [1]
    assert list(WEAK.runs(runs_of(run([1.0, 0.8]), run([1.0, 0.6]), seeds=(11,)), "best")) == [11]


def test_places_are_in_the_order_of_the_page():
    keys = ["predictor/other/600/best/1", "predictor/sample/3000/best/1", "predictor/sample/600/best/1", "mt5/best/1"]
    found = places(dict.fromkeys(keys, run([1.0, 0.5])), "predictor")
    assert [(place.market, place.start) for place in found] == [("sample", 600), ("other", 600), ("sample", 3000)]


def test_promises_are_judged_at_each_place():
    found = runs_of(run([1.0, 0.8], seconds=9.0), run([1.0, 0.6]))
    found |= runs_of(run([1.0, 0.8]), run([1.0, 0.85]), place="tokenizer/sample/3000")
    strong = Place("tokenizer", "sample", 3000)
    assert (kept(LOWER, WEAK, found, "best"), kept(LOWER, strong, found, "best")) == ("held", "not held")
    assert (is_worse(WEAK, found, "best"), is_worse(strong, found, "best")) == ([], [1, 2, 3])
    assert kept(LOWER, Place("tokenizer", "none", 600), found, "best") == ""
    rows = [line for line in summary(found) if "best validation: " in line]
    assert "1 of 2 | BTC/USDT, 30 min, start 3,000 (not held)" in rows[0]


def test_a_promise_that_some_seeds_miss_is_not_kept():
    found = runs_of(run([1.0, 0.8], seconds=9.0), run([1.0, 0.6])) | {"tokenizer/sample/600/best/3": run([1.0, 0.9])}
    assert kept(SOONER, WEAK, found, "best") == "held by 2 of 3 seeds"


def test_the_predictors_gain_is_a_share_of_the_distance_to_the_floor():
    place = "predictor/sample/600"
    found = runs_of(run([1.2, 1.15], seconds=9.0), run([1.2, 1.1]), place=place) | {f"{place}/long/11": run([1.2, 1.0])}
    row = next(line for line in stage_tables(found, "predictor") if "(25%)" in line)
    assert "| 1.2000 | 1.0000 | 0.0500 (25%) | 0.1000 (50%) | 2.0x |" in row


def test_time_to_quality_names_its_reference_and_goal():
    found = runs_of(run([1.0, 0.8], seconds=9.0), run([1.0, 0.6]))
    found |= {f"tokenizer/sample/600/published/{seed}": run([1.0, 0.8], seconds=12.0) for seed in (1, 2, 3)}
    lines = quality_table(found)
    published, baseline = (next(line for line in lines if f"`{name}`" in line) for name in ("published", "baseline"))
    assert "| 12.0 s | 12.0x | 12.0 to 12.0 | 6x | met | -25.0 % |" in published
    assert "| 9.0 s | 9.0x | 9.0 to 9.0 | 6x | met | -25.0 % |" in baseline


def test_the_page_has_the_tables_between_its_marks(tmp_path):
    page, found = tmp_path / "recipes.md", runs_of(run([1.0, 0.8], seconds=9.0), run([1.0, 0.6]))
    marks = sections(found)
    page.write_text("\n".join(f"<!-- {name} -->\nold\n<!-- end of {name} -->" for name in marks))
    write_page(marks, page)
    text = page.read_text()
    assert "old" not in text
    assert all(f"<!-- {name} -->\n| stage | " in text for name in ("kronos promises", "time to quality"))
    assert "**tokenizer: `best` beside `baseline`**" in text


def test_the_picture_has_a_line_for_each_recipe_and_start(tmp_path):
    found = runs_of(run([1.0, 0.8], seconds=9.0), run([1.0, 0.6]))
    found |= runs_of(run([0.9, 0.7]), run([0.9, 0.5]), place="tokenizer/sample/3000")
    found |= runs_of(run([1.2, 1.15]), run([1.2, 1.1]), place="predictor/sample/600")
    draw(found, tmp_path / "one.svg")
    text = (tmp_path / "one.svg").read_text()
    assert text.count("BTC/USDT, 30 min") == 2
    assert all(f"{name}, start {start}" in text for name in ("baseline", "best") for start in ("600", "3,000"))
    assert "published loop" not in text
