"""Memory that runs out: the batch is halved with the effective batch kept, and what failed is given up."""

import json
import weakref

import pytest
import torch

from mt5_ft.cli.main import main
from mt5_ft.training.trainer import MT5Trainer


def test_memory_that_runs_out_halves_the_batch(train, monkeypatch, capsys):
    real, seen = MT5Trainer.training_step, []

    def step(self, model, inputs, *args, **kwargs):
        seen.append(len(inputs["labels"]))
        if len(inputs["labels"]) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
        return real(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(MT5Trainer, "training_step", step)
    code, run = train("--per_device_train_batch_size", "8", "--gradient_accumulation_steps", "1")
    assert code == 0
    assert seen[:3] == [8, 4, 2]
    out = capsys.readouterr().out
    assert "continuing with 4 x 2 accumulated, the same effective batch of 8" in out
    assert "continuing with 2 x 4 accumulated, the same effective batch of 8" in out
    record = json.loads((run / "run.json").read_text("utf-8"))
    assert record["arguments"]["per_device_train_batch_size"] == 2
    assert record["global_step"] == 4


def test_memory_that_runs_out_at_one_names_three_settings(train, monkeypatch, capsys):
    def step(self, *args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(MT5Trainer, "training_step", step)
    assert train("--per_device_train_batch_size", "1")[0] == 2
    err = capsys.readouterr().err
    assert all(word in err for word in ("lora", "adafactor", "max_source_length"))


def test_memory_that_runs_out_in_the_probe_halves_the_batch(train, monkeypatch, capsys):
    real = MT5Trainer._token_sums

    def sums(self, model, inputs):
        if model.training and len(inputs["labels"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, model, inputs)

    monkeypatch.setattr(MT5Trainer, "_token_sums", sums)
    words = ["--per_device_train_batch_size", "8", "--gradient_accumulation_steps", "1"]
    code, run = train(*words)
    assert code == 0
    out = capsys.readouterr().out
    assert "continuing with 2 x 4 accumulated, the same effective batch of 8" in out
    assert "batch       2 x 4 accumulated" in out
    assert main(["plan", *[str(word) for word in [*train.base, "--output_dir", run.with_name("other"), *words]]]) == 0
    assert "batch       2 x 4 accumulated" in capsys.readouterr().out
    assert not run.with_name("other").exists()


def test_evaluations_that_do_not_fit_are_halved(train, monkeypatch, capsys):
    real = MT5Trainer._token_sums

    def sums(self, model, inputs):
        if not model.training and len(inputs["labels"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, model, inputs)

    monkeypatch.setattr(MT5Trainer, "_token_sums", sums)
    assert train()[0] == 0
    assert "evaluation  2 records per batch: a larger batch does not fit into memory" in capsys.readouterr().out


@pytest.mark.thorough
def test_a_failed_attempt_is_given_up_before_the_next(train, monkeypatch):
    """Or the weights and the optimizer's state of both would have to fit."""
    real, kept, alive = MT5Trainer.training_step, [], []

    def step(self, model, inputs, *args, **kwargs):
        if len(inputs["labels"]) > 2 and self.state.global_step >= 1:
            kept.extend([weakref.ref(self.optimizer.optimizer), weakref.ref(next(self.model.parameters()))])
            raise torch.OutOfMemoryError("CUDA out of memory.")
        if kept and not alive:
            alive.extend(reference() is not None for reference in kept)
        return real(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(MT5Trainer, "training_step", step)
    assert train("--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "1")[0] == 0
    assert alive == [False, False]


def failing_above(size, monkeypatch, first_step=0):
    real = MT5Trainer.training_step

    def step(self, model, inputs, *args, **kwargs):
        if len(inputs["labels"]) > size and self.state.global_step >= first_step:
            raise MemoryError
        return real(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(MT5Trainer, "training_step", step)


@pytest.mark.thorough
def test_a_halved_run_is_resumed_by_the_same_flags(train, monkeypatch, capsys):
    words = ["--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "1", "--max_steps", "6"]
    failing_above(2, monkeypatch)
    done = MT5Trainer.training_step

    def interrupted(self, *args, **kwargs):
        if self.state.global_step == 5:
            raise KeyboardInterrupt
        return done(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MT5Trainer, "training_step", interrupted)
        assert train(*words)[0] == 130
    code, run = train(*words, "--resume")
    assert code == 0
    assert "was trained with 2 x 2 accumulated, the same effective batch; keeping that" in capsys.readouterr().out
    assert json.loads((run / "run.json").read_text("utf-8"))["global_step"] == 6


@pytest.mark.thorough
def test_memory_that_runs_out_after_a_resume_keeps_the_checkpoints(train, monkeypatch, capsys):
    """Step 4 is not among the first three, but it is the first of this start."""
    words = ["--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "1", "--max_steps", "8"]
    with monkeypatch.context() as patch:
        real = MT5Trainer.training_step

        def interrupted(self, *args, **kwargs):
            if self.state.global_step == 5:
                raise KeyboardInterrupt
            return real(self, *args, **kwargs)

        patch.setattr(MT5Trainer, "training_step", interrupted)
        assert train(*words)[0] == 130
    failing_above(2, monkeypatch)
    code, run = train(*words, "--resume")
    assert code == 0
    assert "continuing with 2 x 2 accumulated" in capsys.readouterr().out
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines if "learning_rate" in line] == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.thorough
def test_memory_that_runs_out_with_nothing_to_resume_starts_again(train, monkeypatch):
    failing_above(1, monkeypatch)
    words = ["--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "1", "--resume"]
    assert train(*words)[0] == 0


def test_memory_that_runs_out_later_says_what_to_set(train, monkeypatch, capsys):
    failing_above(1, monkeypatch, first_step=5)
    words = ["--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "1", "--max_steps", "8"]
    assert train(*words)[0] == 2
    err = capsys.readouterr().err
    flags = "--per_device_train_batch_size 1 --gradient_accumulation_steps 2"
    assert f"out of memory at step 5 with per_device_train_batch_size=2; continue with --resume {flags}" in err
    assert train(*words, "--resume", *flags.split())[0] == 0


def budget_exceeded_from(first_step, most, monkeypatch):
    """Lets memory run out for micro-batches of more padded tokens than `most`."""
    real = MT5Trainer._token_sums

    def sums(self, model, inputs):
        tokens = inputs["input_ids"].numel() + inputs["labels"].numel()
        if model.training and tokens > most and self.state.global_step >= first_step:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, model, inputs)

    monkeypatch.setattr(MT5Trainer, "_token_sums", sums)


@pytest.mark.thorough
def test_tokens_that_are_too_many_later_are_set_by_hand(train, monkeypatch, capsys, caplog):
    budgeted = ["--target_tokens_per_step", "200", "--max_steps", "8", "--tokens_per_batch"]
    with monkeypatch.context() as patch:
        budget_exceeded_from(5, 300, patch)
        assert train(*budgeted, "576")[0] == 2
        err = capsys.readouterr().err
        assert "at step 5 with tokens_per_batch=576; continue with --resume --tokens_per_batch 288" in err
        code, run = train(*budgeted, "288", "--resume")
    assert code == 0
    assert "tokens_per_batch: 576 -> 288" in caplog.text
    assert "the rest of this epoch has a new order" in caplog.text
    record = json.loads((run / "run.json").read_text("utf-8"))
    assert (record["arguments"]["tokens_per_batch"], record["global_step"]) == (288, 8)


@pytest.mark.thorough
def test_a_budget_halved_after_a_resume_goes_on(train, monkeypatch, capsys):
    words = ["--target_tokens_per_step", "200", "--max_steps", "8", "--tokens_per_batch", "576"]
    with monkeypatch.context() as patch:
        budget_exceeded_from(5, 0, patch)
        assert train(*words)[0] == 2
    with monkeypatch.context() as patch:
        budget_exceeded_from(4, 300, patch)
        real = MT5Trainer.training_step

        def interrupted(self, *args, **kwargs):
            if self.state.global_step == 7:
                raise KeyboardInterrupt
            return real(self, *args, **kwargs)

        patch.setattr(MT5Trainer, "training_step", interrupted)
        code, run = train(*words, "--resume")
        assert code == 130
        assert "with 576 tokens per batch: continuing with 288" in capsys.readouterr().out
        patch.setattr(MT5Trainer, "training_step", real)
        assert train(*words, "--resume")[0] == 0  # the same flags
        assert "was trained with tokens_per_batch=288" in capsys.readouterr().out
    assert json.loads((run / "run.json").read_text("utf-8"))["arguments"]["tokens_per_batch"] == 288


@pytest.mark.thorough
def test_a_forced_resume_takes_the_budget_that_is_set(train, monkeypatch):
    words = ["--target_tokens_per_step", "200", "--max_steps", "8", "--tokens_per_batch", "576"]
    with monkeypatch.context() as patch:
        budget_exceeded_from(0, 300, patch)
        real = MT5Trainer.training_step

        def interrupted(self, *args, **kwargs):
            if self.state.global_step == 5:
                raise KeyboardInterrupt
            return real(self, *args, **kwargs)

        patch.setattr(MT5Trainer, "training_step", interrupted)
        code, run = train(*words)
        assert code == 130
    assert train(*words, "--resume_force")[0] == 0
    assert json.loads((run / "run.json").read_text("utf-8"))["arguments"]["tokens_per_batch"] == 576


def test_memory_that_runs_out_halves_the_tokens_of_a_batch(train, monkeypatch, capsys):
    real = MT5Trainer._token_sums

    def sums(self, model, inputs):
        if model.training and inputs["input_ids"].numel() + inputs["labels"].numel() > 200:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, model, inputs)

    monkeypatch.setattr(MT5Trainer, "_token_sums", sums)
    code, run = train("--tokens_per_batch", "576", "--target_tokens_per_step", "200")
    assert code == 0
    out = capsys.readouterr().out
    assert "with 576 tokens per batch: continuing with 288, the same effective batch of 9" in out
    assert "with 288 tokens per batch: continuing with 144, the same effective batch of 9" in out
    assert json.loads((run / "run.json").read_text("utf-8"))["arguments"]["tokens_per_batch"] == 144
    assert train("--tokens_per_batch", "576", "--target_tokens_per_step", "200", "--resume")[0] == 0

    def none(self, model, inputs):
        raise MemoryError

    monkeypatch.setattr(MT5Trainer, "_token_sums", none)
    assert train("--tokens_per_batch", "60", output="other")[0] == 2
    assert "out of memory at tokens_per_batch=60, one record of 72 tokens; set " in capsys.readouterr().err
