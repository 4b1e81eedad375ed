"""A complete predictor run, from settings to run folder."""

from transformers import set_seed

from ft_core.hub.resolve import Start
from ft_core.io.console import echo
from ft_core.io.progress_lines import LineProgress

from ..data.candles import CandleSeries
from ..models.configuration_kronos import check_bits
from ..models.descent import published_ancestor
from ..models.identity import weights_hash
from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..training.arguments import DataArguments
from ..training.predictor_arguments import KronosArguments, PredictorModelArguments
from ..training.predictor_trainer import KronosTrainer
from ..windows.augmentation import AugmentationArguments
from ..windows.dataset import WindowDataset
from ..windows.tokens import TokenWindowDataset, cache_folder
from .data import WindowSplits
from .selection import ForecastScore, select_weights
from .stage import Stage, run_stage
from .start import build_network, build_predictor, check_context, resolve_start, resolve_tokens


def tokenise_splits(splits: WindowSplits, tokenizer: KronosTokenizer, args: KronosArguments) -> WindowSplits:
    """The splits as tokens, computed once.

    Training windows stay as they are, to be tokenised step by step, where they are augmented or where the run ends
    before it has seen each of them once: making all tokens would then take longer than the run saves.
    """
    cache = cache_folder(args.token_cache)
    a_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    short = 0 < args.max_steps * a_step < len(splits.train)

    def tokens(name: str) -> TokenWindowDataset | WindowDataset | None:
        windows = getattr(splits, name)
        if windows is None or windows.augmented or (name == "train" and short):
            return windows
        progress = LineProgress(f"{name}: tokenised windows") if args.process_index == 0 else None
        return TokenWindowDataset(windows, tokenizer, cache, progress)

    tokenizer = tokenizer.to(args.device)
    return WindowSplits(tokens("train"), tokens("validation"), tokens("test"))


def run_predictor(
    model: PredictorModelArguments,
    data: DataArguments,
    augmentation: AugmentationArguments,
    args: KronosArguments,
    *,
    start: Start | None = None,
    tokenizer: KronosTokenizer | None = None,
    **options: object,
) -> dict | None:
    """Fine-tunes a predictor from settings to run folder; `dry_run` only prints the plan.

    Args:
        model, data, augmentation, args: the settings.
        start ([`~ft_core.hub.resolve.Start`], *optional*): the resolved model; resolved here when not given.
        tokenizer ([`KronosTokenizer`], *optional*): instead of the one that `model` names.
        options: as in [`~kronos_ft.runs.stage.run_stage`].

    Returns:
        `dict`: the figures of `training_metrics.json`, or None after a dry run.

    Raises:
        ValueError: settings, data or models that cannot be used, or that do not fit each other; nothing has been
            written then but cached tokens.
    """
    check_context(model, data)

    def build(windows: WindowSplits, brief: bool) -> Stage:
        first = start or resolve_start(Kronos, model, args)
        settings, codes = first.settings, tokenizer
        if codes is None:
            tokens = resolve_tokens(settings, args)
            settings, codes = tokens.settings, build_network(KronosTokenizer, tokens)
        set_seed(args.seed)
        network = build_predictor(first, args)
        check_bits(network.config, codes.config)
        digest = weights_hash(codes)
        echo(f"tokenizer   {codes.config.s1_bits} + {codes.config.s2_bits} bits, weights {digest[:16]}")
        splits = windows if brief else tokenise_splits(windows, codes, args)
        facts = {
            "stage": "predictor",
            "model": {**vars(settings), "tokenizer_sha256": digest},
            "descends_from": published_ancestor(vars(settings)),
            "config": network.config.to_dict(),
            "tokenizer_config": codes.config.to_dict(),
        }

        def make(network: Kronos, args: KronosArguments, **further: object) -> KronosTrainer:
            return KronosTrainer(network, args, splits.train, splits.validation, codes, **further)

        if args.select_by == "loss":
            return Stage(network, make, splits, facts, prepares="tokens")
        weights = None
        if first.folder is not None:
            weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}

        def select(trainer: KronosTrainer, series: list[CandleSeries]) -> dict[str, object] | None:
            return select_weights(trainer, weights, series, data, codes)

        def forecast(series: list[CandleSeries], count: int) -> float:
            return ForecastScore(series, data, codes.to(args.device), count, args.seed)(network, args.device)

        return Stage(network, make, splits, facts, select, forecast=forecast, prepares="tokens")

    return run_stage("predictor", build, model, data, augmentation, args, **options)
