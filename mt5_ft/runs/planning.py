"""Estimates a run before it starts: parameters, steps, time, memory and disk.

Notable:
- Time and memory are measured by a short probe on this machine, on the run's own model, batches and optimizer.
- Disk is counted at its peak, when a new checkpoint is written before an old one is removed.
"""

import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from ft_core.cli.learning_rates import AutoRate
from ft_core.io.progress_lines import span
from ft_core.training.budget.choice import StageCost
from ft_core.training.find_lr.search import search_steps
from ft_core.training.muon import MUON, block_matrices

from ..data.token_batches import FULL_ENOUGH, LIKELY_PADDING
from ..training.token_steps import token_lengths
from ..training.trainer import MT5Trainer
from .probe import Measured, measure

BYTES = 4
STATE_FILES_BYTES = 40_000  # trainer_state.json, scheduler.pt, rng_state.pth, training_args.bin, config.json
LOG_BYTES = 300_000
GIB = 2**30
MOST_WARMUP = 0.1  # of the steps
SMALL_IN_8_BIT, BLOCK_IN_8_BIT = 4096, 256  # parameters that stay as they are; parameters that share a scale


def _gib(count: float) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB / 10 else f"{count / 2**20:.1f} MiB"


def weight_bytes(model: nn.Module, adapters_only: bool = False) -> int:
    """Bytes of the saved weights: all of them, or the trainable ones of an adapter."""
    return sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad or not adapters_only)


