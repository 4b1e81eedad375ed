"""The private methods of transformers' Trainer that this library overrides or calls have the expected signatures.

Exact resume needs them; the next release of transformers may change any of them without notice.
"""

import inspect
import re
from pathlib import Path

import pytest
from transformers import Seq2SeqTrainer, Trainer

from ft_core.training.guarded_steps import GuardedSteps
from kronos_ft.training.predictor_trainer import KronosTrainer
from kronos_ft.training.tokenizer_trainer import KronosTokenizerTrainer
from mt5_ft.training.trainer import MT5Trainer

ROOT = Path(__file__).parents[3]
PACKAGES = ("ft_core", "kronos_ft", "mt5_ft")
EXPECTED = {
    "_determine_best_metric": ["self", "metrics", "trial"],
    "_finalize_training": ["self", "trial", "num_train_samples", "start_time"],
    "_get_dataloader": [
        *("self", "dataset", "description", "batch_size", "sampler_fn", "is_training", "dataloader_key"),
    ],
    "_get_eval_sampler": ["self", "eval_dataset"],
    "_get_grad_norm": ["self", "model", "grad_norm"],
    "_get_learning_rate": ["self"],
    "_get_num_items_in_batch": ["self", "batch_samples", "device"],
    "_get_output_dir": ["self", "trial"],
    "_get_train_sampler": ["self", "train_dataset"],
    "_init_training_state": [
        *("self", "max_steps", "num_update_steps_per_epoch", "num_train_epochs", "resume_from_checkpoint", "trial"),
    ],
    "_issue_warnings_after_load": ["self", "load_result"],
    "_load_best_model": ["self"],
    "_load_from_checkpoint": ["self", "resume_from_checkpoint", "model"],
    "_load_optimizer_and_scheduler": ["self", "checkpoint"],
    "_load_rng_state": ["self", "checkpoint"],
    "_prepare_inputs": ["self", "inputs"],
    "_save_checkpoint": ["self", "model", "trial"],
    "_save_optimizer_and_scheduler": ["self", "output_dir"],
    "_save_scaler": ["self", "output_dir"],
    "_track_num_input_tokens": ["self", "inputs"],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_signature(name):
    assert list(inspect.signature(getattr(Trainer, name)).parameters) == EXPECTED[name]


def test_a_trainer_must_name_its_samples():
    class Unnamed(GuardedSteps):
        """Defines nothing."""

    with pytest.raises(TypeError, match=r"abstract methods '?sample_names'?, '?sample_terms'?"):
        Unnamed()


def test_no_other_private_method_is_used():
    ours = [kind for trainer in (KronosTokenizerTrainer, KronosTrainer, MT5Trainer) for kind in trainer.__mro__]
    overridden = {
        name
        for kind in ours
        if kind.__module__.startswith(PACKAGES)
        for name in vars(kind)
        if re.fullmatch(r"_[a-z]\w+", name) and any(name in vars(stock) for stock in (Trainer, Seq2SeqTrainer))
    }
    sources = [path.read_text(encoding="utf-8") for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    called = {
        name
        for source in sources
        for name in re.findall(r"(?:super\(\)|self|trainer)\.(_[a-z]\w+)", source)
        if hasattr(Trainer, name)
    }
    assert overridden | called == EXPECTED.keys()
