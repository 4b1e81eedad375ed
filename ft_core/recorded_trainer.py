"""A Trainer whose run is on record: exact loss terms, a run folder, resume with the same settings only.

Notable:
- Loss terms are added on the device inside `compute_loss` and reduced over ranks in `log`, which puts them into the
  Trainer's own log entry, so that `metric_for_best_model`, callbacks and `report_to` all see them.
- There is a log entry before each evaluation and save, so that nothing half-counted is lost by a resume.
- A diverged run stops before anything of it is evaluated or saved.
"""

import math
import os
import time
from abc import ABC, abstractmethod
from pathlib import Path

from torch import Tensor, nn
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import TrainOutput
from transformers.utils import logging

from .checkpoints import check_checkpoint
from .early_stopping import EarlyStopping
from .launch import check_precision, check_world_size, warn_of_ignored_sharding
from .loss_meter import LossMeter
from .progress import Progress
from .run_folder import RUN_FILE, prepare_run_folder
from .run_record import RunRecorder, changed_settings, read_record

logger = logging.get_logger(__name__)

# settings that decide which weights a run ends with
COMMON_SETTINGS = (
    *("seed", "data_seed", "per_device_train_batch_size", "gradient_accumulation_steps", "max_steps"),
    *("num_train_epochs", "learning_rate", "weight_decay", "max_grad_norm", "adam_beta1", "adam_beta2", "optim"),
    *("bf16", "fp16", "eval_strategy", "eval_steps", "save_strategy", "save_steps", "metric_for_best_model"),
)


