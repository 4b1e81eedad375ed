"""The trainer: logged terms against recomputation, accumulation, best model, resume, early stopping."""

import json
import math
from pathlib import Path

import pytest
import torch
from matplotlib import image
from safetensors.torch import load_file
from transformers import TrainerCallback

from ft_core.checkpoints.listing import list_checkpoints
from ft_core.checkpoints.weights import count_parameters
from ft_core.training.weight_average import TRAINING_WEIGHTS
from kronos_ft.models.configuration_kronos import KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import KronosTokenizer
from kronos_ft.models.quantizer import bits_to_index, split_index
from kronos_ft.runs.finish import finish_run, summary_table
from kronos_ft.training.losses import tokenizer_objective, tokenizer_terms
from kronos_ft.training.tokenizer_trainer import code_usage
from kronos_ft.windows.augmentation import AugmentationArguments
from kronos_ft.windows.dataset import WindowDataset, WindowShape

TERMS = ("loss", "recon_pre", "recon_all", "bsq", "commitment", "entropy_sample", "entropy_codebook")
CODES = ("code_usage_s1", "code_usage_s2", "code_perplexity_s1", "code_perplexity_s2")


def objective_of(model, windows, indices):
    batch = windows.__getitems__(indices)
    with torch.no_grad():
        output = model(batch["candles"])
    terms = tokenizer_terms(output.reconstruction_pre, output.reconstruction, output.unit, batch["target"])
    found = tokenizer_objective(terms.per_window.mean(dim=0), terms.bit_means.mean(dim=0), model.config)
    return {name: value.item() for name, value in found.items()}, output


def training_logs(trainer):
    return [entry for entry in trainer.state.log_history if "learning_rate" in entry]


