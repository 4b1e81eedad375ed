"""The named recipes. A preset sets defaults; a YAML file and the command line override them.

Only `original`, which repeats a plan as it was written, sets the length limits and the steps between evaluations. With
the others, the length limits follow from the records, and evaluations from the steps of an epoch.
"""

# no learning_rate: the optimizer's own
_FAST: dict[str, object] = {
    "num_train_epochs": 3,
    "trim_vocab": True,
    "tokens_per_batch": 2048,
    "logging_steps": 50,
    "most_eval_steps": 1000,
    "save_total_limit": 1,
    "warmup_steps": 0.05,
    "max_grad_norm": 1.0,
}
PRESETS: dict[str, dict[str, object]] = {
    # the unchanged reference plan
    "original": {
        "num_train_epochs": 5,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 8,
        "logging_steps": 10,
        "eval_steps": 500,
        "save_steps": 500,
        "save_total_limit": 2,
        "warmup_steps": 100,
        "max_grad_norm": 0.0,
        "learning_rate": 5e-5,
        "max_source_length": 256,
        "max_target_length": 256,
        "train_sampling_strategy": "random",
    },
    # half of the passes of `original`, but twice as many steps in all, of a quarter of the records; clipping, less disk
    "optimized": {
        "num_train_epochs": 2.4,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "logging_steps": 100,
        "most_eval_steps": 2000,
        "save_total_limit": 1,
        "warmup_steps": 0.05,
        "max_grad_norm": 1.0,
        "learning_rate": 5e-5,
    },
    # trimmed vocabulary, micro-batches of similar source and target lengths, steps with equal numbers of target tokens
    "fast": _FAST,
    # `fast` with the epochs of the reference plan, because fewer reduce quality (docs/recipes.md)
    "best": _FAST | {"num_train_epochs": 5},
    # mT5-base in 8 GB of device memory
    "8gb": _FAST | {"tokens_per_batch": 1024, "activation_checkpointing": True, "per_device_eval_batch_size": 4},
    # mT5-small without a GPU
    "cpu": _FAST | {"model": "google/mt5-small", "use_cpu": True, "tokens_per_batch": 1024},
}
DEFAULT_PRESET = "optimized"

_FIXED: dict[str, object] = {
    **{"max_source_length": 256, "max_target_length": 256},
    **{"most_eval_steps": 0, "eval_steps": 1000, "save_steps": 1000},
}
# earlier definitions: a run that one of them started is resumed with it
EARLIER: dict[str, tuple[dict[str, object], ...]] = {
    **{
        name: tuple(PRESETS[name] | _FIXED | {"warmup_steps": warmup} for warmup in (0.05, 200))
        for name in ("fast", "best", "8gb", "cpu")
    },
    "optimized": (
        PRESETS["optimized"] | _FIXED | {"most_eval_steps": 0, "eval_steps": 2000, "save_steps": 2000},
        {
            **_FIXED,
            "num_train_epochs": 3,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 4,
            "logging_steps": 50,
            "save_total_limit": 1,
            "warmup_steps": 200,
            "max_grad_norm": 1.0,
            "learning_rate": 5e-5,
        },
    ),
}
