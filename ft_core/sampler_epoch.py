"""Tells a trainer's sampler its epoch at the beginning of each.

Accelerate and transformers do so too, but not for several ranks after a resume within an epoch.
"""

from typing import Protocol

from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class HasSampler(Protocol):
    """A trainer whose `sampler` has a `set_epoch`; None before training, or where the order is not its own."""

    sampler: Sampler | None


class SamplerEpoch(TrainerCallback):
    """Calls `set_epoch` of the trainer's sampler, on every rank.

    Args:
        trainer ([`HasSampler`]): whose sampler is told.
    """

    def __init__(self, trainer: HasSampler):
        self.trainer = trainer

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if self.trainer.sampler is not None:
            self.trainer.sampler.set_epoch(int(state.epoch or 0))
