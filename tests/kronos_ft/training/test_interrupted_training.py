"""Signals, bad steps and forced resumes at awkward moments: where evaluations, epochs or a run end."""

import errno
import json
import math
import os
import shutil
import signal
import time

import pytest
import torch
from transformers import TrainerCallback

import ft_core.runs.clearing
import ft_core.runs.record
from ft_core.checkpoints.identity import recorded_id
from ft_core.checkpoints.listing import list_checkpoints
from ft_core.checkpoints.manifest import _seal, defect_of, read_manifest
from ft_core.runs.folder import BEST_MODEL
from ft_core.runs.lock import run_lock
from ft_core.training.interruption import StoppedBySignal, start_worker
from ft_core.training.run import finished_metrics
from kronos_ft.data.sources import simulate_candles
from kronos_ft.runs.finish import finish_run
from kronos_ft.training.tokenizer_trainer import KronosTokenizerTrainer
from tests.forked import Forked, program


class At(TrainerCallback):
    """Does something at an event of a step."""

    def __init__(self, step, event="on_step_begin", do=lambda: os.kill(os.getpid(), signal.SIGTERM)):
        setattr(self, event, lambda args, state, control, **_: do() if state.global_step == step else None)


@pytest.fixture
def stopped(make_trainer):
    """A function that trains up to a signal in some step."""

    def make(step, event="on_step_begin", **settings):
        trainer = make_trainer(callbacks=[At(step, event)], **settings)
        with pytest.raises(StoppedBySignal):
            trainer.train()
        return trainer

    return make


@pytest.fixture
def scores(monkeypatch):
    """A function that sets the figures of the evaluations at some steps."""

    def give(values):
        real = KronosTokenizerTrainer.logged_terms

        def terms(self, sums, weight):
            found = real(self, sums, weight)
            return found if self.model.training else found | {"recon_all": values.get(self.state.global_step, 9.0)}

        monkeypatch.setattr(KronosTokenizerTrainer, "logged_terms", terms)

    return give


def spoil(monkeypatch, steps):
    real = KronosTokenizerTrainer._terms

    def terms(self, model, inputs):
        found, output = real(self, model, inputs)
        if self.is_in_train and model.training and self.state.global_step + 1 in steps:
            found.per_window = found.per_window * math.nan
        return found, output

    monkeypatch.setattr(KronosTokenizerTrainer, "_terms", terms)


def weights(trainer):
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def evaluations(trainer):
    return [entry["step"] for entry in trainer.state.log_history if "eval_loss" in entry]


def best(trainer):
    path = trainer.state.best_model_checkpoint
    return trainer.state.best_global_step, path and path.rsplit("-", 1)[1]


# Which checkpoint is the best


def test_a_bad_step_without_a_checkpoint_is_not_the_best(make_trainer, monkeypatch, scores):
    """Its evaluation would shut out better checkpoints that exist, and rotation would remove the best one."""
    spoil(monkeypatch, {6})
    scores({3: 5.0, 6: 1.0, 9: 7.0, 12: 3.0})
    trainer = make_trainer(max_steps=12)
    trainer.train()
    assert best(trainer) == (12, "12")


def test_evaluations_between_saves(make_trainer, stopped, scores, tmp_path):
    """The best is one that can be gone back to; a checkpoint of a signal's changes nothing."""
    scores({2: 1.0, 4: 5.0, 6: 2.0, 8: 6.0})
    settings = {"max_steps": 8, "eval_steps": 2, "save_steps": 4}
    whole = make_trainer(output=tmp_path / "whole", **settings)
    whole.train()
    assert best(whole) == (4, "4")
    stopped(1, **settings)
    assert set(list_checkpoints(tmp_path / "run")) == {2}
    resumed = make_trainer(resume=True, **settings)
    resumed.train()
    assert best(resumed) == (4, "4")
    assert set(list_checkpoints(tmp_path / "run")) == {4, 8}
    assert torch.equal(weights(whole), weights(resumed))


def test_another_metric_is_not_compared_with_the_old_one(make_trainer, stopped):
    stopped(4, max_steps=9)
    settings = {"metric_for_best_model": "eval_entropy_codebook", "greater_is_better": False}
    trainer = make_trainer(max_steps=9, resume_force=True, **settings)
    trainer.train()
    values = {e["step"]: e["eval_entropy_codebook"] for e in trainer.state.log_history if "eval_loss" in e}
    del values[0]
    assert trainer.state.best_global_step == min(values, key=values.get)


# Signals


def test_a_signal_in_the_last_evaluation_is_not_lost(make_trainer, stopped, tmp_path):
    """Or what follows the training, such as a second stage, would begin."""
    stopped(6, "on_evaluate")
    assert set(list_checkpoints(tmp_path / "run")) == {3, 6}
    whole = make_trainer(output=tmp_path / "whole")
    whole.train()
    resumed = make_trainer(resume=True)
    resumed.train()
    assert torch.equal(weights(whole), weights(resumed))


