"""Skips optimizer steps with a non-finite loss or gradient; too many in a row stop the run.

Notable:
- A non-finite loss is turned into non-finite gradients. After gradient reduction every rank sees the same norm and
  makes the same decision, without an extra collective.
- A skipped step leaves weights, optimizer state and logged sums unchanged.
- On CUDA with a fused optimizer the device decides, and the host reads the decision one step later, so nothing waits.
- In fp16 the loss scaler regularly skips steps; only a collapsed loss scale is an error.
"""

import logging
from abc import ABC, abstractmethod
from pathlib import Path

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import Trainer

from ..checkpoints.listing import find_newest_complete
from ..io.files import write_json
from ..io.formats import read_json
from ..runs.folder import BAD_STEPS_FILE
from ..runs.record import unless_going_on

logger = logging.getLogger(__name__)

LEAST_SCALE = 1.0  # loss scale of fp16; below it, gradients overflow even without scaling
MOST_RECORDED = 20


def poison_if_not_finite(loss: Tensor) -> Tensor:
    """Returns the loss; a non-finite loss is replaced by one whose gradients are not finite."""
    return loss * torch.where(torch.isfinite(loss.detach()), 1.0, torch.nan).to(loss.dtype)


def _text(value: float) -> float | str:
    """A finite number, or the text `nan` or `inf`, which JSON has no number for."""
    return value if abs(value) != float("inf") and value == value else str(value)


