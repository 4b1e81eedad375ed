"""The starting models of a stage: each name is resolved once, to a folder and a commit."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedConfig

from ft_core.hub.resolve import HubUnreachable, Start, pin
from ft_core.runs.record_schema import find_record

from ..models.found_model import own_tokenizer, stage_folder
from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..models.pretrained import find_pretrained
from ..models.sizes import (
    PREDICTOR_CONTEXT,
    PREDICTOR_SIZES,
    PUBLISHED_PREDICTORS,
    PUBLISHED_TOKENIZERS,
    TOKENIZER_OF_PUBLISHED,
    TOKENIZER_SIZES,
    named_place,
    size_of,
)
from ..training.arguments import DataArguments, ModelArguments, WindowTrainingArguments
from ..training.predictor_arguments import KronosArguments, PredictorModelArguments

Network = KronosTokenizer | Kronos
WITHOUT_HUB = "or start from random weights (--from_scratch)"
NAMES = {KronosTokenizer: (TOKENIZER_SIZES, PUBLISHED_TOKENIZERS), Kronos: (PREDICTOR_SIZES, PUBLISHED_PREDICTORS)}


def _resolve(
    model: ModelArguments,
    args: WindowTrainingArguments,
    published: Mapping[str, str],
    remedy: str = "",
    name: str | None = None,
    prefix: str = "",
) -> Start:
    """The folder and the commit of a named model. A resumed run takes the commit that it recorded.

    Args:
        model ([`ModelArguments`]): the settings.
        args: tell whether the run is resumed.
        published (`Mapping`): repositories of named sizes.
        remedy (`str`): what else to do where the Hub cannot be reached.
        name (`str`, *optional*): the model or tokenizer to look for; `model.model` when not given.
        prefix (`str`): of the fields to set, such as `tokenizer_`.

    Raises:
        ValueError: no such folder, repository or revision.
        HubUnreachable: the Hub cannot be reached and the cache does not hold the model.
    """
    name = name or model.model
    stage = "tokenizer" if published is PUBLISHED_TOKENIZERS else "predictor"
    place = stage_folder(named_place(name, published), stage)
    recorded_as = getattr(model, prefix.rstrip("_") or "model")
    run = Path(args.output_dir) if args.resume else None
    try:
        return pin(model, recorded_as, lambda revision: find_pretrained(place, revision=revision), run, prefix)
    except HubUnreachable as error:
        if not remedy:
            raise
        raise HubUnreachable(f"{error}; {remedy}") from None


def resolve_start(kind: type[Network], model: ModelArguments, args: WindowTrainingArguments) -> Start:
    """The tokenizer or predictor that a run starts from.

    Raises:
        ValueError: as [`_resolve`], or a size without published weights.
        HubUnreachable: the published weights cannot be downloaded.
    """
    if model.from_scratch:
        return Start(copy.copy(model), None)
    sizes, published = NAMES[kind]
    if model.model in sizes and model.model not in published:
        raise ValueError(
            f"model={model.model} has no published weights; pass --from_scratch, or use {', '.join(published)}"
        )
    return _resolve(model, args, published, WITHOUT_HUB if model.model in sizes else "")


def resolve_tokens(model: PredictorModelArguments, args: KronosArguments) -> Start:
    """The tokenizer that encodes the data of a predictor.

    Raises:
        ValueError, HubUnreachable: as [`_resolve`].
    """
    remedy = "--tokenizer takes RUN/best_model of a tokenizer run"
    if not model.tokenizer and not model.from_scratch:
        known = find_record(Path(args.output_dir)).get("model") if args.resume else None
        model = replace(model, tokenizer=known.get("tokenizer") if known else own_tokenizer(model.model))
    name = model.tokenizer or TOKENIZER_OF_PUBLISHED.get(model.model, "base")
    return _resolve(model, args, PUBLISHED_TOKENIZERS, remedy, name, prefix="tokenizer_")


def start_config(kind: type[Network], start: Start) -> PreTrainedConfig:
    """The configuration of a model to start from, without its weights."""
    if start.folder is not None:
        return kind.read_config(start.folder)
    _, published = NAMES[kind]
    return kind.config_class.from_size(size_of(start.settings.model, published))


def build_network(kind: type[Network], start: Start) -> Network:
    """The model to start from.

    Raises:
        ValueError: unknown size, or a folder that holds no such model.
    """
    return kind(start_config(kind, start)) if start.folder is None else kind.from_pretrained(start.folder)


def build_predictor(start: Start, args: KronosArguments) -> Kronos:
    """The predictor to start from, with `config.rotate_sibling` set for forecasting.

    Raises:
        ValueError: unknown size, a folder that holds no Kronos predictor, or adapters on random weights.
    """
    model = start.settings
    if start.folder is None and args.lora:
        raise ValueError(
            "lora=True with from_scratch=True would train adapters on random weights, which are not saved; "
            "remove one of them"
        )
    network = build_network(Kronos, start)
    if model.rotate_sibling is not None:
        network.config.rotate_sibling = model.rotate_sibling
    elif model.from_scratch:
        network.config.rotate_sibling = args.s1_conditioning == "true"
    return network


def named_tokenizer(model: PredictorModelArguments) -> str:
    """The tokenizer that the settings name, that of the model's run, or that of its size."""
    if not model.tokenizer and not model.from_scratch and (own := own_tokenizer(model.model)):
        return own
    return model.tokenizer or TOKENIZER_OF_PUBLISHED.get(model.model, "base")


def check_context(model: PredictorModelArguments, data: DataArguments) -> None:
    """Raises ValueError when a window does not fit a named model's context; folders do not record theirs."""
    size = size_of(model.model, PUBLISHED_PREDICTORS)
    bars = data.lookback_window + data.predict_window
    if size in PREDICTOR_CONTEXT and bars > PREDICTOR_CONTEXT[size]:
        raise ValueError(
            f"lookback_window={data.lookback_window} + predict_window={data.predict_window} exceed the "
            f"{PREDICTOR_CONTEXT[size]} bars of context of {size}; pass smaller windows"
            + (" or model mini, which has 2048" if PREDICTOR_CONTEXT[size] < 2048 else "")
        )
