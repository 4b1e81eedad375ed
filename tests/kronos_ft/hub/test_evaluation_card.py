"""An evaluation on a card: of the same weights alone, with its verdict, and with what takes it back."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml

from kronos_ft.baselines.bootstrap import VolatilityCone
from kronos_ft.baselines.naive import Persistence
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.evaluation.panel import Panel
from kronos_ft.evaluation.settings import EvaluationSettings, OriginPlan
from kronos_ft.evaluation.verdict import verdict
from kronos_ft.evaluation.walk_forward import evaluate_forecasters
from kronos_ft.hub.evaluation_card import DOUBTS, _alone, _doubts

SMALL = ["--lookback", "30", "--horizon", "2", "--step", "3", "--num_paths", "4", "--max_origins", "36"]


def card_of(hub, repo):
    _, metadata, text = hub.history(repo)[-1].files["README.md"].decode().split("---\n", 2)
    return yaml.safe_load(metadata), text


def test_verdict_and_scores_are_those_of_the_pushed_weights(hub, run, pushed, traces):
    simulate_candles(900, seed=3).to_csv(pushed / "simulated.csv", index=False)
    (commit,) = hub.history("me/predictor")
    out = pushed / "evaluation"
    words = ["--data", pushed / "simulated.csv", "--model", f"me/predictor@{commit.oid}", "--tokenizer", "me/tokenizer"]
    assert run("evaluate", *words, "--output_dir", out, *SMALL)[0] == 0
    evaluation = json.loads((out / "evaluation.json").read_text())
    (one,) = evaluation["models"]
    assert (one["repository"], one["revision"]) == ("me/predictor", commit.oid)
    assert (one["tokenizer_repository"], one["tokenizer_revision"]) == (
        "me/tokenizer",
        hub.history("me/tokenizer")[0].oid,
    )
    assert "This card contains no comparison with naive forecasts" in card_of(hub, "me/predictor")[1]

    moved = pushed / "elsewhere"
    shutil.move(out, moved)  # the weights count, not where anything lies
    for name in ("evaluation.json", "evaluation.md"):
        shutil.copy(moved / name, pushed / "predictor" / name)  # with paths of this machine
    words = ["push", pushed / "predictor", "me/predictor", "--evaluation", moved, "--tokenizer", "me/tokenizer"]
    assert run(*words)[0] == 0
    metadata, card = card_of(hub, "me/predictor")
    name = one["name"]
    assert evaluation["verdict"].split(": ", 1)[1][:40] in card
    assert "**Verdict: close, 2 bars" in card
    assert "persistence (skill" in card
    assert "| this model | " in card
    assert "| persistence | " in card
    assert 'from_pretrained("me/tokenizer")' in card
    assert "This card contains no comparison" not in card
    (results,) = metadata["model-index"][0]["results"]
    figures = {one["type"]: one["value"] for one in results["metrics"]}
    assert figures["crps"] == evaluation["scores"][name]["close"]["crps"]["by_horizon"][-1]
    skill = evaluation["skill"][name]["persistence"]["close"]["absolute"]["skill"]["by_horizon"][-1]
    assert figures["mae_skill"] == skill
    assert traces(hub) == []

    assert evaluation.pop("doubts") == []  # as earlier versions wrote it
    evaluation["warnings"] = [f"{name} was trained on bars up to 2020: it has seen test bars (X, tested from 2019)"]
    (moved / "evaluation.json").write_text(json.dumps(evaluation))
    assert run(*words)[0] == 0
    metadata, card = card_of(hub, "me/predictor")
    assert "**WARNING: The model or its tokenizer was trained on bars of the test split" in card
    assert "model-index" not in metadata


def test_a_card_counts_clean_origins_alone():
    """Of two evaluated models, one descends from published weights: its card says from when on origins count."""
    series = load_candles({"A": simulate_candles(2400, seed=1)})
    plan = OriginPlan(lookback=30, horizon=6, step=3)
    models = [VolatilityCone(lookback, 25, name=name) for lookback, name in ((20, "base"), (30, "tuned"))]
    stamps = Panel.build(series, "test", plan).stamps()
    day = str(stamps[len(stamps) // 3])[:10]
    evaluation = evaluate_forecasters(
        series,
        models,
        EvaluationSettings(plan),
        baselines=[Persistence(), VolatilityCone(30)],
        clean_from={"base": day},
    )
    cards = {name: _alone(evaluation, name) for name in ("base", "tuned")}
    number = int((stamps >= np.datetime64(day)).sum())
    assert f"{number} origins from {day} on" in verdict(cards["base"])
    assert f"{len(stamps)} origins;" in verdict(cards["tuned"])
    assert all("base" not in verdict(card) and "tuned" not in verdict(card) for card in cards.values())


SEEN = "bars up to 2024: it has seen test bars (BTC, tested from 2023)"


@pytest.mark.parametrize(
    ("warning", "concerned"),
    [
        ("predictor /x/bad was trained with tokenizer A, not with B: its forecasts mean nothing", ["bad"]),
        ("predictor /x/run/best_model was trained with tokenizer A, not with B: its forecasts", ["run"]),
        (f"the tokenizer of bad, run was trained on {SEEN}", ["bad", "run"]),
        (f"btc large was trained on {SEEN}", ["btc large"]),
        (f"btc was chosen by validation on {SEEN}", ["btc"]),
    ],
)
def test_a_warning_is_on_the_card_of_the_model_that_it_is_of(warning, concerned):
    for name in ("good", "bad", "run", "btc", "btc large"):
        entry = {"name": name, "model": f"/x/{name}"}
        assert bool(_doubts({"warnings": [warning]}, entry)) is (name in concerned)
        recorded = [{"model": one, "kind": "seen_test_bars"} for one in concerned]
        expected = [DOUBTS["seen_test_bars"]] if name in concerned else []
        assert _doubts({"warnings": [warning], "doubts": recorded}, entry) == expected
    chosen = [{"model": "good", "kind": "calibrated_on_test"}]
    assert _doubts({"doubts": chosen}, {"name": "good"}) == [
        "The sampling settings of the model were chosen on bars of the test split"
    ]


def test_an_evaluation_of_other_weights_is_not_taken(hub, run, pushed, tiny_predictor):
    entry = {"name": "other", "model": "x", "tokenizer": "y", "sha256": "0" * 64}
    (pushed / "evaluation").mkdir()
    path = pushed / "evaluation" / "evaluation.json"
    settings = {"horizon": 1, "lookback": 2, "num_paths": 3}
    empty = {key: {} for key in ("forecasters", "origins", "data", "scores", "skill", "calibration")}
    path.write_text(json.dumps({"settings": settings, "models": [entry], "notes": [], **empty}))
    with torch.no_grad():
        tiny_predictor.head.proj_s1.weight.add_(1.0)
    tiny_predictor.save_pretrained(pushed / "predictor")
    code, lines, _ = run("push", pushed / "predictor", "me/predictor")
    assert code == 0
    assert lines[0] == f"not on the card: {path}, an evaluation of other weights (other)"
    for words, message in (
        (("predictor", "--evaluation", path.parent), "evaluates other weights than those in"),
        (
            ("predictor", "--evaluation", pushed),
            "contains no evaluation.json; pass the output_dir of an evaluation",
        ),
        (("tokenizer", "--evaluation", path.parent), "contains forecasts, but"),
        (("predictor", "--tokenizer", "nobody"), "tokenizer='nobody' is not a Hub name; write owner/name"),
        (("predictor", "--power", "0"), "power=0 is out of range"),
    ):
        code, _, errors = run("push", pushed / words[0], "me/predictor", *words[1:])
        assert code == 2
        assert message in errors[-1]
    path.write_text("{")
    code, lines, _ = run("push", pushed / "predictor", "me/predictor")
    assert (code, lines[0].partition(":")[0]) == (0, "not on the card")
    assert f"{path} is not valid JSON: " in lines[0]
    code, _, errors = run("push", pushed / "predictor", "me/predictor", "--evaluation", path)
    assert code == 2
    assert "is not valid JSON: " in errors[-1]
