"""Settings of Kronos predictor runs; each field has one help text."""

import logging
from dataclasses import dataclass, field
from typing import ClassVar

from .arguments import PEAK_RATE, ModelArguments, WindowTrainingArguments

logger = logging.getLogger(__name__)

S1_CONDITIONING = ("true", "sampled")
SELECT_BY = ("loss", "forecasts")
PUBLISHED_EVALUATION = ("published_loss", "published_ce_s2")


@dataclass
class PredictorModelArguments(ModelArguments):
    """Which predictor to start from, and which tokenizer encodes the data."""

    model: str = field(
        default="small",
        metadata={
            "help": "Named size (mini, small, base: the published weights), Hub repository owner/name, or model folder."
        },
    )
    from_scratch: bool = field(
        default=False,
        metadata={"help": "Start from random weights of the named size (mini, small, base, large, tiny)."},
    )
    tokenizer: str | None = field(
        default=None,
        metadata={
            "help": "Tokenizer: folder, Hub repository, or named size (base, 2k). Default: that of the model's size."
        },
    )
    tokenizer_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the tokenizer's Hub repository."}
    )
    tokenizer_revision_asked: str | None = field(init=False, default=None)
    tokenizer_repository: str | None = field(init=False, default=None)
    rotate_sibling: bool | None = field(
        default=None,
        metadata={
            "help": "Forecast with the rotary embedding of training in the layer of the fine token. Default: as the "
            "weights require; on for random weights trained with s1_conditioning true."
        },
    )


@dataclass
class KronosArguments(WindowTrainingArguments):
    r"""Training settings of the Kronos predictor: those of [`WindowTrainingArguments`] and the fields below.

    Defaults are the published recipe's learning rate 4e-5 and clipping at 3.0. `metric_for_best_model` is `eval_loss`,
    which is always causal and conditioned on the true coarse token.

    > Parameters that control the loss and its evaluation
        `s1_conditioning`, `eval_like_published`.
    > Parameters that control tokens
        `token_cache`.
    > Parameters that control low-rank adapters
        `lora`, `lora_r`, `lora_alpha`, `lora_dropout`, `lora_merge`.
    """

    evaluation_terms: ClassVar[tuple[str, ...]] = (
        *("loss", "ce_s1", "ce_s2", "perplexity_s1", "perplexity_s2", "accuracy_s1", "accuracy_s2"),
        *PUBLISHED_EVALUATION,
    )
    growing_terms: ClassVar[tuple[str, ...]] = ("accuracy_s1", "accuracy_s2")

    output_dir: str | None = field(default="runs/predictor", metadata={"help": "Run folder."})
    learning_rate: float = field(default=4e-5, metadata={"help": PEAK_RATE})
    max_grad_norm: float = field(default=3.0, metadata={"help": "Maximum gradient norm (gradient clipping)."})
    metric_for_best_model: str | None = field(
        default="eval_loss", metadata={"help": "Evaluation metric that selects the best checkpoint."}
    )
    s1_conditioning: str = field(
        default="true",
        metadata={
            "help": "Coarse token that conditions the fine token: true, or sampled from the model as in the published "
            "scripts, which trains the model to ignore the coarse token."
        },
    )
    eval_like_published: bool = field(
        default=False,
        metadata={
            "help": "Also log eval_published_loss and eval_published_ce_s2, computed as in the published scripts: for "
            "comparison only, because they use future bars."
        },
    )
    select_by: str = field(
        default="loss",
        metadata={
            "help": "How best_model is chosen: loss (the best checkpoint), or forecasts (the lowest CRPS of validation "
            "forecasts among starting weights, checkpoints and interpolations; the default of finetune)."
        },
    )
    token_cache: str = field(
        default="true",
        metadata={
            "help": "Cache tokens on disk: true (in KRONOS_FT_CACHE, or ~/.cache/kronos-ft), false, or a folder. "
            "With augmentation, each step computes new tokens."
        },
    )
    lora: bool = field(
        default=False,
        metadata={"help": "Train only low-rank adapters (LoRA, peft) of the attention and feed-forward layers."},
    )
    lora_r: int = field(default=16, metadata={"help": "Rank of the adapters."})
    lora_alpha: int = field(default=32, metadata={"help": "Scale of the adapters (lora_alpha / lora_r)."})
    lora_dropout: float = field(default=0.05, metadata={"help": "Dropout before the adapters."})
    lora_merge: bool = field(
        default=False, metadata={"help": "Merge the adapters into best_model/ instead of saving only the adapters."}
    )

    def __post_init__(self):
        self.s1_conditioning = str(self.s1_conditioning).lower()
        if self.s1_conditioning not in S1_CONDITIONING:
            raise ValueError(
                f"s1_conditioning={self.s1_conditioning!r} is not known; use one of {', '.join(S1_CONDITIONING)}"
            )
        if self.select_by not in SELECT_BY:
            raise ValueError(f"select_by={self.select_by!r} is not known; use one of {', '.join(SELECT_BY)}")
        if self.select_by == "forecasts" and self.lora:
            raise ValueError("select_by=forecasts cannot interpolate adapters (lora=True); use select_by loss")
        if self.lora_r < 1:
            raise ValueError(f"lora_r={self.lora_r} is below 1; use e.g. 16")
        if self.lora_alpha <= 0:
            raise ValueError(f"lora_alpha={self.lora_alpha} is not positive; use e.g. 32")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout={self.lora_dropout} is outside [0, 1); choose a probability")
        if self.lora_merge and not self.lora:
            raise ValueError("lora_merge=True has no effect without lora=True; set both or neither")
        super().__post_init__()
        chosen = (self.metric_for_best_model or "").removeprefix("eval_")
        if chosen in PUBLISHED_EVALUATION and not self.eval_like_published:
            raise ValueError(
                f"metric_for_best_model={self.metric_for_best_model} needs eval_like_published; "
                "set it, or use eval_loss"
            )
        if self.eval_like_published:
            logger.warning(
                "eval_like_published: eval_published_* use the future of the predicted bar, as the published "
                "validation does; compare them only with published results, they do not measure forecast skill"
            )
