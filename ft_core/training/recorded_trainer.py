"""A Trainer with a run record: exact loss terms, run folder, atomic checkpoints, bit-exact resume.

Notable:
- Loss terms are summed on the device inside `compute_loss` and reduced over ranks in `log`, which adds them to the
  Trainer's log entry. `metric_for_best_model`, callbacks and `report_to` therefore see them.
- There is a log entry before each scheduled evaluation and save.
- See `checkpoints.saving`, `guarded_steps` and `interruption` for saving, skipped steps and signals.
"""

import contextlib
import math
import os
import time
from abc import abstractmethod
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import SaveStrategy, TrainOutput
from transformers.utils import logging

from ..checkpoints.identity import MANIFEST_ID, new_id
from ..checkpoints.listing import list_checkpoints
from ..checkpoints.manifest import defect_of, read_manifest
from ..checkpoints.retention import metric_history
from ..checkpoints.saving import AtomicCheckpoints
from ..checkpoints.trainer_state import load_state
from ..hub.training_push import EVERY_SAVE, PushCheckpoints, check_hub
from ..runs.faults import environment_fault
from ..runs.folder import prepare_run_folder
from ..runs.lock import run_lock
from ..runs.processes import (
    check_precision,
    check_world_size,
    leave_group_at_exit,
    lost_process,
    warn_of_ignored_sharding,
)
from ..runs.record import RunRecorder
from ..runs.record_schema import find_record, versions
from ..runs.resuming import COMMON_SETTINGS, settle_changes
from .budget.duration import refuse_open_budget
from .early_stopping import EarlyStopping, measure_patience
from .guarded_steps import GuardedSteps
from .interruption import PRUNED, RunPruned, StopAtSignal, StoppedBySignal, start_worker
from .loss_meter import LossMeter
from .muon import MUON, build_muon
from .progress import Progress, describe_trainer
from .stock.inputs import StockInputs
from .stock.push import PushOnRequest
from .stock.trackers import TrackerRuns, check_trackers
from .weight_average import TRAINING_WEIGHTS, AverageWeights, WeightAverage, restore_training_weights

logger = logging.get_logger(__name__)


