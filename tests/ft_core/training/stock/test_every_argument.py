"""Every argument of transformers' Trainer, given to each of the trainers: it works, or is refused with our name."""

import dataclasses
import logging

import pytest
from transformers import Seq2SeqTrainingArguments, TrainingArguments

from docs.trainer_arguments import PAGE, page
from kronos_ft import KronosArguments, KronosQuantileArguments, KronosTokenizerArguments
from mt5_ft import MT5Arguments

KINDS = [KronosTokenizerArguments, KronosArguments, KronosQuantileArguments, MT5Arguments]
# another value than the default, for each argument
VALUES = {
    "output_dir": "elsewhere",
    "per_device_train_batch_size": 3,
    "num_train_epochs": 7.0,
    "max_steps": 5,
    "learning_rate": 0.25,
    "lr_scheduler_type": "cosine",
    "lr_scheduler_kwargs": {"num_cycles": 1},
    "warmup_steps": 3,
    "optim": "adafactor",
    "optim_args": "a=1",
    "weight_decay": 0.3,
    "adam_beta1": 0.8,
    "adam_beta2": 0.8,
    "adam_epsilon": 1e-6,
    "optim_target_modules": ["all-linear"],
    "gradient_accumulation_steps": 3,
    "average_tokens_across_devices": False,
    "max_grad_norm": 0.7,
    "label_smoothing_factor": 0.1,
    "bf16": True,
    "fp16": True,
    "bf16_full_eval": True,
    "fp16_full_eval": True,
    "tf32": False,
    "activation_checkpointing": True,
    "activation_checkpointing_kwargs": {"use_reentrant": False},
    "gradient_checkpointing": True,
    "gradient_checkpointing_kwargs": {"use_reentrant": False},
    "torch_compile": True,
    "torch_compile_backend": "eager",
    "torch_compile_mode": "default",
    "use_liger_kernel": True,
    "liger_kernel_config": {"rope": True},
    "use_cache": True,
    "neftune_noise_alpha": 5.0,
    "torch_empty_cache_steps": 7,
    "auto_find_batch_size": True,
    "logging_strategy": "epoch",
    "logging_steps": 7,
    "logging_first_step": True,
    "log_on_each_node": False,
    "logging_nan_inf_filter": True,
    "include_num_input_tokens_seen": "all",
    "log_level": "error",
    "log_level_replica": "error",
    "disable_tqdm": False,
    "report_to": ["tensorboard"],
    "run_name": "mine",
    "project": "mine",
    "trackio_space_id": "me/space",
    "trackio_bucket_id": "me/bucket",
    "trackio_static_space_id": "me/static",
    "eval_strategy": "no",
    "eval_steps": 500,
    "eval_delay": 2,
    "per_device_eval_batch_size": 3,
    "prediction_loss_only": True,
    "eval_on_start": False,
    "eval_do_concat_batches": False,
    "eval_use_gather_object": True,
    "eval_accumulation_steps": 3,
    "include_for_metrics": ["loss"],
    "batch_eval_metrics": True,
    "save_only_model": True,
    "save_strategy": "best",
    "save_steps": 2000,
    "save_on_each_node": True,
    "save_total_limit": 5,
    "enable_jit_checkpoint": True,
    "push_to_hub": True,
    "hub_token": "hf_token",
    "hub_private_repo": True,
    "hub_model_id": "me/model",
    "hub_strategy": "checkpoint",
    "hub_always_push": True,
    "hub_revision": "branch",
    "load_best_model_at_end": False,
    "metric_for_best_model": "loss",
    "greater_is_better": True,
    "ignore_data_skip": True,
    "restore_callback_states_from_checkpoint": True,
    "full_determinism": True,
    "seed": 7,
    "data_seed": 7,
    "use_cpu": True,
    "accelerator_config": {"split_batches": False},
    "parallelism_config": None,  # an object of Accelerate with several processes
    "dataloader_drop_last": True,
    "dataloader_num_workers": 1,
    "dataloader_pin_memory": False,
    "dataloader_persistent_workers": True,
    "dataloader_prefetch_factor": 3,
    "dataloader_multiprocessing_context": "spawn",
    "dataloader_in_order": False,
    "remove_unused_columns": True,
    "label_names": ["labels"],
    "train_sampling_strategy": "batch_rebalance",
    "length_column_name": "size",
    "ddp_find_unused_parameters": True,
    "ddp_bucket_cap_mb": 7,
    "ddp_broadcast_buffers": True,
    "ddp_static_graph": True,
    "ddp_backend": None,  # starts processes
    "ddp_timeout": 7,
    "fsdp": None,  # needs several processes
    "fsdp_config": None,
    "deepspeed": None,
    "debug": "underflow_overflow",
    "skip_memory_metrics": False,
    "do_train": True,
    "do_eval": True,
    "do_predict": True,
    "resume_from_checkpoint": "last",
    "local_rank": 3,
    "sortish_sampler": True,
    "predict_with_generate": True,
    "generation_max_length": 9,
    "generation_num_beams": 3,
    "generation_config": "folder",
}
# what a value needs beside it
TOGETHER = {
    "activation_checkpointing_kwargs": {"activation_checkpointing": True},
    "gradient_checkpointing_kwargs": {"gradient_checkpointing": True},
    "dataloader_persistent_workers": {"dataloader_num_workers": 1},
    "dataloader_prefetch_factor": {"dataloader_num_workers": 1},
    "dataloader_multiprocessing_context": {"dataloader_num_workers": 1},
    "eval_strategy": {"load_best_model_at_end": False},
    "batch_eval_metrics": {},
}
# refused by a rule of its own, or ignored with a message
ANSWERS = {
    "bf16": {"mt5": "bf16=True has no effect here: set precision to bf16"},
    "fp16": {"mt5": "fp16=True has no effect here: set precision to fp16", "kronos": "fp16 has no effect on a CPU"},
    "optim": {"mt5": "optim=adafactor has no effect here: set optimizer to one of"},
    "torch_compile": {"kronos": "set compile_blocks to yes instead"},
    "torch_compile_backend": {"kronos": "set compile_blocks to yes instead"},
    "torch_compile_mode": {"kronos": "set compile_blocks to yes instead"},
    "save_total_limit": {"kronos": "set keep_best instead"},
    "dataloader_drop_last": {"kronos": "would drop windows from the evaluation"},
    "hub_strategy": {"kronos": "hub_strategy=checkpoint is not supported", "mt5": "hub_strategy=checkpoint is not"},
    "push_to_hub": {"kronos": "set hub_model_id to OWNER/NAME", "mt5": "set hub_model_id to OWNER/NAME"},
    "greater_is_better": {"mt5": "greater_is_better=True has no effect here: eval_loss is better when smaller"},
    "lr_scheduler_type": {"kronos": "lr_scheduler_type=cosine is ignored because one_cycle is on"},
    "lr_scheduler_kwargs": {"kronos": "lr_scheduler_kwargs is ignored because one_cycle is on"},
    "warmup_steps": {"kronos": "warmup_steps=3 is ignored because one_cycle is on"},
    "local_rank": {"kronos": "local_rank=3 has no effect here", "mt5": "local_rank=3 has no effect here"},
}
SET_BY_DEVICE = ("dataloader_pin_memory",)


