"""What findings leave of each other: silence where a cause takes their meaning, and words on it elsewhere."""

import random

import pytest

from ft_core.report.answers import NOT_APPLICABLE, NOT_KNOWN, OK, PROBLEM, WATCH
from ft_core.report.causes import MEANINGLESS, ask_all
from kronos_ft.report.views import VIEWS
from tests.written_runs import tokenizer_run

SILENCED = {key: rules for _, _, rules, key in MEANINGLESS}


def findings_of(folder, *changes):
    run = tokenizer_run()
    for change in changes:
        change(run)
    facts = run.facts(folder, VIEWS)
    return {finding.rule.id: finding for finding in ask_all(facts)}


def unscaled(run):
    run.observed["train"]["inputs"].update(mean=41_000.0, std=9_000.0, largest=69_000.0)


def exploded(run):
    run.training("recon_all", lambda step, old: 9.0 if step == 100 else old)


def spiked(run):
    run.arguments["max_grad_norm"] = 0.0
    run.training("grad_norm", lambda step, old: 500.0 if step == 100 else old)


def poor(run):
    run.evaluated("recon_all", lambda step, old: old if not step else 0.6)


def stopped(run):
    run.arguments["early_stopping"] = True
    run.end_at(25, "stopped early")


def test_a_healthy_run_keeps_all_its_answers(tmp_path):
    found = findings_of(tmp_path / "run")
    assert {finding.verdict for finding in found.values()} == {OK}
    assert not any(finding.effect for finding in found.values())


def test_inputs_that_are_not_scaled_silence_what_they_spoil(tmp_path):
    found = findings_of(tmp_path / "run", unscaled, exploded, lambda run: run.evaluated("recon_all", 1.19))
    assert {found[name].verdict for name in SILENCED["unscaled"]} == {NOT_APPLICABLE}
    assert all(not found[name].answer.advice for name in SILENCED["unscaled"])
    assert "see scaling" in found["learning-rate"].reason("en")
    assert found["learning-rate"].reason("zh") == "输入未归一化，此项无意义，见「输入做了归一化吗？」（scaling）。"
    assert found["clipping"].verdict == found["explained"].verdict == PROBLEM
    assert found["finite"].verdict == OK
    assert not found["finite"].effect
    assert "原因：输入未归一化，见「输入做了归一化吗？」（scaling）。" in found["explained"].reason("zh")


def test_an_explosion_silences_what_reads_its_ruins(tmp_path):
    found = findings_of(tmp_path / "run", exploded, spiked)
    assert {found[name].verdict for name in SILENCED["exploded"]} == {NOT_APPLICABLE}
    assert found["improved"].verdict == WATCH
    assert found["gradients"].reason("en").endswith(". The cause: too high a learning rate; see learning-rate.")
    assert found["gradients"].reason("zh").endswith("原因：学习率过高，见「学习率过高吗？」（learning-rate）。")


def leaked(run):
    run.observed["shared_share"] = 0.4


def test_what_is_in_order_by_a_leaked_validation_alone_is_not_said_to_be(tmp_path):
    found = findings_of(tmp_path / "run", leaked)
    for name in ("in-step", "overfitting", "regularisation", "fits-data"):
        assert found[name].verdict == NOT_APPLICABLE
        assert found[name].reason("en") == "Validation is leaked, so this check is not valid; see leakage."
    assert found["falling"].verdict == found["gradients"].verdict == OK
    assert found["saving"].verdict == WATCH
    assert "selected on leaked validation" in found["saving"].reason("en")


def test_what_is_amiss_even_by_a_leaked_validation_is_said(tmp_path):
    found = findings_of(tmp_path / "run", leaked, poor)
    assert found["explained"].verdict in (PROBLEM, WATCH)
    assert "Validation is leaked, so this value is not reliable." in found["explained"].reason("en")


def test_a_model_of_raw_prices_is_not_to_be_used(tmp_path):
    found = findings_of(tmp_path / "run", unscaled)
    assert found["saving"].verdict == WATCH
    assert "best_model 不可用" in found["saving"].reason("zh")


def test_a_run_that_ended_too_soon_did_not_come_to_a_good_end(tmp_path):
    found = findings_of(tmp_path / "stopped", stopped, lambda run: run.evaluated(
        "recon_all", lambda step, old: 1.0 if not step else 0.5))  # fmt: skip
    assert found["complete"].verdict == WATCH


def test_a_gradient_without_an_explosion_is_laid_to_nothing(tmp_path):
    found = findings_of(tmp_path / "run", spiked)
    assert found["gradients"].verdict == PROBLEM
    assert not found["gradients"].effect
    assert found["overfitting"].verdict == OK


def test_what_a_run_that_was_stopped_too_soon_has_not_learnt_is_laid_to_that(tmp_path):
    found = findings_of(tmp_path / "stopped", stopped, lambda run: run.evaluated(
        "recon_all", lambda step, old: 1.0 if not step else 0.5))  # fmt: skip
    assert found["early-stopping"].answer.case == "too_early"
    assert found["explained"].reason("en").endswith(" The cause: training was stopped too early; see early-stopping.")
    assert not findings_of(tmp_path / "whole", poor)["explained"].effect
    for name in SILENCED["stopped"]:
        assert found[name].verdict == NOT_APPLICABLE
        assert found[name].reason("en") == "Training was stopped before this could show; see early-stopping."


def test_steps_that_were_not_finite_stay_a_problem_of_raw_prices(tmp_path):
    bad = [{"step": step, "offending": ["BTC from 2020"], "samples": []} for step in range(7, 12)]
    found = findings_of(tmp_path / "run", unscaled, lambda run: run.files.update({"bad_steps.json": bad}))
    assert found["finite"].verdict == PROBLEM
    assert found["finite"].answer.advice == {}
    assert "The cause: inputs that are not normalised" in found["finite"].reason("en")


def test_a_learning_rate_that_is_not_known_is_not_silenced(tmp_path):
    """What was not recorded is not said to mean nothing."""
    found = findings_of(tmp_path / "run", unscaled, lambda run: run.arguments.pop("learning_rate"))
    assert found["learning-rate"].verdict == NOT_KNOWN


def scattered(samples):
    """Entries of few samples each: errors of windows differ by a factor, whatever the weights."""
    draws = random.Random(samples)

    def change(run):
        run.training("recon_all", lambda step, old: 1.3 * draws.gammavariate(samples, 1 / samples))
        run.evaluated("recon_all", lambda step, old: 1.3 - step / 10_000)

    return change


@pytest.mark.parametrize("samples", [1, 2, 4, 8])
def test_entries_of_few_samples_are_no_divergence(samples, tmp_path):
    found = findings_of(tmp_path / "run", scattered(samples))
    assert found["learning-rate"].verdict == OK, found["learning-rate"].reason("en")
    assert "learning_rate" not in found["steady"].answer.advice


def test_an_explosion_of_entries_of_few_samples_is_one(tmp_path):
    blown = lambda run: run.training("recon_all", lambda step, old: old * (500.0 if 60 <= step <= 90 else 1.0))  # noqa: E731
    found = findings_of(tmp_path / "run", scattered(2), blown)
    assert found["learning-rate"].answer.case == "exploded"
