"""Runs are read in whatever state they are: in progress, interrupted, torn, a plain Trainer's."""

import json
import os
from datetime import UTC, datetime

import pandas as pd
import pytest

from ft_core.report.answers import NOT_KNOWN
from ft_core.report.causes import ask_all
from ft_core.report.curves import best, gaps, spikes, still_improving, trend, variation
from ft_core.report.facts import EARLY, FINISHED, INTERRUPTED, KILLED, RUNNING, UNFINISHED, read_run
from ft_core.report.views import PLAIN
from ft_core.runs.lock import run_lock
from kronos_ft.report.views import TOKENIZER, VIEWS
from tests.written_runs import STEPS, tokenizer_run


def plain_state(step=60, most=100):
    history = [
        {"loss": 2.0 - 0.01 * at, "learning_rate": 1e-4, "grad_norm": 1.0, "step": at} for at in range(10, step, 10)
    ]
    history += [{"eval_loss": 1.9, "step": 50}]
    return {"global_step": step, "max_steps": most, "epoch": 0.6, "log_history": history}


def curve_of(*values):
    return pd.Series(values, index=range(10, 10 + 10 * len(values), 10), dtype=float)


# States of a run


def test_a_finished_run(tmp_path):
    facts = tokenizer_run().facts(tmp_path / "run", VIEWS)
    assert (facts.status, facts.step, facts.max_steps, facts.seconds) == (FINISHED, STEPS, STEPS, 100.0)
    assert facts.view is TOKENIZER
    assert (facts.newest_complete, facts.disk["model"]) == (STEPS, 2)
    assert facts.gaps[-1].ratio == pytest.approx(1.0, rel=0.05)


def test_a_run_in_progress_has_time_left(tmp_path):
    run = tokenizer_run()
    run.end_at(80, "running")
    folder = run.write(tmp_path / "run")
    with run_lock(folder):
        facts = read_run(folder, VIEWS)
    assert facts.status == RUNNING
    assert facts.seconds_left == pytest.approx(0.5 * 120)
    assert read_run(folder, VIEWS).status == KILLED  # its process is gone, and said nothing


def test_before_the_first_checkpoint_the_log_tells_the_time(tmp_path):
    run = tokenizer_run()
    run.end_at(80, "running")
    run.record |= {"global_step": 0, "started": "2026-01-01T00:00:00+00:00"}
    folder = run.write(tmp_path / "run")
    began = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    os.utime(folder / "metrics.jsonl", (began + 40, began + 40))
    with run_lock(folder):
        facts = read_run(folder, VIEWS)
    assert (facts.seconds, facts.seconds_left) == (pytest.approx(40), pytest.approx(60))


def test_an_interrupted_run_says_why(tmp_path):
    run = tokenizer_run()
    run.end_at(160, "interrupted: SIGTERM")
    facts = run.facts(tmp_path / "run", VIEWS)
    assert (facts.status, facts.why, facts.newest_complete) == (INTERRUPTED, "SIGTERM", 150)


def test_a_damaged_checkpoint_is_none_to_go_on_from(tmp_path):
    run = tokenizer_run()
    folder = run.write(tmp_path / "run")
    (folder / "checkpoint-200" / "model.safetensors").write_text("cut")
    assert read_run(folder, VIEWS).newest_complete == 150


def test_a_torn_last_line_is_left_out(tmp_path):
    folder = tokenizer_run().write(tmp_path / "run")
    whole = read_run(folder, VIEWS)
    log = folder / "metrics.jsonl"
    log.write_text(log.read_text() + '{"loss": 0.1, "step": 20')
    facts = read_run(folder, VIEWS)
    assert facts.history.torn == 1
    assert facts.history.entries == whole.history.entries


