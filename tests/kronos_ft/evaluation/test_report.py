"""The report: verdict first, back-test last with its warning, figures that are those of the JSON."""

import json

import pytest

from kronos_ft.baselines.bootstrap import VolatilityCone
from kronos_ft.baselines.naive import Persistence
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.evaluation.report import markdown, terminal_text, write_report
from kronos_ft.evaluation.settings import EvaluationSettings, OriginPlan
from kronos_ft.evaluation.tables import (
    other_rows,
    panel_rows,
    reference_rows,
    reliability_rows,
    short_rows,
    shown_horizons,
    text_table,
)
from kronos_ft.evaluation.verdict import corrected_values, headline, verdict, verdicts
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
        assert headline(evaluation) in lines[0]
        assert "against" in lines[1] + lines[2]  # the table of results
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


def test_the_terminal_has_five_columns_and_all_on_request(evaluation):
    best = evaluation["references"]["close"]["name"]
    short, long = terminal_text(evaluation), terminal_text(evaluation, verbose=True)
    header = next(line for line in short.splitlines() if line.startswith("forecaster"))
    assert [part.strip() for part in header.split("  ") if part.strip()] == [
        "forecaster", "CRPS bp", f"skill vs {best}", "in 90 %", "MAE bp",
    ]  # fmt: skip
    scores, rows = evaluation["scores"], {row[0]: row[1:] for row in short_rows(evaluation)}
    for name, (crps, skill, coverage, mae) in rows.items():
        close = scores[name]["close"]
        assert crps == f"{close['crps']['by_horizon'][-1] * 1e4:.1f}"
        assert mae == f"{close['mae']['by_horizon'][-1] * 1e4:.1f}"
        if name in evaluation["skill"]:
            outcome = evaluation["skill"][name][best]["close"]["crps"]
            assert skill.startswith(f"{100 * outcome['skill']['by_horizon'][-1]:+.1f} % (p")
        elif name != best:
            ratio = close["crps"]["by_horizon"][-1] / scores[best]["close"]["crps"]["by_horizon"][-1]
            assert skill == f"{100 * (1 - ratio):+.1f} %"
        band = close["bands"]["0.9"]
        if band["coverage"]["by_horizon"][-1] is None:
            assert coverage == "-"
        else:
            ends = [f"{100 * band[end]['by_horizon'][-1]:.0f}" for end in ("lower", "upper")]
            assert coverage == f"{100 * band['coverage']['by_horizon'][-1]:.0f} % [{ends[0]}, {ends[1]}]"
    assert rows[best][1] == "-"
    assert "RankIC" not in short
    assert "RankIC" in long
    assert "volatility QLIKE" in long
    assert long.splitlines()[0] == short.splitlines()[0]


def test_tables_of_volatility_probability_and_references(evaluation):
    text = markdown(evaluation)
    for name, row in {row[0]: row[1:] for row in other_rows(evaluation)}.items():
        close, volatility = (evaluation["scores"][name][target] for target in ("close", "volatility"))
        volume = evaluation["scores"][name].get("volume")
        assert bool(volume) == (name in ("persistence", "seasonal naive", "scaled cone"))
        qlike, mse = volatility["qlike"]["by_horizon"][-1], volatility["mse"]["by_horizon"][-1]
        assert row == [
            f"{close['wql']['by_horizon'][-1]:.3f}",
            f"{close['energy']['overall'] * 1e4:.1f}",
            "-" if qlike is None else f"{qlike:.3f}" if qlike < 1000 else f"{qlike:.1e}",
            f"{mse**0.5 * 1e8:.1f}",
            f"{close['probability_up']['brier']['by_horizon'][-1]:.4f}",
            f"{close['probability_up']['log']['by_horizon'][-1]:.4f}",
            f"{evaluation['scores'][name]['range']['crps']['by_horizon'][-1] * 1e4:.1f}",
            f"{volume['crps']['by_horizon'][-1]:.3f}" if volume else "-",
        ]
        assert f"| {name} | {' | '.join(row)} |" in text
    assert {row[0]: row[5:7] for row in other_rows(evaluation)}["persistence"] == ["0.2500", "0.6931"]
    counts = [int(row[1]) for row in reliability_rows(evaluation, "tuned")]
    assert sum(counts) == evaluation["origins"]["test"]
    header, rows = reference_rows(evaluation)
    assert header == [
        *("reference", "close: CRPS bp", "volatility: QLIKE", "probability up: Brier"),
        *("range: CRPS bp", "volume: CRPS"),
    ]
    for column, judged in enumerate(("close", "volatility", "probability up", "range", "volume"), start=1):
        (bold,) = [row[0] for row in rows if row[column].startswith("**")]
        assert bold == evaluation["references"][judged]["name"]
    assert "## References, chosen on the validation split" in text


def test_the_survivors_of_several_models(evaluation):
    pytest.importorskip("arch")
    found = evaluation["survivors"]
    assert set(found["p_values"]) == {"base", "tuned", "volatility cone", "scaled cone", "EWMA", "HAR-RV"}
    line = (
        f"model confidence set (90 %, CRPS of the close): {', '.join(found['survivors'])}; SPA test that no model is "
    )
    assert line in terminal_text(evaluation)
    assert line in markdown(evaluation)


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
    assert read.pop("headline") == headline(evaluation)
    assert read.pop("corrected") == corrected_values(evaluation)
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
    assert bare["survivors"] is None
    assert bare["references"] == {}


def test_an_evaluation_of_an_earlier_version_is_still_shown(evaluation):
    """Without references, coverage intervals, and scores of volatility and probability."""
    old = json.loads(json.dumps(evaluation))
    for key in ("references", "memorised", "survivors"):
        del old[key]
    for scores in old["scores"].values():
        for target in scores.values():
            for name in ("probability_up", "qlike", "mse", "wql"):
                target.pop(name, None)
            for band in target["bands"].values():
                for name in ("lower", "upper", "effective"):
                    del band[name]
    for against in old["skill"].values():
        for outcome in against.values():
            for target in outcome.values():
                for name in ("brier", "log", "qlike", "variance"):
                    target.pop(name, None)
    assert verdict(old).startswith("close, 6 bars: ")
    assert "## Back-test" in markdown(old)
    assert terminal_text(old).splitlines()[0] == headline(old)
    assert verdict(old) in terminal_text(old)


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


def test_five_symbols_are_ranked_at_each_date():
    series = load_candles({name: simulate_candles(700, seed=seed) for seed, name in enumerate("ABCDE")})
    settings = EvaluationSettings(OriginPlan(lookback=30, horizon=6, step=3))
    found = evaluate_forecasters(series, [cone("model", 30)], settings, baselines=[Persistence()])
    assert found["panel"]["model"]["rank_ic"]["dates"] == found["origins"]["test"] / 5
    assert found["panel"]["persistence"]["rank_ic"]["note"] == "the forecast is the same for all symbols"
    row = next(row[1:] for row in panel_rows(found) if row[0] == "model")
    assert row[0] == f"{found['panel']['model']['rank_ic']['mean']:.3f}"
    assert "## Across symbols" in markdown(found)
    assert "across symbols, by date" in terminal_text(found)
    four = evaluate_forecasters(series[:4], [cone("model", 30)], settings, baselines=[])
    assert four["panel"] == {}
    assert "## Across symbols" not in markdown(four)
