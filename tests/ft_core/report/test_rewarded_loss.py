"""A plain Trainer whose training loss contains a reward and is negative: the log that this library grew from.

14 of 30 epochs: the loss falls from -0.0213 to -0.0241, eval_loss from 0.0084 to 0.0073 with the best in epochs 6 and
10, the learning rate is one-cycle from 3e-5 to a peak of 2e-4 in epoch 2, and an epoch takes 370 to 395 s.
"""

import json
import math
import os
import re

import pytest

from ft_core.report.advice import gather_changes
from ft_core.report.answers import NOT_APPLICABLE, NOT_KNOWN, PROBLEM, WATCH
from ft_core.report.catalogue import LANGUAGES
from ft_core.report.causes import ask_all
from ft_core.report.facts import read_run
from ft_core.report.write import write_report
from kronos_ft.report.views import VIEWS

STEPS, EPOCHS = 2000, 30  # of an epoch; planned
EVALUATIONS = (0.0084, 0.0081, 0.0078, 0.0076, 0.0075, 0.0073, 0.0074, 0.0074, 0.0075, 0.0073, 0.0074, 0.0075, 0.0075)
EVALUATIONS += (0.0075,)
SECONDS = (381, 370, 395, 377, 384, 390, 372, 388, 379, 383, 391, 374, 386, 380)


def rate(epoch):
    """Up in two epochs and down until the last."""
    if epoch <= 2:
        return 3e-5 + (2e-4 - 3e-5) * (epoch - 1)
    return 2e-4 / 2 * (1 + math.cos(math.pi * (epoch - 2) / (EPOCHS - 2)))


def write_folder(folder, better_at_10=0.0, with_times=True):
    """The Trainer's folder with a checkpoint an epoch, the last three of which are kept."""
    entries = []
    for epoch, eval_loss in enumerate(EVALUATIONS, 1):
        at = {"epoch": float(epoch), "step": epoch * STEPS}
        loss = -0.0213 - 0.0028 * (epoch - 1) / 13
        entries.append({"loss": round(loss, 4), "grad_norm": 0.4, "learning_rate": rate(epoch), **at})
        entries.append({"eval_loss": eval_loss - better_at_10 * (epoch == 10), "eval_runtime": 9.0, **at})
    state = {"global_step": 14 * STEPS, "max_steps": EPOCHS * STEPS, "epoch": 14.0, "log_history": entries}
    saved = 1.7e9
    for epoch, seconds in enumerate(SECONDS, 1):
        saved += seconds
        if epoch > 14 - 8:
            path = folder / f"checkpoint-{epoch * STEPS}"
            path.mkdir(parents=True)
            content = state | {"log_history": [entry for entry in entries if entry["epoch"] <= epoch]}
            content |= {"global_step": epoch * STEPS}
            (path / "trainer_state.json").write_text(json.dumps(content), encoding="utf-8")
            os.utime(path / "trainer_state.json", (saved, saved) if with_times else (1.7e9, 1.7e9))
    return folder


@pytest.fixture
def facts(tmp_path):
    return read_run(write_folder(tmp_path / "run"), VIEWS)


@pytest.fixture
def found(facts):
    return {finding.rule.id: finding for finding in ask_all(facts)}


def test_a_negative_loss_proves_nothing(found):
    assert (found["falling"].verdict, found["falling"].answer.case) == (WATCH, "rewarded")
    assert "contains a reward term" in found["falling"].reason("en")
    assert "by itself proves nothing" in found["falling"].reason("en")
    assert "含有奖励项" in found["falling"].reason("zh")
    assert found["falling"].figure("en").startswith("loss -0.0213 -> -0.0241 (difference -0.0028")
    assert found["in-step"].verdict == found["steady"].verdict == NOT_APPLICABLE


