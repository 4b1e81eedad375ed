"""Steps whose loss or gradient is not finite: never applied, on file, and too many of them end the run."""

import json
import math
from types import SimpleNamespace

import pytest
import torch

from ft_core.checkpoints.listing import list_checkpoints
from ft_core.training.guarded_steps import GuardedSteps, poison_if_not_finite
from kronos_ft.training.predictor_arguments import KronosArguments
from kronos_ft.training.predictor_trainer import KronosTrainer
from kronos_ft.training.tokenizer_trainer import KronosTokenizerTrainer

pytestmark = pytest.mark.fault(8)


@pytest.fixture(params=["host", "device"])
def decides(request, monkeypatch):
    """Where it is decided; the device's way works with a fused optimizer on a CPU too."""
    if request.param == "device":
        monkeypatch.setattr(GuardedSteps, "_decides_on_device", lambda self, norm: True)
    return request.param


def spoil(monkeypatch, steps, what, windows=None):
    """Makes the losses, gradients or inputs of some steps not finite, in some of the windows of their batches."""
    real = KronosTokenizerTrainer._terms

    def terms(self, model, inputs):
        if not (self.is_in_train and model.training and self.state.global_step + 1 in steps):
            return real(self, model, inputs)
        rows = slice(None) if windows is None else windows
        if what == "inputs":
            candles = inputs["candles"].clone()
            candles[rows] = math.nan
            return real(self, model, {**inputs, "candles": candles})
        found, output = real(self, model, inputs)
        if what == "gradients":  # a finite loss
            found.per_window.register_hook(lambda gradient: gradient * math.inf)
        else:
            factor = torch.ones(len(found.per_window), 1)
            factor[rows] = float(what)
            found.per_window = found.per_window * factor
        return found, output

    monkeypatch.setattr(KronosTokenizerTrainer, "_terms", terms)


def weights(trainer):
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def entries(run):
    return json.loads((run / "bad_steps.json").read_text("utf-8"))


@pytest.mark.parametrize("what", ["nan", "inf", "gradients", "inputs"])
def test_a_bad_step_leaves_everything_as_it_was(make_trainer, monkeypatch, tmp_path, what, decides):
    """The run is that of a trainer whose optimizer leaves the step out."""
    spoil(monkeypatch, {2, 4}, what)
    trainer = make_trainer(logging_steps=1)
    before = {}
    real = type(trainer)._get_grad_norm

    def norm(self, *args, **kwargs):
        found = real(self, *args, **kwargs)
        before[self.state.global_step + 1] = (
            weights(self),
            [{name: value.clone() for name, value in state.items()} for state in self.optimizer.state.values()],
        )
        return found

    monkeypatch.setattr(type(trainer), "_get_grad_norm", norm)
    trainer.train()
    assert torch.equal(before[2][0], before[3][0])
    assert torch.equal(before[4][0], before[5][0])
    assert not torch.equal(before[3][0], before[4][0])
    for one, other in zip(before[2][1], before[3][1], strict=True):
        for name in one:
            assert torch.equal(one[name], other[name]), name
    assert weights(trainer).isfinite().all()
    assert [entry["step"] for entry in entries(tmp_path / "run")] == [2, 4]
    logged = [entry for entry in trainer.state.log_history if "learning_rate" in entry]
    assert [math.isfinite(entry["loss"]) for entry in logged] == [True, False, True, False, True, True]
    final = next(entry for entry in trainer.state.log_history if "train_loss" in entry)
    assert math.isfinite(final["train_loss"])


def test_means_leave_bad_steps_out(make_trainer, monkeypatch, decides, tmp_path):
    """Over three steps, one of which is bad, the logged terms are the means of the other two."""
    spoil(monkeypatch, {2}, "nan")
    logged = []
    for steps in (1, 3):
        trainer = make_trainer(logging_steps=steps, output=tmp_path / str(steps))
        trainer.train()
        logged.append([entry for entry in trainer.state.log_history if "learning_rate" in entry])
    single, mean = logged
    for name in ("loss", "recon_all", "bsq"):
        assert mean[0][name] == pytest.approx((single[0][name] + single[2][name]) / 2, rel=1e-9)


def test_too_many_in_a_row_stop_the_run(make_trainer, monkeypatch, tmp_path, decides):
    spoil(monkeypatch, {4, 5}, "nan", windows=[1, 3])
    trainer = make_trainer(max_bad_steps=2, save_steps=3, eval_steps=3)
    words = r"in steps 4 to 5 \(max_bad_steps=2\) .* none was applied, checkpoint-3 is the newest complete checkpoint"
    with pytest.raises(ValueError, match=words):
        trainer.train()
    assert weights(trainer).isfinite().all()
    assert set(list_checkpoints(tmp_path / "run")) == {3}
    assert json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))["status"] == "interrupted: ValueError"
    monkeypatch.undo()
    make_trainer(resume=True, max_bad_steps=2, save_steps=3, eval_steps=3).train()