class GuardedSteps(Trainer, ABC):
    """A Trainer that guards its steps. Expects `args.max_bad_steps`, a `meter`, and `choose_best` of a subclass;
    `compute_loss` is to return [`poison_if_not_finite`] of its loss."""

    stops_after_save = False  # a signal asked the run to end
    _bad_in_a_row = 0
    _batches: list[dict] = []  # noqa: RUF012 - replaced at each step, never changed
    _waiting: tuple[int, Tensor, list[dict]] | None = None  # a step whose decision the host has not read yet

    # Defined by the subclass

    @abstractmethod
    def sample_names(self, batch: dict[str, Tensor]) -> list[str]:
        """Readable names of the samples of a micro-batch."""

    @abstractmethod
    def sample_terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss and its parts of each sample of a micro-batch, tensors of shape `(batch_size,)`."""

    # A step

    @property
    def was_skipped(self) -> bool:
        """Whether the last step was not applied; False as long as only the device knows."""
        return self._bad_in_a_row > 0 and self._waiting is None

    def forget_steps(self) -> None:
        """Resets the state, e.g. after an interrupted `train()`."""
        self._bad_in_a_row, self._waiting, self._batches = 0, None, []
        self.meter.reset()

    def get_batch_samples(self, *args, **kwargs) -> tuple[list, Tensor | int | None]:
        """Calls the parent; keeps the micro-batches of a step until its loss and gradients are known to be finite."""
        batches, count = super().get_batch_samples(*args, **kwargs)
        self._batches = batches
        self.meter.begin_step()
        return batches, count

    def training_step(self, *args, **kwargs) -> Tensor:
        """Calls the parent; only finite values are added to the Trainer's running loss."""
        loss = super().training_step(*args, **kwargs)
        return torch.where(torch.isfinite(loss), loss, 0.0)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Tensor | float | None = None) -> Tensor | float:
        """Calls the parent; decides whether the step is applied."""
        norm = super()._get_grad_norm(model, grad_norm)
        if hasattr(norm, "full_tensor"):  # the norm of sharded parameters
            norm = norm.full_tensor()
        self._look_at_waiting()
        if self._decides_on_device(norm):
            finite = torch.isfinite(norm)
            self.optimizer.optimizer.found_inf = (~finite).float()
            self.meter.end_step(finite)
            self._waiting = self.state.global_step + 1, finite, self._batches
            return norm
        finite = bool(torch.isfinite(torch.as_tensor(norm)))
        self.meter.end_step(finite)
        if finite:
            self._bad_in_a_row = 0
        elif not self._is_scaling_down(norm):
            self.optimizer.zero_grad(set_to_none=True)  # the optimizer skips parameters without a gradient
            self._note_bad_step(self.state.global_step + 1, self._batches, float(norm))
        return norm

    def _decides_on_device(self, norm: Tensor | float) -> bool:
        """Whether the fused optimizer can skip a step through a flag on the device."""
        fused = bool(getattr(self.optimizer.optimizer, "defaults", {}).get("fused"))
        return isinstance(norm, Tensor) and norm.device.type == "cuda" and fused and self.accelerator.scaler is None

    def _look_at_waiting(self) -> None:
        """Reads the decision that the device has made for the last step."""
        if self._waiting is None:
            return
        (step, finite, batches), self._waiting = self._waiting, None
        if bool(finite):
            self._bad_in_a_row = 0
        else:
            self._note_bad_step(step, batches, float("nan"))

    def _is_scaling_down(self, norm: Tensor | float) -> bool:
        """Whether the fp16 loss scaler is still lowering its scale (the loss is finite, the scaled gradients overflow).

        Raises:
            ValueError: the scale has collapsed.
        """
        scaler = self.accelerator.scaler
        if scaler is None:
            return False
        with torch.no_grad():
            finite = all(bool(torch.isfinite(self._terms_of(batch)["loss"]).all()) for batch in self._batches)
        if not all(gather_object([finite]) if self.args.world_size > 1 else [finite]):
            return False
        scale = scaler.get_scale()
        if scale < LEAST_SCALE:
            raise ValueError(
                f"the fp16 loss scale fell to {scale:g} at step {self.state.global_step + 1}: the loss is finite, but "
                "its gradients overflow in fp16 at any scale; use bf16 or fp32"
            )
        return True

    # Bad steps

    def _terms_of(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`sample_terms` without dropout and without changing the random states."""
        model = self.accelerator.unwrap_model(self.model)
        was_training = model.training
        model.eval()
        devices = [self.args.device.index or 0] if self.args.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices=devices), torch.no_grad(), self.compute_loss_context_manager():
                return self.sample_terms(self._prepare_inputs(batch))
        finally:
            model.train(was_training)

    def _samples_of(self, batches: list[dict]) -> list[dict]:
        found = []
        for batch in batches:
            names = self.sample_names(batch)
            terms = {name: values.float().tolist() for name, values in self._terms_of(batch).items()}
            found += [
                {"sample": name, **{term: _text(values[i]) for term, values in terms.items()}}
                for i, name in enumerate(names)
            ]
        return found

    def _note_bad_step(self, step: int, batches: list[dict], norm: float) -> None:
        """Records a skipped step; every rank calls it at the same step.

        Raises:
            ValueError: `max_bad_steps` steps in a row were skipped.
        """
        self._bad_in_a_row += 1
        samples = self._samples_of(batches)
        if self.args.world_size > 1:
            samples = gather_object(samples)
        offending = [
            sample for sample in samples if any(isinstance(v, str) for k, v in sample.items() if k != "sample")
        ]
        run = Path(self.args.output_dir)
        learning_rate = self._get_learning_rate()
        if self.args.should_save:
            entry = {
                "step": step,
                "grad_norm": _text(norm),
                "learning_rate": learning_rate,
                "offending": [sample["sample"] for sample in offending],
                "samples": samples,
            }
            self._record(run, entry)
            named = ", ".join(sample["sample"] for sample in offending[:3])
            logger.warning(
                f"step {step} is not applied: its loss or gradient is not finite"
                + (f" ({named}{', ...' if len(offending) > 3 else ''})" if offending else "")
            )
        if self._bad_in_a_row < self.args.max_bad_steps:
            return
        newest, _ = find_newest_complete(run)
        first = step - self._bad_in_a_row + 1
        steps = f"in steps {first} to {step}" if self._bad_in_a_row > 1 else f"in step {step}"
        last = f"{newest.name} is the newest complete checkpoint" if newest else "there is no checkpoint yet"
        if len(offending) == len(samples):  # all samples, not only a few
            cause = "every sample is affected, so the weights have diverged: lower learning_rate"
        elif offending:
            cause = f"check the {len(offending)} of {len(samples)} samples listed there as offending"
        else:
            cause = "lower learning_rate or max_grad_norm"
        raise ValueError(
            f"the loss or its gradient was not finite {steps} (max_bad_steps={self.args.max_bad_steps}) at "
            f"learning_rate={learning_rate:.3g}; none was applied, {last}, the samples and loss parts are in "
            f"{run / BAD_STEPS_FILE}: {cause}"
        )

    def _record(self, run: Path, entry: dict) -> None:
        path = run / BAD_STEPS_FILE
        try:
            earlier = read_json(path, "", list)
        except ValueError:
            earlier = []
        with unless_going_on(self.args, path):
            write_json(path, [*earlier, entry][-MOST_RECORDED:])

    def _save_checkpoint(self, *args, **kwargs) -> None:
        """Calls the parent, except after a skipped step: a diverged run must not overwrite the last good checkpoint."""
        self._look_at_waiting()
        if self._bad_in_a_row and not self.stops_after_save:
            if self.args.should_save:
                logger.warning(f"no checkpoint is written at step {self.state.global_step}, which was not applied")
            # otherwise the best checkpoint would be that of this step, which is not saved
            self.choose_best(Path(self.args.output_dir))
            return
        super()._save_checkpoint(*args, **kwargs)

    def log(self, *args, **kwargs) -> None:
        """Calls the parent, after reading the decision on the last step."""
        self._look_at_waiting()
        super().log(*args, **kwargs)
