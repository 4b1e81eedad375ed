"""Settings of quantile-head runs, and which settings each stage takes."""

from dataclasses import dataclass, field
from typing import ClassVar

from ..windows.augmentation import AugmentationArguments
from .arguments import DataArguments, KronosTokenizerArguments, ModelArguments, WindowTrainingArguments
from .predictor_arguments import KronosArguments, PredictorModelArguments

BODIES = ("frozen", "lora", "full", "none")


@dataclass
class QuantileModelArguments(PredictorModelArguments):
    """The predictor whose body the head is put on, and the tokenizer that encodes the data."""

    tokenizer: str | None = field(
        default=None,
        metadata={
            "help": "Tokenizer: folder, Hub repository, or named size (base, 2k). Default: the one that the predictor "
            "was trained with."
        },
    )
    body: str = field(
        default="frozen",
        metadata={
            "help": "frozen (train the head only), lora (also low-rank adapters of the body), full (also the body), "
            "or none (context features alone: the reference that tells whether the body helps)."
        },
    )
    lora_r: int = field(default=16, metadata={"help": "Rank of the adapters, with body lora."})
    lora_alpha: int = field(default=32, metadata={"help": "Scale of the adapters (lora_alpha / lora_r)."})
    lora_dropout: float = field(default=0.05, metadata={"help": "Dropout before the adapters."})
    head_dim: int = field(default=64, metadata={"help": "Width of the head."})
    head_dropout_p: float = field(default=0.1, metadata={"help": "Dropout probability of the head."})

    def __post_init__(self):
        if self.body not in BODIES:
            raise ValueError(f"body={self.body!r} is not known; use one of {', '.join(BODIES)}")
        if self.lora_r < 1:
            raise ValueError(f"lora_r={self.lora_r} is below 1; use e.g. 16")
        if self.head_dim < 1:
            raise ValueError(f"head_dim={self.head_dim} is below 1; use e.g. 64")
        if not 0 <= self.head_dropout_p < 1:
            raise ValueError(f"head_dropout_p={self.head_dropout_p} is outside [0, 1); choose a probability")


@dataclass
class QuantileDataArguments(DataArguments):
    """Which candles to read, and how windows are cut from them."""

    predict_window: int = field(default=24, metadata={"help": "Horizon: the head forecasts 1 to this many bars."})


@dataclass
class KronosQuantileArguments(WindowTrainingArguments):
    r"""Training settings of the quantile head: those of [`WindowTrainingArguments`] and the fields below.

    Defaults that differ: learning rate 1e-3, batch 64, clipping at 1.0, 6 epochs, 10 % warm-up. The body, if it is
    trained, has a learning rate of its own, because it starts from trained weights and the head from zero.

    > Parameters that control the body
        `body_learning_rate`.
    > Parameters that control tokens
        `token_cache`.
    """

    evaluation_terms: ClassVar[tuple[str, ...]] = (
        *("loss", "pinball_close", "pinball_high", "pinball_low", "pinball_volatility", "pinball_volume"),
        "coverage_90",
    )

    output_dir: str | None = field(default="runs/quantiles", metadata={"help": "Run folder."})
    learning_rate: float = field(
        default=1e-3, metadata={"help": "Peak learning rate of the head, or auto: found in short runs."}
    )
    body_learning_rate: float = field(
        default=1e-4,
        metadata={"help": "Peak learning rate of the body, with body full or lora; 1e-5 for published weights."},
    )
    max_grad_norm: float = field(default=1.0, metadata={"help": "Maximum gradient norm (gradient clipping)."})
    per_device_train_batch_size: int = field(default=64, metadata={"help": "Windows per device and micro-batch."})
    num_train_epochs: float = field(default=6.0, metadata={"help": "Passes over the training windows."})
    pct_start: float = field(default=0.1, metadata={"help": "Share of warm-up steps."})
    metric_for_best_model: str | None = field(
        default="eval_loss", metadata={"help": "Evaluation metric that selects the best checkpoint."}
    )
    token_cache: str = field(
        default="true", metadata={"help": "Cache folder for tokens; true: the user's cache folder, false: no cache."}
    )

    def __post_init__(self):
        if not self.body_learning_rate > 0:
            raise ValueError(f"body_learning_rate={self.body_learning_rate} is not positive; use e.g. 1e-4")
        super().__post_init__()


# the settings of each stage: model, data, augmentation where there is one, and training
STAGE_TYPES = {
    "tokenizer": (ModelArguments, DataArguments, AugmentationArguments, KronosTokenizerArguments),
    "predictor": (PredictorModelArguments, DataArguments, AugmentationArguments, KronosArguments),
    "quantiles": (QuantileModelArguments, QuantileDataArguments, KronosQuantileArguments),
}
