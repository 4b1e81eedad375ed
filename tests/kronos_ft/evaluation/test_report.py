"""The report: verdict first, back-test last with its warning, figures that are those of the JSON."""

import json

import pytest

from kronos_ft.baselines.bootstrap import VolatilityCone
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.evaluation.report import markdown, terminal_text, write_report
from kronos_ft.evaluation.settings import EvaluationSettings, OriginPlan
from kronos_ft.evaluation.tables import shown_horizons, text_table
from kronos_ft.evaluation.verdict import verdict, verdicts
from kronos_ft.evaluation.walk_forward import evaluate_forecasters
from kronos_ft.scoring.backtest import WARNING


def cone(name, lookback):
    return VolatilityCone(lookback=lookback, num_paths=25, seed=3, name=name)


@pytest.fixture(scope="module")
def series():
    return load_candles({"A": simulate_candles(900, seed=1), "B": simulate_candles(700, seed=2)})


@pytest.fixture(scope="module")
def evaluation(series):
    settings = EvaluationSettings(OriginPlan(lookback=30, horizon=6, step=3))
    return evaluate_forecasters(series, [cone("base", 10), cone("tuned", 30)], settings)


def test_the_verdict_comes_first_and_the_backtest_last(evaluation):
    for text in (markdown(evaluation), terminal_text(evaluation)):
        lines = text.strip().splitlines()
        assert next(iter(verdicts(evaluation).values())) in lines[0]
        assert all(said in text for said in verdicts(evaluation).values())
        assert WARNING in lines[-1]
    sections = [line for line in markdown(evaluation).splitlines() if line.startswith("## ")]
    assert sections[0] == "## Close, 6 bars ahead"
    assert sections[-1] == "## Back-test"
    for part in ("By volatility of the context", "By symbol", "tuned: close by horizon", "base: every target"):
        assert any(part in section for section in sections)


def test_figures_are_those_of_the_evaluation(evaluation):
    text = markdown(evaluation)
    scores = evaluation["scores"]["tuned"]["close"]
    row = next(line for line in text.splitlines() if line.startswith("| tuned |"))
    assert row.split(" | ")[1] == f"{scores['mae']['by_horizon'][-1] * 1e4:.1f}"
    assert row.split(" | ")[3] == f"{scores['mase']['by_horizon'][-1]:.3f}"
    skill = evaluation["skill"]["tuned"]["base"]["close"]["absolute"]
    row = next(line for line in text.splitlines() if line.startswith("| tuned against base |"))
    assert f"{100 * skill['skill']['by_horizon'][-1]:+.1f} % (p" in row
    assert "| buy and hold |" in text
    assert "| A, base |" in text


def test_every_table_is_rectangular(evaluation):
    width = None
    for line in markdown(evaluation).splitlines():
        if not line.startswith("|"):
            width = None
            continue
        width = width or line.count("|")
        assert line.count("|") == width, line


def test_files_are_written_whole(evaluation, tmp_path):
    write_report(evaluation, tmp_path, [("Skill", "skill.png")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluation.json", "evaluation.md"]
    read = json.loads(
        (tmp_path / "evaluation.json").read_text(), parse_constant=lambda text: pytest.fail(f"{text} is not JSON")
    )
    assert read.pop("verdict") == verdict(evaluation)
    assert read.pop("verdicts") == verdicts(evaluation)
    assert read == evaluation
    text = (tmp_path / "evaluation.md").read_text()
    assert "![Skill](skill.png)" in text
    assert text.rstrip().endswith(f"**{WARNING}**")


def test_a_report_without_validation_symbols_or_baselines(series):
    plan = OriginPlan(lookback=30, horizon=1, step=5, ratios=(0.7, 0.0, 0.3))
    bare = evaluate_forecasters(series[:1], [cone("alone", 30)], EvaluationSettings(plan), baselines=[])
    text = markdown(bare)
    assert "## By symbol" not in text
    assert "calibrated" not in text
    assert "not compared with any reference" in text
    assert terminal_text(bare)


def test_shown_horizons_begin_close_together():
    assert shown_horizons(1) == [1]
    assert shown_horizons(3) == [1, 2, 3]
    assert shown_horizons(112) == [1, 2, 4, 8, 15, 29, 57, 112]


def test_text_tables_align():
    assert text_table(("", "a"), [["long name", "1"], ["x", "22.5"]]) == [
        "              a",
        "long name     1",
        "x          22.5",
    ]
