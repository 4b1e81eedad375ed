"""A complete tokenizer run, from settings to run folder; called by the command line and `examples/train_btc.py`."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from transformers import TrainerCallback, set_seed

from ft_core.hub.resolve import Start
from ft_core.io.console import echo
from ft_core.training.run import preflight

from ..training.arguments import DataArguments, KronosTokenizerArguments, ModelArguments
from ..training.tokenizer_trainer import KronosTokenizerTrainer
from ..windows.augmentation import AugmentationArguments
from .data import WindowSplits, build_splits, describe_data, load_series
from .stage import build_trainer, data_facts, run_stage
from .start import build_tokenizer, resolve_tokenizer


def run_tokenizer(
    model: ModelArguments,
    data: DataArguments,
    augmentation: AugmentationArguments,
    args: KronosTokenizerArguments,
    *,
    callbacks: Sequence[TrainerCallback] = (),
    score_test: bool = True,
) -> dict | None:
    """Fine-tunes a tokenizer from settings to run folder; `dry_run` only prints the plan.

    Args:
        model, data, augmentation, args: the settings.
        callbacks: added to the trainer's.
        score_test (`bool`): evaluate the best model on the test split; a search must not.

    Returns:
        `dict`: the figures of `training_metrics.json`, or None after a dry run.

    Raises:
        ValueError: settings, data or model that cannot be used; nothing has been written then.
    """
    with nullcontext() if args.dry_run else preflight(Path(args.output_dir), args):
        return train_tokenizer(model, data, augmentation, args, callbacks=callbacks, score_test=score_test)


def train_tokenizer(
    model: ModelArguments,
    data: DataArguments,
    augmentation: AugmentationArguments,
    args: KronosTokenizerArguments,
    *,
    start: Start | None = None,
    before_training: Callable[[], None] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    score_test: bool = True,
) -> dict | None:
    """As [`run_tokenizer`], after the pre-flight checks.

    Args:
        start ([`Start`], *optional*): the resolved model; resolved here when not given.
        before_training (*optional*): called once settings, data and model have proved usable.
    """

    def build() -> tuple[KronosTokenizerTrainer, WindowSplits]:
        series = load_series(data)
        splits = build_splits(series, data, augmentation, args.seed)
        if not score_test:
            splits = replace(splits, test=None)
        for line in describe_data(series, splits):
            echo(line)
        first = start or resolve_tokenizer(model, args)
        set_seed(args.seed)
        network = build_tokenizer(first)
        facts = {
            "stage": "tokenizer",
            "model": vars(first.settings),
            **data_facts(series, data, splits, augmentation),
            "config": network.config.to_dict(),
        }

        def make() -> KronosTokenizerTrainer:
            return KronosTokenizerTrainer(
                network, args, splits.train, splits.validation, callbacks=[*callbacks] or None
            )

        return build_trainer(make, model.preset, facts), splits

    return run_stage(args, build, before_training)
