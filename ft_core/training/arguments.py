"""Settings of every run: run folder, resuming, error handling and pushes."""

from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import ClassVar, Self

from transformers import TrainingArguments
from transformers.training_args import OptimizerNames
from transformers.utils import logging

from ..cli.learning_rates import AUTO, LEARNING_RATE, AutoRate
from ..cli.nearest import hint
from ..io.settings_text import value_text
from .budget.duration import check_budget
from .early_stopping import EarlyStopping
from .muon import MUON
from .stock.no_effect import NOT_USED, NoEffect, check_no_effect

logger = logging.get_logger(__name__)

SAVE_ERRORS = ("stop", "continue")
PUSH_STRATEGIES = ("end", "every_save")
PLAIN_OPTIM = "adamw_torch"


@dataclass
class RunArguments:
    """Fields common to all training settings, in addition to [`~transformers.TrainingArguments`].

    Defaults that differ from the parent: `logging_nan_inf_filter` is off because it would log a NaN as 0.0;
    `ddp_find_unused_parameters` is off because every parameter is used; `hub_strategy` is `end` and not the parent's
    `every_save`: one commit a run unless more are asked for.

    > Parameters that control the run folder and faults
        `resume`, `overwrite`, `resume_force`, `overwrite_lock`, `on_save_error`, `max_bad_steps`,
        `expected_world_size`.
    > Parameters that control the length of a run
        `time_budget`.
    > Parameters that control evaluation and early stopping
        `eval_on_start`, `load_best_model_at_end`, `early_stopping`, `early_stopping_patience`,
        `early_stopping_min_delta`.
    > Parameters that control the optimizer
        `optim` (also `muon`), `muon_learning_rate`, `ema_decay`.
    > Parameters that control pushes
        `push_to_hub`, `hub_strategy`.
    """

    no_effect: ClassVar[NoEffect] = NOT_USED
    further_settings: ClassVar[dict[str, object]] = {}  # of model and data, for trackers; the trainer sets them
    chosen_run_name: ClassVar[str | None] = None  # a run_name that nobody set

    resume: bool = field(default=False, metadata={"help": "Resume from the newest complete checkpoint of output_dir."})
    overwrite: bool = field(default=False, metadata={"help": "Replace the run in output_dir."})
    resume_force: bool = field(
        default=False,
        metadata={"help": "Resume even if settings, data or number of processes changed; the log lists what is kept."},
    )
    overwrite_lock: bool = field(
        default=False, metadata={"help": "Use output_dir although another process seems to hold its lock."}
    )
    on_save_error: str = field(
        default="stop",
        metadata={"help": "What to do when a checkpoint cannot be written: stop, or continue without it."},
    )
    max_bad_steps: int = field(
        default=3,
        metadata={
            "help": "Stop after this many consecutive steps with a non-finite loss or gradient; such steps are skipped."
        },
    )
    expected_world_size: int | None = field(
        default=None, metadata={"help": "Required number of processes; checked before training."}
    )

    time_budget: str | None = field(
        default=None,
        metadata={
            "help": "Time for the whole run, such as 90s, 30m, 4h or 1h30m, instead of max_steps: a short measurement "
            "chooses the steps before training (docs/how-long.md)."
        },
    )
    eval_on_start: bool = field(default=True, metadata={"help": "Evaluate the starting weights, as a baseline."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "End with the best checkpoint's weights."})
    early_stopping: bool = field(default=False, metadata={"help": "Stop when the metric no longer improves."})
    early_stopping_patience: int = field(
        default=5, metadata={"help": "Number of evaluations without improvement before stopping."}
    )
    early_stopping_min_delta: float = field(
        default=1e-5, metadata={"help": "Minimum improvement that counts, in units of the metric."}
    )
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "Hide non-finite losses in the log."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "Off: nothing has to be removed."})
    ddp_find_unused_parameters: bool | None = field(default=False, metadata={"help": "Off: every parameter is used."})
    disable_tqdm: bool | None = field(default=True, metadata={"help": "On: this library prints its own progress."})

    optim: str = field(
        default=TrainingArguments.default_optim,
        metadata={"help": "Optimizer: muon (matrices of blocks; AdamW for the rest), or a name of transformers."},
    )
    muon_learning_rate: float | None = field(
        default=None,
        metadata={"help": "With optim muon: peak learning rate of the matrices of blocks. Default: learning_rate."},
    )
    ema_decay: float = field(
        default=0.0,
        metadata={
            "help": "Evaluate and save an exponential moving average of the weights, e.g. 0.98 over about the last 50 "
            "optimizer steps; 0: off."
        },
    )

    push_to_hub: bool = field(
        default=False,
        metadata={"help": "Push the best model to hub_model_id when the run ends; a failed push only logs a warning."},
    )
    hub_strategy: str = field(
        default="end",
        metadata={"help": "When to push: end, or every_save (also the model of each checkpoint, in the background)."},
    )

    def __new__(cls, *args: object, **settings: object) -> Self:
        """Raises TypeError for a name that is not a setting, with the setting that is probably meant."""
        taken = signature(cls.__init__).parameters
        unknown = [name for name in settings if name not in taken]
        if unknown and not any(one.kind is Parameter.VAR_KEYWORD for one in taken.values()):
            remedy = hint(unknown[0], [*taken], "", f"see help({cls.__name__})")
            raise TypeError(f"{cls.__name__} has no setting {unknown[0]}; {remedy}")
        return super().__new__(cls)

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.__repr__ = RunArguments.__repr__  # `dataclass` would add one with every field, tokens included

    def __repr__(self) -> str:
        length = "max_steps" if self.max_steps > 0 else "num_train_epochs"
        batch = ("per_device_train_batch_size", "gradient_accumulation_steps")
        names = ("output_dir", "learning_rate", *batch, length, "eval_strategy", "seed")
        return f"{type(self).__name__}({', '.join(f'{name}={value_text(getattr(self, name))}' for name in names)})"

    def __post_init__(self):
        is_muon = self.optim == MUON
        if is_muon:
            self.optim = PLAIN_OPTIM  # the parent knows only its own names
        super().__post_init__()
        if is_muon:
            self.optim = MUON

    def to_dict(self) -> dict[str, object]:
        """Calls the parent; trackers log this, so the settings of model and data follow."""
        return super().to_dict() | self.further_settings

    def check_run_arguments(self) -> None:
        """Raises ValueError for invalid values; `learning_rate="auto"` becomes an [`AutoRate`]."""
        check_no_effect(self, self.no_effect)
        if self.learning_rate == AUTO:
            rates = {one.name: one.default for one in fields(self)}
            self.learning_rate = AutoRate(rates[LEARNING_RATE] or self.usual_rate())
        check_budget(self.time_budget, self.max_steps)
        if self.on_save_error not in SAVE_ERRORS:
            raise ValueError(f"on_save_error={self.on_save_error!r} is not known; use one of {', '.join(SAVE_ERRORS)}")
        if self.max_bad_steps < 1:
            raise ValueError(f"max_bad_steps={self.max_bad_steps} is below 1; use 1 to stop at the first bad step")
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is below 1; use a positive number")
        EarlyStopping(self.early_stopping_patience, self.early_stopping_min_delta)
        if self.optim not in (MUON, *list(OptimizerNames)):
            near = get_close_matches(self.optim, [MUON, *(one.value for one in OptimizerNames)], 1)
            hint = f"did you mean {near[0]}?" if near else "use adamw_torch or muon"
            raise ValueError(f"optim={self.optim} is not an optimizer; {hint}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay={self.ema_decay} is outside [0, 1); use e.g. 0.98, or 0 for no average")
        if self.optim == MUON and self.optim_args:
            raise ValueError(f"optim_args={self.optim_args} has no effect here: Muon takes none; leave it out")
        rate = self.muon_learning_rate
        if rate is not None and not rate > 0:
            raise ValueError(f"muon_learning_rate={rate} is not positive; use e.g. 3e-3")
        self._check_push()
        if self.resume_force:
            self.resume = True
        if self.resume and self.overwrite:
            raise ValueError("--resume and --overwrite exclude each other; choose one")

    def usual_rate(self) -> float:
        """The learning rate of a class whose default is none."""
        return TrainingArguments.learning_rate

    def use_one_gpu(self) -> None:
        """Limits each process to one device and logs how to use all of them; call it after the devices are set up.

        In a process that was started by itself the Trainer would use every GPU through `nn.DataParallel`: batches would
        be as many times larger, and the replicas' losses and metrics would not be those of one batch.
        """
        if self.n_gpu > 1:
            logger.warning_once(
                f"{self.n_gpu} GPUs are visible but one process uses only one; to use all: accelerate launch "
                f"--num_processes {self.n_gpu} (docs/scale.md); to select one: CUDA_VISIBLE_DEVICES"
            )
            self._n_gpu = 1

    def _check_push(self) -> None:
        """Checks the push settings offline; the Hub is contacted when the run starts."""
        self.hub_strategy = str(getattr(self.hub_strategy, "value", self.hub_strategy))
        if self.hub_strategy not in PUSH_STRATEGIES:
            raise ValueError(
                f"hub_strategy={self.hub_strategy} is not supported: checkpoints contain pickled states, which are "
                f"never pushed; use one of {', '.join(PUSH_STRATEGIES)}"
            )
        if not self.push_to_hub:
            return
        if not self.hub_model_id:
            raise ValueError("push_to_hub=True needs a repository; set hub_model_id to OWNER/NAME")
        if self.hub_always_push:
            raise ValueError(
                "hub_always_push=True is not supported: a save during a running push is not pushed; leave it off"
            )
        from ..hub.push import check_branch, check_login, check_repository

        check_repository(self.hub_model_id)
        check_branch(self.hub_revision)
        check_login(self.hub_model_id, self.hub_token)