def fields_of(kind):
    parent = Seq2SeqTrainingArguments if kind is MT5Arguments else TrainingArguments
    return [one.name for one in dataclasses.fields(parent) if one.init]


def plain(value):
    value = getattr(value, "value", value)
    return [plain(one) for one in value] if isinstance(value, list) else value


def test_every_field_has_a_value_here():
    """A new argument of transformers fails here: decide whether it works or is refused."""
    assert sorted(VALUES) == sorted(fields_of(MT5Arguments))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in fields_of(kind)])
def test_it_works_or_is_answered(kind, name, tmp_path, caplog, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    value, package = VALUES[name], "mt5" if kind is MT5Arguments else "kronos"
    given = {"output_dir": str(tmp_path), "use_cpu": True, **TOGETHER.get(name, {}), name: value}
    answer = ANSWERS.get(name, {}).get(package)
    accepted, remedy = kind.no_effect.get(name, ((value,), ""))
    with caplog.at_level(logging.WARNING):
        try:
            args, refused = kind(**given), ""
        except ValueError as error:
            refused = str(error)
    if refused:
        expected = answer or f"{name}={value} has no effect here: {remedy}"
        partner = next((one for one in TOGETHER.get(name, {}) if one in kind.no_effect), None)
        assert expected in refused or (partner and f"{partner}=True has no effect here" in refused)
        return
    assert value in accepted
    if answer is not None:
        assert answer in caplog.text
    if name == "fp16_full_eval" or name in SET_BY_DEVICE:
        return
    found = plain(getattr(args, name))
    if name == "metric_for_best_model":
        found = found.removeprefix("eval_")
    assert found == value or (name in ("debug", "accelerator_config", "include_for_metrics") and found)


def test_the_inputs_of_kronos_have_no_single_name(tmp_path):
    with pytest.raises(ValueError, match=r"include_for_metrics=.'inputs'. has no effect here: the inputs of"):
        KronosArguments(output_dir=str(tmp_path), use_cpu=True, include_for_metrics=["inputs"])


def test_do_eval_needs_evaluations(tmp_path, caplog):
    for kind in KINDS:
        settings = {"output_dir": str(tmp_path), "use_cpu": True, "load_best_model_at_end": False}
        args = kind(eval_strategy="epoch", save_strategy="epoch", **settings)
        assert args.do_eval
        assert "do_eval" not in caplog.text
        assert dataclasses.replace(args, eval_strategy="no").eval_strategy == "no"
        assert "do_eval=True is ignored because eval_strategy is no; set eval_strategy to steps or" in caplog.text
        caplog.clear()


def test_settings_can_be_copied(tmp_path):
    """No setting that follows from another one is refused in a copy."""
    for kind in KINDS:
        args = kind(output_dir=str(tmp_path), use_cpu=True)
        assert dataclasses.replace(args, seed=7).seed == 7


def test_the_page_is_that_of_the_tables():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m docs.trainer_arguments"
