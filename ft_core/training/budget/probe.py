"""Measures training steps with the model, batch and optimizer of a run, in a few seconds.

Notable:
- Nothing of it stays: the optimizer is the run's own at a learning rate of 0 and is dropped again, gradients too, and
  random numbers go on from where they were. No second model is made, so that what trains also fits the probe.
- A probe has a limit of processor time. Where a whole batch would exceed it, a part of one is measured.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...io.memory import free_memory
from ..loss_meter import LossMeter
from ..weight_average import WeightAverage

REPEATS, MOST_REPEATS = 3, 9  # more than three where they differ
UNEVEN = 1.5  # ratio of the slowest to the fastest, above which they differ
LIMIT = 20.0  # seconds of processor time of a probe
clock = time.perf_counter  # seconds of a step are those of the wall
processor_clock = time.process_time  # of all threads


class Probed(Protocol):
    """What a probe needs of a trainer."""

    args: Any
    model: Any
    optimizer: Any
    train_dataset: Any
    data_collator: Any
    meter: LossMeter
    eval_meter: LossMeter

    def create_optimizer(self) -> torch.optim.Optimizer: ...

    def compute_loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor: ...


class Limit:
    """Processor time that a probe may spend, counted from now."""

    def __init__(self, seconds: float = LIMIT):
        self._end = processor_clock() + seconds

    def left(self) -> float:
        """Seconds of processor time that are left, 0 if there are none."""
        return max(self._end - processor_clock(), 0.0)


def wait_for(device: torch.device) -> None:
    """Waits until the work that was given to a device is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize()


def timed(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds of some work on a device."""
    started = clock()
    work()
    wait_for(device)
    return clock() - started


def thrifty(work: Callable[[int], float], few: int, many: int, limit: Limit, share: float) -> tuple[float, int]:
    """Measures work on `many` items, or on as many of them as a share of the remaining processor time allows.

    Args:
        work (`Callable`): does it on a number of items; returns seconds.
        few (`int`): items of a first try, which also warms up.
        many (`int`): items of a whole batch.
        limit ([`Limit`]): of the probe.
        share (`float`): of what the limit leaves.

    Returns:
        `tuple`: seconds of `many` items, in proportion where fewer were measured, and how many were.
    """

    def spending(count: int) -> tuple[float, float]:
        before = processor_clock()
        seconds = work(count)
        return seconds, processor_clock() - before

    count = few = min(few, many)
    seconds, spent = spending(few)
    allowed = share * limit.left()
    if spent * many / few <= allowed:
        count = many
    elif spent <= allowed:
        count = max(int(few * allowed / spent), few)
    else:
        return seconds * many / few, few
    measured: list[float] = []
    each = spent / few
    while not measured or (len(measured) < _repeats(measured) and each * count <= allowed):
        seconds, spent = spending(count)
        measured.append(seconds)
        allowed, each = allowed - spent, spent / count
        if count < many and each * many <= allowed:  # only the first try was slow
            count, measured = many, []
    return min(measured) * many / count, count  # the fastest: others were disturbed


def _repeats(measured: Sequence[float]) -> int:
    """How often work is measured that took so many seconds until now."""
    return MOST_REPEATS if max(measured) > UNEVEN * min(measured) else REPEATS


@contextmanager
def left_as_it_was(trainer: Probed) -> Iterator[None]:
    """Puts mode and random state of a trainer back, and drops gradients, optimizer and counted losses."""
    device = trainer.args.device
    was_training = trainer.model.training
    devices = [] if device.type == "cpu" else [device.index or 0]
    try:
        with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
            yield
    finally:
        trainer.model.train(was_training)
        trainer.model.zero_grad(set_to_none=True)
        trainer.optimizer = None
        trainer.meter.reset()
        trainer.eval_meter.reset()
        gc.collect()
        free_memory()


class StepProbe:
    """Runs micro-batches and optimizer steps that change no weight.

    Args:
        trainer ([`Probed`]): on its device.
    """

    def __init__(self, trainer: Probed):
        self.trainer = trainer
        self.parameters = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
        decay = trainer.args.ema_decay
        self.average = WeightAverage(trainer.model, decay) if decay else None  # takes memory

    def inputs(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """A batch of training data, prepared on the device."""
        trainer = self.trainer
        return trainer._prepare_inputs(trainer.data_collator(trainer.train_dataset.__getitems__(list(rows))))

    def passes(self, inputs: dict[str, Tensor]) -> None:
        """Forward and backward."""
        trainer = self.trainer
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(trainer.model, inputs)
        loss.backward()

    def micro_batch(self, rows: Sequence[int]) -> float:
        """Seconds of collating, forward and backward."""
        return timed(self.trainer.args.device, lambda: self.passes(self.inputs(rows)))

    def step(self) -> float:
        """Seconds of clipping and a step of the run's own optimizer."""
        trainer = self.trainer
        trainer.create_optimizer()
        for group in trainer.optimizer.param_groups:
            group["lr"] = 0.0

        def work() -> None:
            norm = nn.utils.clip_grad_norm_(self.parameters, trainer.args.max_grad_norm or float("inf"))
            if norm.isfinite():  # even a rate of 0 would turn an infinite gradient into NaN weights
                trainer.optimizer.step()
                if self.average is not None:
                    self.average.update()

        return timed(trainer.args.device, work)