class Stop(TrainerCallback):
    """Ends training right after the save at a step, as a kill would."""

    def __init__(self, step):
        self.step = step

    def on_save(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= self.step


def test_every_promised_figure_is_logged(make_trainer):
    trainer = make_trainer(max_steps=2, eval_steps=2, save_steps=2)
    trainer.train()
    names = {*TERMS, *CODES, "learning_rate", "grad_norm", "weight_norm", "bars_per_second"}
    for entry in training_logs(trainer):
        assert names <= entry.keys()
        assert all(math.isfinite(entry[name]) for name in names)
    evaluation = next(entry for entry in trainer.state.log_history if "eval_loss" in entry)
    assert {f"eval_{name}" for name in (*TERMS, *CODES)} <= evaluation.keys()
    lines = (Path(trainer.args.output_dir) / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == trainer.state.log_history
    norm = math.sqrt(sum(p.detach().square().sum().item() for p in trainer.model.parameters()))
    assert training_logs(trainer)[-1]["weight_norm"] == pytest.approx(norm, rel=1e-5)


def test_training_terms_are_means_over_all_windows_since_the_last_entry(make_trainer, tiny_model, train_windows):
    """With a learning rate of almost nothing the weights stay, so that every step can be recomputed afterwards."""
    trainer = make_trainer(
        learning_rate=1e-30,
        weight_decay=0.0,
        max_steps=4,
        logging_steps=2,
        eval_steps=4,
        save_steps=4,
        gradient_accumulation_steps=2,
    )
    trainer.train()
    order = list(trainer.sampler)
    for position, entry in enumerate(training_logs(trainer)):
        batches = [order[first : first + 8] for first in range(position * 32, position * 32 + 32, 8)]
        parts = [objective_of(tiny_model, train_windows, batch) for batch in batches]
        for name in TERMS:
            assert entry[name] == pytest.approx(sum(part[0][name] for part in parts) / 4, rel=1e-5), name
        index = torch.cat([bits_to_index(part[1].quantized).flatten() for part in parts])
        s1, s2 = split_index(index, 5)
        assert entry["code_usage_s1"] == len(s1.unique()) / 32
        assert entry["code_usage_s2"] == len(s2.unique()) / 32


def test_evaluation_is_of_the_whole_split_whatever_the_batch(make_trainer, tiny_model, validation_windows):
    n = len(validation_windows)
    expected, output = objective_of(tiny_model.eval(), validation_windows, range(n))
    histogram = torch.bincount(split_index(bits_to_index(output.quantized).flatten(), 5)[0], minlength=32)
    for batch in (1, 7, n):
        found = make_trainer(per_device_eval_batch_size=batch).evaluate()
        for name in TERMS:
            assert found[f"eval_{name}"] == pytest.approx(expected[name], rel=1e-5), (batch, name)
        assert found["eval_code_perplexity_s1"] == pytest.approx(code_usage(histogram)[1])


def test_published_validation_loss_decides(make_trainer):
    args = make_trainer().args
    assert (args.metric_for_best_model, args.greater_is_better, args.load_best_model_at_end) == (
        "eval_recon_all", False, True,
    )  # fmt: skip


@pytest.mark.fault(12)
def test_accumulation_equals_a_large_batch(make_trainer, series):
    """8 = 4 x 2 past the end of an epoch, in the terms that are means over windows; the codebook entropy is a
    statistic of its micro-batch, so its weight is 0 here."""
    config = KronosTokenizerConfig(**{**KronosTokenizerConfig.from_size("tiny").to_dict(), "zeta": 0.0})
    torch.manual_seed(0)
    model = KronosTokenizer(config)
    train = WindowDataset(series, "train", WindowShape(20, 4, stride=20))
    assert len(train) % 8
    runs = []
    for size, accumulation in ((8, 1), (4, 2)):
        trainer = make_trainer(
            train=train,
            model=model,
            output=None if size == 8 else model_output(make_trainer),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            max_steps=9,
        )
        trainer.train()
        runs.append(trainer)
    assert runs[0].state.epoch > 2
    for one, other in zip(*(training_logs(trainer) for trainer in runs), strict=True):
        for name in ("loss", "recon_pre", "recon_all", "commitment", "entropy_sample", "grad_norm"):
            assert one[name] == pytest.approx(other[name], rel=1e-5), name
    for one, other in zip(*(trainer.model.parameters() for trainer in runs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_the_metric_may_be_named_without_its_prefix(make_trainer):
    assert make_trainer(metric_for_best_model="recon_pre").args.metric_for_best_model == "eval_recon_pre"


def test_each_save_is_logged_so_that_a_resume_loses_nothing(make_trainer, tmp_path):
    settings = {"logging_steps": 10, "save_steps": 3, "eval_steps": 3, "max_steps": 12}
    whole = make_trainer(output=tmp_path / "whole", **settings)
    whole.train()
    make_trainer(output=tmp_path / "cut", callbacks=[Stop(3)], **settings).train()
    resumed = make_trainer(output=tmp_path / "cut", resume=True, **settings)
    resumed.train()
    for one, other in zip(training_logs(whole), training_logs(resumed), strict=True):
        assert {name: one[name] for name in TERMS} == {name: other[name] for name in TERMS}
    assert [entry["step"] for entry in training_logs(whole)] == [3, 6, 9, 10, 12]


def test_a_run_is_not_resumed_with_other_settings(make_trainer):
    make_trainer(callbacks=[Stop(3)]).train()
    with pytest.raises(ValueError, match=r"cannot be resumed with other settings .seed: 42 -> 9; max_steps: 6 -> 8"):
        make_trainer(resume=True, seed=9, max_steps=8).train()


def test_gradients_are_not_clipped_when_asked_not_to(make_trainer):
    trainer = make_trainer(max_grad_norm=0.0, max_steps=2, eval_steps=2, save_steps=2)
    trainer.train()
    assert all(entry["grad_norm"] > 0 for entry in training_logs(trainer))


def model_output(make_trainer):
    return make_trainer().args.output_dir + "-again"


def test_training_reduces_reconstruction_and_saves_the_best(make_trainer, validation_windows, drawn_curves, tmp_path):
    trainer = make_trainer(
        max_steps=60, eval_steps=10, save_steps=10, learning_rate=5e-3, per_device_train_batch_size=16
    )
    trainer.train()
    metrics = finish_run(trainer, validation_windows)
    assert metrics["improved"]
    assert metrics["best"]["value"] < 0.6 * metrics["start"]
    run = tmp_path / "run"
    history = {e["step"]: e["eval_recon_all"] for e in trainer.state.log_history if "eval_recon_all" in e and e["step"]}
    best_three = sorted(history, key=history.get)[:3]
    assert set(list_checkpoints(run)) == {*best_three, 60}
    assert {"best_model", "metrics.jsonl", "training_metrics.json", "loss_curves.png", "run.json"} <= {
        path.name for path in run.iterdir()
    }
    assert sorted(path.name for path in (run / "best_model").iterdir()) == ["config.json", "model.safetensors"]
    best = KronosTokenizer.from_pretrained(run / "best_model")
    found, _ = objective_of(best, validation_windows, range(len(validation_windows)))
    assert found["recon_all"] == pytest.approx(metrics["best"]["value"], rel=1e-5)
    assert metrics["test"]["recon_all"] == pytest.approx(metrics["best"]["value"], rel=1e-5)
    assert image.imread(run / "loss_curves.png").shape[1] == 1210
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["versions"]["torch"] == torch.__version__
    table = summary_table(metrics)
    assert f"at step {metrics['best']['step']}" in table
    assert " lower)" in table


def test_a_run_that_does_not_help_says_so(make_trainer):
    trainer = make_trainer(learning_rate=3.0, max_steps=4, eval_steps=2, save_steps=2)
    trainer.train()
    metrics = finish_run(trainer)
    assert not metrics["improved"]
    assert "NOT better than the starting weights" in summary_table(metrics)


@pytest.mark.parametrize("stop", [3, 9])
def test_a_resumed_run_ends_bit_equal(make_trainer, series, tmp_path, stop):
    """Interrupted inside the first epoch and inside a later one, with augmentation."""
    augmented = WindowDataset(
        series,
        "train",
        WindowShape(20, 4, stride=8),
        augmentation=AugmentationArguments(augment_noise=True, augment_time_shift=True),
        seed=5,
    )
    settings = {"train": augmented, "max_steps": 18, "per_device_train_batch_size": 10}
    settings |= {"eval_steps": stop, "save_steps": stop}
    whole = make_trainer(output=tmp_path / "whole", **settings)
    whole.train()
    make_trainer(output=tmp_path / "cut", callbacks=[Stop(stop)], **settings).train()
    assert max(list_checkpoints(tmp_path / "cut")) == stop
    resumed = make_trainer(output=tmp_path / "cut", resume=True, **settings)
    resumed.train()
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    timing = ("runtime", "per_second", "flos", "train_loss")
    histories = [
        [{k: v for k, v in e.items() if not any(word in k for word in timing)} for e in trainer.state.log_history]
        for trainer in (whole, resumed)
    ]
    assert histories[0] == histories[1]
    assert set(list_checkpoints(tmp_path / "whole")) == set(list_checkpoints(tmp_path / "cut"))


def test_same_seed_same_weights_and_other_seed_other_weights(make_trainer, tmp_path):
    runs = [make_trainer(output=tmp_path / str(i), seed=seed) for i, seed in enumerate((1, 1, 2))]
    for trainer in runs:
        trainer.train()
    one, same, other = (torch.cat([p.flatten() for p in trainer.model.parameters()]) for trainer in runs)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_early_stopping_stops_a_run_without_improvement(make_trainer):
    trainer = make_trainer(
        learning_rate=1e-12, early_stopping=True, early_stopping_patience=2, max_steps=40, eval_steps=2, save_steps=2
    )
    trainer.train()
    assert trainer.state.global_step == 4  # the evaluation of the starting weights is the reference
    assert json.loads((Path(trainer.args.output_dir) / "run.json").read_text())["status"] == "stopped early"


def test_one_cycle_reaches_the_trainer(make_trainer):
    trainer = make_trainer(max_steps=10, pct_start=0.3, div_factor=10, final_div_factor=100, learning_rate=1e-3)
    trainer.train()
    rates = [entry["learning_rate"] for entry in training_logs(trainer)]
    reference = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        reference, 1e-3, total_steps=10, pct_start=0.3, div_factor=10, final_div_factor=100
    )
    expected = []
    for step in range(10):
        expected.append(schedule.get_last_lr()[0])
        reference.step()
        if step < 9:
            schedule.step()
    assert rates == pytest.approx(expected)
    assert trainer.optimizer.param_groups[0]["betas"] == (0.9, 0.95)


def test_weight_decay_reaches_all_parameters_or_matrices_only(make_trainer):
    everything = make_trainer()
    everything.create_optimizer()
    assert [group["weight_decay"] for group in everything.optimizer.param_groups if group["params"]] == [0.1]
    matrices = make_trainer(decay_all_parameters=False)
    matrices.create_optimizer()
    decayed = {group["weight_decay"]: {p.ndim for p in group["params"]} for group in matrices.optimizer.param_groups}
    assert decayed == {0.1: {2}, 0.0: {1}}


def test_bf16_trains_and_keeps_fp32_weights(make_trainer):
    trainer = make_trainer(bf16=True, max_steps=3)
    trainer.train()
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
    assert all(math.isfinite(entry["loss"]) for entry in training_logs(trainer))


def test_an_occupied_folder_is_refused_before_anything_is_written(make_trainer, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty; pass --resume to continue it or --overwrite"):
        make_trainer().train()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_the_callers_callbacks_are_not_changed(make_trainer):
    mine = [Stop(3)]
    make_trainer(callbacks=mine)
    assert len(mine) == 1


def test_averaged_weights_are_evaluated_saved_and_left_in_the_model(make_trainer, tmp_path):
    trainer = make_trainer(ema_decay=0.9, load_best_model_at_end=False)
    trainer.train()
    folder = tmp_path / "run" / "checkpoint-6"
    saved, own = load_file(folder / "model.safetensors"), load_file(folder / TRAINING_WEIGHTS)
    assert int(own.pop("updates")) == 6
    assert saved.keys() >= own.keys()
    assert not any(torch.equal(saved[name], own[name]) for name in own)
    left = dict(trainer.model.named_parameters())
    assert all(torch.equal(left[name], saved[name]) for name in own)
    logged = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert trainer.evaluate()["eval_loss"] == logged[-1]
    # the training itself is the one without an average
    plain = make_trainer(output=tmp_path / "plain", load_best_model_at_end=False)
    plain.train()
    assert all(torch.equal(dict(plain.model.named_parameters())[name], own[name]) for name in own)


def test_muon_learns(make_trainer):
    trainer = make_trainer(optim="muon", muon_learning_rate=3e-3, max_steps=20, eval_steps=20, save_steps=20)
    trainer.train()
    losses = [entry["eval_recon_all"] for entry in trainer.state.log_history if "eval_recon_all" in entry]
    assert losses[-1] < 0.9 * losses[0]


def test_rates_of_muon_without_muon_are_refused(make_trainer):
    with pytest.raises(ValueError, match=r"muon_learning_rate=0\.003 has no effect with optim=adamw_torch_fused"):
        make_trainer(muon_learning_rate=3e-3)
    with pytest.raises(ValueError, match="cycle_momentum=True cycles AdamW's beta1, but Muon has none"):
        make_trainer(optim="muon", cycle_momentum=True)
    with pytest.raises(ValueError, match=r"optim=muno is not an optimizer; did you mean muon\?"):
        make_trainer(optim="muno")
    with pytest.raises(ValueError, match=r"ema_decay=1\.0 is outside \[0, 1\)"):
        make_trainer(ema_decay=1.0)


def test_a_forced_resume_without_average_continues_from_the_training_weights(make_trainer, tmp_path):
    make_trainer(ema_decay=0.9, callbacks=[Stop(3)]).train()
    own = load_file(tmp_path / "run" / "checkpoint-3" / TRAINING_WEIGHTS)
    begun = {}

    class Begin(TrainerCallback):
        def on_train_begin(self, args, state, control, model=None, **kwargs):
            begun.update({name: one.detach().clone() for name, one in model.named_parameters()})

    make_trainer(resume_force=True, callbacks=[Begin()]).train()
    assert all(torch.equal(begun[name], own[name]) for name in begun)


def test_parameters_of_a_checkpoint_with_average_count_once(make_trainer, tmp_path):
    trainer = make_trainer(ema_decay=0.9)
    trainer.train()
    expected = sum(one.numel() for one in trainer.model.parameters())
    assert count_parameters(tmp_path / "run" / "checkpoint-6") == expected
