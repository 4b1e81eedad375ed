"""Settings that every run has."""

from functools import cached_property

import pytest
from transformers import TrainingArguments

from kronos_ft.training.arguments import KronosTokenizerArguments
from mt5_ft.training.arguments import MT5Arguments


@pytest.mark.parametrize("kind", [KronosTokenizerArguments, MT5Arguments])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"on_save_error": "ignore"}, "on_save_error='ignore' is not known; use one of stop, continue"),
        ({"max_bad_steps": 0}, "max_bad_steps=0 is below 1; use 1 to stop at the first bad step"),
        ({"push_to_hub": True}, "push_to_hub=True needs a repository; set hub_model_id to OWNER/NAME"),
        ({"push_to_hub": True, "hub_model_id": "name"}, "repository 'name' is not a valid Hub name"),
        ({"hub_strategy": "checkpoint"}, "hub_strategy=checkpoint is not supported: .* use one of end, every_save"),
        ({"hub_strategy": "all_checkpoints"}, "hub_strategy=all_checkpoints is not supported"),
        ({"push_to_hub": True, "hub_model_id": "me/x", "hub_always_push": True}, "hub_always_push=True is not supp"),
        ({"push_to_hub": True, "hub_model_id": "me/x"}, "HF_HUB_OFFLINE is set, so nothing is pushed to me/x"),
        ({"resume_force": True, "overwrite": True}, "--resume and --overwrite exclude each other"),
    ],
)
def test_what_cannot_be_meant_is_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(output_dir="none", **settings)


@pytest.mark.parametrize("kind", [KronosTokenizerArguments, MT5Arguments])
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("epochs", "use num_train_epochs"),
        ("learning_rat", r"did you mean learning_rate\?"),
        ("zzz", "see help"),
    ],
)
def test_a_name_that_is_not_a_setting_is_answered(kind, name, remedy):
    with pytest.raises(TypeError, match=f"{kind.__name__} has no setting {name}; {remedy}"):
        kind("none", **{name: 1})


def test_a_subclass_may_take_further_names():
    class Own(KronosTokenizerArguments):
        def __init__(self, further, **settings):
            super().__init__(**settings)
            self.further = further

    assert Own(further=3, output_dir="none").further == 3


def test_forcing_a_resume_is_a_resume(tmp_path):
    assert KronosTokenizerArguments(output_dir=str(tmp_path), resume_force=True).resume


@pytest.mark.parametrize("kind", [KronosTokenizerArguments, MT5Arguments])
def test_a_process_without_a_launcher_takes_one_of_several_gpus(kind, tmp_path, monkeypatch):
    alone = TrainingArguments.__dict__["_setup_devices"].func

    def with_four(args):
        device = alone(args)
        args._n_gpu = 4  # as on a machine with four of them
        return device

    devices = cached_property(with_four)
    devices.__set_name__(TrainingArguments, "_setup_devices")
    monkeypatch.setattr(TrainingArguments, "_setup_devices", devices)
    stock = TrainingArguments(output_dir=str(tmp_path), per_device_train_batch_size=6, use_cpu=True)
    assert stock.train_batch_size == 24
    ours = kind(output_dir=str(tmp_path), per_device_train_batch_size=6)
    assert (ours.n_gpu, ours.train_batch_size) == (1, 6)
