"""Names that other training scripts give to settings of this library, for hints at what to use here."""

from collections.abc import Collection

# a name elsewhere, and our names for it: the hint is the first that the command has
FOREIGN: dict[str, tuple[str, ...]] = {
    # weights and data
    **dict.fromkeys(("model_name_or_path", "model_name", "model_id", "pretrained_model"), ("model",)),
    **dict.fromkeys(("tokenizer_name", "tokenizer_name_or_path", "tokenizer_path"), ("tokenizer",)),
    "model_revision": ("revision",),
    **dict.fromkeys(
        ("dataset_name", "dataset", "dataset_path", "train_file", "train_data", "data_path", "data_file"),
        ("data", "input"),
    ),
    **dict.fromkeys(
        ("validation_file", "eval_file", "val_file", "valid_file", "validation_dataset", "eval_data"),
        ("validation_data", "split_dates"),
    ),
    **dict.fromkeys(("test_file", "predict_file", "input_file"), ("input", "data")),
    "output_file": ("output",),
    **dict.fromkeys(("validation_split_percentage", "validation_split"), ("validation_share", "split_ratios")),
    # records
    **dict.fromkeys(("text_column", "source_column", "input_column", "text_field"), ("source_fields",)),
    **dict.fromkeys(("summary_column", "target_column", "label_column", "summary_field"), ("target_fields",)),
    **dict.fromkeys(("source_prefix", "task_prefix"), ("prefix",)),
    **dict.fromkeys(("max_input_length", "max_seq_length", "model_max_length"), ("max_source_length",)),
    **dict.fromkeys(("val_max_target_length", "max_output_length"), ("generation_max_length", "max_length")),
    "max_new_tokens": ("generation_max_length", "max_length"),
    "num_beams": ("generation_num_beams",),
    # windows and forecasts
    **dict.fromkeys(
        ("prediction_length", "pred_len", "predict_len", "forecast_horizon"), ("predict_window", "horizon")
    ),
    "horizon": ("predict_window",),
    "predict_window": ("horizon",),
    **dict.fromkeys(("context_length", "seq_len", "input_size", "context_window"), ("lookback_window", "lookback")),
    "lookback": ("lookback_window",),
    "lookback_window": ("lookback",),
    **dict.fromkeys(("num_samples", "sample_count", "num_parallel_samples"), ("num_paths",)),
    "temperature": ("T",),
    # training
    **dict.fromkeys(("epochs", "num_epochs", "n_epochs", "max_epochs"), ("num_train_epochs",)),
    **dict.fromkeys(("steps", "num_steps", "max_train_steps", "num_train_steps", "n_train_iter"), ("max_steps",)),
    **dict.fromkeys(("lr", "peak_lr", "base_lr"), ("learning_rate",)),
    **dict.fromkeys(
        ("batch_size", "train_batch_size", "micro_batch_size", "bs"), ("per_device_train_batch_size", "batch_size")
    ),
    **dict.fromkeys(("eval_batch_size", "val_batch_size"), ("per_device_eval_batch_size", "batch_size")),
    **dict.fromkeys(("accumulation_iter", "accumulation_steps", "grad_accum"), ("gradient_accumulation_steps",)),
    **dict.fromkeys(("clip_grad", "grad_clip", "gradient_clip_val", "max_norm"), ("max_grad_norm",)),
    "warmup_ratio": ("warmup_steps", "pct_start"),
    **dict.fromkeys(("scheduler", "lr_scheduler"), ("lr_scheduler_type",)),
    "wd": ("weight_decay",),
    "evaluation_strategy": ("eval_strategy",),
    "group_by_length": ("train_sampling_strategy",),
    **dict.fromkeys(("mixed_precision", "torch_dtype", "dtype"), ("precision", "products")),
    **dict.fromkeys(("load_in_8bit", "use_8bit_adam"), ("optimizer", "optim")),
    "label_smoothing": ("label_smoothing_factor",),
    **dict.fromkeys(("patience", "early_stop_patience"), ("early_stopping_patience",)),
    **dict.fromkeys(("num_workers", "preprocessing_num_workers"), ("dataloader_num_workers",)),
    **dict.fromkeys(("use_peft", "peft", "use_lora"), ("lora", "body")),
    **dict.fromkeys(("lora_rank", "r"), ("lora_r",)),
    # the run folder
    **dict.fromkeys(("save_dir", "save_path", "output_path", "out_dir"), ("output_dir", "output")),
    "overwrite_output_dir": ("overwrite",),
    **dict.fromkeys(("resume_from_checkpoint", "resume_from", "checkpoint_path"), ("resume",)),
    **dict.fromkeys(("wandb", "use_wandb", "use_comet"), ("report_to",)),
    "hub_repo": ("hub_model_id",),
}

# what to write where the value has another form, by our name
HOW: dict[str, dict[str, str]] = {
    "text_column": {"source_fields": "use source_fields, together with target_fields"},
    "summary_column": {"target_fields": "use target_fields, together with source_fields"},
    "validation_file": {"split_dates": "the validation split is a part of data; use split_dates or split_ratios"},
    "warmup_ratio": {"warmup_steps": "use warmup_steps with a number below 1, which is a share of all steps"},
    "group_by_length": {"train_sampling_strategy": "use train_sampling_strategy group_by_length"},
    "use_peft": {"body": "use body lora"},
    "load_in_8bit": {"optimizer": "use optimizer adamw8bit", "optim": "use optim adamw_bnb_8bit"},
    "use_wandb": {"report_to": "use report_to wandb"},
}
for _same, _as in (("use_lora", "use_peft"), ("peft", "use_peft"), ("wandb", "use_wandb")):
    HOW[_same] = HOW[_as]

# names that no setting here corresponds to
WITHOUT: dict[str, str] = {
    "trust_remote_code": "code of a repository is never run; leave it out",
    "use_fast_tokenizer": "the tokenizer of the model folder is used; leave it out",
    "pad_to_max_length": "a batch is padded to its longest record; leave it out",
    "ignore_pad_token_for_loss": "padding never counts in the loss; leave it out",
    "cache_dir": "set the environment variable HF_HOME to another folder",
    "use_auth_token": "log in with hf auth login, or set the environment variable HF_TOKEN",
    "overwrite_cache": "the cache follows from the content of the data; leave it out",
    "max_train_samples": "pass a smaller file as data",
    "max_eval_samples": "pass a smaller validation split",
}


def foreign_hint(name: str, known: Collection[str]) -> str | None:
    """What to use here instead of a setting of other training scripts; None if it is not one of them.

    Args:
        name (`str`): the unknown name, without dashes at its start.
        known: the names that the command takes.
    """
    ours = next((one for one in FOREIGN.get(name, ()) if one in known), None)
    return WITHOUT.get(name) if ours is None else HOW.get(name, {}).get(ours, f"use {ours}")
