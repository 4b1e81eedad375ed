"""A whole tokenizer run: settings in, run folder out. The command line and `examples/train_btc.py` both end here."""

import copy
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState
from transformers import set_seed

from ft_core.launch import check_world_size
from ft_core.progress import span
from ft_core.run_folder import check_output_folder

from ..data.augmentation import AugmentationArguments
from ..data.candles import CandleSeries, fingerprint, load_candles
from ..data.sources import load_sample
from ..data.windows import WindowDataset, split_bounds
from ..models.configuration_kronos import PUBLISHED_TOKENIZERS, KronosTokenizerConfig
from ..models.modeling_kronos import KronosTokenizer
from ..models.pretrained import HubUnreachable
from .arguments import DataArguments, KronosTokenizerArguments, ModelArguments
from .finish import finish_run, finished_metrics
from .tokenizer_trainer import KronosTokenizerTrainer

FEW_WINDOWS = 50


@dataclass
class WindowSplits:
    """Windows of a run; `test` is None when its split holds no window."""

    train: WindowDataset
    validation: WindowDataset
    test: WindowDataset | None


def load_series(data: DataArguments) -> list[CandleSeries]:
    """Candles named by the settings; `sample` is the embedded one.

    Raises:
        ValueError: no data named, or data that cannot be used.
    """
    if not data.data:
        raise ValueError("data is not set; pass --data FILE, or --data sample for the embedded BTC candles")
    if data.data == "sample":
        return load_sample()
    return load_candles(data.data, data.policy, data.timezone)


def build_splits(
    series: list[CandleSeries], data: DataArguments, augmentation: AugmentationArguments, seed: int
) -> WindowSplits:
    """Windows of the three splits.

    Raises:
        ValueError: train or validation has no window.
    """
    places = {"ratios": data.split_ratios, "dates": data.split_dates, "embargo": data.embargo}
    held_out = data.window_shape(data.validation_stride)
    train = WindowDataset(
        series, "train", data.window_shape(data.stride), augmentation=augmentation, seed=seed, **places
    )
    validation = WindowDataset(series, "validation", held_out, **places)
    has_test = any(
        end - first >= held_out.length for first, end in (split_bounds(one, **places)["test"] for one in series)
    )
    try:
        test = WindowDataset(series, "test", held_out, **places) if has_test else None
    except ValueError:  # bars enough, but none between the gaps
        test = None
    return WindowSplits(train, validation, test)


def build_model(model: ModelArguments) -> KronosTokenizer:
    """The model to start from.

    Raises:
        ValueError: unknown size, or a folder or repository that holds no Kronos tokenizer.
        HubUnreachable: published weights were asked for and cannot be had.
    """
    if model.from_scratch:
        return KronosTokenizer(KronosTokenizerConfig.from_size(model.model))
    if model.model == "tiny":
        raise ValueError("model=tiny has no published weights; pass --from_scratch, or use base or 2k")
    name = PUBLISHED_TOKENIZERS.get(model.model, model.model)
    try:
        return KronosTokenizer.from_pretrained(name, revision=model.revision)
    except HubUnreachable as error:
        raise HubUnreachable(f"{error}; --from_scratch trains a named size from random weights") from error


def describe_data(series: list[CandleSeries], splits: WindowSplits) -> list[str]:
    """Lines on bars and windows of each split."""
    bars = sum(len(one) for one in series)
    symbols = series[0].symbol if len(series) == 1 else f"{len(series)} symbols"
    lines = [f"data        {symbols}, {bars:,} bars"]
    for name in ("train", "validation", "test"):
        windows: WindowDataset | None = getattr(splits, name)
        if windows is None:
            lines.append(f"{name:12}no window")
            continue
        across = f", {windows.windows_across_gaps:,} span a gap" if windows.windows_across_gaps else ""
        without = windows.symbols_without_windows
        none = f", none of {', '.join(without[:5])}{', ...' * (len(without) > 5)}" if without else ""
        first = min(str(one.timestamps[windows.bounds[one.symbol][0]])[:10] for one in series)
        last = max(str(one.timestamps[windows.bounds[one.symbol][1] - 1])[:10] for one in series)
        lines.append(
            f"{name:12}{len(windows):,} windows of {windows.shape.length} bars, {first} to {last}{across}{none}"
        )
    if len(splits.validation) < FEW_WINDOWS:
        lines.append(
            f"WARNING     {len(splits.validation)} validation windows are few to choose a checkpoint by; lower "
            "validation_stride or give validation a larger share"
        )
    return lines


