"""Measures the cost of a run: training steps, an evaluation and a few generated tokens with the model of the trainer.

Notable:
- Steps are measured by the probe of [`~ft_core.training.budget.probe`], of which nothing stays.
- The largest batch is tried first; those that are timed are spread evenly over the sizes of an epoch.
"""

import hashlib
import threading
from dataclasses import dataclass

import numpy as np
import psutil
import torch
from accelerate.utils import broadcast_object_list, gather_object
from datasets import Dataset

from ft_core.io.memory import free_memory, is_out_of_memory
from ft_core.training.budget.probe import Limit, StepProbe, left_as_it_was, timed
from ft_core.training.budget.remembered import Measurement, architecture, remembered

from ..summaries.generation import GenerationSettings, generate_batch
from ..training.token_steps import token_lengths
from ..training.trainer import MT5Trainer

TIMED_SECONDS = 6.0  # spent on timed micro-batches, where they are short enough
TIMED_BATCHES = (4, 32)
PROBE_TOKENS = 24
LIKELY_LENGTH = 0.9  # a batch of summaries lasts as long as its longest
SAMPLE_SECONDS = 0.005


@dataclass(frozen=True)
class Measured(Measurement):
    """Seconds on this machine and bytes at the peak.

    Attributes:
        micro_seconds (`float`): forward and backward of the mean micro-batch of an epoch.
        micro_batches (`int`): micro-batches of an epoch on this process.
        optimizer_seconds (`float`): clipping and the optimizer's step.
        evaluation_seconds (`float`): the loss over this process's share of the validation split.
        summaries_seconds (`float`): a batch of generated summaries of likely length.
        peak_memory (`int`): of the device, or of the whole process on a CPU.
        eval_batch (`int`): records of an evaluation batch that fits.
    """

    micro_seconds: float
    micro_batches: int
    optimizer_seconds: float
    evaluation_seconds: float
    summaries_seconds: float
    peak_memory: int
    eval_batch: int

    def step_seconds(self, steps_per_epoch: int) -> float:
        """Seconds of an optimizer step; the last one of an epoch may have fewer micro-batches."""
        return self.micro_batches / steps_per_epoch * self.micro_seconds + self.optimizer_seconds


class PeakMemory:
    """Bytes held at the peak inside a `with` block: of a CUDA device, or of this process."""

    def __init__(self, device: torch.device):
        self.device = device
        self.bytes = 0

    def __enter__(self) -> "PeakMemory":
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._over.wait(SAMPLE_SECONDS):
            self.bytes = max(self.bytes, process.memory_info().rss)

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watcher.join()
        if self.device.type == "cuda":
            self.bytes = torch.cuda.max_memory_reserved(self.device)


class _Batches:
    """Batches of rows by their size: padded source and target tokens.

    Args:
        records: the tokenised records that rows are of.
        batches (`list`): rows of each batch.
    """

    def __init__(self, records: Dataset, batches: list[list[int]]):
        lengths = [token_lengths(records, name) for name in ("input_ids", "labels")]
        sizes = [len(rows) * sum(int(tokens[rows].max()) for tokens in lengths) for rows in batches]
        self.largest_first = [batches[number] for number in np.argsort(sizes, kind="stable")[::-1]]

    def __len__(self) -> int:
        return len(self.largest_first)

    def largest(self) -> list[int]:
        """Rows of the largest batch."""
        return self.largest_first[0]

    def spread(self, count: int) -> list[list[int]]:
        """`count` batches, evenly spread over the sizes of all of them, the largest first."""
        count = min(count, len(self))
        return [self.largest_first[int((place + 0.5) * len(self) / count)] for place in range(count)]


def _step_probe(trainer: MT5Trainer) -> StepProbe:
    """The shared probe; activations are checkpointed as the Trainer does when it begins."""
    if trainer.args.activation_checkpointing:
        settings = dict(trainer.args.activation_checkpointing_kwargs or {})
        placing = {"every_n_layers": settings.pop("every_n_layers", 1), "offload": settings.pop("offload", False)}
        trainer.model.activation_checkpointing_enable(activation_checkpointing_kwargs=settings or None, **placing)
    return StepProbe(trainer)


def _training_seconds(trainer: MT5Trainer, limit: Limit) -> tuple[float, int, float]:
    """Seconds of the mean micro-batch, how many an epoch has, and seconds of an optimizer step."""
    batches = _Batches(trainer.train_dataset, trainer.micro_batches())
    probe = _step_probe(trainer)
    trainer.model.train()
    probe.micro_batch(batches.largest())  # largest batch first: out of memory occurs here or never
    probe.step()
    if trainer.args.gradient_accumulation_steps == 1 and not trainer.args.tokens_per_batch:
        trainer.model.zero_grad(set_to_none=True)
    slowest = probe.micro_batch(batches.largest())  # beside the optimizer's state: the peak of memory
    optimizer_seconds = probe.step()
    at_once = torch.get_num_threads() if trainer.args.device.type == "cpu" else 1
    allowed = min(TIMED_SECONDS, limit.left() / (2 * at_once))
    count = int(np.clip(allowed / slowest, TIMED_BATCHES[0] if limit.left() else 1, TIMED_BATCHES[1]))
    seconds = [probe.micro_batch(rows) for rows in batches.spread(count)]
    return sum(seconds) / len(seconds), len(batches), optimizer_seconds


