"""Predictor settings: defaults of the published recipe, contradictions, and the embargo of one window."""

import logging

import pytest

from kronos_ft.training.arguments import DataArguments, KronosTokenizerArguments
from kronos_ft.training.predictor_arguments import KronosArguments
from kronos_ft.training.presets import PREDICTOR_PRESETS, PRESETS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"s1_conditioning": "none"}, "s1_conditioning='none' is not known; use one of true, sampled"),
        ({"lora_r": 0}, "lora_r=0 is below 1"),
        ({"lora_alpha": 0}, "lora_alpha=0 is not positive"),
        ({"lora_dropout": 1.0}, r"lora_dropout=1.0 is outside \[0, 1\)"),
        ({"lora_merge": True}, "lora_merge=True has no effect without lora=True"),
        ({"symbol_weighting": "equal"}, "symbol_weighting='equal' is not known; use one of length, even"),
        ({"metric_for_best_model": "eval_recon_all"}, "metric_for_best_model='eval_recon_all' is not evaluated"),
        ({"metric_for_best_model": "eval_published_loss"}, "needs eval_like_published"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size=0 is below 1"),
    ],
)
def test_refused(values, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        KronosArguments(output_dir=str(tmp_path), **values)


def test_defaults_are_the_baseline(tmp_path):
    args = KronosArguments(output_dir=str(tmp_path))
    for name, value in PREDICTOR_PRESETS["baseline"].items():
        assert getattr(args, name) == value
    assert (args.learning_rate, args.max_grad_norm, args.metric_for_best_model) == (4e-5, 3.0, "eval_loss")
    assert (args.s1_conditioning, args.eval_like_published, args.lora) == ("true", False, False)


def test_both_stages_share_every_other_default(tmp_path):
    tokenizer = KronosTokenizerArguments(output_dir=str(tmp_path)).to_dict()
    predictor = KronosArguments(output_dir=str(tmp_path)).to_dict()
    differing = {name for name in tokenizer if tokenizer[name] != predictor[name] and "_dir" not in name}
    assert differing == {"learning_rate", "max_grad_norm", "metric_for_best_model"}
    own = {"learning_rate", "max_grad_norm", "num_train_epochs", "early_stopping_patience"}
    for name, preset in PRESETS.items():
        sized = {"model", "max_steps"} if name == "cpu" else set()
        assert {k for k in preset if preset[k] != PREDICTOR_PRESETS[name][k]} <= own | sized


def test_looking_ahead_is_warned_of(tmp_path, caplog):
    for name in ("transformers", "kronos_ft.training.predictor_arguments"):
        logging.getLogger(name).propagate = True
    KronosArguments(output_dir=str(tmp_path))
    assert not caplog.records
    args = KronosArguments(output_dir=str(tmp_path), eval_like_published=True, metric_for_best_model="published_loss")
    assert args.metric_for_best_model == "eval_published_loss"
    assert "use the future of the predicted bar" in caplog.text


def test_the_embargo_is_one_window_unless_said_otherwise():
    assert DataArguments().embargo_bars == 101
    assert DataArguments(lookback_window=20, predict_window=4).embargo_bars == 25
    assert DataArguments(embargo=0).embargo_bars == 0
