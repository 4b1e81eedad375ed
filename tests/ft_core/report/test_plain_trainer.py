"""The folder of a stock Trainer: what it does not record is neither praised nor blamed."""

import json
import math

import pytest

from ft_core.report.answers import NOT_APPLICABLE, OK, PROBLEM, WATCH
from ft_core.report.catalogue import LANGUAGES
from ft_core.report.causes import ask_all
from ft_core.report.facts import read_run
from ft_core.report.write import write_report
from kronos_ft.report.views import VIEWS

BROKE = 50


def state_of(change=lambda entry: entry, steps=100, last=None):
    """A Trainer's state: a loss that falls from 3 to 2, gradient norms, and validation every 20 steps."""
    entries = []
    for step in range(5, steps + 1, 5):
        rate = {"learning_rate": 1e-4 * (1 - step / steps)}
        entries.append({"loss": 3.0 - step / steps, "grad_norm": 1.0 + 0.01 * math.sin(step), **rate, "step": step})
        if step % 20 == 0:
            entries.append({"eval_loss": 3.05 - step / steps, "eval_runtime": 0.1, "step": step})
    entries = [change(dict(entry)) for entry in entries] + ([{**last, "step": steps}] if last else [])
    return {"global_step": steps, "max_steps": steps, "log_history": entries}


def facts_of(folder, state):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    return read_run(folder, VIEWS)


def findings_of(folder, state):
    facts = facts_of(folder, state)
    return {finding.rule.id: finding for finding in ask_all(facts)}


def broken(value, eval_value):
    """What a Trainer logs from step 50 on, as soon as the loss is NaN: a loss of 0."""

    def change(entry):
        if entry["step"] >= BROKE:
            entry |= {"loss": 0.0, "grad_norm": value} if "loss" in entry else {"eval_loss": eval_value}
        return entry

    return change


# What is not finite


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_of_0_beside_norms_that_are_not_finite_is_no_fall(value, tmp_path):
    found = findings_of(tmp_path, state_of(broken(value, value)))
    assert (found["finite"].verdict, found["finite"].answer.case) == (PROBLEM, "many_logged")
    assert found["finite"].figure("en") == (
        "0 entries without a finite loss, 11 without a finite gradient norm, 3 evaluations without a finite loss"
    )
    assert found["finite"].figure("zh") == (
        "0 个日志点的损失非有限值，11 个日志点的梯度范数非有限值，3 次验证的损失非有限值"
    )  # fmt: skip
    assert "first at step 50" in found["finite"].reason("en")
    for rule in ("falling", "gradients", "in-step"):
        assert found[rule].verdict == NOT_APPLICABLE
        assert "see finite" in found[rule].reason("en")
        assert "见「所有数值都是有限值吗？」（finite）" in found[rule].reason("zh")


def test_validation_alone_tells_that_the_weights_are_not_finite(tmp_path):
    found = findings_of(tmp_path, state_of(broken(1.0, math.nan)))
    assert found["finite"].answer.case == "many_logged"
    assert found["falling"].verdict == NOT_APPLICABLE


def test_a_norm_or_two_are_those_of_scaling(tmp_path):
    def change(entry):
        return entry | {"grad_norm": math.inf} if entry["step"] == 5 else entry

    found = findings_of(tmp_path, state_of(change))
    assert (found["finite"].verdict, found["finite"].answer.case) == (WATCH, "few_logged")
    assert found["falling"].verdict == OK


def test_that_steps_were_applied_is_only_said_where_it_is_recorded(tmp_path):
    finding = findings_of(tmp_path, state_of())["finite"]
    assert finding.verdict == OK
    assert "Every logged value is finite" in finding.reason("en")
    for language in LANGUAGES:
        assert "not applied" not in finding.figure(language)


# Clipping


def test_clipping_that_is_not_recorded_is_not_known(tmp_path):
    """A Trainer clips at 1.0 unless it is told otherwise, and its state does not say."""
    assert findings_of(tmp_path / "calm", state_of())["gradients"].answer.case == "calm_unknown"

    def spike(entry):
        return entry | {"grad_norm": 500.0} if entry["step"] == 45 else entry

    finding = findings_of(tmp_path / "spike", state_of(spike))["gradients"]
    assert (finding.verdict, finding.answer.advice) == (WATCH, {})
    assert "whether it was clipped is not recorded" in finding.reason("en")
    assert "max_grad_norm" not in finding.reason("en") + finding.reason("zh")


# A loss of which the kind is not known


def scaled(factor, shift=0.0):
    """A mean squared error, or an objective with a reward."""

    def change(entry):
        for name in {"loss", "eval_loss"} & entry.keys():
            entry[name] = factor * entry[name] + shift
        return entry

    return change


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_squared_error_is_not_measured_in_nats(language, tmp_path):
    def change(entry):
        return scaled(12.0 if "loss" in entry else 14.4)(entry)

    facts = facts_of(tmp_path, state_of(change))
    findings = {finding.rule.id: finding for finding in ask_all(facts)}
    assert findings["in-step"].verdict == OK
    assert "(x 1." in findings["in-step"].figure("en")
    assert facts.gaps[-1].difference > 4
    text = write_report(tmp_path, VIEWS, language).files[0].read_text(encoding="utf-8")
    for words in ("nats", "cross-entropy", "nat）", "交叉熵", "lossless", "无损"):
        assert words not in text
    assert {"en": "its kind is not recorded", "zh": "具体种类没有记录"}[language] in text