def probe_seconds(trainer: KronosTokenizerTrainer) -> tuple[float, float]:
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
            with trainer.accelerator.autocast():
                loss = trainer.compute_loss(model, {name: values.to(args.device) for name, values in batch.items()})
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        step = time.perf_counter() - started
    batch = trainer.eval_dataset.__getitems__(range(min(args.per_device_eval_batch_size, len(trainer.eval_dataset))))
    started = time.perf_counter()
    with torch.no_grad(), trainer.accelerator.autocast():
        model(candles=batch["candles"].to(args.device)).reconstruction.sum().item()
    windows_per_second = len(batch["candles"]) * args.world_size / (time.perf_counter() - started)
    trainer.meter.reset()
    return step, len(trainer.eval_dataset) / windows_per_second


def describe_run(trainer: KronosTokenizerTrainer, preset: str) -> list[str]:
    """Lines on recipe, model, batch and steps."""
    args = trainer.args
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    batch = f"{args.per_device_train_batch_size} x {args.gradient_accumulation_steps} x {args.world_size} processes"
    left_out = len(trainer.train_dataset) % trainer.effective_batch()
    return [
        f"recipe      {preset}, learning rate {args.learning_rate:g}",
        f"model       {parameters:,} parameters on {args.device.type}, precision {trainer.accelerator.mixed_precision}",
        f"batch       {trainer.effective_batch()} windows ({batch}), {left_out} windows left out of each epoch",
        f"steps       {trainer.planned_steps():,} ({trainer.steps_per_epoch():,} an epoch)",
    ]


def describe_time(trainer: KronosTokenizerTrainer) -> str:
    """A line on the expected time of a run, from a probe."""
    args = trainer.args
    per_epoch, steps = trainer.steps_per_epoch(), trainer.planned_steps()
    if args.eval_strategy == "steps":
        every = args.eval_steps if args.eval_steps >= 1 else max(args.eval_steps * steps, 1)
    else:
        every = per_epoch
    evaluations = (-(-steps // int(every)) if args.eval_strategy != "no" else 0) + args.eval_on_start
    step_seconds, evaluation_seconds = probe_seconds(trainer)
    total = span(steps * step_seconds + evaluations * evaluation_seconds)
    per = f"{step_seconds:.3g} s a step, {evaluations} evaluations of {evaluation_seconds:.3g} s"
    return f"time        about {total}: {per}"


def run_tokenizer(
    model: ModelArguments,
    data: DataArguments,
    augmentation: AugmentationArguments,
    args: KronosTokenizerArguments,
    say: Callable[[str], None] = print,
) -> dict | None:
    """Fine-tunes a tokenizer from settings to run folder; with `dry_run` only says what would happen.

    Args:
        model, data, augmentation, args: the settings.
        say: receives each line of text, on the main process only.

    Returns:
        `dict`: the figures of `training_metrics.json`, or None after a dry run.

    Raises:
        ValueError: settings, data or model that cannot be used; nothing has been written then.
    """
    check_world_size(args.expected_world_size)
    run = Path(args.output_dir)
    if not PartialState().is_main_process:
        say = lambda line: None  # noqa: E731
    if args.dry_run:
        with tempfile.TemporaryDirectory() as folder:  # a Trainer creates its output folder
            args.output_dir = folder
            trainer, _ = _build(model, data, augmentation, args, say)
            say(describe_time(trainer))
        return None
    check_output_folder(run, args.resume, args.overwrite)
    created = not run.exists()
    try:
        trainer, splits = _build(model, data, augmentation, args, say)
        trainer.train()
    finally:
        if created and run.is_dir() and not any(run.iterdir()):
            run.rmdir()  # a Trainer creates its folder before it looks at its settings
    if args.resume and (metrics := finished_metrics(run)):
        return metrics
    symbols = ", ".join(splits.train.symbols[:3])
    return finish_run(trainer, splits.test, title=f"Kronos tokenizer, {symbols}")


def _build(
    model: ModelArguments,
    data: DataArguments,
    augmentation: AugmentationArguments,
    args: KronosTokenizerArguments,
    say: Callable[[str], None],
) -> tuple[KronosTokenizerTrainer, WindowSplits]:
    """Reads the data, loads the model and puts both into a trainer with the facts for `run.json`."""
    series = load_series(data)
    splits = build_splits(series, data, augmentation, args.seed)
    for line in describe_data(series, splits):
        say(line)
    set_seed(args.seed)
    network = build_model(model)
    try:
        trainer = KronosTokenizerTrainer(network, args, splits.train, splits.validation)
    except (ImportError, RuntimeError) as error:  # an optional package that a setting such as report_to needs
        raise ValueError(" ".join(str(error).split())) from error
    for line in describe_run(trainer, model.preset):
        say(line)
    trainer.recorder.facts = {
        "stage": "tokenizer",
        "model": vars(model),
        "data": {**vars(data), "fingerprint": fingerprint(series), "symbols": [one.report.to_dict() for one in series]},
        "windows": {name: len(getattr(splits, name) or ()) for name in ("train", "validation", "test")},
        "augmentation": vars(augmentation),
        "config": network.config.to_dict(),
    }
    return trainer, splits
