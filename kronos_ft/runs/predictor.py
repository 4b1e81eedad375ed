"""A whole predictor run: settings in, run folder out. The command line and `examples/finetune_btc.py` both end here."""

from collections.abc import Callable
from dataclasses import replace

from transformers import set_seed

from ft_core.io.progress_lines import LineProgress
from ft_core.training.interruption import AsTrial

from ..models.configuration_kronos import PREDICTOR_CONTEXT, PUBLISHED_PREDICTORS, PUBLISHED_TOKENIZERS, KronosConfig
from ..models.identity import weights_hash
from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..models.pretrained import HubUnreachable
from ..training.arguments import DataArguments
from ..training.predictor_arguments import KronosArguments, PredictorModelArguments
from ..training.predictor_trainer import KronosTrainer, check_bits
from ..windows.augmentation import AugmentationArguments
from ..windows.dataset import WindowDataset
from ..windows.tokens import TokenWindowDataset, cache_folder
from .data import WindowSplits, build_splits, describe_data, load_series
from .stage import Say, build_trainer, data_facts, pin_model, run_stage

TOKENIZER_OF_SIZE = {"mini": "2k"}  # the others were trained on the tokenizer base


def named_tokenizer(model: PredictorModelArguments) -> str:
    """The tokenizer that the settings name, or that of the model's size."""
    return model.tokenizer or TOKENIZER_OF_SIZE.get(model.model, "base")


def load_tokenizer(model: PredictorModelArguments) -> KronosTokenizer:
    """The tokenizer that makes the predictor's tokens.

    Raises:
        ValueError: a folder or repository that holds no Kronos tokenizer.
        HubUnreachable: published weights were asked for and cannot be had.
    """
    named = named_tokenizer(model)
    try:
        return KronosTokenizer.from_pretrained(
            PUBLISHED_TOKENIZERS.get(named, named), revision=model.tokenizer_revision
        )
    except HubUnreachable as error:
        raise HubUnreachable(f"{error}; --tokenizer takes RUN/best_model of a tokenizer run") from error


def predictor_config(model: PredictorModelArguments) -> KronosConfig:
    """Configuration of the predictor to start from, without its weights."""
    if model.from_scratch:
        return KronosConfig.from_size(model.model)
    _check_named(model)
    return Kronos.read_config(PUBLISHED_PREDICTORS.get(model.model, model.model), revision=model.revision)


def _check_named(model: PredictorModelArguments) -> None:
    if model.model in ("tiny", "large"):
        raise ValueError(
            f"model={model.model} has no published weights; pass --from_scratch, or use "
            f"{', '.join(PUBLISHED_PREDICTORS)}"
        )


def build_predictor(model: PredictorModelArguments, args: KronosArguments) -> Kronos:
    """The predictor to start from, with the rotation that it shall forecast with in its configuration.

    Raises:
        ValueError: unknown size, a folder or repository that holds no Kronos predictor, or adapters on random weights.
        HubUnreachable: published weights were asked for and cannot be had.
    """
    if model.from_scratch:
        if args.lora:
            raise ValueError(
                "lora=True with from_scratch=True would train adapters on random weights that nobody can load again; "
                "drop one of them"
            )
        network = Kronos(KronosConfig.from_size(model.model))
    else:
        _check_named(model)
        try:
            network = Kronos.from_pretrained(
                PUBLISHED_PREDICTORS.get(model.model, model.model), revision=model.revision
            )
        except HubUnreachable as error:
            raise HubUnreachable(f"{error}; --from_scratch trains a named size from random weights") from error
    if model.rotate_sibling is not None:
        network.config.rotate_sibling = model.rotate_sibling
    elif model.from_scratch:
        network.config.rotate_sibling = args.s1_conditioning == "true"
    return network


def check_context(model: PredictorModelArguments, data: DataArguments) -> None:
    """Raises ValueError when a window does not fit a named model's context; folders do not tell theirs."""
    sizes = {name: size for size, name in PUBLISHED_PREDICTORS.items()}
    size = sizes.get(model.model, model.model)
    bars = data.lookback_window + data.predict_window
    if size in PREDICTOR_CONTEXT and bars > PREDICTOR_CONTEXT[size]:
        raise ValueError(
            f"lookback_window={data.lookback_window} + predict_window={data.predict_window} exceed the "
            f"{PREDICTOR_CONTEXT[size]} bars of context of {size}; pass smaller windows"
            + (" or model mini, which has 2048" if PREDICTOR_CONTEXT[size] < 2048 else "")
        )


def tokenise_splits(splits: WindowSplits, tokenizer: KronosTokenizer, args: KronosArguments) -> WindowSplits:
    """The splits as tokens, made once.

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
    say: Callable[[str], None] = print,
    tokenizer: KronosTokenizer | None = None,
    as_trial: AsTrial | None = None,
) -> dict | None:
    """Fine-tunes a predictor from settings to run folder; with `dry_run` only says what would happen.

    Args:
        model, data, augmentation, args: the settings.
        say: receives each line of text, on the main process only.
        tokenizer ([`KronosTokenizer`], *optional*): instead of the one that `model` names.
        as_trial (*optional*): for a run of a search; called with the trainer. The test split is not touched then.

    Returns:
        `dict`: the figures of `training_metrics.json`, or None after a dry run.

    Raises:
        ValueError: settings, data or models that cannot be used, or that do not fit each other; nothing has been
            written then but cached tokens.
    """

    def build(say: Say) -> tuple[KronosTrainer, WindowSplits]:
        check_context(model, data)
        series = load_series(data)
        windows = build_splits(series, data, augmentation, args.seed)
        if as_trial is not None:
            windows = replace(windows, test=None)
        for line in describe_data(series, windows):
            say(line)
        pinned = pin_model(model, PUBLISHED_PREDICTORS, args)
        if tokenizer is None:
            named = named_tokenizer(model)
            pinned = pin_model(pinned, PUBLISHED_TOKENIZERS, args, named, prefix="tokenizer_")
        codes = tokenizer or load_tokenizer(pinned)
        set_seed(args.seed)
        network = build_predictor(pinned, args)
        check_bits(network.config, codes.config)
        digest = weights_hash(codes)
        say(f"tokenizer   {codes.config.s1_bits} + {codes.config.s2_bits} bits, weights {digest[:16]}")
        # a dry run writes nothing, and times the step with tokens made in it
        splits = windows if args.dry_run else tokenise_splits(windows, codes, args)
        facts = {
            "stage": "predictor",
            "model": {**vars(pinned), "tokenizer_sha256": digest},
            **data_facts(series, data, splits, augmentation),
            "config": network.config.to_dict(),
            "tokenizer_config": codes.config.to_dict(),
        }
        trainer = build_trainer(
            lambda: KronosTrainer(network, args, splits.train, splits.validation, codes), model.preset, facts, say
        )
        return trainer, splits

    return run_stage(args, build, say, as_trial=as_trial)