def optimizer_bytes(model: nn.Module, optimizer: str) -> int:
    """Bytes of the optimizer's state: two moments a parameter for AdamW, one for Muon's matrices, row and column sums
    for Adafactor.

    In 8 bit the moments of embeddings and of small parameters stay in fp32, as bitsandbytes leaves them.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if optimizer == "adamw8bit":
        tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
        whole = [p for p in trainable if id(p) in tables or p.numel() < SMALL_IN_8_BIT]
        rest = sum(p.numel() for p in trainable) - sum(p.numel() for p in whole)
        return sum(2 * BYTES * p.numel() for p in whole) + rest * 2 + rest * 2 * BYTES // BLOCK_IN_8_BIT
    if optimizer in ("adamw", MUON):
        matrices = block_matrices(model) if optimizer == MUON else set()
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        return sum((1 if name in matrices else 2) * BYTES * parameter.numel() for name, parameter in named)
    return sum(
        BYTES * (parameter.shape[0] + parameter.shape[1] if parameter.ndim == 2 else parameter.numel())
        for parameter in trainable
    )


@dataclass
class Plan:
    """The estimates of a planned run, in seconds and bytes.

    Attributes:
        target_tokens (`float`): of the mean step; `wanted_tokens` (`int`) is the setting, 0 where it is not set.
        micro_tokens (`float`): source and target tokens of the mean micro-batch, with `tokens_per_batch`.
        peak_memory (`int`): measured; of the GPU, or of the whole process on a CPU.
        checkpoint_bytes, state_bytes (`int`): one checkpoint, and what of it is the optimizer's state.
        peak_disk, final_disk (`int`): while writing a checkpoint, and when the run is over.
        advice (`list[str]`): warnings on the data and the settings, from before the measurement.
        lengths (`str`): the limits that were chosen from the records and what they truncate; empty if they are set.
        each_epoch (`int`): optimizer steps between evaluations if each epoch is evaluated, else 0.
    """

    preset: str
    parameters: int
    trainable: int
    pieces: int
    epochs: float
    batch: int
    accumulation: int
    effective_batch: int
    eval_batch: int
    eval_batch_fits: bool
    steps: int
    seconds: float
    step_seconds: float
    rows_per_second: float
    device: str
    peak_memory: int
    checkpoint_bytes: int
    state_bytes: int
    peak_disk: int
    final_disk: int
    free_disk: int
    processes: int
    save_total_limit: int | None
    tokens_per_batch: int = 0
    target_tokens: float = 0.0
    micro_batches: float = 1.0
    micro_tokens: float = 0.0
    wanted_tokens: int = 0
    warmup: int = 0
    advice: list[str] = field(default_factory=list)
    lengths: str = ""
    circumstances: str = ""  # of a measurement that other programs disturbed
    each_epoch: int = 0

    def lines(self) -> list[str]:
        """The plan as text lines."""
        keep = "all" if self.save_total_limit is None else str(self.save_total_limit)
        where = "total of the process" if self.device == "cpu" else f"on the {self.device} device"
        lines = [
            f"model       {self.parameters:,} parameters, {self.trainable / self.parameters:.1%} trainable; "
            f"{self.pieces:,} pieces",
            f"batch       {self._batch_words()}",
            f"steps       {self.steps:,} over {self.epochs:g} epochs",
            f"time        about {span(self.seconds)} ({self.step_seconds:.3g} s per step)"
            f"{self.circumstances and '; ' + self.circumstances}",
            f"memory      about {_gib(self.peak_memory)} ({where}, measured in a few steps)",
            f"disk        {_gib(self.peak_disk)} at the peak, {_gib(self.final_disk)} at the end; "
            f"{_gib(self.free_disk)} free",
            f"checkpoint  {_gib(self.checkpoint_bytes)} ({_gib(self.checkpoint_bytes - self.state_bytes)} without the "
            f"optimizer's state), keeping {keep}",
        ]
        return lines + self.notes()

    def __repr__(self) -> str:
        return (
            f"Plan: {self.steps:,} steps over {self.epochs:g} epochs, about {span(self.seconds)}\n"
            f"{self.parameters:,} parameters, {self.effective_batch} records per step\n"
            f"memory about {_gib(self.peak_memory)}, disk {_gib(self.peak_disk)} at the peak; warnings and remarks: "
            f"{len(self.notes())}"
        )

    def notes(self) -> list[str]:
        """The warnings and remarks on the plan."""
        lines = [*self.advice]
        if self.lengths:
            lines.append(f"limits      {self.lengths}")
        if self.each_epoch:
            lines.append(f"evaluation  each epoch: every {self.each_epoch:,} steps; --eval_steps changes it")
        if self.micro_tokens < FULL_ENOUGH * self.tokens_per_batch:
            lines.append(
                f"batch size  a batch has about {self.micro_tokens:,.0f} source and target tokens, far fewer than "
                f"tokens_per_batch={self.tokens_per_batch:,} allows, because a step of {self.target_tokens:,.0f} "
                "target tokens needs no more; raise target_tokens_per_step for larger batches"
            )
        elif self.micro_tokens > LIKELY_PADDING * self.tokens_per_batch > 0:
            lines.append(
                f"batch size  most records are longer than tokens_per_batch={self.tokens_per_batch} and form "
                f"batches of one, about {self.micro_tokens:,.0f} tokens each; raise tokens_per_batch for larger batches"
            )
        if self.wanted_tokens > 2 * self.target_tokens:
            lines.append(
                f"step size   the records contain only {self.target_tokens:,.0f} target tokens, fewer than "
                f"target_tokens_per_step={self.wanted_tokens:,}: one step per epoch; lower it"
            )
        if self.warmup >= self.steps:
            lines.append(
                f"WARNING     the warm-up of {self.warmup:,} steps is as long as the run or longer: the learning rate "
                "never reaches its peak; set e.g. --warmup_steps 0.1, a tenth of the steps"
            )
        elif self.warmup > math.ceil(MOST_WARMUP * self.steps):
            lines.append(
                f"WARNING     the warm-up of {self.warmup:,} steps is more than a tenth of the {self.steps:,} steps; "
                "set e.g. --warmup_steps 0.05, a twentieth of them"
            )
        if not self.eval_batch_fits:
            lines.append(f"evaluation  {self.eval_batch} records per batch: a larger batch does not fit into memory")
        return lines

    def _batch_words(self) -> str:
        if not self.tokens_per_batch:
            together = f" x {self.processes} processes" if self.processes > 1 else ""
            return f"{self.batch} x {self.accumulation} accumulated{together} = {self.effective_batch} effective"
        alone = self.micro_tokens > LIKELY_PADDING * self.tokens_per_batch
        size = "1 record" if alone else f"at most {self.tokens_per_batch:,} source and target tokens"
        where = f" on each of {self.processes} processes" if self.processes > 1 else ""
        return (
            f"per step on average {self.micro_batches:.1f} batches of {size}{where}, together "
            f"{self.target_tokens:,.0f} target tokens of {self.effective_batch} records"
        )

    def check_disk(self) -> None:
        """Raises ValueError with a remedy if the disk is too small for the peak."""
        if self.peak_disk <= self.free_disk:
            return
        if self.save_total_limit != 1:
            remedy = "set save_total_limit to 1"
        else:
            remedy = "set trim_vocab, lora to train adapters alone, optimizer adafactor, or output_dir on another disk"
        raise ValueError(
            f"the run needs {_gib(self.peak_disk)} of disk at its peak but {_gib(self.free_disk)} are free; {remedy}"
        )


def disk_of_run(checkpoint: int, final: int, saves: int, limit: int | None) -> tuple[int, int]:
    """Bytes at the peak and at the end of a run.

    The stock rotation keeps `limit` checkpoints, the best and the newest, and removes one only after the next is
    written. With a limit of 1 the best stays beside the newest while running, and alone at the end.
    """
    kept_running = saves if limit is None else min(saves, max(limit, 2))
    kept_at_end = saves if limit is None else min(saves, limit)
    at_peak = min(saves, kept_running + 1)
    return max(at_peak * checkpoint, kept_at_end * checkpoint + final) + LOG_BYTES, (
        kept_at_end * checkpoint + final + LOG_BYTES
    )


def _times(strategy: str, every: float | None, steps: int, per_epoch: int) -> int:
    """How often something happens in `steps`; the last step evaluates and saves too."""
    if strategy == "no":
        return 0
    interval = per_epoch if strategy == "epoch" else (every if every >= 1 else max(1, every * steps))
    return -(-steps // int(interval))


def run_seconds(trainer: MT5Trainer, measured: Measured, steps: int) -> float:
    """Seconds of a run with a number of steps: the steps, all evaluations, and the summaries at the end."""
    args, per_epoch = trainer.args, trainer.steps_per_epoch()
    evaluations = _times(args.eval_strategy, args.eval_steps, steps, per_epoch)
    rows, at_once = len(trainer.eval_records), args.per_device_eval_batch_size * args.world_size
    batches = evaluations * -(-min(args.eval_generate_rows, rows) // at_once) + -(-rows // at_once)
    losses = evaluations + 1 + bool(args.eval_on_start)
    seconds = steps * measured.step_seconds(per_epoch) + losses * measured.evaluation_seconds
    return seconds + batches * measured.summaries_seconds


def cost_of(trainer: MT5Trainer) -> StageCost:
    """What a run costs on this machine, for a time budget.

    Raises:
        torch.OutOfMemoryError: when a training step does not fit.
    """
    measured, per_epoch = measure(trainer), trainer.steps_per_epoch()
    step, finds_rate = measured.step_seconds(per_epoch), isinstance(trainer.args.learning_rate, AutoRate)
    return StageCost(
        stage="training",
        planned=trainer.planned_steps(),
        per_epoch=per_epoch,
        step_seconds=step,
        seconds=lambda steps: (
            run_seconds(trainer, measured, steps) + finds_rate * search_steps(steps, trainer.args.optim) * step
        ),
        measured=measured,
    )


def make_plan(trainer: MT5Trainer, preset: str, *, adapters: bool = False, merge: bool = False) -> Plan:
    """Estimates the run of a trainer; its weights and random state are not changed.

    Raises:
        torch.OutOfMemoryError: when a training step does not fit.
    """
    args = trainer.args
    asked = args.per_device_eval_batch_size
    measured = measure(trainer)
    steps, per_epoch = trainer.planned_steps(), trainer.steps_per_epoch()
    micro_batches = measured.micro_batches / per_epoch  # of a step; the last one of an epoch may have fewer
    step_seconds = measured.step_seconds(per_epoch)
    saves = _times(args.save_strategy, args.save_steps, steps, per_epoch)
    tokens = {name: int(token_lengths(trainer.train_dataset, name).sum()) for name in ("input_ids", "labels")}
    state = optimizer_bytes(trainer.model, args.optimizer)
    if args.ema_decay:  # the weights before averaging
        state += sum(BYTES * parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)
    tokenizer = len(trainer.processing_class.backend_tokenizer.to_str().encode())
    tokenizer += sum(len(text.encode()) for text in trainer.further_files.values())
    saved_weights = weight_bytes(trainer.model, adapters_only=adapters)
    checkpoint = saved_weights + state + tokenizer + STATE_FILES_BYTES
    final = (weight_bytes(trainer.model) if merge or not adapters else saved_weights) + tokenizer
    peak_disk, final_disk = disk_of_run(checkpoint, final, saves, args.save_total_limit)
    parent = Path(args.output_dir)
    while not parent.exists():
        parent = parent.parent
    return Plan(
        preset=preset,
        parameters=sum(p.numel() for p in trainer.model.parameters()),
        trainable=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        pieces=len(trainer.processing_class),
        epochs=args.num_train_epochs if args.max_steps <= 0 else args.max_steps / per_epoch,
        batch=args.per_device_train_batch_size,
        accumulation=args.gradient_accumulation_steps,
        effective_batch=trainer.effective_batch(),
        eval_batch=args.per_device_eval_batch_size,
        eval_batch_fits=args.per_device_eval_batch_size == asked,
        steps=steps,
        seconds=run_seconds(trainer, measured, steps),
        step_seconds=step_seconds,
        rows_per_second=trainer.effective_batch() / step_seconds,
        device=args.device.type,
        circumstances=measured.circumstances() if measured.is_disturbed else "",
        peak_memory=measured.peak_memory,
        checkpoint_bytes=checkpoint,
        state_bytes=state,
        peak_disk=peak_disk,
        final_disk=final_disk,
        free_disk=shutil.disk_usage(parent).free,
        processes=args.world_size,
        save_total_limit=args.save_total_limit,
        warmup=0 if args.lr_scheduler_type == "constant" else args.get_warmup_steps(steps),
        tokens_per_batch=args.tokens_per_batch,
        target_tokens=tokens["labels"] / per_epoch,
        micro_batches=micro_batches,
        micro_tokens=LIKELY_PADDING * sum(tokens.values()) / (measured.micro_batches * args.world_size),
        wanted_tokens=args.target_tokens_per_step,
        each_epoch=int(args.eval_steps) if trainer.evaluates_each_epoch else 0,
    )


def compare_plans(plans: list[Plan]) -> list[str]:
    """A table of plans side by side, and the notes of each plan."""
    rows = (
        ("parameters", [f"{plan.parameters / 1e6:,.1f} M" for plan in plans]),
        ("vocabulary", [f"{plan.pieces:,}" for plan in plans]),
        ("epochs", [f"{plan.epochs:g}" for plan in plans]),
        (
            "batch x accumulation",
            [
                f"{f'{plan.tokens_per_batch} tok' if plan.tokens_per_batch else plan.batch} x "
                f"{f'{plan.micro_batches:.1f}' if plan.tokens_per_batch else plan.accumulation}"
                for plan in plans
            ],
        ),
        ("effective batch", [str(plan.effective_batch) for plan in plans]),
        ("steps", [f"{plan.steps:,}" for plan in plans]),
        ("time", [span(plan.seconds) for plan in plans]),
        ("rows per second", [f"{plan.rows_per_second:.3g}" for plan in plans]),
        ("seconds per step", [f"{plan.step_seconds:.3g}" for plan in plans]),
        ("memory", [_gib(plan.peak_memory) for plan in plans]),
        ("checkpoint", [_gib(plan.checkpoint_bytes) for plan in plans]),
        ("disk at the peak", [_gib(plan.peak_disk) for plan in plans]),
        ("disk at the end", [_gib(plan.final_disk) for plan in plans]),
    )
    lines = [f"{'':22}" + "".join(f"{plan.preset:>16}" for plan in plans)]
    lines += [f"{name:22}" + "".join(f"{value:>16}" for value in values) for name, values in rows]
    return lines + [f"{plan.preset + ':':12}{note}" for plan in plans for note in plan.notes()]
