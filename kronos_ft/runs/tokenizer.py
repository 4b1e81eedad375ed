"""A complete tokenizer run, from settings to run folder."""

from transformers import set_seed

from ft_core.hub.resolve import Start

from ..models.modeling_kronos import KronosTokenizer
from ..training.arguments import DataArguments, KronosTokenizerArguments, ModelArguments
from ..training.tokenizer_trainer import KronosTokenizerTrainer
from ..windows.augmentation import AugmentationArguments
from .data import WindowSplits
from .stage import Stage, run_stage
from .start import build_network, resolve_start


def run_tokenizer(
    model: ModelArguments,
    data: DataArguments,
    augmentation: AugmentationArguments,
    args: KronosTokenizerArguments,
    *,
    start: Start | None = None,
    **options: object,
) -> dict | None:
    """Fine-tunes a tokenizer from settings to run folder; `dry_run` only prints the plan.

    Args:
        model, data, augmentation, args: the settings.
        start ([`~ft_core.hub.resolve.Start`], *optional*): the resolved model; resolved here when not given.
        options: as in [`~kronos_ft.runs.stage.run_stage`].

    Returns:
        `dict`: the figures of `training_metrics.json`, or None after a dry run.

    Raises:
        ValueError: settings, data or model that cannot be used; nothing has been written then.
    """

    def build(splits: WindowSplits, brief: bool) -> Stage:
        first = start or resolve_start(KronosTokenizer, model, args)
        set_seed(args.seed)
        network = build_network(KronosTokenizer, first)
        facts = {"stage": "tokenizer", "model": vars(first.settings), "config": network.config.to_dict()}

        def make(network: KronosTokenizer, args: KronosTokenizerArguments, **further: object) -> KronosTokenizerTrainer:
            return KronosTokenizerTrainer(network, args, splits.train, splits.validation, **further)

        return Stage(network, make, splits, facts)

    return run_stage("tokenizer", build, model, data, augmentation, args, **options)
