"""Settings of an mT5 fine-tuning run; each field has one help text with its unit."""

import functools
import importlib.util
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from accelerate.utils import broadcast_object_list
from transformers import Seq2SeqTrainingArguments

from ft_core.io.secrets import PickledWithoutSecrets
from ft_core.runs.processes import check_precision
from ft_core.training.arguments import RunArguments
from ft_core.training.early_stopping import check_metric_name
from ft_core.training.muon import MUON
from ft_core.training.stock.no_effect import NOT_USED, NoEffect

from ..data.records import TASKS, TaskFields, named_fields
from ..data.token_batches import RECORDS_PER_STEP
from ..models.kept_pieces import EXTRA, MAIN_LANGUAGES, check_languages
from ..summaries.rouge import ScriptTokenizer
from .not_used import NOT_USED_HERE

logger = logging.getLogger(__name__)

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
OPTIMIZERS = {"adamw": "adamw_torch_fused", "adafactor": "adafactor", "adamw8bit": "adamw_bnb_8bit", MUON: MUON}
LEARNING_RATES = {"adamw": 1e-4, "adafactor": 1e-3, "adamw8bit": 1e-4, MUON: 1e-4}
SIZES = ("small",)
EVALUATION_TERMS = (
    *("loss", "token_accuracy", "rouge1", "rouge2", "rougeL", "chrf", "bleu", "length_ratio", "empty_share"),
    *(
        "repeated_characters",
        "sentinel_share",
        "repeated_share",
        "only_punctuation_share",
        "short_share",
        "long_share",
        "defective_share",
        "identical_share",
    ),
)
DEFAULT_BATCH = (2, 4)  # records of a micro-batch, micro-batches of a step
DEFAULT_OPTIM = "adamw_torch_fused"
DEFAULT_WARMUP = 0.05
GROWING_TERMS = ("token_accuracy", "rouge1", "rouge2", "rougeL", "chrf", "bleu")


@dataclass
class MT5ModelArguments:
    """Which weights to start from."""

    model: str = field(default="google/mt5-base", metadata={"help": "Hub repository owner/name, or model folder."})
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of the Hub repository."})
    # recorded for a model of the Hub: the requested revision and the repository; `revision` becomes the commit
    revision_asked: str | None = field(init=False, default=None)
    repository: str | None = field(init=False, default=None)
    from_scratch: bool = field(
        default=False,
        metadata={
            "help": "With --model small: random weights and a vocabulary of the training records; needs no network."
        },
    )
    preset: str = field(default="optimized", metadata={"help": "Recipe: original, optimized, fast, best, 8gb or cpu."})
    trim_vocab: bool = field(
        default=False,
        metadata={"help": "Remove vocabulary pieces that the records do not need; mt5-ft expand-vocab restores them."},
    )
    trim_languages: list[str] = field(
        default_factory=lambda: [*MAIN_LANGUAGES],
        metadata={"help": "Languages (by script) whose most frequent pieces are also kept."},
    )
    trim_extra: int = field(default=EXTRA, metadata={"help": "Number of pieces kept per language."})
    lora: bool = field(
        default=False, metadata={"help": "Train only low-rank adapters (LoRA, peft) of attention q and v."}
    )
    lora_r: int = field(default=16, metadata={"help": "Rank of the adapters."})
    lora_alpha: int = field(default=32, metadata={"help": "Scale of the adapters (lora_alpha / lora_r)."})
    lora_dropout: float = field(default=0.05, metadata={"help": "Dropout before the adapters."})
    lora_merge: bool = field(
        default=False, metadata={"help": "Merge the adapters into final/ instead of saving only the adapters."}
    )

    def __post_init__(self):
        check_languages(self.trim_languages, self.trim_extra)
        if self.from_scratch and self.model not in SIZES:
            raise ValueError(f"from_scratch=True cannot create {self.model}; add --model {' or '.join(SIZES)}")
        if self.model in SIZES and not self.from_scratch and not Path(self.model).is_dir():
            raise ValueError(
                f"model={self.model} has no weights; set from_scratch too, or pass a published model (google/mt5-small)"
            )
        if self.from_scratch and self.lora:
            raise ValueError("lora=True needs trained weights; remove from_scratch")
        if self.from_scratch and self.trim_vocab:
            logger.warning("trim_vocab is ignored: a vocabulary made from the records cannot be trimmed")
            self.trim_vocab = False
        if self.trim_vocab and self.lora and not self.lora_merge:
            raise ValueError(
                "trim_vocab=True with lora=True would save only adapters, whose base model has the full vocabulary; "
                "set lora_merge true too, or trim_vocab false"
            )
        if self.lora_r < 1:
            raise ValueError(f"lora_r={self.lora_r} is below 1; use e.g. 16")
        if self.lora_merge and not self.lora:
            raise ValueError("lora_merge=True has no effect without lora=True; set both or neither")


