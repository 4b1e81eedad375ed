"""The named recipes. A preset sets defaults; a YAML file and the command line override them."""

from ft_core.cli.learning_rates import WidthRate

PRESETS: dict[str, dict[str, object]] = {
    # the published scripts' recipe
    "baseline": {
        "learning_rate": 2e-4,
        "per_device_train_batch_size": 50,
        "weight_decay": 0.1,
        "max_grad_norm": 2.0,
        "pct_start": 0.03,
        "div_factor": 10.0,
        "final_div_factor": 1e4,
        "num_train_epochs": 30,
        "early_stopping": False,
    },
    # for trained weights: lower rate, early stopping
    "optimized": {
        "learning_rate": 1e-4,
        "per_device_train_batch_size": 64,
        "weight_decay": 0.05,
        "max_grad_norm": 1.0,
        "pct_start": 0.1,
        "div_factor": 25.0,
        "final_div_factor": 100.0,
        "num_train_epochs": 30,
        "early_stopping": True,
        "early_stopping_patience": 5,
        "early_stopping_min_delta": 1e-5,
        "augment_noise": True,
        "augment_feature_dropout": True,
        "augment_time_shift": True,
        "augment_scale": True,
    },
}
_EARLY_STOPPING = {"early_stopping": True, "early_stopping_patience": 5, "early_stopping_min_delta": 1e-5}
# The best recipe of docs/recipes.md, measured on tiny models: Muon for the matrices of the blocks, small batches, fewer
# passes and averaged weights. Rates are for a width of 32; a model n times as wide has an nth of them.
PRESETS["best"] = PRESETS["baseline"] | {
    "optim": "muon",
    "learning_rate": WidthRate(1e-2),
    "per_device_train_batch_size": 16,
    "max_grad_norm": 1.0,
    "num_train_epochs": 12,
    "ema_decay": 0.98,
    **_EARLY_STOPPING,
    # well-trained weights get worse before they get better: a patience of 5 stopped a run there
    "early_stopping_patience": 10,
}
# For published weights, which the published rate often makes worse (upstream issues 76, 98, 177; the author advises
# 1e-5 or less): AdamW with this rate, independent of `best`
PRESETS["gentle"] = PRESETS["baseline"] | {
    "learning_rate": 1e-5,
    "max_grad_norm": 1.0,
    "num_train_epochs": 5,
    **_EARLY_STOPPING,
    "early_stopping_patience": 3,
}
# A run of minutes on a laptop without a GPU: the smallest published models, every fifth window, small batches, and few
# steps, evaluated five times. Rates and early stopping as `gentle`; `--from_scratch` needs a higher rate.
_LAPTOP: dict[str, object] = {
    "stride": 5,
    "per_device_train_batch_size": 16,
    "eval_strategy": "steps",
    "save_strategy": "steps",
    "eval_steps": 0.2,
    "save_steps": 0.2,
    "use_cpu": True,
}
PRESETS["cpu"] = PRESETS["gentle"] | _LAPTOP | {"model": "2k", "max_steps": 200}
# The predictor's recipes differ in learning rate, clipping and passes. The sampled coarse token of the published
# scripts is an error, so it is not part of `baseline` (s1_conditioning="sampled" selects it).
PREDICTOR_PRESETS: dict[str, dict[str, object]] = {
    "baseline": {**PRESETS["baseline"], "learning_rate": 4e-5, "max_grad_norm": 3.0},
    "optimized": {**PRESETS["optimized"], "learning_rate": 2e-5},
    "best": {**PRESETS["best"], "learning_rate": WidthRate(3e-3), "num_train_epochs": 10, "early_stopping_patience": 5},
    "gentle": PRESETS["gentle"],
    "cpu": PRESETS["gentle"] | _LAPTOP | {"model": "mini", "max_steps": 600},
}
# The head starts from zero on a body that is trained already
QUANTILE_PRESETS: dict[str, dict[str, object]] = {
    "baseline": {
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 64,
        "weight_decay": 0.1,
        "max_grad_norm": 1.0,
        "pct_start": 0.1,
        "div_factor": 10.0,
        "final_div_factor": 1e4,
        "num_train_epochs": 6,
        "early_stopping": False,
    },
}
# Against overfitting of a head on a body, whose best checkpoint is often that of the first pass (docs/quantiles.md)
QUANTILE_PRESETS["regularised"] = QUANTILE_PRESETS["baseline"] | {"head_dropout_p": 0.5, "ema_decay": 0.99}
QUANTILE_PRESETS["gentle"] = QUANTILE_PRESETS["baseline"] | {"body_learning_rate": 1e-5}
QUANTILE_PRESETS["cpu"] = QUANTILE_PRESETS["baseline"] | _LAPTOP | {"per_device_train_batch_size": 64, "max_steps": 600}
DEFAULT_PRESET = "baseline"
STAGE_PRESETS = {"tokenizer": PRESETS, "predictor": PREDICTOR_PRESETS, "quantiles": QUANTILE_PRESETS}
# Learning rates from random weights: lowest, advised, highest. There is nothing to unlearn, so the range begins where
# that of published weights ends, at 2.5 (tokenizer) and 5 times (predictor) the rate of the published recipe: 314 steps
# of a tiny predictor do not beat the frequencies of tokens at 4e-5, but do at 2e-4, and by twice as much at 1e-3. The
# highest is the best rate of AdamW for tiny models after only 300 steps, and that of preset `best` (docs/find-lr.md).
UNTRAINED_RATES = {"tokenizer": (5e-4, 1e-3, 1e-2), "predictor": (2e-4, 1e-3, 1e-2)}