class _LogFirst(TrainerCallback):
    """Asks for a log entry before each evaluation and save."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        control.should_log |= control.should_save or control.should_evaluate

    on_epoch_end = on_step_end


class RecordedTrainer(Trainer, ABC):
    """Base of this library's trainers. Settings come from dataclasses with the fields `resume`, `overwrite`,
    `early_stopping`, `early_stopping_patience`, `early_stopping_min_delta` and `expected_world_size`.

    Args:
        args: such settings.
        callbacks (*optional*): further callbacks; the list is not changed.
        kwargs: as for [`~transformers.Trainer`].

    Raises:
        ValueError: the number of processes or the precision is not what was asked for.
    """

    progress_terms: tuple[str, ...] = ("loss",)
    evaluation_terms: tuple[str, ...] = ("loss",)
    decisive_settings: tuple[str, ...] = ()

    def __init__(self, *, args: TrainingArguments, callbacks: list[TrainerCallback] | None = None, **kwargs):
        check_world_size(args.expected_world_size)
        check_precision(os.environ.get("ACCELERATE_MIXED_PRECISION", "no"), args.device.type)
        self.meter, self.eval_meter = LossMeter(), LossMeter()
        self.recorder = RunRecorder()
        self._busy_elsewhere = 0.0
        self._logged_at: float | None = None
        own = [_LogFirst(), Progress(self.progress_terms, self.evaluation_terms), self.recorder]
        if args.early_stopping:
            own.append(EarlyStopping(args.early_stopping_patience, args.early_stopping_min_delta))
        super().__init__(args=args, callbacks=[*own, *(callbacks or [])], **kwargs)
        warn_of_ignored_sharding(self.is_fsdp_enabled)
        self.remove_callback(PrinterCallback)
        if args.disable_tqdm:
            logging.disable_progress_bar()  # or transformers shows one for each file of each checkpoint

    # Training

    def train(self, resume_from_checkpoint: str | bool | None = None, *args, **kwargs) -> TrainOutput:
        """As the parent's, after making the run folder ready.

        `args.resume` goes on from the newest checkpoint, `args.overwrite` clears the old run.

        Raises:
            ValueError: the folder holds something and neither is set, or it cannot be written.
        """
        run = Path(self.args.output_dir)
        checkpoint = prepare_run_folder(run, self.args.resume or bool(resume_from_checkpoint), self.args.overwrite)
        if not isinstance(resume_from_checkpoint, str):
            resume_from_checkpoint = str(checkpoint) if checkpoint else None
        if resume_from_checkpoint:
            self.check_unchanged(run)
            check_checkpoint(Path(resume_from_checkpoint))
            state = TrainerState.load_from_json(str(Path(resume_from_checkpoint) / TRAINER_STATE_NAME))
            if state.global_step >= self.planned_steps():
                return self._already_trained(state, resume_from_checkpoint)
            logger.warning(f"resuming from {resume_from_checkpoint}")
            self.args.eval_on_start = False
        elif self.args.resume:
            logger.warning(f"{run} holds no checkpoint yet: starting from the beginning")
        try:
            return super().train(resume_from_checkpoint, *args, **kwargs)
        except BaseException as error:
            self.recorder.write_interruption(self.args, self.state, type(error).__name__)
            raise

    def check_unchanged(self, run: Path) -> None:
        """Refuses to resume a run with other settings, data or number of processes.

        Raises:
            ValueError: with the list of what differs.
        """
        if not (run / RUN_FILE).is_file():
            return
        record = read_record(run)
        changes = changed_settings(record, self.recorder.facts, self.args, (*COMMON_SETTINGS, *self.decisive_settings))
        if changes:
            raise ValueError(
                f"{run} cannot be resumed with other settings ({'; '.join(changes)}); use the same, or start anew in "
                "another folder or with --overwrite"
            )

    def _already_trained(self, state: TrainerState, checkpoint: str) -> TrainOutput:
        """Takes over a run whose last checkpoint is its end; the stock Trainer would do one step more and fail."""
        logger.warning(f"{checkpoint} is the end of this run: nothing is left to train")
        state.is_local_process_zero, state.is_world_process_zero = (
            self.is_local_process_zero(),
            self.is_world_process_zero(),
        )
        self.state = state
        best = state.best_model_checkpoint if self.args.load_best_model_at_end else None
        self._load_from_checkpoint(best if best and Path(best).is_dir() else checkpoint)
        return TrainOutput(state.global_step, float("nan"), {})

    def effective_batch(self) -> int:
        """Samples of an optimizer step, over accumulation and processes."""
        return self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size

    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass over the training data."""
        batches = -(-len(self.train_dataset) // (self.args.train_batch_size * self.args.world_size))
        return -(-batches // self.args.gradient_accumulation_steps)

    def planned_steps(self) -> int:
        """Optimizer steps of the whole run."""
        if self.args.max_steps > 0:
            return self.args.max_steps
        return math.ceil(self.args.num_train_epochs * self.steps_per_epoch())

    # Logging

    @abstractmethod
    def logged_terms(self, sums: dict[str, Tensor], weight: float) -> dict[str, float]:
        """Named figures from reduced sums of a meter; `weight` is what was added. Defined by the subclass."""

    @abstractmethod
    def throughput_terms(self, weight: float, seconds: float) -> dict[str, float]:
        """Named figures of speed since the last log entry, over all ranks. Defined by the subclass."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the exact loss terms, the weight norm and the throughput to a training log entry, in place."""
        if "loss" in logs and not self.meter.is_empty:
            sums, weight = self.meter.reduce(self.accelerator)
            terms = self.logged_terms(sums, weight)
            self._stop_at_non_finite(terms)
            logs.update(terms)
            logs["weight_norm"] = self._weight_norm()
            logs.update(self.throughput_terms(weight, self._seconds_since_log()))
        super().log(logs, start_time)

    def _stop_at_non_finite(self, terms: dict[str, float]) -> None:
        """Ends a diverged run before anything of it is evaluated or saved; every rank sees the same figures."""
        bad = [name for name, value in terms.items() if not math.isfinite(value)]
        if bad:
            raise ValueError(
                f"{', '.join(bad)} became {terms[bad[0]]} by step {self.state.global_step} at "
                f"learning_rate={self.args.learning_rate}; lower it (or use bf16 instead of fp16) and start again: "
                "checkpoints saved before are still good"
            )

    def _weight_norm(self) -> float:
        parameters = [parameter.detach() for parameter in self.model.parameters() if parameter.requires_grad]
        norm = nn.utils.get_total_norm(parameters)
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    def _seconds_since_log(self) -> float:
        """Seconds of training since the last log entry, without evaluations and saves."""
        now = time.monotonic()
        seconds = now - self._logged_at - self._busy_elsewhere if self._logged_at is not None else float("nan")
        self._logged_at, self._busy_elsewhere = now, 0.0
        return seconds

    def training_step(self, *args, **kwargs) -> Tensor:
        """As the parent's; starts the throughput clock at the first step."""
        if self._logged_at is None:
            self._logged_at, self._busy_elsewhere = time.monotonic(), 0.0
        return super().training_step(*args, **kwargs)

    def _save_checkpoint(self, *args, **kwargs) -> None:
        started = time.monotonic()
        super()._save_checkpoint(*args, **kwargs)
        self._busy_elsewhere += time.monotonic() - started

    # Evaluation

    def evaluation_loop(self, dataloader, description: str, *args, metric_key_prefix: str = "eval", **kwargs):  # noqa: ANN001, ANN201
        """As the parent's, with the terms of the whole split instead of means over batches."""
        started = time.monotonic()
        self.eval_meter.reset()
        output = super().evaluation_loop(dataloader, description, *args, metric_key_prefix=metric_key_prefix, **kwargs)
        terms = self.logged_terms(*self.eval_meter.reduce())
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in terms.items()})
        self._busy_elsewhere += time.monotonic() - started
        return output