@dataclass
class MT5DataArguments:
    """Which records to read and how they become tokens."""

    data: str | None = field(
        default=None,
        metadata={
            "help": "File of records (JSONL, JSON, CSV, TSV or Parquet), Hub data set OWNER/NAME or OWNER/NAME:SPLIT, "
            "or 'sample' for the embedded records."
        },
    )
    validation_data: str | None = field(default=None, metadata={"help": "Validation records, as data."})
    validation_share: float = field(
        default=0.1, metadata={"help": "Share of the records held out for validation if there is no validation_data."}
    )
    task: str = field(default="emotion_summary", metadata={"help": f"Named fields: {', '.join(TASKS)}."})
    source_fields: list[str] | None = field(default=None, metadata={"help": "Fields of the source."})
    target_fields: list[str] | None = field(default=None, metadata={"help": "Fields of the target."})
    id_field: str | None = field(
        default=None, metadata={"help": "Field that names a record, or none to number them. Default: id, if there."}
    )
    policy: str = field(default="error", metadata={"help": "How to handle invalid records: error or drop."})
    prefix: str = field(default="", metadata={"help": "Text before each source."})
    token_cache: str | None = field(
        default=None,
        metadata={"help": "Cache folder of tokenised records; 'none' disables the cache. Default: ~/.cache/kronos-ft."},
    )
    max_source_length: int | None = field(
        default=None,
        metadata={
            "help": "Maximum source tokens, including the end-of-sequence token. Default: the 95th percentile of the "
            "training records, at most 1,024."
        },
    )
    max_target_length: int | None = field(
        default=None,
        metadata={
            "help": "Maximum target tokens, including the end-of-sequence token. Default: the 95th percentile of the "
            "training records, at most 512."
        },
    )

    def fields(self) -> TaskFields:
        """The task's fields; raises ValueError for an unknown task or only one field of a pair."""
        return named_fields(self.task, self.source_fields, self.target_fields, self.id_field)


@functools.cache
def bf16_pays_on_cpu() -> bool:
    """Whether bf16 products are clearly faster on this CPU; without native support they can be 25 times slower.

    Measured once per process: where bf16 is slow, the measurement takes a second.
    """
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(512, 512, dtype=dtype)
        a @ a
        started = time.perf_counter()
        for _ in range(4):
            a @ a
        seconds[dtype] = time.perf_counter() - started
    return seconds[torch.bfloat16] * 1.5 < seconds[torch.float32]


def choose_precision(wanted: str, on_cpu: bool) -> str:
    """`auto` becomes bf16 where the device computes in it, else fp32.

    Raises:
        ValueError: for an unknown precision, or fp16 on a CPU.
    """
    if wanted not in PRECISIONS:
        raise ValueError(f"precision={wanted!r} is not known; use one of {', '.join(PRECISIONS)}")
    if wanted == "fp16":
        check_precision("fp16", "cpu" if on_cpu else "accelerator")
    if wanted != "auto":
        return wanted
    if on_cpu:
        return "bf16" if bf16_pays_on_cpu() else "fp32"
    return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"