@torch.no_grad()
def _evaluation_seconds(trainer: MT5Trainer, limit: Limit) -> float:
    """Seconds of the loss over this process's batches of the validation split."""
    batches = _Batches(trainer.eval_dataset, [list(rows) for rows in trainer.get_eval_dataloader().batch_sampler])
    trainer.model.eval()

    def loss_of(rows: list[int]) -> None:
        inputs = trainer._prepare_inputs(trainer.data_collator([trainer.eval_dataset[row] for row in rows]))
        with trainer.compute_loss_context_manager():
            trainer._token_sums(trainer.model, inputs)

    device = trainer.args.device
    timed(device, lambda: loss_of(batches.largest()))
    count = TIMED_BATCHES[0] if limit.left() else 1
    seconds = [timed(device, lambda rows=rows: loss_of(rows)) for rows in batches.spread(count)]
    return sum(seconds) / len(seconds) * len(batches)


def _summaries_seconds(trainer: MT5Trainer, limit: Limit) -> float:
    """Seconds of a batch of summaries as long as the targets, from a few tokens."""
    if not trainer.eval_records:
        return 0.0
    args = trainer.args
    longest = trainer.generation_length()
    targets = [len(ids) for ids in trainer.eval_dataset["labels"]]
    likely = min(longest, int(np.quantile(targets, LIKELY_LENGTH)) + 1)
    tokens = max(2, min(PROBE_TOKENS, longest))
    rows = trainer.eval_records[: args.per_device_eval_batch_size]
    settings = GenerationSettings(
        max_length=tokens,
        min_length=tokens,
        num_beams=args.generation_num_beams or 1,
        batch_size=len(rows),
        max_source_length=trainer.longest_source(),
    )
    texts = [trainer.prefix + record.source for record in rows]
    trainer.model.eval()

    def summarise() -> None:
        with trainer.accelerator.autocast():
            generate_batch(trainer.accelerator.unwrap_model(trainer.model), trainer.processing_class, texts, settings)

    seconds = timed(args.device, summarise)
    if limit.left():  # the first one also warms up
        seconds = timed(args.device, summarise)
    return seconds / tokens * likely


def _evaluation_that_fits(trainer: MT5Trainer, limit: Limit) -> tuple[float, float]:
    """Seconds of an evaluation's loss and of a batch of summaries; halves the evaluation batch until it fits."""
    args = trainer.args
    while True:
        try:
            return _evaluation_seconds(trainer, limit), _summaries_seconds(trainer, limit)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size = args.per_device_eval_batch_size
            if size == 1 or args.world_size > 1:  # other processes would evaluate other batches
                raise ValueError(
                    f"out of memory in an evaluation with per_device_eval_batch_size={size}; halve it, or set "
                    "max_target_length to half of its value (half of the logits)"
                ) from error
        args.per_device_eval_batch_size = size // 2
        free_memory()


def _shape(trainer: MT5Trainer) -> dict[str, object]:
    """What decides the measurement besides the machine."""
    args = trainer.args
    names = (
        *("per_device_train_batch_size", "gradient_accumulation_steps", "tokens_per_batch", "target_tokens_per_step"),
        *("per_device_eval_batch_size", "precision", "optimizer", "linear_loss", "activation_checkpointing"),
        *("activation_checkpointing_kwargs", "ema_decay", "generation_num_beams", "seed", "world_size"),
        *("train_sampling_strategy", "eval_generate_rows"),
    )
    lengths = hashlib.sha256()
    for records in (trainer.train_dataset, trainer.eval_dataset):
        for name in ("input_ids", "labels"):
            lengths.update(token_lengths(records, name).tobytes())
    parameters = trainer.model.parameters()
    return {name: getattr(args, name) for name in names} | {
        "model": architecture(trainer.accelerator.unwrap_model(trainer.model).config),
        "trained": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        "generation_length": trainer.generation_length(),
        "lengths": lengths.hexdigest(),
    }


def measure(trainer: MT5Trainer) -> Measured:
    """Times what this trainer would do, or remembers it, and leaves it as it was.

    Raises:
        ValueError: when an evaluation does not fit even one by one.
        torch.OutOfMemoryError: when a training step does not fit, in any process.
    """
    args = trainer.args
    if args.world_size > 1:  # always tried: in a step, processes cannot agree on a smaller batch
        (found,) = broadcast_object_list([_measure_now(trainer)])
    else:
        found = remembered(Measured, _shape(trainer), args.device, lambda: _measure_now(trainer))
    args.per_device_eval_batch_size = found.eval_batch
    return found


def _measure_now(trainer: MT5Trainer) -> Measured:
    try:
        found, failure = _measure_here(trainer), None
    except (RuntimeError, MemoryError, ValueError) as error:
        found, failure = None, error
    if trainer.args.world_size > 1:  # all processes train with the same batch, so all of them give up
        failed = gather_object([None if failure is None else (is_out_of_memory(failure), str(failure))])
        if failure is None and any(failed):
            lacks_memory, text = next(one for one in failed if one)
            raise torch.OutOfMemoryError(text) if lacks_memory else ValueError(text)
    if failure is not None:
        raise failure
    return found


def _measure_here(trainer: MT5Trainer) -> Measured:
    """Times what this process would do; no process waits for another."""
    limit = Limit()
    with left_as_it_was(trainer), PeakMemory(trainer.args.device) as memory:
        micro_seconds, micro_batches, optimizer_seconds = _training_seconds(trainer, limit)
        trainer.model.zero_grad(set_to_none=True)
        evaluation_seconds, summaries_seconds = _evaluation_that_fits(trainer, limit)
    return Measured(
        *(micro_seconds, micro_batches, optimizer_seconds, evaluation_seconds, summaries_seconds),
        *(memory.bytes, trainer.args.per_device_eval_batch_size),
    )