def test_validation_is_judged_by_its_difference(found):
    assert found["improved"].verdict == "ok"
    assert found["improved"].figure("en") == (
        "eval_loss 0.0084 (step 2000, the first evaluation) -> 0.0073 (step 12000, the best), difference -0.0011"
    )


def test_the_schedule_is_seen(found):
    finding = found["schedule"]
    assert finding.answer.case == "described"
    assert "rise from 3e-05 to a peak of 0.0002 in epoch 2 and then fall, as in a one-cycle" in finding.reason("en")
    assert "升至第 2 轮的峰值 0.0002" in finding.reason("zh")
    assert found["learning-rate"].verdict == "ok"
    assert "0.0002" in found["learning-rate"].figure("en")


def test_the_time_left_is_told(facts, found, tmp_path):
    kept = sorted(SECONDS[7:])
    assert facts.seconds_left == pytest.approx(16 * kept[len(kept) // 2])
    assert found["speed"].verdict == "ok"
    assert found["speed"].figure("en") == "374 to 391 s per epoch"
    text = write_report(tmp_path / "run", VIEWS, "en").files[0].read_text(encoding="utf-8")
    assert "| time left | 1 h 42 min |" in text
    assert read_run(write_folder(tmp_path / "copy", with_times=False), VIEWS).seconds_left is None


def test_logged_times_of_epochs_are_read(tmp_path):
    folder = write_folder(tmp_path / "run", with_times=False)
    for path in folder.glob("*/trainer_state.json"):
        state = json.loads(path.read_text(encoding="utf-8"))
        trained = [entry for entry in state["log_history"] if "loss" in entry]
        for entry, seconds in zip(trained, SECONDS, strict=False):
            entry["epoch_time"] = seconds
        path.write_text(json.dumps(state), encoding="utf-8")
    facts = read_run(folder, VIEWS)
    assert facts.seconds_left == pytest.approx(16 * (381 + 383) / 2)


def test_where_early_stopping_would_have_ended_it(found):
    """The best of epoch 6 is only equalled in epoch 10, so that a patience of 5 ends in epoch 11."""
    finding = found["early-stopping"]
    assert (finding.verdict, finding.answer.case) == (WATCH, "stopped_before")
    assert "patience 3 would have stopped at epoch 9; patience 5 would have stopped at epoch 11" in finding.figure("en")
    assert "use the checkpoint of epoch 6, and stop the run, which saves 1 h 42 min." in finding.reason("en")
    assert "会在第 11 轮结束训练，节省 63 %" in finding.reason("zh")


def test_a_better_epoch_10_is_waited_for(tmp_path):
    facts = read_run(write_folder(tmp_path / "run", better_at_10=5e-5), VIEWS)
    finding = {one.rule.id: one for one in ask_all(facts)}["early-stopping"]
    assert finding.answer.case == "flat_now"
    assert "patience 5 stops at epoch 15 unless validation improves" in finding.figure("en")
    assert "use the checkpoint of epoch 10; stopping now saves 1 h 42 min." in finding.reason("en")


def test_advice_follows(facts, tmp_path):
    changes = {change.setting: change.after for change in gather_changes(ask_all(facts), facts)}
    assert changes == {
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "early_stopping_patience": 5,
    }
    text = write_report(tmp_path / "run", VIEWS, "en").files[0].read_text(encoding="utf-8")
    assert "Use the checkpoint of epoch 6, stop this run, and enable early stopping in the next one" in text
    assert "`EarlyStoppingCallback`" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_a_nan_and_most_rows_have_an_answer(language, found, tmp_path):
    text = write_report(tmp_path / "run", VIEWS, language).files[1].read_text(encoding="utf-8")
    assert not re.search(r"\bnan\b", text.lower())
    unknown = {name for name, finding in found.items() if finding.verdict == NOT_KNOWN}
    assert unknown == {"weights", "fits-data", "loss-suits", "optimizer", "regularisation", "precision"}
    assert not any(finding.verdict == PROBLEM for finding in found.values())
