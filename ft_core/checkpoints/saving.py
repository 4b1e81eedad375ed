"""Atomic checkpoints with everything that a resumed run needs to end with the same weights.

Notable:
- A checkpoint is written to a folder beside its place, hashed, flushed and renamed; older ones are removed after that.
- Only the main process writes; other ranks send it their random states and unlogged loss sums.
- A save that fails on one rank fails on all, and leaves earlier checkpoints unchanged.
"""

import logging
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from accelerate.utils import gather_object
from safetensors import SafetensorError
from torch import nn
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_callback import ExportableState
from transformers.trainer_pt_utils import safe_globals

from ..io.files import flush_folder, is_full_disk, move_folder
from .listing import PREFIX, SAVING, find_newest_complete, list_checkpoints, remove_checkpoint
from .manifest import defect_of, is_extra, write_manifest
from .retention import metric_history, outdated_extras, steps_within

logger = logging.getLogger(__name__)

SAVE_FAULTS = (OSError, RuntimeError, SafetensorError)  # torch's own errors for a full disk are RuntimeErrors


class CheckpointNotSaved(ValueError):
    """A checkpoint could not be written; earlier checkpoints are unchanged."""


def random_states(device: torch.device, world_size: int) -> dict[str, object]:
    """The state of every random generator of this process, in the form in which the Trainer restores it."""
    states = {"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.random.get_rng_state()}
    if device.type == "cuda":
        several = torch.cuda.random.get_rng_state_all
        states["cuda"] = several() if world_size > 1 else torch.cuda.random.get_rng_state()
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def rng_file(rank: int, world_size: int) -> str:
    """Name of the file of a rank's random states."""
    return f"rng_state_{rank}.pth" if world_size > 1 else "rng_state.pth"


class AtomicCheckpoints(Trainer):
    """A Trainer with atomic checkpoints. Expects `args` with the fields of
    [`~ft_core.training.arguments.RunArguments`], a `meter` with unlogged loss sums, and `checkpoint_facts()`
    for the manifest."""

    new_schedule = False  # a forced resume with another learning rate or length
    saves_extra = False  # only a signal asked for the checkpoint that is written

    # Saving

    def _save_checkpoint(self, model: nn.Module, trial: object) -> None:
        """Writes `checkpoint-STEP` atomically.

        Raises:
            CheckpointNotSaved: on every rank, unless `on_save_error` is `continue`.
        """
        self.store_flos()
        run = Path(self._get_output_dir(trial=trial))
        path = run / f"{PREFIX}{self.state.global_step}"
        staged = run / f"{SAVING}{path.name}"
        self.choose_best(run, self.state.global_step)
        states = random_states(self.args.device, self.args.world_size) | {"meter": self.meter.state()}
        states = gather_object([states]) if self.args.world_size > 1 else [states]
        try:
            self._together(lambda: self._fill(staged, states))
            if self.args.should_save:
                self._together(lambda: self._put_in_place(staged, path))
            else:
                self._together(lambda: None)
        except CheckpointNotSaved as error:
            self.choose_best(run)
            if self.args.should_save:
                shutil.rmtree(staged, ignore_errors=True)
            self._after_failed_save(run, path.name, error)
            return
        if self.args.should_save:
            self._keep_within_limit(run)

    def _fill(self, staged: Path, states: list[dict[str, object]]) -> None:
        if self.args.should_save:
            shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir(parents=True)
        if self.is_fsdp_enabled:
            self.accelerator.wait_for_everyone()  # all ranks write their shards
        self.save_model(str(staged), _internal_call=True)
        if self.args.should_save:
            # a pickle of the settings, which run.json has in plain text
            (staged / TRAINING_ARGS_NAME).unlink(missing_ok=True)
        self._save_optimizer_and_scheduler(str(staged))
        self._save_scaler(str(staged))
        if self.args.should_save:
            for rank, state in enumerate(states):
                torch.save(state, staged / rng_file(rank, self.args.world_size))
            self._note_callback_states()
            self.state.save_to_json(str(staged / TRAINER_STATE_NAME))

    def _note_callback_states(self) -> None:
        """Puts the states of callbacks into the trainer state; one that was added on a resume is no error here."""
        found: dict[str, list[dict]] = {}
        for callback in [*self.callback_handler.callbacks, self.control]:
            if isinstance(callback, ExportableState):
                found.setdefault(callback.__class__.__name__, []).append(callback.state())
        for name, states in found.items():
            self.state.stateful_callbacks[name] = states[0] if len(states) == 1 else states

    def _put_in_place(self, staged: Path, path: Path) -> None:
        write_manifest(staged, self.checkpoint_facts())
        flush_folder(staged)
        if path.exists() or path.is_symlink():  # of an earlier, longer part of this run
            remove_checkpoint(path)
        move_folder(staged, path)

    def _together(self, work: Callable[[], None]) -> None:
        """Runs `work` on this rank and checks that it succeeded on all ranks.

        Raises:
            CheckpointNotSaved: on every rank when it failed on one.
        """
        fault = None
        try:
            work()
        except Exception as error:
            if not isinstance(error, SAVE_FAULTS) and not is_full_disk(error):  # tokenizers raise plain exceptions
                raise
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())
            fault = "the disk is full" if is_full_disk(error) else reason[:300] or type(error).__name__
        faults = gather_object([fault]) if self.args.world_size > 1 else [fault]
        found = next((fault for fault in faults if fault is not None), None)
        if found is not None:
            raise CheckpointNotSaved(found)

    def _after_failed_save(self, run: Path, name: str, error: CheckpointNotSaved) -> None:
        newest, _ = find_newest_complete(run)
        left = f"{newest.name} is complete" if newest else "there is no earlier checkpoint"
        if self.args.on_save_error == "stop":
            remedy = "free some space" if "disk is full" in str(error) else "fix the cause"
            raise CheckpointNotSaved(
                f"{name} could not be written to {run} ({error}); {left}: {remedy} and continue with --resume (or set "
                "on_save_error=continue to train without it)"
            ) from error
        if self.args.should_save:
            logger.warning(f"{name} could not be written to {run} ({error}); training continues without it; {left}")

    def _keep_within_limit(self, run: Path) -> None:
        """Applies `save_total_limit`; a checkpoint that a signal added goes with the first that follows it."""
        if not self.args.save_total_limit or self.args.save_total_limit < 1:
            return
        checkpoints = list_checkpoints(run)
        for step in outdated_extras(checkpoints):
            remove_checkpoint(checkpoints.pop(step))
        keep = steps_within(list(checkpoints), self.state.best_global_step, self.args.save_total_limit)
        for step, path in checkpoints.items():
            if step not in keep:
                remove_checkpoint(path)

    # Loading

    def choose_best(self, run: Path, saving: int | None = None) -> None:
        """Sets `best_model_checkpoint` to the best existing or pending checkpoint, or to None without a metric.

        Evaluations without a checkpoint are excluded, and checkpoints written only because of a signal, which an
        uninterrupted run would not have.
        """
        metric = self.args.metric_for_best_model
        steps = {step: path for step, path in list_checkpoints(run).items() if not is_extra(path)}
        if saving is not None and not self.saves_extra:
            steps[saving] = run / f"{PREFIX}{saving}"
        scores = [(value, step) for step, value in metric_history(self.state, metric or "") if step in steps]
        scores = [(value, step) for value, step in scores if value == value]
        sign = -1.0 if self.args.greater_is_better else 1.0
        value, step = min(scores, key=lambda pair: (sign * pair[0], pair[1]), default=(None, None))
        self.state.best_metric, self.state.best_global_step = value, step
        self.state.best_model_checkpoint = str(steps[step]) if step is not None else None

    def _init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        checkpoint: str | None,
        trial: object,
    ) -> tuple[int, int]:
        """As the parent's; the best checkpoint is looked for in this run's folder, which may have been moved."""
        found = super()._init_training_state(max_steps, num_update_steps_per_epoch, num_train_epochs, checkpoint, trial)
        if checkpoint is not None:
            # the loaded state contains the values of the original run
            self.state.compute_steps(self.args, max_steps)
            self.relocate_best(Path(self._get_output_dir(trial)))
        return found

    def relocate_best(self, run: Path) -> None:
        """Points the state at the best checkpoint in `run`, or at the best that is left there."""
        if self.args.resume_force:  # with another metric perhaps
            self.choose_best(run)
        best = self.state.best_global_step
        if not best:
            return
        path = run / f"{PREFIX}{best}"
        if path.is_dir():
            self.state.best_model_checkpoint = str(path)
            return
        self.choose_best(run)
        now = self.state.best_model_checkpoint
        logger.warning(
            f"{path}, the best checkpoint, is gone: "
            + (
                f"{Path(now).name} is the best of the remaining checkpoints"
                if now
                else "no other evaluated checkpoint remains"
            )
        )

    def _load_best_model(self) -> None:
        """Calls the parent, after verifying all hashes.

        Raises:
            ValueError: the best checkpoint is damaged.
        """
        path = Path(self.state.best_model_checkpoint)
        defect = defect_of(path)
        if defect is not None:
            raise ValueError(
                f"{path}, the best checkpoint, cannot be used: {defect}; remove it and continue with --resume to "
                "finish with the best of the remaining checkpoints"
            )
        super()._load_best_model()

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """As the parent's, with the sums that were not logged yet and the generator of Apple's devices."""
        super()._load_rng_state(checkpoint)
        path = Path(checkpoint or "") / rng_file(self.args.process_index, self.args.world_size)
        if checkpoint is None or not path.is_file():
            return
        with safe_globals():
            state = torch.load(path, weights_only=True, map_location="cpu")
        self.meter.load_state(state.get("meter"), self.args.device)
        if "mps" in state and self.args.device.type == "mps":
            torch.mps.set_rng_state(state["mps"])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """As the parent's; a forced resume with another schedule enters the new one at the step it has reached."""
        if checkpoint is None or not self.new_schedule:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        steps = self.planned_steps()
        # of the new settings; a schedule with warm-up has set the rates themselves to 0
        rates = [group.get("initial_lr", group["lr"]) for group in self.optimizer.param_groups]
        self.lr_scheduler = SimpleNamespace(load_state_dict=lambda state: None)
        super()._load_optimizer_and_scheduler(checkpoint)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = group["initial_lr"] = self.args.learning_rate * rate / rates[0]
        self.lr_scheduler = None
        self.create_scheduler(steps, self.optimizer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no optimizer step comes before these
            for _ in range(self.state.global_step):
                self.lr_scheduler.step()