@dataclass
class MT5Arguments(RunArguments, PickledWithoutSecrets, Seq2SeqTrainingArguments):
    r"""Training settings of mT5: those of [`~transformers.Seq2SeqTrainingArguments`] and the fields below.

    Defaults that differ from the parent: batches grouped by length, gradient clipping 1.0, a warm-up of a twentieth of
    the run, evaluation and a checkpoint every 1,000 steps or each epoch, and the precision chosen for the device.

    > Parameters that control precision and the optimizer
        `precision`, `optimizer`.
    > Parameters that control batches and the loss
        `tokens_per_batch`, `target_tokens_per_step`, `linear_loss`.
    > Parameters that control evaluation
        `most_eval_steps`, `eval_generate_rows`, `generation_max_length`, `generation_num_beams`, `chinese`.
    """

    no_effect: ClassVar[NoEffect] = NOT_USED | NOT_USED_HERE
    evaluation_terms: ClassVar[tuple[str, ...]] = EVALUATION_TERMS

    precision: str = field(default="auto", metadata={"help": "auto, fp32, bf16 or fp16 (with loss scaling)."})
    optimizer: str = field(
        default="adamw",
        metadata={
            "help": "adamw, muon (matrices of blocks; adamw for the rest), adamw8bit (a quarter of the state, needs "
            "bitsandbytes) or adafactor (almost no state)."
        },
    )
    output_dir: str | None = field(default="runs/mt5", metadata={"help": "Run folder."})
    learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "Peak learning rate, or auto: found in short runs before training. Default: 1e-4 for adamw, "
            "1e-3 for adafactor."
        },
    )
    num_train_epochs: float = field(default=3.0, metadata={"help": "Passes over the training records."})
    per_device_train_batch_size: int = field(
        default=DEFAULT_BATCH[0], metadata={"help": "Records per device and micro-batch."}
    )
    gradient_accumulation_steps: int = field(
        default=DEFAULT_BATCH[1], metadata={"help": "Micro-batches per optimizer step."}
    )
    warmup_steps: float = field(
        default=DEFAULT_WARMUP, metadata={"help": "Number of warm-up steps; below 1: share of all steps."}
    )
    max_grad_norm: float = field(default=1.0, metadata={"help": "Maximum gradient norm (gradient clipping)."})
    train_sampling_strategy: str = field(
        default="group_by_length", metadata={"help": "group_by_length, random or sequential."}
    )
    length_column_name: str = field(
        default="length", metadata={"help": "Column by which evaluation batches are grouped."}
    )
    eval_strategy: str = field(default="steps", metadata={"help": "When to evaluate: no, steps or epoch."})
    eval_steps: float | None = field(
        default=None, metadata={"help": "Optimizer steps between evaluations. Default: see most_eval_steps."}
    )
    save_strategy: str = field(default="steps", metadata={"help": "When to save: no, steps or epoch."})
    save_steps: float | None = field(
        default=None, metadata={"help": "Optimizer steps between checkpoints. Default: as eval_steps."}
    )
    save_total_limit: int | None = field(default=1, metadata={"help": "Checkpoints to keep: the best and the newest."})
    logging_steps: float = field(default=50, metadata={"help": "Optimizer steps between two logged lines."})
    metric_for_best_model: str | None = field(default="eval_loss", metadata={"help": "Metric that selects the best."})
    generation_max_length: int | None = field(
        default=None, metadata={"help": "Maximum tokens of a generated summary. Default: max_target_length."}
    )
    generation_num_beams: int | None = field(default=1, metadata={"help": "Number of beams in evaluation."})

    most_eval_steps: int = field(
        default=1000,
        metadata={
            "help": "Optimizer steps between evaluations and checkpoints where eval_steps and save_steps are not set, "
            "or as many as an epoch has, if fewer. 0: eval_steps is set."
        },
    )
    tokens_per_batch: int = field(
        default=0,
        metadata={
            "help": "Maximum source and target tokens per device and micro-batch, with padding; records are grouped by "
            "length. 0: use per_device_train_batch_size."
        },
    )
    target_tokens_per_step: int = field(
        default=0,
        metadata={
            "help": "Target tokens per optimizer step on all devices, if tokens_per_batch is set; 0: as many as in "
            f"{RECORDS_PER_STEP} average records."
        },
    )
    linear_loss: bool = field(
        default=True,
        metadata={
            "help": "Compute the loss in chunks of tokens, without padding; false: from the logits of all tokens."
        },
    )
    eval_generate_rows: int = field(
        default=100, metadata={"help": "Number of validation records to summarise at each evaluation (all at the end)."}
    )
    early_stopping_min_delta: float = field(
        default=1e-4, metadata={"help": "Minimum improvement that counts, in units of the metric."}
    )
    chinese: str = field(default="char", metadata={"help": "How ROUGE tokenises Chinese: char, or jieba (words)."})

    def __post_init__(self):
        self.check_run_arguments()
        self._settle_intervals()
        self._check_tokens()
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer={self.optimizer!r} is not known; use one of {', '.join(OPTIMIZERS)}")
        if self.optimizer == "adamw8bit" and importlib.util.find_spec("bitsandbytes") is None:
            raise ValueError(
                "optimizer=adamw8bit needs the package bitsandbytes, which is not installed; pip install bitsandbytes, "
                "or set optimizer adafactor"
            )
        if self.optim == MUON and self.optimizer == "adamw":
            self.optimizer = MUON  # both names are common
        if self.muon_learning_rate is not None and self.optimizer != MUON:
            raise ValueError(
                f"muon_learning_rate={self.muon_learning_rate:g} has no effect with optimizer={self.optimizer}; set "
                "optimizer muon"
            )
        if self.optim not in (DEFAULT_OPTIM, OPTIMIZERS[self.optimizer]):
            raise ValueError(f"optim={self.optim} has no effect here: set optimizer to one of {', '.join(OPTIMIZERS)}")
        for name in ("bf16", "fp16"):
            if getattr(self, name) and self.precision != name:
                raise ValueError(f"{name}=True has no effect here: set precision to {name}")
        ScriptTokenizer(self.chinese)  # fail now rather than at the first evaluation
        self._check_evaluations()
        if self.eval_generate_rows < 0:
            raise ValueError(f"eval_generate_rows={self.eval_generate_rows} is negative; use 0 or more records")
        self.optim = OPTIMIZERS[self.optimizer]
        if self.learning_rate is None:
            self.learning_rate = self.usual_rate()
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate} is not positive; use e.g. 1e-4")
        if not torch.accelerator.is_available():
            self.use_cpu = True  # otherwise several CPU processes would not synchronise their gradients
        if not torch.cuda.is_available():
            self.dataloader_pin_memory = False
        launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
        asked = launched if self.precision == "auto" and launched in PRECISIONS else self.precision
        self.precision = choose_precision(asked, self.use_cpu)
        self.bf16, self.fp16 = self.precision == "bf16", self.precision == "fp16"
        if self.metric_for_best_model is not None:
            self.metric_for_best_model = check_metric_name(self.metric_for_best_model, self.evaluation_terms)
            self._settle_direction()
        self.precision_was_timed = asked == "auto"
        super().__post_init__()
        self.use_one_gpu()
        if asked == "auto" and self.world_size > 1:  # each process has measured its own time
            self.precision = broadcast_object_list([self.precision])[0]
            self.bf16 = self.precision == "bf16"
        self.mixed_precision = "no" if self.precision == "fp32" else self.precision

    def _settle_direction(self) -> None:
        """Whether the metric that selects the best is better when larger; that of an own metric is as set."""
        term = self.metric_for_best_model.removeprefix("eval_")
        if term not in EVALUATION_TERMS:
            self.greater_is_better = bool(self.greater_is_better)
            return
        if self.greater_is_better not in (None, term in GROWING_TERMS):
            raise ValueError(
                f"greater_is_better={self.greater_is_better} has no effect here: {self.metric_for_best_model} is "
                f"better when {'larger' if term in GROWING_TERMS else 'smaller'}; leave it out"
            )
        self.greater_is_better = term in GROWING_TERMS

    def usual_rate(self) -> float:
        """The learning rate of the optimizer."""
        return LEARNING_RATES.get(self.optimizer, LEARNING_RATES["adamw"])

    def _check_tokens(self) -> None:
        for name in ("tokens_per_batch", "target_tokens_per_step"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} is negative; use 0 or a number of tokens")
        if not self.tokens_per_batch:
            if self.target_tokens_per_step:
                raise ValueError(
                    f"target_tokens_per_step={self.target_tokens_per_step} has no effect without tokens_per_batch; set "
                    "tokens_per_batch, e.g. to 2048"
                )
            return
        if self.deepspeed or os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() in ("true", "1"):
            raise ValueError(
                f"tokens_per_batch={self.tokens_per_batch} does not work with DeepSpeed, which would update after "
                "each micro-batch; set tokens_per_batch to 0, or do not use DeepSpeed"
            )
        if self.train_sampling_strategy != "group_by_length":
            raise ValueError(
                f"train_sampling_strategy={self.train_sampling_strategy} has no effect with tokens_per_batch, which "
                "groups records by length; remove one of them"
            )
        given = self.per_device_train_batch_size, self.gradient_accumulation_steps
        if given not in (DEFAULT_BATCH, (1, 1)):
            logger.warning(
                f"per_device_train_batch_size={given[0]} and gradient_accumulation_steps={given[1]} are ignored: "
                "tokens_per_batch and target_tokens_per_step set the size of batches and steps"
            )
        # for the Trainer a step is one batch; records and micro-batches follow from the two token limits
        self.per_device_train_batch_size = self.gradient_accumulation_steps = 1

    def _settle_intervals(self) -> None:
        """Sets the intervals of evaluations and checkpoints that are not given; `most_eval_steps` becomes 0 if any is.

        Intervals equal to `most_eval_steps` count as not given: `dataclasses.replace` must not change their meaning.
        """
        most = self.most_eval_steps
        if most < 0:
            raise ValueError(f"most_eval_steps={most} is negative; use 0 or a number of steps")
        if any(steps not in (None, most) for steps in (self.eval_steps, self.save_steps)):
            self.most_eval_steps = 0
        usual = most or type(self).__dataclass_fields__["most_eval_steps"].default
        if self.save_steps is None:
            every = usual if self.eval_steps is None or self.eval_strategy == "no" else self.eval_steps
            self.save_steps = every * max(1, usual // every) if every >= 1 else every
        if self.eval_steps is None:
            self.eval_steps = usual

    @property
    def intervals_follow_epochs(self) -> bool:
        """Whether evaluations and checkpoints are each epoch, where an epoch has fewer than `most_eval_steps` steps."""
        return bool(self.most_eval_steps) and self.eval_strategy == self.save_strategy == "steps"

    def _check_evaluations(self) -> None:
        if self.num_train_epochs <= 0 and self.max_steps <= 0:
            raise ValueError(
                f"num_train_epochs={self.num_train_epochs:g} trains nothing; use a positive number, or set max_steps"
            )
        if self.eval_strategy == "no":
            self.eval_on_start = False
        if not self.load_best_model_at_end:
            return
        if self.eval_strategy == "no":
            raise ValueError(
                "load_best_model_at_end=True needs evaluations; set eval_strategy, or load_best_model_at_end to false"
            )
        if self.save_strategy not in (self.eval_strategy, "best"):
            raise ValueError(
                f"eval_strategy={self.eval_strategy} and save_strategy={self.save_strategy} differ, so a checkpoint "
                f"would have no evaluation; set save_strategy {self.eval_strategy} too, or load_best_model_at_end false"
            )
        saves, evaluations = self.save_steps, self.eval_steps
        if self.save_strategy == self.eval_strategy == "steps" and evaluations and (saves >= 1) == (evaluations >= 1):
            ratio = saves / evaluations
            if abs(ratio - round(ratio)) > 1e-9 or ratio < 1:
                raise ValueError(
                    f"save_steps={saves:g} must be a multiple of eval_steps={evaluations:g}, or a checkpoint would "
                    "have no evaluation; set both to the same number"
                )
