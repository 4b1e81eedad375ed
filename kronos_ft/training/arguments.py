"""Settings of all Kronos fine-tuning runs, and of the tokenizer; each field has one help text."""

import logging
import os
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from transformers import SchedulerType, TrainingArguments

from ft_core.io.secrets import PickledWithoutSecrets
from ft_core.runs.processes import check_precision
from ft_core.training.arguments import RunArguments
from ft_core.training.early_stopping import check_metric_name
from ft_core.training.muon import MUON
from ft_core.training.one_cycle import OneCycle
from ft_core.training.stock.no_effect import NOT_USED, NoEffect

from ..windows.arguments import SplitArguments
from ..windows.dataset import WindowShape
from ..windows.order import check_weighting
from .numerics import SPEED_VARIABLE, choose_compile, choose_numerics

logger = logging.getLogger(__name__)

# in addition to those without effect in every trainer
NOT_USED_HERE: NoEffect = {
    "label_smoothing_factor": ((0, 0.0), "the loss is that of the published recipe; override compute_loss instead"),
    "activation_checkpointing": ((None, False), "Kronos models are small; reduce per_device_train_batch_size instead"),
    "gradient_checkpointing": ((None, False), "Kronos models are small; reduce per_device_train_batch_size instead"),
    "activation_checkpointing_kwargs": ((None,), "Kronos models have no activation checkpointing; leave it out"),
    "gradient_checkpointing_kwargs": ((None,), "Kronos models have no activation checkpointing; leave it out"),
    "use_cache": ((False,), "forecasts always use a cache, and training has none; leave it off"),
    "neftune_noise_alpha": ((None,), "augment_noise of tokenizer and predictor adds noise to candles; leave it out"),
    "include_for_metrics": (([], ["loss"]), "the inputs of Kronos are several tensors; use loss or leave it out"),
    "include_num_input_tokens_seen": (("no", False), "the log has bars_per_second; leave it at no"),
    "train_sampling_strategy": (("random",), "set symbol_weighting to length or even; the order is always random"),
    "length_column_name": (("length",), "all windows have the same length; leave it out"),
}
PEAK_RATE = "Peak learning rate of the one-cycle schedule, or auto: found in short runs before training."


@dataclass
class ModelArguments:
    """Which weights to start from."""

    model: str = field(
        default="base",
        metadata={"help": "Named size (base, 2k: the published weights), Hub repository owner/name, or model folder."},
    )
    from_scratch: bool = field(
        default=False, metadata={"help": "Start from random weights of the named size (base, 2k, tiny)."}
    )
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of the Hub repository."})
    # recorded for a model of the Hub: the requested revision and the repository; `revision` becomes the commit
    revision_asked: str | None = field(init=False, default=None)
    repository: str | None = field(init=False, default=None)
    preset: str = field(
        default="baseline",
        metadata={"help": "Recipe: baseline (as published), optimized, best, gentle, cpu (docs/reference.md)."},
    )


@dataclass
class DataArguments(SplitArguments):
    """Which candles to read and how windows are cut from them."""

    lookback_window: int = field(
        default=90, metadata={"help": "Number of context bars; their statistics normalise a window."}
    )
    predict_window: int = field(
        default=10, metadata={"help": "Number of bars to predict; a window has lookback + predict + 1 bars."}
    )
    stride: int = field(default=1, metadata={"help": "Bars between the starts of two training windows."})
    validation_stride: int = field(
        default=10, metadata={"help": "Bars between the starts of two validation or test windows."}
    )
    clip: float = field(default=5.0, metadata={"help": "Maximum absolute normalised value, in standard deviations."})

    def __post_init__(self):
        self.check_split()

    @property
    def embargo_bars(self) -> int:
        """Number of bars skipped at the start of validation and of test; default: one window."""
        return self.window_shape(1).length if self.embargo is None else self.embargo

    def window_shape(self, stride: int) -> WindowShape:
        """Shape of windows at a stride; raises ValueError for sizes that make none."""
        return WindowShape(self.lookback_window, self.predict_window, stride, self.max_gap, self.clip)


