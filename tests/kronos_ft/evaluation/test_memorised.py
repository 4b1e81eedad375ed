"""Models that descend from the published weights: who they are, and which origins count for them."""

import json

import numpy as np
import pytest

from kronos_ft.baselines.bootstrap import VolatilityCone
from kronos_ft.baselines.naive import Persistence
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.evaluation.leakage import clean_dates, clean_from
from kronos_ft.evaluation.panel import Panel
from kronos_ft.evaluation.report import markdown, terminal_text
from kronos_ft.evaluation.settings import EvaluationSettings, OriginPlan
from kronos_ft.evaluation.verdict import verdict, verdicts
from kronos_ft.evaluation.walk_forward import evaluate_forecasters
from kronos_ft.models.sizes import PUBLISHED_PREDICTORS, TRAINED_UNTIL

DATE = "2024-06-01"
PLAN = OriginPlan(lookback=30, horizon=6, step=3)
MODEL = VolatilityCone(lookback=20, num_paths=25, seed=3, name="model")


@pytest.fixture
def folder_of(tmp_path):
    """A function: a run folder with a best model and what its record says of the model that it started from."""

    def make(name, model=None, **files):
        best = tmp_path / name / "best_model"
        best.mkdir(parents=True)
        if model is not None:
            (tmp_path / name / "run.json").write_text(json.dumps({"model": model}))
        for file, content in files.items():
            (best / f"{file}.json").write_text(json.dumps(content))
        return str(tmp_path / name)

    return make


def test_published_names_have_dates():
    for size, repository in PUBLISHED_PREDICTORS.items():
        assert TRAINED_UNTIL[repository] == DATE
        assert clean_from(size) == clean_from(repository) == clean_from(f"{repository}@main") == DATE
    assert clean_from("someone/else") is None
    assert clean_from("someone/else", repository="NeoQuasar/Kronos-mini") == DATE


def test_descent_follows_runs_adapters_and_pulls(folder_of, tmp_path):
    tuned = folder_of("tuned", {"model": "small", "repository": "NeoQuasar/Kronos-small", "from_scratch": False})
    again = folder_of("again", {"model": f"{tuned}/best_model", "repository": None, "from_scratch": False})
    quantiles = folder_of("head", {"model": again})
    fresh = folder_of("fresh", {"model": "base", "from_scratch": True})
    adapters = folder_of("adapters", {"model": fresh}, base_model={"name": "NeoQuasar/Kronos-base", "sha256": "0"})
    pulled = folder_of(
        "pulled", pulled={"repository": "NeoQuasar/Kronos-mini", "revision": "a" * 40, "sha256": {"config.json": "0"}}
    )
    for one in (tuned, again, quantiles, adapters, pulled, f"{again}/best_model"):
        assert clean_from(one) == DATE, one
    for one in (fresh, folder_of("unknown"), folder_of("other", {"model": fresh}), folder_of("odd", {"model": 7})):
        assert clean_from(one) is None, one
    looped = folder_of("loop", {"model": str(tmp_path / "back")})
    assert clean_from(folder_of("back", {"model": looped})) is None
    identities = [
        {"name": "a", "model": again, "repository": None}, {"name": "b", "model": fresh, "repository": None},
    ]  # fmt: skip
    assert clean_dates(identities) == {"a": DATE}


def test_a_run_of_both_stages_descends_as_its_predictor(folder_of, tmp_path):
    folder_of("btc/predictor", {"model": "mini", "from_scratch": False})
    assert clean_from(str(tmp_path / "btc")) == DATE


@pytest.fixture(scope="module")
def series():
    return load_candles({"A": simulate_candles(2400, seed=1)})


@pytest.fixture(scope="module")
def evaluations(series):
    """Without memorised bars, and with dates after a third of the test origins, after nearly all and after all."""
    stamps = Panel.build(series, "test", PLAN).stamps()
    days = [str(stamps[len(stamps) // 3])[:10], str(stamps[-1])[:10], "2031-01-01"]
    settings, baselines = EvaluationSettings(PLAN), [Persistence(), VolatilityCone(30)]
    plain = evaluate_forecasters(series, [MODEL], settings, baselines=baselines)
    found = [
        evaluate_forecasters(series, [MODEL], settings, baselines=baselines, clean_from={"model": day}) for day in days
    ]
    return plain, stamps, dict(zip(days, found, strict=True))


def test_skill_of_both_groups_is_that_of_their_origins(evaluations, series):
    plain, stamps, found = evaluations
    day, third = next(iter(found.items()))
    clean = stamps >= np.datetime64(day)
    assert third["memorised"]["origins"] == {"memorised": int((~clean).sum()), "clean": int(clean.sum())}
    assert third["skill"] == plain["skill"]  # of all origins, as before
    panel = Panel.build(series, "test", PLAN)
    median = np.median(panel.forecast(MODEL).values[:, :, -1, 3], axis=1)
    truth = panel.truth[:, -1, 3]
    for name, chosen in (("clean", clean), ("memorised", ~clean)):
        errors = np.abs(truth - median)[chosen].mean() / np.abs(truth)[chosen].mean()
        outcome = third["memorised"]["skill"][name]["model"]["persistence"]["close"]["absolute"]
        assert outcome["skill"]["by_horizon"] == pytest.approx([1 - errors])
        assert outcome["observations"] == chosen.sum()


def test_the_verdict_counts_clean_origins_and_says_so(evaluations):
    plain, _, found = evaluations
    day, third = next(iter(found.items()))
    number = third["memorised"]["origins"]["clean"]
    said = verdict(third)
    assert f"Diebold-Mariano test, {number} origins from {day} on" in said
    assert said != verdict(plain)
    assert all(f"{number} origins from {day} on" in one for one in verdicts(third).values())
    clean = third["memorised"]["skill"]["clean"]["model"]["persistence"]["close"]["absolute"]["skill"]["by_horizon"][0]
    assert f"persistence (skill {100 * clean:+.1f} %" in said
    assert f"{number} 个预测起点，均在 {day} 之后" in verdict(third, language="zh")
    note = f"test origins before {day} are possibly memorised: the published weights that model descends from"
    assert note in third["notes"][0]
    text = markdown(third)
    assert "## Possibly memorised origins" in text
    row = next(line for line in text.splitlines() if line.startswith("| model against persistence, absolute error |"))
    memorised = third["memorised"]["skill"]["memorised"]["model"]["persistence"]["close"]["absolute"]["skill"]
    assert row.split(" | ")[-1] == f"{100 * (memorised['by_horizon'][0] - clean):+.1f} % |"


@pytest.mark.parametrize("position", [1, 2])
def test_too_few_clean_origins(evaluations, position):
    _, stamps, found = evaluations
    day, one = list(found.items())[position]
    number = int((stamps >= np.datetime64(day)).sum())
    assert number < 30
    assert verdict(one).startswith(
        f"close, 6 bars: too few origins from {day} on for a verdict ({number}, at least 30 needed; "
        f"{len(stamps) - number} earlier origins are possibly memorised)"
    )
    assert list(verdicts(one)) == ["close"]
    assert terminal_text(one).splitlines()[0] == verdict(one)
    assert f"（{number} 个，至少需要 30 个" in verdict(one, language="zh")


def test_clean_origins_alone_leave_no_trace(series, evaluations):
    settings, baselines = EvaluationSettings(PLAN), [Persistence(), VolatilityCone(30)]
    found = evaluate_forecasters(series, [MODEL], settings, baselines=baselines, clean_from={"model": "2019-01-01"})
    assert found == evaluations[0]
    assert found["memorised"] == {}
