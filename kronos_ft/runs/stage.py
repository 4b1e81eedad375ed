"""Runs a training stage (tokenizer or predictor): checks, dry run, training, resume, results."""

import copy
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from transformers import PreTrainedModel, TrainerCallback

from ft_core.cli.learning_rates import LEARNING_RATE, AutoRate, WidthRate
from ft_core.hub.origin import is_hub_name
from ft_core.io.console import echo, quiet
from ft_core.runs.folder import BEST_MODEL
from ft_core.training.budget.choice import FACT as BUDGET, StageCost
from ft_core.training.find_lr.search import FACT, MUON_RATE, FoundRate, adopt_recorded_rate, find_rate, settle_rate
from ft_core.training.run import finished_metrics, preflight, resume_finished

from ..data.candles import CandleSeries, fingerprint
from ..hub.push import kronos_model
from ..training.arguments import DataArguments, ModelArguments, WindowTrainingArguments
from ..training.presets import STAGE_PRESETS, UNTRAINED_RATES
from ..training.window_trainer import WindowTrainer
from ..windows.augmentation import AugmentationArguments
from ..windows.splits import split_bounds
from .budget import cost_of, settle_stages
from .data import WindowSplits, build_splits, describe_data, load_series
from .finish import finish_run


def split_ends(series: list[CandleSeries], data: DataArguments) -> dict[str, dict[str, str | None]]:
    """Time (UTC) of the last bar of training and of validation, by symbol; None for a split without a bar.

    Shares of a file that has grown since, or of a slice, lie elsewhere: only times tell what a model has seen.
    """
    found = {}
    for one in series:
        bounds = split_bounds(one, data.split_ratios, data.split_dates, data.embargo_bars)
        found[one.symbol] = {
            name: str(one.timestamps[bounds[name][1] - 1].astype("datetime64[s]"))
            if bounds[name][0] < bounds[name][1]
            else None
            for name in ("train", "validation")
        }
    return found


def data_facts(
    series: list[CandleSeries], data: DataArguments, splits: WindowSplits, augmentation: AugmentationArguments
) -> dict[str, object]:
    """Facts on the data for `run.json`; a resumed run compares them."""
    return {
        "data": {
            **vars(data),
            "embargo": data.embargo_bars,
            "hub_dataset": data.data if is_hub_name(data.data) else None,
            "fingerprint": fingerprint(series),
            "symbols": [one.report.to_dict() for one in series],
            "split_ends": split_ends(series, data),
        },
        "windows": splits.counts(),
        "augmentation": vars(augmentation),
    }


@dataclass(frozen=True)
class Stage:
    """What a stage makes of the windows.

    Attributes:
        network: the model with its starting weights.
        make: makes the trainer from a model and settings; takes `callbacks`.
        splits ([`WindowSplits`]): the windows, or their tokens.
        facts (`dict`): on model and tokenizer, for `run.json`.
        select (*optional*): chooses the final weights after training, from the trainer and the candles.
        scaled (`tuple` of `str`): settings that a search for the learning rate scales with it.
        prepares (`str`): what is made once of each window, see [`~kronos_ft.training.measured.unit_seconds`].
        forecast (*optional*): scores the network's forecasts from a number of origins, as `select` does for each
            candidate.
    """

    network: PreTrainedModel
    make: Callable[..., WindowTrainer]
    splits: WindowSplits
    facts: dict[str, object]
    select: Callable[[WindowTrainer, list[CandleSeries]], dict[str, object] | None] | None = None
    scaled: tuple[str, ...] = (MUON_RATE,)
    prepares: str = ""
    forecast: Callable[[list[CandleSeries], int], float] | None = None

    def train_copy(self, args: WindowTrainingArguments, callbacks: list[TrainerCallback]) -> WindowTrainer:
        """Trains a copy of the starting weights, and returns the trainer."""
        trainer = self.make(copy.deepcopy(self.network), args, callbacks=callbacks)
        trainer.train()
        return trainer


def measure_stage(
    stage: Stage, trainer: WindowTrainer, series: list[CandleSeries], preset: str
) -> tuple[StageCost, str]:
    """What a stage costs that was built to be measured, and a line on it."""
    forecast = stage.forecast and partial(stage.forecast, series)
    recipe_steps = STAGE_PRESETS[trainer.stage][preset].get("max_steps", 0)
    return cost_of(trainer, stage.splits.counts(), stage.prepares, forecast, recipe_steps)