def test_a_signal_where_early_stopping_ends_a_run(make_trainer, stopped, scores, tmp_path):
    scores({2: 1.0, 4: 2.0})
    settings = {"max_steps": 9, "eval_steps": 2, "save_steps": 8, "early_stopping": True, "early_stopping_patience": 1}
    stopped(4, "on_evaluate", **settings)
    assert defect_of(tmp_path / "run" / "checkpoint-4") is None
    resumed = make_trainer(resume=True, **settings)
    resumed.train()
    assert resumed.state.global_step == 4


def test_a_signal_where_a_run_ends_within_an_epoch(make_trainer, stopped):
    settings = {"max_steps": 5, "eval_strategy": "epoch", "save_strategy": "epoch"}
    stopped(4, **settings)
    resumed = make_trainer(resume=True, **settings)
    resumed.train()
    assert evaluations(resumed) == [0, 5]
    assert best(resumed) == (5, "5")


def test_a_signal_when_only_the_best_is_saved(make_trainer, stopped, scores):
    scores({1: 1.0})
    trainer = stopped(2, max_steps=8, eval_steps=1, save_strategy="best")
    assert trainer.state.global_step == 3
    resumed = make_trainer(max_steps=8, eval_steps=1, save_strategy="best", resume=True)
    resumed.train()
    assert best(resumed) == (1, "1")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_the_whole_group(number, code, tmp_path):
    """As `timeout`, Slurm and a terminal send it; the processes that load data get it too."""
    simulate_candles(600, seed=5).to_csv(tmp_path / "btc.csv", index=False)
    words = "--model tiny --from_scratch --lookback_window 20 --predict_window 4 --max_steps 100000 --logging_steps 5"
    strategies = "--eval_strategy steps --eval_steps 50000 --save_strategy steps --save_steps 50000"
    folders = ["--data", tmp_path / "btc.csv", "--output_dir", tmp_path / "run", "--dataloader_num_workers", "2"]
    words = ["tokenizer", *words.split(), *strategies.split(), *folders]
    training = Forked(tmp_path / "text", program, "kronos_ft", words, group=True)
    log = tmp_path / "run" / "metrics.jsonl"
    training.wait_until(lambda: log.is_file() and len(log.read_bytes().splitlines()) > 3)
    os.killpg(training.pid, number)
    assert training.end(60) == code, training.text()
    assert training.text().count("finishing this step") == 1
    assert all(defect_of(path) is None for path in list_checkpoints(tmp_path / "run").values())


# Resumes


def test_steps_of_logs_and_saves_are_those_that_are_set(make_trainer, stopped):
    stopped(1, max_steps=6)
    trainer = make_trainer(max_steps=6, eval_steps=1, save_steps=1, resume_force=True)
    trainer.train()
    assert evaluations(trainer) == [0, 3, 4, 5, 6]


def test_another_schedule_without_one_cycle_is_refused(make_trainer, stopped):
    stopped(1, one_cycle=False)
    trainer = make_trainer(one_cycle=False, lr_scheduler_type="cosine", warmup_steps=3, resume=True)
    with pytest.raises(ValueError, match=r"lr_scheduler_type: linear -> .*warmup_steps: 0 -> 3"):
        trainer.train()


def test_a_forced_resume_that_ended_before_its_first_save_was_none(make_trainer, stopped):
    """The checkpoint is still of the settings before; only force may take it for another's."""
    stopped(1)

    def end():
        raise ValueError("ended")

    with pytest.raises(ValueError, match="ended"):
        make_trainer(seed=7, resume_force=True, callbacks=[At(2, "on_step_begin", end)]).train()
    with pytest.raises(ValueError, match="seed: 42 -> 7"):
        make_trainer(seed=7, resume=True).train()
    make_trainer(seed=7, resume_force=True).train()


def test_a_checkpoint_that_is_named_is_verified(make_trainer, tmp_path):
    make_trainer().train()
    path = tmp_path / "run" / "checkpoint-3" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint-3 cannot be used: model.safetensors is damaged"):
        make_trainer().train(str(path.parent))


def test_once_more_in_the_same_process(make_trainer, monkeypatch):
    """A trainer whose run was stopped by bad steps begins anew with none."""
    trainer = make_trainer(max_bad_steps=2)
    with monkeypatch.context() as context:
        spoil(context, {2, 3})  # before any checkpoint
        with pytest.raises(ValueError, match="steps 2 to 3"):
            trainer.train()
    trainer.args.resume = True
    spoil(monkeypatch, {1})
    trainer.train()
    assert trainer.state.global_step == 6