def test_no_ratio_is_taken_of_a_loss_below_0(tmp_path):
    assert findings_of(tmp_path, state_of(scaled(1.0, -3.5)))["in-step"].answer.case == "rewarded"


def test_a_validation_below_0_is_compared_by_differences(tmp_path):
    found = findings_of(tmp_path, state_of(scaled(1.0, -5.0)))
    assert (found["overfitting"].verdict, found["overfitting"].answer.case) == (NOT_APPLICABLE, "rewarded")
    assert found["improved"].figure("en").endswith("difference -0.8")
    assert found["early-stopping"].answer.case == "improving"


def evaluated_as(*values):
    """A run of 200 steps with these evaluations, one every 10 steps."""

    def entry(step, value):
        return {"eval_loss": value, "step": step}

    state = state_of(steps=200)
    state["log_history"] = [one for one in state["log_history"] if "eval_loss" not in one]
    state["log_history"] += [entry(10 * place, value) for place, value in enumerate(values, 1)]
    return state


def test_early_stopping_that_would_have_missed_the_best_is_not_advised(tmp_path):
    """The best of step 20 holds for six evaluations, and step 90 beats it."""
    found = findings_of(tmp_path, evaluated_as(2.0, 1.0, *6 * [1.5], 0.5, 0.6))
    finding = found["early-stopping"]
    assert (finding.verdict, finding.answer.case, finding.answer.advice) == (OK, "missed_later", {})
    assert "stopped the run at step 70 and missed the best evaluation, at step 90" in finding.reason("en")
    assert found["improved"].answer.case == "since_first"


def test_a_finished_run_that_was_flat_at_its_end_is_not_said_to_improve(tmp_path):
    finding = findings_of(tmp_path, evaluated_as(*(3 - 0.1 * place for place in range(17)), 2.0, 2.0, 2.0))
    assert (finding["early-stopping"].verdict, finding["early-stopping"].answer.case) == (OK, "saves_little")


def test_validation_that_only_rose_is_watched(tmp_path):
    found = findings_of(tmp_path, evaluated_as(1.0, 1.1, 1.2, 1.3))
    assert (found["improved"].verdict, found["improved"].answer.case) == (WATCH, "not_since_first")


def test_a_rate_that_falls_or_rises_throughout_is_described_so(tmp_path):
    falling = findings_of(tmp_path / "falling", state_of())["schedule"]
    assert "fall from 9.5e-05 at the first entry" in falling.reason("en")
    rising = findings_of(tmp_path / "rising", state_of(lambda entry: entry | (
        {"learning_rate": 1e-6 * entry["step"]} if "learning_rate" in entry else {})))["schedule"]  # fmt: skip
    assert "rise from 5e-06 and have not fallen yet" in rising.reason("en")
    assert "起上升，尚未下降" in rising.reason("zh")


# Time


def ended(**figures):
    return {"train_runtime": 5.0, "train_loss": 2.475, **figures}


@pytest.mark.parametrize(
    ("last", "seconds", "a_step"),
    [
        (ended(train_steps_per_second=20.0), 5.0, 0.05),
        (ended(train_steps_per_second=8.0), None, 0.125),  # resumed at step 60
        (ended(train_steps_per_second=20.0, train_loss=0.9), None, None),  # the same, as older Trainers log it
        (ended(train_steps_per_second=60.0), None, None),  # of 300 planned steps, as older Trainers log it
        (ended(), None, None),
        (None, None, None),
    ],
)
def test_the_time_of_a_part_is_not_that_of_the_run(last, seconds, a_step, tmp_path):
    facts = facts_of(tmp_path, state_of(last=last))
    assert (facts.seconds, facts.seconds_a_step) == (seconds, a_step)


@pytest.mark.parametrize(
    ("language", "words"), [("en", "total not recorded; 0.125 s per step"), ("zh", "每步 0.125 秒")]
)
def test_a_resumed_run_tells_the_seconds_of_a_step(language, words, tmp_path):
    facts_of(tmp_path, state_of(last=ended(train_steps_per_second=8.0)))
    assert words in write_report(tmp_path, VIEWS, language).files[0].read_text(encoding="utf-8")


def test_a_run_that_went_on_after_its_last_entry_has_no_time_of_its_own(tmp_path):
    state = state_of(last=ended(train_steps_per_second=20.0))
    state["log_history"].append({"loss": 1.9, "step": 150})
    facts = facts_of(tmp_path, state | {"global_step": 150, "max_steps": 200})
    assert (facts.seconds, facts.seconds_a_step) == (None, 0.05)
