"""What a planned run will need, before it starts: parameters, steps, time, memory and disk; and what it can give back.

Notable:
- Time comes from a short probe on this machine, of training steps on real batches and of an evaluation.
- Disk is counted at its peak, when a new checkpoint is written before an old one is removed.
"""

import copy
import gc
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ft_core.checkpoints import list_checkpoints
from ft_core.progress import span

from .generation import GenerationSettings, summarize_texts
from .training.trainer import MT5Trainer

BYTES = 4
STATE_FILES_BYTES = 40_000  # trainer_state.json, scheduler.pt, rng_state.pth, training_args.bin, config.json
LOG_BYTES = 300_000
PROBE_STEPS = 3
GIB = 2**30


def _gib(count: float) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB / 10 else f"{count / 2**20:.1f} MiB"


def weight_bytes(model: nn.Module, adapters_only: bool = False) -> int:
    """Bytes of the saved weights: all of them, or the trainable ones of an adapter."""
    return sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad or not adapters_only)


def optimizer_bytes(model: nn.Module, optimizer: str) -> int:
    """Bytes of the optimizer's state: two moments a parameter for AdamW, row and column sums for Adafactor."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if optimizer == "adamw":
        return sum(2 * BYTES * parameter.numel() for parameter in trainable)
    return sum(
        BYTES * (parameter.shape[0] + parameter.shape[1] if parameter.ndim == 2 else parameter.numel())
        for parameter in trainable
    )


@dataclass
class Plan:
    """A planned run in figures; seconds and bytes.

    Attributes:
        checkpoint_bytes (`int`): one checkpoint with all that a resume needs.
        peak_disk, final_disk (`int`): while writing a checkpoint, and when the run is over.
        peak_memory (`int`): weights, gradients, optimizer state and what the probe's activations took.
    """

    preset: str
    parameters: int
    trainable: int
    epochs: float
    batch: int
    accumulation: int
    effective_batch: int
    steps: int
    seconds: float
    step_seconds: float
    rows_per_second: float
    peak_memory: int
    checkpoint_bytes: int
    peak_disk: int
    final_disk: int
    free_disk: int
    save_total_limit: int | None

    def lines(self) -> list[str]:
        """The plan for people."""
        keep = "all" if self.save_total_limit is None else str(self.save_total_limit)
        return [
            f"model       {self.parameters:,} parameters, {self.trainable / self.parameters:.1%} trainable",
            f"batch       {self.batch} x {self.accumulation} accumulated = {self.effective_batch} effective",
            f"steps       {self.steps:,} over {self.epochs:g} epochs",
            f"time        about {span(self.seconds)} ({self.step_seconds:.3g} s a step)",
            f"memory      about {_gib(self.peak_memory)}",
            f"disk        {_gib(self.peak_disk)} at the peak, {_gib(self.final_disk)} at the end (a checkpoint is "
            f"{_gib(self.checkpoint_bytes)}, keeping {keep}); {_gib(self.free_disk)} free",
        ]

    def check_disk(self) -> None:
        """Raises ValueError when the disk cannot hold the peak, naming the setting that would help."""
        if self.peak_disk <= self.free_disk:
            return
        if self.save_total_limit != 1:
            remedy = "set save_total_limit to 1"
        else:
            remedy = "set lora to train adapters alone, optimizer adafactor, or output_dir on another disk"
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


def _peak_memory_of_process() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _probe(trainer: MT5Trainer) -> tuple[float, int]:
    """Seconds of an optimizer step and bytes of activations, timed on a copy of the model."""
    args = trainer.args
    device = args.device
    model = copy.deepcopy(trainer.model).to(device).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.0)
    loader = iter(trainer.get_train_dataloader())
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    fixed = weight_bytes(model) + 2 * weight_bytes(model, adapters_only=True)
    times = []
    for _ in range(PROBE_STEPS):
        started = time.perf_counter()
        for _ in range(args.gradient_accumulation_steps):
            batch = next(loader, None)
            if batch is None:
                loader = iter(trainer.get_train_dataloader())
                batch = next(loader)
            with trainer.accelerator.autocast():
                loss = trainer.compute_loss(model, trainer._prepare_inputs(batch))
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        times.append(time.perf_counter() - started)
    trainer.meter.reset()
    if device.type == "cuda":
        activations = max(torch.cuda.max_memory_allocated(device) - fixed, 0)
    else:
        rows = args.per_device_train_batch_size * (trainer.mean_length or 1)
        activations = int(rows * BYTES * (2 * model.config.vocab_size + 40 * model.config.d_model))
    del model, optimizer
    gc.collect()
    return sum(times[1:]) / len(times[1:]), activations


def _evaluation_seconds(trainer: MT5Trainer) -> tuple[float, float]:
    """Seconds of the loss over the validation split, and of one generated summary."""
    args, size = trainer.args, trainer.args.per_device_eval_batch_size
    rows = min(size, len(trainer.eval_dataset))
    batch = trainer.data_collator([trainer.eval_dataset[row] for row in range(rows)])
    started = time.perf_counter()
    with torch.no_grad(), trainer.accelerator.autocast():
        trainer._token_sums(trainer.model.eval(), trainer._prepare_inputs(batch))
    loss_seconds = (time.perf_counter() - started) * len(trainer.eval_dataset) / rows
    if not trainer.eval_records:
        return loss_seconds, 0.0
    texts = [trainer.prefix + record.source for record in trainer.eval_records[:rows]]
    settings = GenerationSettings(max_length=args.generation_max_length or 256, batch_size=size)
    started = time.perf_counter()
    summarize_texts(trainer.model, trainer.processing_class, texts, settings)
    return loss_seconds, (time.perf_counter() - started) / rows


def make_plan(trainer: MT5Trainer, preset: str, *, adapters: bool = False, merge: bool = False) -> Plan:
    """Figures of the run that this trainer would make; trains a few steps on a copy of its model."""
    args = trainer.args
    step_seconds, activations = _probe(trainer)
    loss_seconds, summary_seconds = _evaluation_seconds(trainer)
    steps = trainer.planned_steps()
    per_epoch = trainer.steps_per_epoch()

    def times(strategy: str, every: float | None) -> int:
        if strategy == "no":
            return 0
        interval = per_epoch if strategy == "epoch" else (every if every >= 1 else max(1, every * steps))
        return -(-steps // int(interval))  # the last step evaluates and saves too

    evaluations, saves = times(args.eval_strategy, args.eval_steps), times(args.save_strategy, args.save_steps)
    rows = len(trainer.eval_records)
    generated = evaluations * min(args.eval_generate_rows, rows) + rows
    seconds = steps * step_seconds + (evaluations + 1) * loss_seconds + generated * summary_seconds / args.world_size
    optimizer = optimizer_bytes(trainer.model, args.optimizer)
    tokenizer = len(trainer.processing_class.backend_tokenizer.to_str().encode())
    saved_weights = weight_bytes(trainer.model, adapters_only=adapters)
    checkpoint = saved_weights + optimizer + tokenizer + STATE_FILES_BYTES
    final = (weight_bytes(trainer.model) if merge or not adapters else saved_weights) + tokenizer
    peak_disk, final_disk = disk_of_run(checkpoint, final, saves, args.save_total_limit)
    parent = Path(args.output_dir)
    while not parent.exists():
        parent = parent.parent
    trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    return Plan(
        preset=preset,
        parameters=sum(p.numel() for p in trainer.model.parameters()),
        trainable=trainable,
        epochs=args.num_train_epochs if args.max_steps <= 0 else args.max_steps / per_epoch,
        batch=args.per_device_train_batch_size,
        accumulation=args.gradient_accumulation_steps,
        effective_batch=trainer.effective_batch(),
        steps=steps,
        seconds=seconds,
        step_seconds=step_seconds,
        rows_per_second=trainer.effective_batch() / step_seconds,
        peak_memory=weight_bytes(trainer.model) + BYTES * trainable + optimizer + activations,
        checkpoint_bytes=checkpoint,
        peak_disk=peak_disk,
        final_disk=final_disk,
        free_disk=shutil.disk_usage(parent).free,
        save_total_limit=args.save_total_limit,
    )


def compare_plans(plans: list[Plan]) -> list[str]:
    """A table of plans side by side: before and after."""
    rows = (
        ("epochs", [f"{plan.epochs:g}" for plan in plans]),
        ("batch x accumulation", [f"{plan.batch} x {plan.accumulation}" for plan in plans]),
        ("effective batch", [str(plan.effective_batch) for plan in plans]),
        ("steps", [f"{plan.steps:,}" for plan in plans]),
        ("time", [span(plan.seconds) for plan in plans]),
        ("rows per second", [f"{plan.rows_per_second:.3g}" for plan in plans]),
        ("memory", [_gib(plan.peak_memory) for plan in plans]),
        ("disk at the peak", [_gib(plan.peak_disk) for plan in plans]),
        ("disk at the end", [_gib(plan.final_disk) for plan in plans]),
    )
    lines = [f"{'':22}" + "".join(f"{plan.preset:>16}" for plan in plans)]
    return lines + [f"{name:22}" + "".join(f"{value:>16}" for value in values) for name, values in rows]


def folder_bytes(path: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def clean_run(run: Path, keep: Path | None, dry_run: bool) -> tuple[list[Path], int]:
    """Removes the checkpoints of a finished run, but never the best one; returns them and the bytes they free."""
    doomed = [path for path in list_checkpoints(run).values() if keep is None or path.name != keep.name]
    freed = sum(folder_bytes(path) for path in doomed)
    if not dry_run:
        for path in doomed:
            aside = path.with_name(f".deleting-{path.name}")
            path.rename(aside)
            shutil.rmtree(aside)
    return doomed, freed
