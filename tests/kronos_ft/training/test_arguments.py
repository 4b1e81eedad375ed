"""Settings that contradict each other or the machine."""

import logging

import pytest
import torch

from kronos_ft.training.arguments import KronosTokenizerArguments
from kronos_ft.training.presets import PRESETS, STAGE_PRESETS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size=0 is below 1"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps=0 is below 1"),
        ({"num_train_epochs": 0}, "num_train_epochs=0 is not positive"),
        ({"save_total_limit": 2}, "save_total_limit=2 would remove checkpoints that keep_best=3 keeps"),
        ({"pct_start": 1.5}, "pct_start=1.5 is outside"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 is not positive"),
        ({"early_stopping_patience": 0}, "early_stopping_patience=0 is below 1"),
        ({"early_stopping": True, "eval_strategy": "no", "load_best_model_at_end": False}, "needs evaluations"),
    ],
)
def test_refused(values, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        KronosTokenizerArguments(output_dir=str(tmp_path), **values)


def test_fp16_on_a_cpu(tmp_path):
    with pytest.raises(ValueError, match="mixed_precision=fp16 has no effect on a CPU"):
        KronosTokenizerArguments(output_dir=str(tmp_path), fp16=True, use_cpu=True)


def test_fp16_from_the_launcher(make_trainer, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ValueError, match="mixed_precision=fp16 has no effect on a CPU"):
        make_trainer()


def test_ignored_settings_are_named(tmp_path, caplog):
    logging.getLogger("transformers").propagate = True
    for name in ("kronos_ft.training.arguments",):
        logging.getLogger(name).propagate = True
    KronosTokenizerArguments(output_dir=str(tmp_path), lr_scheduler_type="cosine", warmup_steps=10)
    text = caplog.text
    assert "lr_scheduler_type=cosine is ignored because one_cycle is on" in text
    assert "warmup_steps=10 is ignored because one_cycle is on" in text


def test_a_machine_without_accelerator_trains_on_its_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert KronosTokenizerArguments(output_dir=str(tmp_path)).use_cpu


def test_presets_are_those_of_the_recipes():
    baseline, optimized = PRESETS["baseline"], PRESETS["optimized"]
    fields = [
        *("learning_rate", "per_device_train_batch_size", "weight_decay", "max_grad_norm"),
        *("pct_start", "div_factor", "final_div_factor", "num_train_epochs"),
    ]
    assert [baseline[name] for name in fields] == [2e-4, 50, 0.1, 2.0, 0.03, 10.0, 1e4, 30]
    assert [optimized[name] for name in fields] == [1e-4, 64, 0.05, 1.0, 0.1, 25.0, 100.0, 30]
    assert not any(name.startswith("augment") for name in baseline)
    assert sum(name.startswith("augment") for name in optimized) == 4
    assert (baseline["early_stopping"], optimized["early_stopping"]) == (False, True)


def test_best_is_muon_with_averaged_weights_and_fewer_passes(tmp_path):
    args = KronosTokenizerArguments(output_dir=str(tmp_path), **PRESETS["best"])
    assert (args.optim, args.learning_rate, args.muon_learning_rate) == ("muon", 1e-2, None)
    assert (args.per_device_train_batch_size, args.num_train_epochs, args.ema_decay) == (16, 12, 0.98)
    predictor = STAGE_PRESETS["predictor"]["best"]
    assert (predictor["optim"], predictor["learning_rate"], predictor["num_train_epochs"]) == ("muon", 3e-3, 10)


def test_gentle_is_independent_of_best(tmp_path):
    args = KronosTokenizerArguments(output_dir=str(tmp_path), **PRESETS["gentle"])
    assert (args.optim, args.learning_rate, args.ema_decay) == ("adamw_torch_fused", 1e-5, 0.0)
    assert (args.per_device_train_batch_size, args.num_train_epochs) == (50, 5)
    assert (args.early_stopping, args.early_stopping_patience) == (True, 3)


def test_defaults_are_the_baseline(tmp_path):
    args = KronosTokenizerArguments(output_dir=str(tmp_path))
    for name, value in PRESETS["baseline"].items():
        assert getattr(args, name) == value
    assert (args.adam_beta1, args.adam_beta2) == (0.9, 0.95)
    assert (args.early_stopping_patience, args.early_stopping_min_delta, args.keep_best) == (5, 1e-5, 3)
    assert args.cycle_momentum is False
