"""Sets the epoch of the sampler of a trainer, so that the sample order depends only on (seed, epoch)."""

from typing import Protocol

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class EpochKeyed(Protocol):
    """A sampler whose order depends on its epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch of the next pass."""


class HoldsSampler(Protocol):
    """The owner of such a sampler, or None before training and for a fixed order."""

    sampler: EpochKeyed | None


class EpochOrder(TrainerCallback):
    """Sets the epoch of `trainer.sampler`. Accelerate does not do this for every kind of sampler, nor for several ranks
    after a resume within an epoch.
    """

    def __init__(self, trainer: HoldsSampler):
        self.trainer = trainer

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if self.trainer.sampler is not None:
            self.trainer.sampler.set_epoch(int(state.epoch or 0))
