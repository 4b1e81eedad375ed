"""Steps made of target tokens inside the Trainer: its loss, its step numbers, and a resume within an epoch."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from mt5_ft.models.linear_cross_entropy import IGNORED
from mt5_ft.training.arguments import MT5Arguments
from tests.sample_order import StopAfterSave, digest

BUDGET, PER_STEP = 180, 90


def uneven(record):
    """A record of another length than its neighbours."""
    source, target = 8 + record["row"] * 7 % 40, 4 + record["row"] * 5 % 28
    cut = {name: record[name][:source] for name in ("input_ids", "attention_mask")}
    return cut | {"labels": record["labels"][:target]}


@pytest.fixture
def make(make_trainer):
    def build(output="run", **more):
        values = {"train_sampling_strategy": "group_by_length", "per_device_train_batch_size": 1}
        budget = {"tokens_per_batch": BUDGET, "target_tokens_per_step": PER_STEP}
        trainer = make_trainer(output, **(values | budget | more))
        trainer.train_dataset = trainer.train_dataset.map(uneven, keep_in_memory=True)
        return trainer

    return build


def weights(trainer):
    return torch.cat([parameter.flatten() for parameter in trainer.model.parameters()])


def train_and_watch(trainer):
    """Trains; returns the digests of the micro-batches of each step."""
    seen, step = [], trainer.training_step

    def watched(model, inputs, *args, **kwargs):
        if isinstance(inputs, list):
            seen.append([digest(batch) for batch in inputs])
        return step(model, inputs, *args, **kwargs)

    trainer.training_step = watched
    trainer.train()
    return seen


def test_steps_of_a_run_are_as_planned(make):
    trainer = make(max_steps=-1, num_train_epochs=2)
    tokens = sum(len(ids) for ids in trainer.train_dataset["labels"])
    per_epoch = trainer.steps_per_epoch()
    assert per_epoch == round(tokens / PER_STEP) > 2
    assert trainer.planned_steps() == 2 * per_epoch
    assert trainer.effective_batch() == round(32 / per_epoch)
    seen = train_and_watch(trainer)
    assert trainer.state.global_step == trainer.state.max_steps == len(seen) == 2 * per_epoch
    assert trainer.state.epoch == 2
    assert min(len(step) for step in seen) >= 2
    assert len({len(step) for step in seen}) > 1, "steps of different numbers of micro-batches"
    assert len(trainer.micro_batches()) == sum(len(step) for step in seen[:per_epoch])
    assert {row for rows in trainer.micro_batches() for row in rows} == set(range(32))


@pytest.mark.parametrize("linear", [True, False])
def test_a_steps_loss_and_gradient_are_those_of_all_its_tokens(make, linear):
    trainer = make(linear_loss=linear, max_steps=1, max_grad_norm=1e6, eval_strategy="no", load_best_model_at_end=False)
    trainer.model.eval()
    micro = next(iter(trainer.get_train_dataloader()))
    assert len(micro) > 1
    total, tokens = 0.0, 0
    for batch in micro:
        logits = trainer.model(**{name: value for name, value in batch.items() if name not in ("labels", "row")}).logits
        total = total + F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum")
        tokens += int((batch["labels"] != IGNORED).sum())
    (total / tokens).backward()
    expected = torch.nn.utils.get_total_norm([p.grad for p in trainer.model.parameters()])
    trainer.model.zero_grad()
    trainer.train()
    entry = trainer.state.log_history[0]
    assert entry["loss"] == pytest.approx(float(total.detach() / tokens), rel=1e-5)
    assert entry["grad_norm"] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.thorough
def test_workers_and_interruptions_change_nothing(make):
    steps = {"max_steps": 14, "eval_steps": 5, "save_steps": 5}
    whole = make("whole", **steps)
    assert whole.steps_per_epoch() % 5
    assert whole.steps_per_epoch() < 10
    expected = train_and_watch(whole)
    workers = make("workers", dataloader_num_workers=1, **steps)
    assert train_and_watch(workers) == expected
    assert torch.equal(weights(workers), weights(whole))
    for stop in (5, 10):
        cut = make(f"cut{stop}", callbacks=[StopAfterSave(stop)], **steps)
        assert train_and_watch(cut) == expected[:stop]
        resumed = make(f"cut{stop}", resume=True, **steps)
        assert train_and_watch(resumed) == expected[stop:]
        assert torch.equal(weights(resumed), weights(whole))


def test_other_steps_are_no_resume(make):
    make("run", callbacks=[StopAfterSave(2)]).train()
    with pytest.raises(ValueError, match="target_tokens_per_step: 90 -> 95"):
        make("run", resume=True, target_tokens_per_step=95).train()


def test_a_smaller_budget_goes_on_with_the_same_steps(make, caplog):
    cut = make("run", callbacks=[StopAfterSave(2)])
    cut.train()
    resumed = make("run", resume=True, tokens_per_batch=120)
    resumed.train()
    assert resumed.state.global_step == resumed.state.max_steps == cut.state.max_steps
    assert "tokens_per_batch: 180 -> 120: the same target tokens per step" in caplog.text
    assert caplog.text.count("this epoch has a new order") == 1


def test_a_bad_step_names_its_records(make, monkeypatch):
    trainer = make(max_steps=3, max_bad_steps=2)
    real = trainer.compute_loss

    def broken(model, inputs, *args, **kwargs):
        loss = real(model, inputs, *args, **kwargs)
        return loss * float("nan") if trainer.state.global_step == 1 else loss

    monkeypatch.setattr(trainer, "compute_loss", broken)
    trainer.train()
    assert trainer.state.global_step == 3
    (entry,) = json.loads((Path(trainer.args.output_dir) / "bad_steps.json").read_text("utf-8"))
    assert entry["step"] == 2
    assert 2 < len(entry["samples"]) < 32


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tokens_per_batch": -1}, "tokens_per_batch=-1 is negative; use 0 or a number of tokens"),
        ({"target_tokens_per_step": 500}, "target_tokens_per_step=500 has no effect without tokens_per_batch"),
        (
            {"tokens_per_batch": 500, "train_sampling_strategy": "random"},
            "train_sampling_strategy=random has no effect",
        ),
    ],
)
def test_settings_that_exclude_each_other(values, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        MT5Arguments(output_dir=str(tmp_path / "run"), **values)


def test_deepspeed_is_refused_with_steps_of_tokens(tmp_path, monkeypatch):
    message = "tokens_per_batch=500 does not work with DeepSpeed, which would update after each micro-batch"
    with pytest.raises(ValueError, match=message):
        MT5Arguments(output_dir=str(tmp_path), tokens_per_batch=500, deepspeed={"zero_optimization": {"stage": 2}})
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ValueError, match=message):
        MT5Arguments(output_dir=str(tmp_path), tokens_per_batch=500)


def test_batches_of_records_are_not_used(tmp_path, caplog):
    args = MT5Arguments(output_dir=str(tmp_path), tokens_per_batch=500, per_device_train_batch_size=4)
    assert "per_device_train_batch_size=4 and gradient_accumulation_steps=4 are ignored" in caplog.text
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (1, 1)
