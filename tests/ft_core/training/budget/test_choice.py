"""The steps that fit: one share of all recipes, evaluations included; what is recorded; what a refusal names."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ft_core.io.console import lines_to
from ft_core.training.budget.choice import (
    LEAST_STEPS,
    USED,
    StageCost,
    choose,
    explain,
    fitting_steps,
    measured_for,
    needed,
    record_of,
    recorded_choice,
    settle_as_recorded,
)
from ft_core.training.budget.remembered import Measurement


def cost(stage="training", planned=10_000, step=1.0, fixed=0.0, evaluation=0.0, every=500):
    def seconds(steps):
        return fixed + steps * step + -(-steps // every) * evaluation

    return StageCost(stage, planned, 1000, step, seconds, 16)


def test_steps_fill_the_part_of_the_budget_that_is_planned_with():
    one = cost(fixed=60, evaluation=10)
    (steps,) = fitting_steps([one], 3600)
    assert one.seconds(steps) <= USED * 3600 < one.seconds(steps + 11)  # steps come in ten-thousandths: one step here


def test_evaluations_and_what_comes_before_and_after_are_paid_from_the_budget():
    (plain,) = fitting_steps([cost()], 3600)
    (evaluated,) = fitting_steps([cost(evaluation=100)], 3600)
    (prepared,) = fitting_steps([cost(fixed=1000)], 3600)
    assert plain == 3240
    assert prepared == 2240
    assert evaluated < plain


def test_all_stages_get_the_same_share_of_their_recipes():
    costs = [cost("tokenizer", 4000, 0.5), cost("predictor", 8000, 1.0), cost("quantiles", 2000, 0.1, fixed=100)]
    steps = fitting_steps(costs, 3600)
    shares = [count / one.planned for count, one in zip(steps, costs, strict=True)]
    assert max(shares) - min(shares) < 1e-3
    assert sum(one.seconds(count) for one, count in zip(costs, steps, strict=True)) <= USED * 3600


def test_no_stage_gets_more_than_its_recipe_or_less_than_the_least():
    assert fitting_steps([cost(planned=300), cost(planned=70)], 1e6) == [300, 70]
    assert fitting_steps([cost(planned=200, step=30), cost(planned=100_000)], 3900) == [LEAST_STEPS, 510]
    assert fitting_steps([cost(planned=200, step=30)], 3000) is None
    assert fitting_steps([cost(planned=20, step=30)], 700) == [20]  # the recipe itself is shorter


def test_a_refusal_names_a_budget_that_fits():
    costs = [cost("tokenizer", step=2.0), cost("predictor", step=7.5, fixed=60)]
    with pytest.raises(ValueError, match=r"^time_budget=5m is too short for 100 steps of the tokenizer") as refused:
        choose(costs, "5m", ["--preset cpu"])
    assert "(predictor: 7.5 s a step on this machine); use --time_budget 19m, or --preset cpu, or --max_steps" in str(
        refused.value
    )
    assert needed(costs) <= 19 * 60
    assert min(choose(costs, "19m")) >= LEAST_STEPS
    assert fitting_steps(costs, 18 * 60) is None


def test_a_refusal_says_that_the_machine_was_busy():
    one = replace(cost(step=3.0), measured=Measurement(at=1764475200.0, load=3.0))
    with pytest.raises(ValueError, match="time_budget=1m is too short") as refused:
        choose([one], "1m")
    assert str(refused.value).endswith(
        "(training: 3 s a step on this machine, measured 2025-11-30 04:00 UTC with 3.0 programs waiting for each "
        "core); use --time_budget 6m, or --max_steps in place of a budget to try it out, or the same budget when the "
        "machine is less busy"
    )


@pytest.mark.parametrize(
    ("at", "budget", "times"),
    [
        (50.0, "5m", 2),  # older than this command: not refused without another measurement
        (150.0, "5m", 1),
        (50.0, "20m", 1),
    ],
)
def test_a_remembered_measurement_is_made_again_before_it_refuses_a_budget(at, budget, times):
    slow, fast = replace(cost(step=7.5), measured=Measurement(at=at)), cost(step=0.1)
    answers = iter([[slow], [fast]])
    assert measured_for(budget, lambda: next(answers), since=100.0) == ([slow], [fast])[times - 1]


def test_the_choice_and_its_share_are_said():
    costs, lines = [cost("tokenizer", 4000, 0.5), cost("predictor", 300, 1.0)], []
    with lines_to(lines.append):
        explain(costs, [1000, 300], "30m")
    assert lines == [
        "budget      30m, about 13 min 20 s planned: tokenizer 8 min 20 s, predictor 5 min 0 s",
        "chosen      tokenizer: 1,000 of 4,000 steps, 1 passes over the data, about 8 min 20 s (0.5 s a step)",
        "chosen      predictor: all 300 steps, 0.3 passes over the data, about 5 min 0 s (1 s a step)",
    ]


def settings(run, budget="30m", resume=True):
    return SimpleNamespace(output_dir=str(run), time_budget=budget, resume=resume, max_steps=-1)


def test_a_resumed_run_takes_the_recorded_steps(tmp_path):
    record = {"budget": record_of([cost("tokenizer"), cost("predictor")], [431, 862], "30m")}
    (tmp_path / "run.json").write_text(json.dumps(record), "utf-8")
    args = settings(tmp_path)
    settle_as_recorded(args, recorded_choice(args, tmp_path), "predictor")
    assert (args.max_steps, args.time_budget) == (862, "30m")
    assert recorded_choice(args, tmp_path) is None  # chosen already
    for other in (settings(tmp_path, "1h"), settings(tmp_path, resume=False), settings(tmp_path, None)):
        assert recorded_choice(other, tmp_path) is None
    assert recorded_choice(settings(tmp_path / "none"), tmp_path / "none") is None


@pytest.mark.parametrize("stages", [None, [], {"tokenizer": 3}, {"tokenizer": {"max_steps": "many"}}])
def test_a_damaged_record_is_not_taken(tmp_path, stages):
    record = {"budget": {"time_budget": "30m", "stages": stages}}
    (tmp_path / "run.json").write_text(json.dumps(record), "utf-8")
    assert recorded_choice(settings(tmp_path), tmp_path) is None
