"""Optimizer steps with a fixed number of target tokens in the Hugging Face Trainer.

The Trainer's loop expects the same number of micro-batches in every step. Here each step is one batch for the Trainer,
and the loader returns the list of the step's micro-batches. Step numbers, resuming and logging remain the Trainer's.
"""

import contextlib

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from ft_core.training.recorded_trainer import RecordedTrainer

from ..data.order import RecordOrder
from ..data.token_batches import StepBatches, StepRecords


def token_lengths(records: Dataset, column: str) -> np.ndarray:
    """Tokens of each record in a column of token ids, shape `(records,)`."""
    return pc.list_value_length(records.with_format("arrow")[column]).to_numpy()


class TokenSteps(RecordedTrainer):
    """A trainer with batches of records, or with steps of a fixed number of tokens if `tokens_per_batch` is set."""

    sampler: RecordOrder | StepBatches | None = None

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        """Samples records, or steps of records, in an order that depends on (seed, epoch); or records in sequence."""
        dataset = self.train_dataset if train_dataset is None else train_dataset
        args = self.args
        seed = args.seed if args.data_seed is None else args.data_seed
        if args.tokens_per_batch:
            self.sampler = self._steps_of(dataset.records, seed)
        elif args.train_sampling_strategy == "group_by_length":
            lengths = [token_lengths(dataset, name) for name in ("input_ids", "labels")]
            batch = args.train_batch_size * args.gradient_accumulation_steps
            self.sampler = RecordOrder(len(dataset), seed, *lengths, batch)
        elif args.train_sampling_strategy == "random":
            self.sampler = RecordOrder(len(dataset), seed)
        else:
            return super()._get_train_sampler(train_dataset)
        return self.sampler

    def _steps_of(self, records: Dataset, seed: int = 0) -> StepBatches:
        lengths = [token_lengths(records, name) for name in ("input_ids", "labels")]
        args = self.args
        return StepBatches(*lengths, seed, args.tokens_per_batch, args.target_tokens_per_step, args.world_size)

    def get_train_dataloader(self) -> DataLoader:
        """Calls the parent; with `tokens_per_batch`, a batch is a list of micro-batches."""
        if not self.args.tokens_per_batch:
            return super().get_train_dataloader()
        records = StepRecords(self.train_dataset)
        return self._get_dataloader(records, "Training", 1, self._get_train_sampler, is_training=True)

    def micro_batches(self) -> list[list[int]]:
        """Rows of each micro-batch of this process in the first epoch."""
        found = [list(rows) for rows in self.get_train_dataloader().batch_sampler]
        return [list(rows) for (step,) in found for rows in step] if self.args.tokens_per_batch else found

    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass over the training data."""
        if not self.args.tokens_per_batch:
            return super().steps_per_epoch()
        return self._steps_of(self.train_dataset).steps

    def effective_batch(self) -> int:
        """Records of an optimizer step, over accumulation and processes; the average with `tokens_per_batch`."""
        if not self.args.tokens_per_batch:
            return super().effective_batch()
        return max(1, round(len(self.train_dataset) / self.steps_per_epoch()))

    def longest_record(self) -> int:
        """Source and target tokens of the longest record of the training data."""
        return int(sum(token_lengths(self.train_dataset, name) for name in ("input_ids", "labels")).max())

    def get_batch_samples(self, *args, **kwargs) -> tuple[list, Tensor | int | None]:
        """Calls the parent; passes the micro-batches to the guard against non-finite steps."""
        batches, tokens = super().get_batch_samples(*args, **kwargs)
        self._batches = _flat(self._batches)
        return batches, tokens

    def _get_num_items_in_batch(self, batch_samples: list, *args, **kwargs) -> Tensor | int | None:
        return super()._get_num_items_in_batch(_flat(batch_samples), *args, **kwargs)

    def floating_point_ops(self, inputs: dict[str, Tensor] | list) -> int:
        """Sums the parent's value over all micro-batches."""
        return sum(super(TokenSteps, self).floating_point_ops(batch) for batch in _flat([inputs]))

    def _track_num_input_tokens(self, inputs: dict[str, Tensor] | list) -> None:
        for batch in _flat([inputs]):
            super()._track_num_input_tokens(batch)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Tensor] | list, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Calls the parent for each micro-batch; gradients are reduced over processes with the last one."""
        if not isinstance(inputs, list):
            return super().training_step(model, inputs, num_items_in_batch)
        *others, last = inputs
        losses = []
        for batch in others:
            with self.accelerator.no_sync(model) if self.args.world_size > 1 else contextlib.nullcontext():
                losses.append(super().training_step(model, batch, num_items_in_batch))
        losses.append(super().training_step(model, last, num_items_in_batch))
        return sum(losses)


def _flat(batches: list) -> list:
    """Flattens batches that may be lists of micro-batches."""
    return [micro for batch in batches for micro in (batch if isinstance(batch, list) else [batch])]
