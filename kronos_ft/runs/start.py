"""The starting models of a stage: each name is resolved once, to a folder and a commit."""

import copy
from collections.abc import Mapping
from pathlib import Path

from ft_core.hub.resolve import HubUnreachable, Start, pin

from ..models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..models.pretrained import find_pretrained
from ..models.sizes import PREDICTOR_CONTEXT, PUBLISHED_PREDICTORS, PUBLISHED_TOKENIZERS
from ..training.arguments import DataArguments, ModelArguments, WindowTrainingArguments
from ..training.predictor_arguments import KronosArguments, PredictorModelArguments

TOKENIZER_OF_SIZE = {"mini": "2k"}  # the others were trained on the tokenizer base
FROM_SCRATCH = "use --from_scratch to train a named size from random weights"


def _resolve(
    model: ModelArguments,
    args: WindowTrainingArguments,
    published: Mapping[str, str],
    remedy: str,
    name: str | None = None,
    prefix: str = "",
) -> Start:
    """The folder and the commit of a named model. A resumed run takes the commit that it recorded.

    Args:
        model ([`ModelArguments`]): the settings.
        args: tell whether the run is resumed.
        published (`Mapping`): repositories of named sizes.
        remedy (`str`): what to do where the Hub cannot be reached.
        name (`str`, *optional*): the model or tokenizer to look for; `model.model` when not given.
        prefix (`str`): of the fields to set, such as `tokenizer_`.

    Raises:
        ValueError: no such folder, repository or revision.
        HubUnreachable: the Hub cannot be reached and the cache does not hold the model.
    """
    name = name or model.model
    place = name if Path(name).is_dir() else published.get(name, name)
    recorded_as = getattr(model, prefix.rstrip("_") or "model")
    run = Path(args.output_dir) if args.resume else None
    try:
        return pin(model, recorded_as, lambda revision: find_pretrained(place, revision=revision), run, prefix)
    except HubUnreachable as error:
        raise HubUnreachable(f"{error}; {remedy}") from error


def resolve_tokenizer(model: ModelArguments, args: WindowTrainingArguments) -> Start:
    """The tokenizer that a tokenizer run starts from.

    Raises:
        ValueError: as [`_resolve`], or a size without published weights.
        HubUnreachable: the published weights cannot be downloaded.
    """
    if model.from_scratch:
        return Start(copy.copy(model), None)
    if model.model == "tiny":
        raise ValueError("model=tiny has no published weights; pass --from_scratch, or use base or 2k")
    return _resolve(model, args, PUBLISHED_TOKENIZERS, FROM_SCRATCH)


def resolve_predictor(model: PredictorModelArguments, args: KronosArguments) -> Start:
    """The predictor that a predictor run starts from.

    Raises:
        ValueError: as [`_resolve`], or a size without published weights.
        HubUnreachable: the published weights cannot be downloaded.
    """
    if model.from_scratch:
        return Start(copy.copy(model), None)
    if model.model in ("tiny", "large"):
        raise ValueError(
            f"model={model.model} has no published weights; pass --from_scratch, or use "
            f"{', '.join(PUBLISHED_PREDICTORS)}"
        )
    return _resolve(model, args, PUBLISHED_PREDICTORS, FROM_SCRATCH)


def resolve_tokens(model: PredictorModelArguments, args: KronosArguments) -> Start:
    """The tokenizer that encodes the data of a predictor.

    Raises:
        ValueError, HubUnreachable: as [`_resolve`].
    """
    remedy = "--tokenizer takes RUN/best_model of a tokenizer run"
    return _resolve(model, args, PUBLISHED_TOKENIZERS, remedy, named_tokenizer(model), prefix="tokenizer_")


def tokenizer_config(start: Start) -> KronosTokenizerConfig:
    """The configuration of a tokenizer to start from, without its weights."""
    if start.folder is None:
        return KronosTokenizerConfig.from_size(start.settings.model)
    return KronosTokenizer.read_config(start.folder)


def predictor_config(start: Start) -> KronosConfig:
    """The configuration of a predictor to start from, without its weights."""
    if start.folder is None:
        return KronosConfig.from_size(start.settings.model)
    return Kronos.read_config(start.folder)


def build_tokenizer(start: Start) -> KronosTokenizer:
    """The tokenizer to start from.

    Raises:
        ValueError: unknown size, or a folder that holds no Kronos tokenizer.
    """
    if start.folder is None:
        return KronosTokenizer(KronosTokenizerConfig.from_size(start.settings.model))
    return KronosTokenizer.from_pretrained(start.folder)


def build_predictor(start: Start, args: KronosArguments) -> Kronos:
    """The predictor to start from, with the rotation that it shall forecast with in its configuration.

    Raises:
        ValueError: unknown size, a folder that holds no Kronos predictor, or adapters on random weights.
    """
    model = start.settings
    if start.folder is None:
        if args.lora:
            raise ValueError(
                "lora=True with from_scratch=True would train adapters on random weights, which are not saved; "
                "remove one of them"
            )
        network = Kronos(KronosConfig.from_size(model.model))
    else:
        network = Kronos.from_pretrained(start.folder)
    if model.rotate_sibling is not None:
        network.config.rotate_sibling = model.rotate_sibling
    elif model.from_scratch:
        network.config.rotate_sibling = args.s1_conditioning == "true"
    return network


def named_tokenizer(model: PredictorModelArguments) -> str:
    """The tokenizer that the settings name, or that of the model's size."""
    return model.tokenizer or TOKENIZER_OF_SIZE.get(model.model, "base")


def check_context(model: PredictorModelArguments, data: DataArguments) -> None:
    """Raises ValueError when a window does not fit a named model's context; folders do not record theirs."""
    sizes = {name: size for size, name in PUBLISHED_PREDICTORS.items()}
    size = sizes.get(model.model, model.model)
    bars = data.lookback_window + data.predict_window
    if size in PREDICTOR_CONTEXT and bars > PREDICTOR_CONTEXT[size]:
        raise ValueError(
            f"lookback_window={data.lookback_window} + predict_window={data.predict_window} exceed the "
            f"{PREDICTOR_CONTEXT[size]} bars of context of {size}; pass smaller windows"
            + (" or model mini, which has 2048" if PREDICTOR_CONTEXT[size] < 2048 else "")
        )