def test_single_ones_do_not_add_up(make_trainer, monkeypatch):
    spoil(monkeypatch, {1, 3, 5}, "nan")
    trainer = make_trainer(max_bad_steps=2)
    trainer.train()
    assert trainer.state.global_step == 6


def test_the_samples_are_named(make_trainer, monkeypatch, tmp_path, train_windows):
    """Those that are not finite by themselves are told apart; each has its loss and parts."""
    values = train_windows._values.copy()
    values[train_windows._starts[7] + 5] = math.nan  # a bar that some windows hold
    monkeypatch.setattr(train_windows, "_values", values)
    trainer = make_trainer(max_bad_steps=99)
    trainer.train()
    holding = {
        train_windows.name_of(window)
        for window in range(len(train_windows))
        if 0 <= train_windows._starts[7] + 5 - train_windows._starts[window] < train_windows.shape.length
    }
    found = entries(tmp_path / "run")
    assert found
    for entry in found:
        assert set(entry["offending"]) <= holding
        assert set(entry["offending"]) == {sample["sample"] for sample in entry["samples"]} & holding
        for sample in entry["samples"]:
            assert {"loss", "recon_pre", "recon_all", "bsq"} <= sample.keys()
            assert (sample["loss"] == "nan") == (sample["sample"] in holding)


def test_a_look_at_samples_leaves_the_random_state_be(make_trainer, monkeypatch):
    trainer = make_trainer()
    trainer._batches = [next(iter(trainer.get_train_dataloader()))]
    before = torch.get_rng_state()
    trainer._samples_of(trainer._batches)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_predictor_is_guarded_too(
    tiny_predictor, tiny_model, train_windows, validation_windows, tmp_path, monkeypatch
):
    real = KronosTrainer._call

    def call(model, inputs, **options):
        output = real(model, inputs, **options)
        if model.training and args.now.state.global_step + 1 == 2:
            output.s1_logits = output.s1_logits * math.nan
        return output

    monkeypatch.setattr(KronosTrainer, "_call", staticmethod(call))
    arguments = KronosArguments(
        output_dir=str(tmp_path / "run"), per_device_train_batch_size=8, max_steps=3, eval_strategy="no",
        save_strategy="no", load_best_model_at_end=False, eval_on_start=False,
    )  # fmt: skip
    trainer = KronosTrainer(tiny_predictor, arguments, train_windows, None, tiny_model)
    args = SimpleNamespace(now=trainer)
    trainer.train()
    assert weights(trainer).isfinite().all()
    (entry,) = entries(tmp_path / "run")
    assert (entry["step"], len(entry["samples"])) == (2, 8)
    assert {"loss", "ce_s1", "ce_s2"} <= entry["samples"][0].keys()


def test_a_collapsed_loss_scale_is_told_apart(make_trainer):
    trainer = make_trainer()
    trainer._batches = [next(iter(trainer.get_train_dataloader()))]
    scale = [65536.0]
    trainer.accelerator.scaler = SimpleNamespace(get_scale=lambda: scale[0])
    assert trainer._is_scaling_down(torch.tensor(math.inf))  # a matter of course
    scale[0] = 0.5
    with pytest.raises(ValueError, match=r"the fp16 loss scale fell to 0.5 at step 1: the loss is finite, .* use bf16"):
        trainer._is_scaling_down(torch.tensor(math.inf))
    trainer._batches[0]["target"][0] = math.nan
    assert not trainer._is_scaling_down(torch.tensor(math.nan))  # the loss itself: a bad step


def test_a_finite_loss_is_not_changed():
    loss = torch.tensor(1.2345678, requires_grad=True)
    assert torch.equal(poison_if_not_finite(loss), loss)
    poison_if_not_finite(loss).backward()
    assert loss.grad == 1
    with pytest.raises(ValueError, match="max_bad_steps=0 is below 1"):
        KronosArguments(output_dir="none", max_bad_steps=0)


@pytest.mark.fault(9)
def test_a_nan_metric_is_never_the_best(make_trainer, monkeypatch, tmp_path):
    """Neither first nor later, and early stopping counts it as no gain."""
    real = KronosTokenizerTrainer.logged_terms
    count = [0]

    def terms(self, sums, weight):
        found = real(self, sums, weight)
        if not self.model.training:
            count[0] += 1
            if count[0] in (1, 2, 4):
                found["recon_all"] = math.nan
        return found

    monkeypatch.setattr(KronosTokenizerTrainer, "logged_terms", terms)
    trainer = make_trainer(max_steps=8, eval_steps=2, save_steps=2, keep_best=1)
    trainer.train()
    values = [entry["eval_recon_all"] for entry in trainer.state.log_history if "eval_recon_all" in entry]
    assert [math.isnan(value) for value in values] == [True, True, False, True, False]
    assert math.isfinite(trainer.state.best_metric)
    assert trainer.state.best_global_step in (4, 8)
    assert trainer.state.best_global_step in list_checkpoints(tmp_path / "run")