def test_a_manifest_that_is_sealed_but_none(make_trainer, tmp_path):
    make_trainer().train()
    path = tmp_path / "run" / "checkpoint-3"
    for values in ({"files": {"model.safetensors": 3}, "format": 1}, {"files": {"model.safetensors": {}}}):
        (path / "manifest.json").write_text(json.dumps({**values, "seal": _seal(values)}))
        assert defect_of(path) == "manifest.json is damaged"


# Records and folders


def test_a_full_disk_for_records_does_not_end_a_run_that_goes_on(make_trainer, monkeypatch, tmp_path, caplog):
    real = ft_core.runs.record.write_json
    full = [False]

    def write(path, values):
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, values)

    monkeypatch.setattr(ft_core.runs.record, "write_json", write)
    fills = At(3, "on_evaluate", lambda: full.__setitem__(0, True))
    frees = At(4, "on_step_begin", lambda: full.__setitem__(0, False))
    make_trainer(on_save_error="continue", callbacks=[fills, frees]).train()
    assert "run.json could not be written (No space left on device); the run continues without it" in caplog.text
    full[0] = False
    with pytest.raises(ValueError, match="is full"):
        make_trainer(output=tmp_path / "other", callbacks=[fills]).train()


def test_a_run_that_was_half_overwritten_is_not_whole(make_trainer, monkeypatch, tmp_path):
    trainer = make_trainer()
    trainer.train()
    finish_run(trainer)
    assert finished_metrics(tmp_path / "run", BEST_MODEL) is not None

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(ft_core.runs.clearing, "remove_tree", killed)
        with pytest.raises(KeyboardInterrupt):
            make_trainer(overwrite=True).train()
    assert finished_metrics(tmp_path / "run", BEST_MODEL) is None
    make_trainer(overwrite=True).train()


def test_a_run_keeps_its_id_and_gives_it_to_its_checkpoints(make_trainer, stopped, tmp_path):
    stopped(2)
    first = recorded_id(tmp_path / "run")
    make_trainer(resume=True).train()
    assert recorded_id(tmp_path / "run") == first
    found = list_checkpoints(tmp_path / "run").values()
    assert {read_manifest(path)["run"] for path in found} == {first}
    make_trainer(overwrite=True).train()
    again = recorded_id(tmp_path / "run")
    assert again != first
    assert {read_manifest(path)["run"] for path in list_checkpoints(tmp_path / "run").values()} == {again}


def test_a_run_of_an_earlier_version_goes_on_without_an_id(make_trainer, stopped, tmp_path):
    stopped(2)
    run = tmp_path / "run"
    record = json.loads((run / "run.json").read_text())
    del record["id"]
    (run / "run.json").write_text(json.dumps(record))
    for path in list_checkpoints(run).values():
        values = {name: value for name, value in read_manifest(path).items() if name != "run"}
        (path / "manifest.json").write_text(json.dumps({**values, "seal": _seal(values)}))
    make_trainer(resume=True).train()
    assert recorded_id(run) is None
    assert {read_manifest(path).get("run") for path in list_checkpoints(run).values()} == {None}


def test_a_lock_that_another_has_overwritten_is_left(tmp_path):
    with run_lock(tmp_path / "run"):
        (tmp_path / "run" / ".lock").write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    assert (tmp_path / "run" / ".lock").is_file()


def test_data_that_lies_elsewhere_is_the_same_data(make_trainer, stopped, tmp_path):
    facts = {"data": {"data": "a.csv", "fingerprint": "1"}, "model": {"tokenizer": "a", "tokenizer_sha256": "2"}}
    trainer = make_trainer()
    trainer.recorder.facts = facts
    trainer.callback_handler.add_callback(At(4))
    with pytest.raises(StoppedBySignal):
        trainer.train()
    moved = tmp_path / "moved"
    shutil.move(tmp_path / "run", moved)
    trainer = make_trainer(output=moved, resume=True)
    trainer.recorder.facts = {"data": facts["data"] | {"data": "b.csv"}, "model": facts["model"] | {"tokenizer": "b"}}
    trainer.check_unchanged(moved)
    trainer.recorder.facts["data"]["fingerprint"] = "3"
    with pytest.raises(ValueError, match=r"data.data: a.csv -> b.csv; data.fingerprint: 1 -> 3"):
        trainer.check_unchanged(moved)


@pytest.mark.fault(11)
def test_a_worker_ends_though_both_signals_come_at_once():
    """The group gets Ctrl-C, and the parent ends its workers before they have looked at it."""
    child = os.fork()
    if not child:
        start_worker(None, 0)
        both = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, both)
        for number in both:
            os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
        time.sleep(10)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGTERM
