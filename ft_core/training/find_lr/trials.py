"""Short runs of a trainer whose learning rate a callback sets; nothing of them is kept but figures."""

import contextlib
import logging
import math
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from torch.utils.data import Dataset, Subset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ...io.console import quiet
from .rule import has_diverged

OFF = {  # what a short run leaves out
    **dict.fromkeys(("eval_strategy", "save_strategy"), "no"),
    **dict.fromkeys(("eval_on_start", "load_best_model_at_end", "early_stopping", "push_to_hub", "one_cycle"), False),
    **dict.fromkeys(("resume", "resume_force", "do_eval"), False),
    "time_budget": None,
    **{"overwrite": True, "report_to": [], "eval_generate_rows": 0, "compile_blocks": "no"},
}
WARM_UP = 0.1  # share of the steps of a trial


class FollowRates(TrainerCallback):
    """Sets the learning rate of each step; groups with a rate of their own keep its ratio to the first.

    Args:
        rates (`list` of `float`): one for each step.
        before (`list` of `float`, *optional*): losses of the starting weights on the same batches; the run ends when
            its loss is far above them. Without them it ends when its loss is not finite.
    """

    def __init__(self, rates: Sequence[float], before: Sequence[float] | None = None):
        self.rates, self.before = rates, before
        self.losses: list[float] = []
        self._ratios: list[float] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        groups = kwargs["optimizer"].param_groups
        self._ratios = [group["initial_lr"] / groups[0]["initial_lr"] for group in groups]

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        for group, ratio in zip(kwargs["optimizer"].param_groups, self._ratios, strict=True):
            group["lr"] = ratio * self.rates[state.global_step]

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        if "loss" not in (logs or {}):
            return
        self.losses.append(logs["loss"])
        failed = not math.isfinite(logs["loss"]) if self.before is None else has_diverged(self.losses, self.before)
        control.should_training_stop |= failed


def trial_rates(peak: float, steps: int) -> list[float]:
    """The rates of a trial: a linear warm-up to the peak, then a cosine to nearly zero."""
    rising = max(round(WARM_UP * steps), 1)
    up = [peak * (step + 1) / rising for step in range(rising)]
    falling = steps - rising
    return up + [peak * (1 + math.cos(math.pi * (step + 1) / (falling + 1))) / 2 for step in range(falling)]


def short_settings(args: TrainingArguments, folder: str, steps: int) -> TrainingArguments:
    """The settings of a run with as much of its own left out as a short run does not need."""
    known = {field.name for field in fields(args)}
    changes = {name: value for name, value in OFF.items() if name in known}
    if args.fp16:  # skips steps while it looks for its loss scale
        changes |= {name: value for name, value in (("fp16", False), ("precision", "fp32")) if name in known}
    return replace(
        args, **changes, output_dir=folder, max_steps=steps, logging_steps=1, max_bad_steps=steps + 1,
        learning_rate=float(args.learning_rate),
    )  # fmt: skip


def part_of(dataset: Dataset, most: int) -> Dataset:
    """At most so many evenly spaced rows of a data set."""
    if len(dataset) <= most:
        return dataset
    rows = [position * len(dataset) // most for position in range(most)]
    return dataset.select(rows) if hasattr(dataset, "select") else Subset(dataset, rows)


@contextlib.contextmanager
def random_states_kept() -> Iterator[None]:
    """Afterwards, the random states of Python, NumPy and PyTorch are what they were."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextlib.contextmanager
def silent_folder() -> Iterator[str]:
    """A temporary folder, the same on all ranks, inside of which nothing is printed."""
    before = logging.root.manager.disable
    with quiet(), tempfile.TemporaryDirectory() as own:
        logging.disable(logging.WARNING)
        try:
            yield broadcast_object_list([own])[0]
        finally:
            logging.disable(before)
