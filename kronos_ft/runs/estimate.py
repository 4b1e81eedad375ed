"""What a run will do and how long it will take, before it starts."""

import copy
import time

import torch

from ft_core.io.progress_lines import span

from ..training.compiling import planned_compile
from ..training.window_trainer import WindowTrainer


def probe_seconds(trainer: WindowTrainer) -> tuple[float, float]:
    """Seconds of an optimizer step (the second of two) and of an evaluation, timed on a copy of the model."""
    args = trainer.args
    model = copy.deepcopy(trainer.model).to(args.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
    dataset, size = trainer.train_dataset, args.per_device_train_batch_size
    step = 0.0
    for _ in range(2):
        started = time.perf_counter()
        for micro in range(args.gradient_accumulation_steps):
            batch = dataset.__getitems__([(micro * size + i) % len(dataset) for i in range(size)])
            batch = trainer._prepare_inputs(batch)
            with trainer.accelerator.autocast():
                loss = trainer.compute_loss(model, batch)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        step = time.perf_counter() - started
    windows = min(args.per_device_eval_batch_size, len(trainer.eval_dataset))
    started = time.perf_counter()
    loss, _, _ = trainer.prediction_step(model.eval(), trainer.eval_dataset.__getitems__(range(windows)), True)
    loss.item()
    windows_per_second = windows * args.world_size / (time.perf_counter() - started)
    trainer.eval_meter.reset()
    trainer.meter.reset()
    return step, len(trainer.eval_dataset) / windows_per_second


def describe_run(trainer: WindowTrainer, preset: str) -> list[str]:
    """Lines on recipe, model, batch and steps."""
    args = trainer.args
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    trained = sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)
    of_them = f" ({trained:,} of them trained)" if trained < parameters else ""
    batch = f"{args.per_device_train_batch_size} x {args.gradient_accumulation_steps} x {args.world_size} processes"
    left_out = len(trainer.train_dataset) % trainer.effective_batch()
    return [
        f"recipe      {preset}, learning rate {args.learning_rate:g}",
        f"model       {parameters:,} parameters{of_them} on {args.device.type}, precision "
        f"{trainer.accelerator.mixed_precision}",
        "speed       exact: plain fp32, blocks not compiled"
        if args.numerics == "exact"
        else f"speed       {args.speed}: {args.numerics} numerics, compile_blocks {args.compile_blocks}",
        f"batch       {trainer.effective_batch()} windows ({batch}), {left_out} windows left out of each epoch",
        f"steps       {trainer.planned_steps():,} ({trainer.steps_per_epoch():,} an epoch)",
    ]


def describe_time(trainer: WindowTrainer) -> str:
    """A line on the expected time of a run, compiling included, from a probe."""
    args = trainer.args
    per_epoch, steps = trainer.steps_per_epoch(), trainer.planned_steps()
    if args.eval_strategy == "steps":
        every = args.eval_steps if args.eval_steps >= 1 else max(args.eval_steps * steps, 1)
    else:
        every = per_epoch
    evaluations = (-(-steps // int(every)) if args.eval_strategy != "no" else 0) + args.eval_on_start
    step_seconds, evaluation_seconds = probe_seconds(trainer)
    compiling, why = planned_compile(trainer)
    total = span(compiling + steps * step_seconds + evaluations * evaluation_seconds)
    per = f"{step_seconds:.3g} s a step, {evaluations} evaluations of {evaluation_seconds:.3g} s"
    per += f", compiling {span(compiling)} ({why})" if compiling else f", blocks not compiled ({why})"
    return f"time        about {total}: {per}"