def test_a_torn_record_is_no_end(tmp_path):
    folder = tokenizer_run().write(tmp_path / "run")
    (folder / "run.json").write_text('{"status": "runn')
    facts = read_run(folder, VIEWS)
    assert facts.view is TOKENIZER  # known by what it logged
    assert facts.status == UNFINISHED
    assert len(ask_all(facts)) > 15


def test_values_that_are_not_finite_are_counted_and_left_out(tmp_path):
    run = tokenizer_run()
    run.training("recon_all", lambda step, old: None if step == 100 else old)
    facts = run.facts(tmp_path / "run", VIEWS)
    assert facts.lost("recon_all") == [100]
    assert 100 not in facts.primary.index


# Plain Trainers


def test_a_plain_trainer_folder_and_its_state_alone(tmp_path):
    for step in (20, 60):
        folder = tmp_path / "out" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text(json.dumps(plain_state(step)))
    facts = read_run(tmp_path / "out", VIEWS)
    assert (facts.view, facts.step, facts.max_steps, facts.status) == (PLAIN, 60, 100, UNFINISHED)
    assert facts.history.source == "checkpoint-60/trainer_state.json"
    assert facts.primary.iloc[0] == pytest.approx(1.9)
    alone = read_run(tmp_path / "out" / "checkpoint-60" / "trainer_state.json", VIEWS)
    assert alone.history.entries == facts.history.entries
    findings = ask_all(alone)
    assert any(finding.rule.id == "falling" and finding.verdict == "ok" for finding in findings)
    assert sum(finding.verdict == NOT_KNOWN for finding in findings) > 5


def test_a_stopped_early_plain_run_is_finished_at_its_last_step(tmp_path):
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps(plain_state(100, 100)))
    assert read_run(tmp_path).status == FINISHED


@pytest.mark.parametrize("content", [None, "", "[]", '{"log_history": 3}'])
def test_where_nothing_can_be_read(content, tmp_path):
    folder = tmp_path / "none"
    folder.mkdir()
    if content is not None:
        (folder / "trainer_state.json").write_text(content)
    with pytest.raises(ValueError, match=r"holds neither run\.json with metrics\.jsonl nor a trainer_state\.json"):
        read_run(folder)
    with pytest.raises(ValueError, match="does not exist; name the folder of a run"):
        read_run(tmp_path / "nowhere")


def test_early_is_what_the_record_says(tmp_path):
    run = tokenizer_run()
    run.arguments["early_stopping"] = True
    run.end_at(150, "stopped early")
    assert run.facts(tmp_path / "run", VIEWS).status == EARLY


# Trends


def test_a_trend_must_stand_out_of_the_scatter():
    assert trend(curve_of(*[1, 2] * 6)).direction == 0
    assert trend(curve_of(*(10 - i for i in range(10)))).direction == -1
    assert trend(curve_of(*(1 + i for i in range(10)))).direction == 1
    assert trend(curve_of(1, 2, 3)) is None


def test_gaps_take_training_since_the_evaluation_before():
    found = gaps(curve_of(4, 3, 2, 1), pd.Series({0: 9.0, 20: 3.5, 40: 1.5}))
    assert [(gap.step, gap.training, gap.validation) for gap in found] == [(20, 3.0, 3.5), (40, 1.0, 1.5)]


def test_a_steep_fall_is_no_scatter():
    assert variation(curve_of(*(2.0**-i for i in range(10)))) == pytest.approx(0)
    assert variation(curve_of(*[1, 2] * 6)) > 0.5


def test_spikes_best_and_what_still_improves():
    assert spikes(curve_of(1, 1, 1, 1, 1, 2, 1)) == [60]
    assert best(curve_of(3, 1, 1)) == (20, 1.0)
    assert best(curve_of(1, 3, 3), greater=True) == (20, 3.0)
    assert best(curve_of()) is None
    assert still_improving(curve_of(1.0, 0.8, 0.6)) == pytest.approx(0.25)
    assert still_improving(curve_of(1.0, 0.8, 0.8)) is None