def run_stage(
    name: str,
    build: Callable[[WindowSplits, bool], Stage],
    model: ModelArguments,
    data: DataArguments,
    augmentation: AugmentationArguments,
    args: WindowTrainingArguments,
    *,
    checked: bool = False,
    before_training: Callable[[], None] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    score_test: bool = True,
    only_find_rate: bool = False,
    only_cost: bool = False,
    budget: dict[str, object] | None = None,
) -> dict | FoundRate | StageCost | None:
    """Trains one stage into its run folder; `dry_run` only prints the plan.

    A finished run that is resumed is left as it is, after a check that its settings are the same.

    Args:
        name (`str`): of the stage.
        build: makes the model and its trainer for the windows; briefly if it is only measured: what a run makes once of
            all windows is then made in each step.
        model, data, augmentation, args: the settings.
        checked (`bool`): whether the caller has made the checks of [`~ft_core.training.run.preflight`].
        before_training (*optional*): called once settings, data and model have proved usable.
        callbacks: added to the trainer's.
        score_test (`bool`): evaluate the best model on the test split; a search must not.
        only_find_rate (`bool`): search for the learning rate instead of training; needs `checked`.
        only_cost (`bool`): measure what the stage costs instead of training; prints nothing.
        budget (`dict`, *optional*): for `run.json`: how the steps were chosen from a time budget.

    Returns:
        `dict`: the figures of `training_metrics.json`, or None after a dry run; with `only_find_rate` or `only_cost`
        what was found.

    Raises:
        ValueError: settings, data or model that cannot be used; nothing has been written then but cached tokens.
    """
    run = Path(args.output_dir)
    with ExitStack() as stack:
        if only_cost:
            stack.enter_context(quiet(notes=False))
            args = copy.copy(args)
        if args.dry_run or only_cost:
            args.output_dir = stack.enter_context(tempfile.TemporaryDirectory())  # a Trainer creates its output folder
        elif not checked:
            stack.enter_context(preflight(run, args))
        series = load_series(data)
        windows = build_splits(series, data, augmentation, args.seed)
        if not score_test:
            windows = replace(windows, test=None)
        for line in describe_data(series, windows):
            echo(line)
        if only_cost:
            stage = build(windows, True)
            return measure_stage(stage, stage.make(stage.network, args), series, model.preset)[0]
        settings = (model, data, augmentation, args)
        budget = budget or settle_stages({name: settings}, run, lambda _: _measure_alone(name, build, settings))
        stage = build(windows, args.dry_run)
        _scale_rate(args, STAGE_PRESETS[name][model.preset].get(LEARNING_RATE), stage.network.config.d_model)
        if only_find_rate:
            return find_rate(stage.train_copy, args, stage.scaled)
        search = adopt_recorded_rate(args, stage.scaled)
        try:
            if isinstance(args.learning_rate, AutoRate) and not args.dry_run:
                search = settle_rate(stage.train_copy, args, stage.scaled)
            trainer = stage.make(stage.network, args, callbacks=[*callbacks] or None)
        except (ImportError, RuntimeError) as error:  # also of an optional package that a setting needs
            raise ValueError(" ".join(str(error).split())) from error
        for line in describe_run(trainer, model.preset):
            echo(line)
        lowest, usual, _ = UNTRAINED_RATES.get(name, (0.0, 0.0, 0.0))
        rate = trainer.args.learning_rate
        if model.from_scratch and rate < lowest and not isinstance(rate, AutoRate):
            echo(
                f"WARNING     random weights learn little at learning_rate={rate:g}; pass "
                f"--learning_rate {usual:g}, or auto to find one"
            )
        trainer.recorder.facts = stage.facts | data_facts(series, data, stage.splits, augmentation)
        if search:
            trainer.recorder.facts[FACT] = search
        if budget:
            trainer.recorder.facts[BUDGET] = budget
        if args.dry_run:
            echo(measure_stage(stage, trainer, series, model.preset)[1])
            return None
        if args.resume and not args.resume_force and finished_metrics(run, BEST_MODEL):
            trainer.check_unchanged(run)
            return resume_finished(args, trainer.program, BEST_MODEL, kronos_model)
        if before_training is not None:
            before_training()
        trainer.train()
        selection = stage.select(trainer, series) if stage.select is not None else None
        symbols = ", ".join(stage.splits.train.symbols[:3])
        return finish_run(trainer, stage.splits.test, title=f"{trainer.title}, {symbols}", selection=selection)


def _scale_rate(args: WindowTrainingArguments, of_preset: object, width: int) -> None:
    """Scales the preset's rate to the width of the model, in place; and the value of `auto`, to which others relate."""
    if isinstance(args.learning_rate, WidthRate):
        args.learning_rate = args.learning_rate.at(width)
    elif isinstance(args.learning_rate, AutoRate) and isinstance(of_preset, WidthRate):
        args.learning_rate = AutoRate(of_preset.at(width))


def _measure_alone(name: str, build: Callable[[WindowSplits, bool], Stage], settings: tuple) -> StageCost:
    """What a stage costs that is run by itself."""
    return run_stage(name, build, *settings, only_cost=True)


def describe_run(trainer: WindowTrainer, preset: str) -> list[str]:
    """Describes recipe, model, batch and steps."""
    args = trainer.args
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    trained = sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)
    of_them = f" ({trained:,} of them trained)" if trained < parameters else ""
    batch = f"{args.per_device_train_batch_size} a device x {args.gradient_accumulation_steps} accumulated"
    batch += f" x {args.world_size} processes" if args.world_size > 1 else ""
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
