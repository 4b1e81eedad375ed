"""What a step, an evaluation and the preparation of a window cost on this machine: measured once, then remembered."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ft_core.training.budget.probe import REPEATS, Limit, StepProbe, left_as_it_was, thrifty, timed
from ft_core.training.budget.remembered import Measurement, architecture, remembered

from .window_trainer import WindowTrainer

FEW_WINDOWS = 4  # of a first try
ORIGINS = 20  # forecasts that are timed, where they are fast enough
TRAINING, EVALUATION, FORECASTS = 0.4, 0.5, 0.8  # shares of the processor time that is left


@dataclass(frozen=True)
class UnitSeconds(Measurement):
    """Seconds on this machine.

    Attributes:
        step (`float`): of an optimizer step, on windows that are prepared where the run prepares them once.
        evaluated (`float`): a prepared window of an evaluation, on one device.
        prepared (`float`): to make the tokens of a window, and the states of a frozen body.
        forecast (`float`): to score one candidate's forecast from one origin.
    """

    step: float
    evaluated: float
    prepared: float = 0.0
    forecast: float = 0.0


def _shape(trainer: WindowTrainer, prepares: str, forecasts: bool) -> dict[str, object]:
    """What decides the measurement besides the machine."""
    args, train = trainer.args, trainer.train_dataset
    model = trainer.accelerator.unwrap_model(trainer.model)
    tokenizer = getattr(trainer, "window_tokenizer", None)
    names = (
        *("per_device_train_batch_size", "gradient_accumulation_steps", "per_device_eval_batch_size", "numerics"),
        *("optim", "ema_decay", "world_size"),
    )
    return {name: getattr(args, name) for name in names} | {
        "stage": trainer.stage,
        "model": architecture(model.config),
        "tokenizer": tokenizer and architecture(tokenizer.config),
        "trained": sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        "precision": trainer.accelerator.mixed_precision,
        "bars": [train.shape.lookback, train.shape.horizon],
        "windows": [len(train), len(trainer.eval_dataset)] if len(trainer.eval_dataset) < 100 else None,
        "augmented": getattr(train, "augmented", False),
        "eval_like_published": getattr(args, "eval_like_published", False),
        "prepares": prepares,
        "forecasts": forecasts,
    }


def _rows(count: int, dataset: object) -> list[int]:
    return [row % len(dataset) for row in range(count)]


def unit_seconds(
    trainer: WindowTrainer, prepares: str = "", forecast: Callable[[int], object] | None = None
) -> UnitSeconds:
    """What a trainer's steps cost: remembered, or measured in at most about 20 s of processor time; nothing changes.

    Args:
        trainer ([`WindowTrainer`]): whose windows are prepared in each step.
        prepares (`str`): what the run makes once of each window: nothing, `tokens` or
            `all tokens`, or `states` (of a frozen body).
        forecast (`Callable`, *optional*): scores one candidate's forecasts from a number of origins.
    """
    shape = _shape(trainer, prepares, forecast is not None)
    return remembered(UnitSeconds, shape, trainer.args.device, lambda: _measure(trainer, prepares, forecast))


def _measure(trainer: WindowTrainer, prepares: str, forecast: Callable[[int], object] | None) -> UnitSeconds:
    limit = Limit()
    args, device, size = trainer.args, trainer.args.device, trainer.args.per_device_train_batch_size
    with left_as_it_was(trainer):
        trainer.model.train()
        probe = StepProbe(trainer)
        fetching, passing = _micro_batch(probe, size, limit)
        prepared = fetching / size if prepares else 0.0
        if prepares == "states":
            _pool_nothing(trainer)
            before = fetching + passing
            fetching, passing = _micro_batch(probe, size, limit)
            prepared = max(before - fetching - passing, 0.0) / size
        optimizer = probe.step()
        for repeat in range(REPEATS):
            if limit.left():  # the first one also made the state
                optimizer = probe.step() if repeat == 0 else min(optimizer, probe.step())
        trainer.model.zero_grad(set_to_none=True)
        micro = passing if prepares.endswith("tokens") else fetching + passing
        evaluated = _evaluation(trainer, limit)
        each = 0.0
        if forecast is not None:
            trainer.model.eval()
            each = thrifty(lambda count: timed(device, lambda: forecast(count)), 1, ORIGINS, limit, FORECASTS)[0]
    return UnitSeconds(args.gradient_accumulation_steps * micro + optimizer, evaluated, prepared, each / ORIGINS)


def _micro_batch(probe: StepProbe, size: int, limit: Limit) -> tuple[float, float]:
    """Seconds of fetching a micro-batch, and of forward and backward."""
    fetched: dict[int, float] = {}
    device = probe.trainer.args.device

    def work(count: int) -> float:
        batch: list[dict[str, Tensor]] = []
        rows = _rows(count, probe.trainer.train_dataset)
        fetched[count] = timed(device, lambda: batch.append(probe.inputs(rows)))
        return timed(device, lambda: probe.passes(batch[0]))

    passing, measured = thrifty(work, FEW_WINDOWS, size, limit, TRAINING)
    return fetched[measured] * size / measured, passing


def _pool_nothing(trainer: WindowTrainer) -> None:
    """Gives the windows empty states of a frozen body, so that a step costs what it does after pooling."""
    width = 2 * trainer.accelerator.unwrap_model(trainer.model).config.d_model
    for dataset in (trainer.train_dataset, trainer.eval_dataset):
        dataset.states = torch.zeros(1, width).expand(len(dataset), width)


@torch.no_grad()
def _evaluation(trainer: WindowTrainer, limit: Limit) -> float:
    """Seconds of a prepared window of an evaluation."""
    dataset, device = trainer.eval_dataset, trainer.args.device
    size = min(trainer.args.per_device_eval_batch_size, len(dataset))
    trainer.model.eval()

    def work(count: int) -> float:
        inputs = trainer._prepare_inputs(trainer.data_collator(dataset.__getitems__(_rows(count, dataset))))
        return timed(device, lambda: trainer.prediction_step(trainer.model, inputs, True))

    return thrifty(work, FEW_WINDOWS, size, limit, EVALUATION)[0] / size
