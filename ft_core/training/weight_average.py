"""An exponential moving average of the weights (Polyak averaging), which is evaluated and saved in their place."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

UPDATES = "updates"  # of the average so far
TRAINING_WEIGHTS = "training_weights.safetensors"  # in a checkpoint: the weights that the next step starts from


class WeightAverage:
    """average = d * average + (1 - d) * weights, after each optimizer step.

    d is the decay, but at most (1 + n) / (10 + n) at the n-th update, so that a short run does not end near the weights
    that it started from.

    Args:
        model (`nn.Module`): its trainable parameters are averaged; the average starts with their values.
        decay (`float`): between 0 and 1; the average covers about the last 1 / (1 - decay) steps.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.weights = {name: one for name, one in model.named_parameters() if one.requires_grad}
        self.average = [one.detach().clone() for one in self.weights.values()]
        self.updates = 0

    def _values(self) -> list[Tensor]:
        return [one.detach() for one in self.weights.values()]

    @torch.no_grad()
    def update(self) -> None:
        """Includes the current weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.average, self._values(), 1 - decay)

    @torch.no_grad()
    def put_in(self) -> None:
        """Copies the average into the model."""
        torch._foreach_copy_(self._values(), self.average)

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """The model has the averaged weights inside the block, and its own again afterwards, bit for bit."""
        own = [one.clone() for one in self._values()]
        self.put_in()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._values(), own)

    def save(self, folder: Path) -> None:
        """Writes the model's own weights into a checkpoint, whose model file contains the average."""
        tensors = {name: one.contiguous() for name, one in zip(self.weights, self._values(), strict=True)}
        save_file(tensors | {UPDATES: torch.tensor(self.updates)}, folder / TRAINING_WEIGHTS)

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Takes the model's weights, read from the checkpoint's model file, as average; then restores its own.

        Raises:
            ValueError: the checkpoint has no own weights, because its run had no average.
        """
        file = folder / TRAINING_WEIGHTS
        if not file.is_file():
            raise ValueError(f"{folder} has no {TRAINING_WEIGHTS}: its run had no ema_decay; resume without it")
        torch._foreach_copy_(self.average, self._values())
        self.updates = restore_training_weights(self.weights, file)


@torch.no_grad()
def restore_training_weights(parameters: dict[str, Tensor], file: Path) -> int:
    """Copies the weights that a training with an average goes on from into parameters; returns the number of updates.

    Args:
        parameters (`dict` of name to `torch.Tensor`): trainable parameters of the model.
        file (`Path`): `training_weights.safetensors` of a checkpoint.
    """
    saved = load_file(file)
    for name, weights in parameters.items():
        weights.copy_(saved[name])
    return int(saved[UPDATES])


class AverageWeights(TrainerCallback):
    """Starts the average of a `RecordedTrainer`, and includes each applied step."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        trainer = self.trainer
        trainer.average = WeightAverage(trainer.accelerator.unwrap_model(trainer.model), args.ema_decay)
        if trainer.resumed_from is not None:
            trainer.average.load(trainer.resumed_from)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if not self.trainer.was_skipped and not self.trainer.accelerator.optimizer_step_was_skipped:
            self.trainer.average.update()