@dataclass
class WindowTrainingArguments(RunArguments, PickledWithoutSecrets, TrainingArguments):
    r"""Settings of both stages: those of [`~transformers.TrainingArguments`] and the fields below.

    Defaults that differ from the parent: the published recipe (batch 50, 30 epochs, weight decay 0.1, betas 0.9 and
    0.95); evaluation at the start and after each epoch, with a checkpoint each, so that the best three can be kept;
    `use_cpu` is set where there is no accelerator.

    > Parameters that control the schedule and the optimizer
        `one_cycle`, `pct_start`, `div_factor`, `final_div_factor`, `cycle_momentum`, `decay_all_parameters`.
    > Parameters that control samples and checkpoints
        `symbol_weighting`, `keep_best`, `dry_run`.
    > Parameters that control speed
        `speed`, `exact`, `products`, `compile_blocks`.
    """

    no_effect: ClassVar[NoEffect] = NOT_USED | NOT_USED_HERE
    evaluation_terms: ClassVar[tuple[str, ...]] = ("loss",)
    growing_terms: ClassVar[tuple[str, ...]] = ()  # better when larger; overrides greater_is_better

    per_device_train_batch_size: int = field(default=50, metadata={"help": "Windows per device and micro-batch."})
    per_device_eval_batch_size: int = field(default=64, metadata={"help": "Windows per device in evaluation."})
    num_train_epochs: float = field(default=30.0, metadata={"help": "Passes over the training windows."})
    weight_decay: float = field(default=0.1, metadata={"help": "AdamW weight decay."})
    adam_beta2: float = field(default=0.95, metadata={"help": "AdamW beta2."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate: no, steps or epoch."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save: no, steps, epoch or best."})
    greater_is_better: bool | None = field(default=False, metadata={"help": "Whether a larger metric is better."})
    logging_steps: float = field(default=10, metadata={"help": "Optimizer steps between two logged lines."})

    one_cycle: bool = field(
        default=True, metadata={"help": "Use the one-cycle schedule; false: use lr_scheduler_type and warmup_steps."}
    )
    pct_start: float = field(default=0.03, metadata={"help": "Share of warm-up steps."})
    div_factor: float = field(
        default=10.0, metadata={"help": "The initial learning rate is learning_rate / div_factor."}
    )
    final_div_factor: float = field(
        default=1e4, metadata={"help": "The final learning rate is the initial one divided by this."}
    )
    cycle_momentum: bool = field(
        default=False, metadata={"help": "Cycle AdamW's beta1 from 0.95 to 0.85 and back, as the published scripts do."}
    )
    decay_all_parameters: bool = field(
        default=True, metadata={"help": "Also decay biases and norms, as published; false excludes them."}
    )
    symbol_weighting: str = field(
        default="length",
        metadata={
            "help": "Sampling of symbols in an epoch: length (each window once) or even (equal number per symbol)."
        },
    )
    keep_best: int = field(
        default=3, metadata={"help": "Number of best checkpoints to keep, in addition to the newest."}
    )
    speed: str = field(
        default_factory=lambda: os.environ.get(SPEED_VARIABLE, "auto"),
        metadata={"help": f"auto (fastest safe settings) or exact (plain fp32); {SPEED_VARIABLE} sets the default."},
    )
    exact: bool = field(default=False, metadata={"help": "Same as speed exact; overrides speed."})
    products: str = field(
        default="auto",
        metadata={"help": "Precision of matrix products in training: auto, fp32 or bf16 (if the device supports it)."},
    )
    compile_blocks: str = field(
        default="auto", metadata={"help": "Compile the blocks of the model: auto (if the run is long enough), yes, no."}
    )
    # exact, fp32 or bf16; follows from `speed`
    numerics: str = field(init=False, default="", metadata={"recorded": True})
    dry_run: bool = field(
        default=False,
        metadata={"help": "Print settings and estimated time without training; output_dir is not touched."},
    )

    def __post_init__(self):
        self.check_run_arguments()
        self._check_ranges()
        if self.metric_for_best_model is not None:
            self.metric_for_best_model = check_metric_name(self.metric_for_best_model, self.evaluation_terms)
            if self.metric_for_best_model.removeprefix("eval_") in self.growing_terms:
                self.greater_is_better = True
        if self.muon_learning_rate is not None and self.optim != MUON:
            raise ValueError(
                f"muon_learning_rate={self.muon_learning_rate:g} has no effect with optim={self.optim}; set optim muon"
            )
        if self.one_cycle:
            self._warn_of_ignored_schedule()
            if self.cycle_momentum and self.optim == MUON:
                raise ValueError("cycle_momentum=True cycles AdamW's beta1, but Muon has none; leave it off")
        if not torch.accelerator.is_available():
            self.use_cpu = True  # otherwise several CPU processes would not synchronise their gradients
        if not torch.cuda.is_available():
            self.dataloader_pin_memory = False
        elif self.accelerator_config is None:
            self.accelerator_config = {"non_blocking": True}  # copies a batch during the step before
        if self.fp16:
            check_precision("fp16", "cpu" if self.use_cpu else "accelerator")
        super().__post_init__()
        self.use_one_gpu()
        self._settle_speed()
        if self.early_stopping and self.eval_strategy == "no":
            raise ValueError("early_stopping=True needs evaluations; set eval_strategy to epoch or steps")

    def _settle_speed(self) -> None:
        """Chooses numerics and compiling for this device; call it after the parent has set the device."""
        if self.exact:
            self.speed = "exact"
        if self.torch_compile:
            raise ValueError("torch_compile=True would also compile evaluation; set compile_blocks to yes instead")
        launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no") != "no"
        mixed = self.bf16 or self.fp16 or launched
        try:
            self.numerics = choose_numerics(self.products, self.speed, mixed, self.device.type)
            choose_compile(self.compile_blocks, self.speed)
        except ValueError as error:
            if os.environ.get(SPEED_VARIABLE) != self.speed:
                raise
            raise ValueError(f"{error} ({SPEED_VARIABLE}={self.speed} is set in the environment)") from error

    def _check_ranges(self) -> None:
        check_weighting(self.symbol_weighting)
        if self.num_train_epochs <= 0 and self.max_steps <= 0:
            raise ValueError(f"num_train_epochs={self.num_train_epochs} is not positive; use a positive number")
        if self.dataloader_drop_last:
            raise ValueError(
                "dataloader_drop_last=True would drop windows from the evaluation; training batches are always full, "
                "so remove the setting"
            )
        if self.save_total_limit is not None:
            raise ValueError(
                f"save_total_limit={self.save_total_limit} would remove checkpoints that keep_best={self.keep_best} "
                "keeps; set keep_best instead"
            )
        if self.one_cycle:
            OneCycle(self.learning_rate, self.pct_start, self.div_factor, self.final_div_factor, self.cycle_momentum)

    def _warn_of_ignored_schedule(self) -> None:
        if SchedulerType(self.lr_scheduler_type) != SchedulerType.LINEAR:
            logger.warning(
                f"lr_scheduler_type={self.lr_scheduler_type} is ignored because one_cycle is on; set one_cycle false"
            )
        if self.lr_scheduler_kwargs:
            logger.warning("lr_scheduler_kwargs is ignored because one_cycle is on; set one_cycle false")
        if self.warmup_steps:
            logger.warning(f"warmup_steps={self.warmup_steps} is ignored because one_cycle is on; set pct_start")


@dataclass
class KronosTokenizerArguments(WindowTrainingArguments):
    r"""Training settings of the Kronos tokenizer: those of [`WindowTrainingArguments`], with the published recipe's
    learning rate 2e-4 and clipping at 2.0; `metric_for_best_model` is `eval_recon_all`, the published validation loss.
    """

    evaluation_terms: ClassVar[tuple[str, ...]] = (
        *("recon_all", "recon_pre", "loss", "bsq", "commitment", "entropy_sample", "entropy_codebook"),
        *("code_usage_s1", "code_usage_s2", "code_perplexity_s1", "code_perplexity_s2"),
    )
    growing_terms: ClassVar[tuple[str, ...]] = (
        *("code_usage_s1", "code_usage_s2", "code_perplexity_s1", "code_perplexity_s2"),
    )

    output_dir: str | None = field(default="runs/tokenizer", metadata={"help": "Run folder."})
    learning_rate: float = field(default=2e-4, metadata={"help": PEAK_RATE})
    max_grad_norm: float = field(default=2.0, metadata={"help": "Maximum gradient norm (gradient clipping)."})
    metric_for_best_model: str | None = field(
        default="eval_recon_all", metadata={"help": "Evaluation metric that selects the best checkpoint."}
    )