class _LogFirst(TrainerCallback):
    """Asks for a log entry before each evaluation and save."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        control.should_log |= control.should_save or control.should_evaluate

    on_epoch_end = on_step_end


class _LimitAtEnd(TrainerCallback):
    """Restores `save_total_limit` after the code of the Trainer that would delete checkpoints by it."""

    limit: int | None = None

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        args.save_total_limit = args.save_total_limit if self.limit is None else self.limit


class RecordedTrainer(GuardedSteps, AtomicCheckpoints, PushOnRequest, StockInputs):
    """Base of this library's trainers. Settings come from dataclasses with the fields of
    [`~ft_core.training.arguments.RunArguments`] and `early_stopping`, `early_stopping_patience`,
    `early_stopping_min_delta`.

    Args:
        args: such settings.
        callbacks (*optional*): further callbacks; the list is not changed.
        kwargs: as for [`~transformers.Trainer`].

    Raises:
        ValueError: the number of processes or the precision differs from the requested one.
    """

    progress_terms: tuple[str, ...] = ("loss",)
    evaluation_terms: tuple[str, ...] = ("loss",)
    decisive_settings: tuple[str, ...] = ()
    program: str  # the command that pushes what it trains
    stage: str  # what is trained: tokenizer, predictor or mt5

    def __init__(self, *, args: TrainingArguments, callbacks: list[TrainerCallback] | None = None, **kwargs):
        check_world_size(args.expected_world_size)
        check_precision(os.environ.get("ACCELERATE_MIXED_PRECISION", "no"), args.device.type)
        check_trackers(args)
        if args.world_size > 1:
            leave_group_at_exit()
        self.meter, self.eval_meter = LossMeter(), LossMeter()
        self.recorder = RunRecorder()
        self.trackers = TrackerRuns(self.stage)
        self._busy_elsewhere = 0.0
        self._logged_at: float | None = None
        self._digest: str | None = None
        self.average: WeightAverage | None = None
        self.resumed_from: Path | None = None
        self._stop_at_signal = StopAtSignal()
        self._limit_at_end = _LimitAtEnd()
        own = [self._limit_at_end, _LogFirst(), Progress(self.progress_terms, self.evaluation_terms), self.recorder]
        if args.ema_decay:
            own.insert(0, AverageWeights(self))
        if args.early_stopping:
            own.append(EarlyStopping(args.early_stopping_patience, args.early_stopping_min_delta))
        self.push_checkpoints: PushCheckpoints | None = None
        if args.push_to_hub and args.hub_strategy == EVERY_SAVE:
            self.push_checkpoints = PushCheckpoints(self.program, self.describe_pushed)
            own.append(self.push_checkpoints)
        super().__init__(args=args, callbacks=[*own, *(callbacks or []), self._stop_at_signal], **kwargs)
        self.trackers.callbacks = self.callback_handler.callbacks
        self.callback_handler.callbacks.insert(0, self.trackers)  # before the stock ones, which would open their own
        warn_of_ignored_sharding(self.is_fsdp_enabled)
        for name, is_on in (("optim=muon", args.optim == MUON), (f"ema_decay={args.ema_decay:g}", args.ema_decay)):
            if is_on and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
                raise ValueError(
                    f"{name} is untested with sharded weights (FSDP, DeepSpeed); use DDP, or leave it at its default"
                )
        self.remove_callback(PrinterCallback)
        if args.disable_tqdm:
            logging.disable_progress_bar()  # or transformers shows one for each file of each checkpoint

    def __repr__(self) -> str:
        return describe_trainer(self)

    # Training

    def train(self, resume_from_checkpoint: str | bool | None = None, *args, **kwargs) -> TrainOutput:
        """Calls the parent, in a locked and prepared run folder.

        `args.resume` continues from the newest complete checkpoint, `args.overwrite` removes the old run.

        Raises:
            ValueError: the folder is not empty and neither is set, it is not writable, another process uses it, the
                settings of a resume differ, a checkpoint could not be saved, or losses are not finite.
            StoppedBySignal: after SIGTERM or Ctrl-C, once the step is saved.
        """
        run = Path(self.args.output_dir)
        refuse_open_budget(self.args)
        if self.model is None:  # hyperparameter_search sets the previous trial's model to None
            self.model = self.call_model_init(kwargs.get("trial"))
        with run_lock(run, self.args.overwrite_lock):
            checkpoint = prepare_run_folder(run, self.args.resume or bool(resume_from_checkpoint), self.args.overwrite)
            if not isinstance(resume_from_checkpoint, str):
                resume_from_checkpoint = str(checkpoint) if checkpoint else None
            self.forget_steps()
            self.average = None
            self.resumed_from = Path(resume_from_checkpoint) if resume_from_checkpoint else None
            check_hub(self.args)
            if self.args.should_save:
                self.recorder.observed = self.observed_facts()
            if resume_from_checkpoint:
                self._check_whole(Path(resume_from_checkpoint), checkpoint)
            self.recorder.run_id = self._id_of(run, resume_from_checkpoint)
            self.trackers.run_id = self.recorder.run_id
            self.trackers.settings = self.recorder.facts | {"observed": self.recorder.observed}
            if resume_from_checkpoint:
                self.check_unchanged(run, Path(resume_from_checkpoint))
                state = load_state(Path(resume_from_checkpoint))
                if self._is_over(state):
                    if self.new_schedule:
                        raise ValueError(
                            f"{run} has finished its {state.global_step:,} steps, so another learning rate or schedule "
                            "has no effect; raise max_steps or num_train_epochs, or start a new run from its best model"
                        )
                    return self._already_trained(state, resume_from_checkpoint)
                logger.warning(f"resuming from {resume_from_checkpoint}")
                self.args.eval_on_start = False
            elif self.args.resume:
                logger.warning(f"{run} holds no checkpoint yet: starting from the beginning")
            try:
                with self._stop_at_signal.listening():
                    return super().train(resume_from_checkpoint, *args, **kwargs)
            except BaseException as error:
                if self.push_checkpoints is not None:
                    self.push_checkpoints.abandon(self.args)
                self.trackers.close(failed=True)
                reason = error.name if isinstance(error, StoppedBySignal) else type(error).__name__
                status = PRUNED if isinstance(error, RunPruned) else f"interrupted: {reason}"
                with contextlib.suppress(OSError):  # as on a full disk
                    self.recorder.write_interruption(self.args, self.state, status)
                message = self._one_line(run, error)
                if message is None:
                    raise
                raise ValueError(message) from error

    def _id_of(self, run: Path, checkpoint: str | None) -> str | None:
        """A new id, or that of the run that is resumed."""
        if checkpoint is None:
            return new_id()
        recorded = find_record(run)
        return recorded.get("id") if recorded else read_manifest(Path(checkpoint)).get(MANIFEST_ID)

    def _check_whole(self, named: Path, found: Path | None) -> None:
        """Raises ValueError if a checkpoint is damaged; the one in `found` was checked before."""
        defect = None if named == found else defect_of(named)
        if defect is not None:
            raise ValueError(f"{named} cannot be used: {defect}; pass another checkpoint, or none for the newest")

    def _one_line(self, run: Path, error: BaseException) -> str | None:
        """A one-line message for an error of the environment (disk, processes); None for other errors."""
        lost = lost_process(error, self.args.world_size)
        if lost:
            return f"{lost}; start all of them again with --resume"
        return environment_fault(error, run)

    def checkpoint_facts(self) -> dict[str, object]:
        """Facts for the manifest of a checkpoint."""
        names = (*COMMON_SETTINGS, *self.decisive_settings)
        return {
            MANIFEST_ID: self.recorder.run_id,
            "step": self.state.global_step,
            "extra": self._stop_at_signal.is_extra,
            "settings": {name: getattr(self.args, name) for name in names},
            "world_size": self.args.world_size,
            "training_data": self._data_digest(),
            "versions": versions(),
        }

    @abstractmethod
    def data_digest(self) -> str:
        """A hash of the training data, in order. Defined by the subclass."""

    def _data_digest(self) -> str:
        if self._digest is None:
            self._digest = self.data_digest()
        return self._digest

    def check_unchanged(self, run: Path, checkpoint: Path | None = None) -> None:
        """Rejects a resume with other settings, data or number of processes, unless `resume_force` is set.

        Args:
            run: the run's folder.
            checkpoint (*optional*): the checkpoint to resume from; its manifest is also compared.

        Raises:
            ValueError: with the list of what differs.
        """
        manifest = None if checkpoint is None else read_manifest(checkpoint) | {"now": self._data_digest()}
        names = (*COMMON_SETTINGS, *self.decisive_settings)
        self.new_schedule = settle_changes(run, manifest, self.recorder.facts, self.args, names)

    def _is_over(self, state: TrainerState) -> bool:
        """Whether a checkpoint is the end of its run: its last step, or where early stopping ended it."""
        if state.global_step >= self.planned_steps():
            return True
        if not self.args.early_stopping:
            return False
        history = metric_history(state, self.args.metric_for_best_model)
        patience = measure_patience(history, self.args.early_stopping_min_delta, self.args.greater_is_better)
        return patience.waited >= self.args.early_stopping_patience

    def _already_trained(self, state: TrainerState, checkpoint: str) -> TrainOutput:
        """Loads a run whose last checkpoint is its end; transformers' Trainer would do one step more and fail."""
        logger.warning(f"{checkpoint} is the last step of this run: there is nothing left to train")
        state.is_local_process_zero, state.is_world_process_zero = (
            self.is_local_process_zero(),
            self.is_world_process_zero(),
        )
        self.state = state
        self.recorder.take_over(self.args, self.state)
        self.trackers.on_train_begin(self.args, self.state, self.control)
        # the callbacks of that save may have been interrupted
        self.callback_handler.on_save(self.args, self.state, self.control)
        self.relocate_best(Path(self.args.output_dir))
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None:
            self._load_best_model()
        else:
            self._load_from_checkpoint(checkpoint)
        self.recorder.on_train_end(self.args, self.state, self.control)
        return TrainOutput(state.global_step, float("nan"), {})

    def observed_facts(self) -> dict[str, object]:
        """Facts on data and model for the report of a run, in addition to its settings."""
        parameters = list(self.model.parameters())
        return {
            "stage": self.stage,
            "parameters": sum(parameter.numel() for parameter in parameters),
            "trainable": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
            "steps_per_epoch": self.steps_per_epoch(),
            "effective_batch": self.effective_batch(),
            "train_samples": len(self.train_dataset),
            "validation_samples": len(self.eval_dataset or ()),
        }

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

    def _get_dataloader(self, *args, **kwargs) -> DataLoader:
        """Calls the parent; a signal to the process group does not end the data-loading workers."""
        loader = super()._get_dataloader(*args, **kwargs)
        own = getattr(loader, "base_dataloader", loader)  # Accelerate wraps it
        own.worker_init_fn = partial(start_worker, own.worker_init_fn)
        return loader

    # Logging

    @abstractmethod
    def logged_terms(self, sums: dict[str, Tensor], weight: float) -> dict[str, float]:
        """Named values from a meter's reduced sums; `weight` is the sum of the weights. Defined by the subclass."""

    @abstractmethod
    def throughput_terms(self, weight: float, seconds: float) -> dict[str, float]:
        """Throughput since the last log entry, over all ranks. Defined by the subclass."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the exact loss terms, the weight norm and the throughput to a training log entry, in place."""
        if "loss" in logs:
            logs["loss"] = float("nan")  # unless a step was applied since the last entry
            if not self.meter.is_empty:
                sums, weight = self.meter.reduce(self.accelerator)
                logs.update(self.logged_terms(sums, weight))
                logs.update(self.throughput_terms(weight, self._seconds_since_log()))
            logs["weight_norm"] = self._weight_norm()
        if "train_runtime" in logs:
            self._whole_run_figures(logs)
        super().log(logs, start_time)

    def _whole_run_figures(self, logs: dict[str, float]) -> None:
        """Makes the last log entry cover the complete run, not only the part since a resume; in place."""
        seconds = self.recorder.seconds()
        steps = self.state.global_step
        logs["train_runtime"] = round(seconds, 4)
        logs["train_steps_per_second"] = round(steps / seconds, 3)
        logs["train_samples_per_second"] = round(steps * self.effective_batch() / seconds, 3)
        entries = [(e["step"], e["loss"]) for e in self.state.log_history if "loss" in e and "learning_rate" in e]
        entries = [(step, loss) for step, loss in entries if loss == loss]
        widths = [step - before for (step, _), before in zip(entries, [0, *(s for s, _ in entries)], strict=False)]
        total = sum(width * loss for width, (_, loss) in zip(widths, entries, strict=True))
        logs["train_loss"] = total / max(sum(widths), 1)

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
        """Calls the parent; starts the throughput clock at the first step."""
        if self._logged_at is None:
            self._logged_at, self._busy_elsewhere = time.monotonic(), 0.0
        return super().training_step(*args, **kwargs)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Calls the parent, except for `optim=muon` ([`~ft_core.training.muon.MuonWithAdamW`])."""
        if self.optimizer is None and self.args.optim == MUON:
            trained = self.model if model is None else model
            decayed = self.get_decay_parameter_names(trained)
            self.optimizer = build_muon(trained, decayed, self.args, self.args.muon_learning_rate)
        return super().create_optimizer(model)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Calls the parent; without an average, continues from the own weights of a run that had one."""
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        file = Path(resume_from_checkpoint) / TRAINING_WEIGHTS
        if file.is_file() and not self.args.ema_decay:
            named = self.accelerator.unwrap_model(self.model).named_parameters()
            restore_training_weights({name: one.detach() for name, one in named if one.requires_grad}, file)

    def _averaged(self) -> contextlib.AbstractContextManager:
        """Inside, the model has the averaged weights, if there is an average."""
        return contextlib.nullcontext() if self.average is None else self.average.in_model()

    def _fill(self, staged: Path, states: list[dict[str, object]]) -> None:
        """Calls the parent; with an average, the model's file holds it, and the model's own weights follow."""
        with self._averaged():
            super()._fill(staged, states)
        if self.average is not None and self.args.should_save:
            self.average.save(staged)

    def _save_checkpoint(self, *args, **kwargs) -> None:
        started = time.monotonic()
        self.stops_after_save = self._stop_at_signal.is_stopping
        self.saves_extra = self._stop_at_signal.is_extra
        super()._save_checkpoint(*args, **kwargs)
        self._busy_elsewhere += time.monotonic() - started

    def _determine_best_metric(self, *args, **kwargs) -> bool:
        """Calls the parent; a run that saves only its best checkpoint also saves when a signal asks for it."""
        is_best = super()._determine_best_metric(*args, **kwargs)
        return self._stop_at_signal.decide_on_save(is_best) if self.args.save_strategy == SaveStrategy.BEST else is_best

    def _finalize_training(self, *args, **kwargs) -> TrainOutput:
        """Calls the parent, unless a signal arrived with the last evaluation or save; a resume then does the rest."""
        if self._stop_at_signal.came_at_end():
            self._stop_at_signal.is_extra = True
            if self.state.global_step not in list_checkpoints(Path(self.args.output_dir)):
                self._save_checkpoint(self.model_wrapped, None)
            self._stop_at_signal.on_save(self.args, self.state, self.control)
        # with a limit of 1 the parent would delete the last checkpoint here: a run killed before its final metrics are
        # written would restart from the best one
        self._limit_at_end.limit, self.args.save_total_limit = self.args.save_total_limit, None
        if self.average is not None:
            self.average.put_in()
            self.average = None
        return super()._finalize_training(*args, **kwargs)

    # Evaluation

    def evaluation_loop(self, dataloader, description: str, *args, metric_key_prefix: str = "eval", **kwargs):  # noqa: ANN001, ANN201
        """Calls the parent; returns the terms of the whole split instead of means over batches."""
        started = time.monotonic()
        self.eval_meter.reset()
        with self._averaged():
            output = super().evaluation_loop(
                dataloader, description, *args, metric_key_prefix=metric_key_prefix, **kwargs
            )
        terms = self.logged_terms(*self.eval_meter.reduce())
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in terms.items()})
        self._busy_elsewhere += time.monotonic() - started
        return output
