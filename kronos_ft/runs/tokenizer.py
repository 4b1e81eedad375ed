"""A whole tokenizer run: settings in, run folder out. The command line and `examples/train_btc.py` both end here."""

from collections.abc import Callable
from dataclasses import replace

from transformers import set_seed

from ft_core.training.interruption import AsTrial

from ..models.configuration_kronos import PUBLISHED_TOKENIZERS, KronosTokenizerConfig
from ..models.modeling_kronos import KronosTokenizer
from ..models.pretrained import HubUnreachable
from ..training.arguments import DataArguments, KronosTokenizerArguments, ModelArguments
from ..training.tokenizer_trainer import KronosTokenizerTrainer
from ..windows.augmentation import AugmentationArguments
from .data import WindowSplits, build_splits, describe_data, load_series
from .stage import build_trainer, data_facts, pin_model, run_stage


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


def run_tokenizer(
    model: ModelArguments,
    data: DataArguments,
    augmentation: AugmentationArguments,
    args: KronosTokenizerArguments,
    say: Callable[[str], None] = print,
    before_training: Callable[[], None] | None = None,
    as_trial: AsTrial | None = None,
) -> dict | None:
    """Fine-tunes a tokenizer from settings to run folder; with `dry_run` only says what would happen.

    Args:
        model, data, augmentation, args: the settings.
        say: receives each line of text, on the main process only.
        before_training (*optional*): called once settings, data and model have proved usable.
        as_trial (*optional*): for a run of a search; called with the trainer. The test split is not touched then.

    Returns:
        `dict`: the figures of `training_metrics.json`, or None after a dry run.

    Raises:
        ValueError: settings, data or model that cannot be used; nothing has been written then.
    """

    def build(say: Callable[[str], None]) -> tuple[KronosTokenizerTrainer, WindowSplits]:
        series = load_series(data)
        splits = build_splits(series, data, augmentation, args.seed)
        if as_trial is not None:
            splits = replace(splits, test=None)
        for line in describe_data(series, splits):
            say(line)
        pinned = pin_model(model, PUBLISHED_TOKENIZERS, args)
        set_seed(args.seed)
        network = build_model(pinned)
        facts = {
            "stage": "tokenizer",
            "model": vars(pinned),
            **data_facts(series, data, splits, augmentation),
            "config": network.config.to_dict(),
        }
        trainer = build_trainer(
            lambda: KronosTokenizerTrainer(network, args, splits.train, splits.validation), model.preset, facts, say
        )
        return trainer, splits

    return run_stage(args, build, say, before_training, as_trial)
