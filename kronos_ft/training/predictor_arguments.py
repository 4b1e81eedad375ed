"""Settings of a Kronos predictor run beside those that both stages share; each field has one help text."""

import logging
from dataclasses import dataclass, field
from typing import ClassVar

from .arguments import ModelArguments, WindowTrainingArguments

logger = logging.getLogger(__name__)

S1_CONDITIONING = ("true", "sampled")
PUBLISHED_EVALUATION = ("published_loss", "published_ce_s2")


@dataclass
class PredictorModelArguments(ModelArguments):
    """Which predictor to start from, and which tokenizer makes its tokens."""

    model: str = field(
        default="small",
        metadata={
            "help": "Named size (mini, small, base: the published weights), Hub repository owner/name, or model folder."
        },
    )
    from_scratch: bool = field(
        default=False,
        metadata={"help": "Random weights of the named size (mini, small, base, large, tiny) instead of trained ones."},
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
            "help": "Forecast with the rotation of training in the fine token's layer. Default: as the weights were "
            "made for; on for random weights trained with s1_conditioning true."
        },
    )


@dataclass
class KronosArguments(WindowTrainingArguments):
    r"""Training settings of the Kronos predictor: those of [`WindowTrainingArguments`] and the fields below.

    Defaults are the published recipe's learning rate 4e-5 and clipping at 3.0. `metric_for_best_model` is `eval_loss`,
    causal and given the true coarse token whatever the training.
    """

    evaluation_terms: ClassVar[tuple[str, ...]] = (
        *("loss", "ce_s1", "ce_s2", "perplexity_s1", "perplexity_s2", "accuracy_s1", "accuracy_s2"),
        *PUBLISHED_EVALUATION,
    )
    growing_terms: ClassVar[tuple[str, ...]] = ("accuracy_s1", "accuracy_s2")

    output_dir: str | None = field(default="runs/predictor", metadata={"help": "Run folder."})
    learning_rate: float = field(default=4e-5, metadata={"help": "Peak learning rate of the one-cycle schedule."})
    max_grad_norm: float = field(default=3.0, metadata={"help": "Gradient norm above which gradients are scaled down."})
    metric_for_best_model: str | None = field(
        default="eval_loss", metadata={"help": "Logged evaluation term that decides which checkpoint is best."}
    )
    s1_conditioning: str = field(
        default="true",
        metadata={
            "help": "Coarse token that the fine one is trained on: true, or sampled from the model as the published "
            "scripts do, which teaches it to ignore the coarse token."
        },
    )
    eval_like_published: bool = field(
        default=False,
        metadata={
            "help": "Also log eval_published_loss and eval_published_ce_s2 as the published scripts compute them: for "
            "comparison only, they see the future."
        },
    )
    token_cache: str = field(
        default="true",
        metadata={
            "help": "Keep tokens on disk: true (below KRONOS_FT_CACHE, or ~/.cache/kronos-ft), false, or a folder. "
            "With augmentation tokens are made anew each step."
        },
    )
    lora: bool = field(
        default=False,
        metadata={"help": "Train low-rank adapters (peft) on attention and feed-forward layers alone."},
    )
    lora_r: int = field(default=16, metadata={"help": "Rank of the adapters."})
    lora_alpha: int = field(default=32, metadata={"help": "Scale of the adapters, divided by the rank."})
    lora_dropout: float = field(default=0.05, metadata={"help": "Dropout before the adapters."})
    lora_merge: bool = field(
        default=False, metadata={"help": "Merge the adapters into best_model/ instead of saving them alone."}
    )

    def __post_init__(self):
        self.s1_conditioning = str(self.s1_conditioning).lower()
        if self.s1_conditioning not in S1_CONDITIONING:
            raise ValueError(
                f"s1_conditioning={self.s1_conditioning!r} is not known; use one of {', '.join(S1_CONDITIONING)}"
            )
        if self.lora_r < 1:
            raise ValueError(f"lora_r={self.lora_r} is below 1; use e.g. 16")
        if self.lora_alpha <= 0:
            raise ValueError(f"lora_alpha={self.lora_alpha} is not positive; use e.g. 32")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout={self.lora_dropout} is outside [0, 1); choose a probability")
        if self.lora_merge and not self.lora:
            raise ValueError("lora_merge=True merges nothing without lora=True; set both or none")
        super().__post_init__()
        chosen = (self.metric_for_best_model or "").removeprefix("eval_")
        if chosen in PUBLISHED_EVALUATION and not self.eval_like_published:
            raise ValueError(
                f"metric_for_best_model={self.metric_for_best_model} is not evaluated without eval_like_published; "
                "set it, or use eval_loss"
            )
        if self.eval_like_published:
            logger.warning(
                "eval_like_published: eval_published_* see the future of the bar they predict, as the published "
                "validation does; compare them with published figures, never take them for the model's skill"
            )
