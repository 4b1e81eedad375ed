"""Several runs side by side."""

import statistics

import pytest

from ft_core.report.comparison import differing, names_of, seed_groups, write_comparison
from ft_core.report.facts import read_run
from kronos_ft.report.views import VIEWS
from tests.written_runs import predictor_run, tokenizer_run


def seeded(folder, seed, shift=0.0, **arguments):
    run = tokenizer_run()
    run.arguments.update(seed=seed, output_dir=str(folder), **arguments)
    run.evaluated("recon_all", lambda step, old: old + shift)
    return run.write(folder)


@pytest.fixture
def three(tmp_path):
    return [seeded(tmp_path / f"seed-{seed}", seed, 0.01 * seed) for seed in (1, 2, 3)]


def test_runs_that_differ_in_their_seed_alone_are_a_group(three, tmp_path):
    other = seeded(tmp_path / "other", 1, learning_rate=5e-5)
    runs = [read_run(path, VIEWS) for path in (*three, other)]
    assert seed_groups(runs) == [[0, 1, 2]]
    assert seed_groups(runs[:1]) == []
    found = differing(runs)
    assert found["arguments.learning_rate"] == ["0.0001", "0.0001", "0.0001", "5e-05"]
    assert found["arguments.seed"] == ["1", "2", "3", "1"]
    assert set(found) == {"arguments.learning_rate", "arguments.seed"}


def test_a_group_is_of_ended_runs_and_has_each_seed_once(three, tmp_path):
    again = seeded(tmp_path / "again", 1, 0.3)
    cut = tokenizer_run()
    cut.arguments["seed"] = 4
    cut.end_at(100, "running")
    went_on = seeded(tmp_path / "resumed", 5, eval_on_start=False)
    runs = [read_run(path, VIEWS) for path in (*three, again, cut.write(tmp_path / "cut"), went_on)]
    assert seed_groups(runs) == [[0, 1, 2, 5]]


def test_other_windows_are_a_difference(tmp_path):
    run = tokenizer_run()
    run.arguments["seed"] = 9
    run.observed["validation"]["windows"] = 131
    runs = [read_run(path, VIEWS) for path in (seeded(tmp_path / "a", 1), run.write(tmp_path / "b"))]
    assert differing(runs)["observed.validation"][1].startswith("131 windows, BTC 2020-09-06")
    assert seed_groups(runs) == []


def test_two_runs_of_one_seed_are_no_spread(tmp_path):
    runs = [read_run(seeded(tmp_path / name, 4), VIEWS) for name in ("a", "b")]
    assert seed_groups(runs) == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_comparison_has_the_spread_and_shared_axes(three, language, tmp_path):
    files = write_comparison(three, VIEWS, language, tmp_path / "out")
    text = files[0].read_text(encoding="utf-8")
    best = [read_run(path, VIEWS).trained_evaluations.min() for path in three]
    assert f"{statistics.fmean(best):.4g} | {statistics.stdev(best):.4g} | 3 |" in text
    assert "| `seed` | 1 | 2 | 3 |" in text
    page = files[1].read_text(encoding="utf-8")
    assert page.count("<svg ") == 4
    for name in ("seed-1", "seed-2", "seed-3"):
        assert page.count(f">{name}</text>") == 4  # each picture has them all


def test_runs_of_other_kinds_are_not_drawn_together(tmp_path):
    paths = [tokenizer_run().write(tmp_path / "one"), predictor_run().write(tmp_path / "two")]
    files = write_comparison(paths, VIEWS, "en", tmp_path / "out")
    assert "predictor loss, tokenizer recon_all" in files[0].read_text(encoding="utf-8")
    assert "<svg" not in files[1].read_text(encoding="utf-8")


def test_runs_of_one_name_are_told_apart(tmp_path):
    paths = [tokenizer_run().write(tmp_path / parent / "run") for parent in ("a", "b")]
    runs = [read_run(path, VIEWS) for path in paths]
    assert names_of(runs) == ["a/run", "b/run"]
    with pytest.raises(ValueError, match="is named twice; name each run once"):
        write_comparison([paths[0], paths[0]], VIEWS, "en", tmp_path / "out")
