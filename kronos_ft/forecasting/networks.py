"""Loads a predictor and its tokenizer from a folder, a published size or a Hub name."""

import torch

from ft_core.hub.origin import split_revision

from ..models.found_model import FoundModel, find_model
from ..models.identity import weights_hash
from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..models.modeling_quantiles import KronosForQuantiles
from ..models.pairing import mismatch
from ..models.pretrained import folder_of
from ..models.sizes import PUBLISHED_PREDICTORS, PUBLISHED_TOKENIZERS, named_place
from .direct import QuantilePredictor
from .predictor import KronosPredictor

Network = Kronos | KronosTokenizer | KronosForQuantiles


def pairing_remark(model: str, tokenizer: str, network: KronosTokenizer | None) -> str | None:
    """A warning if the predictor was trained with another tokenizer, else None; also for a head without a tokenizer."""
    if network is None:
        return None
    named, paired = split_revision(model)[0], split_revision(tokenizer)[0]
    return mismatch(folder_of(named), folder_of(paired), weights_hash(network))


def load_network(kind: type[Network], name: str) -> Network:
    """Loads a model from a model folder, run folder, published size, or Hub name with or without `@revision`."""
    named, revision = split_revision(name)
    published = PUBLISHED_TOKENIZERS if kind is KronosTokenizer else PUBLISHED_PREDICTORS
    return kind.from_pretrained(named_place(named, published), revision=revision)


def load_networks(model: str, tokenizer: str) -> tuple[Kronos, KronosTokenizer]:
    """Loads a predictor and its tokenizer; names as in [`load_network`].

    Raises:
        ValueError: the folder does not contain the model.
        HubUnreachable: the Hub cannot be reached and the model is not in the cache.
    """
    return load_network(Kronos, model), load_network(KronosTokenizer, tokenizer)


def load_predictor(
    found: FoundModel,
    device: str | torch.device | None = None,
    max_context: int | None = None,
    tokenizer: KronosTokenizer | None = None,
    paths: str = "blocks",
) -> KronosPredictor | QuantilePredictor:
    """Loads the networks of a model; a [`QuantilePredictor`] for a quantile head.

    Args:
        found ([`FoundModel`]): from [`~kronos_ft.models.found_model.find_model`].
        device (`str` or `torch.device`, *optional*): defaults to the accelerator, or the CPU if there is none.
        max_context (`int`, *optional*): maximum number of bars that the model sees; by default that of the model.
        tokenizer ([`KronosTokenizer`], *optional*): the loaded tokenizer, if there is one already.
        paths (`str`): what the paths of a quantile head are made of: `blocks` of past bars, or `sampled` paths of the
            predictor of its run.

    Raises:
        ValueError: the folder does not contain the model, the networks do not fit each other, or the sampling settings
            were calibrated for other weights.
        HubUnreachable: the Hub cannot be reached and the model is not in the cache.
    """
    model = load_network(KronosForQuantiles if found.is_head else Kronos, found.model)
    if tokenizer is None and found.tokenizer:
        tokenizer = load_network(KronosTokenizer, found.tokenizer)
    if found.is_head:
        sampler = _sampler_of(found, device, max_context, tokenizer) if paths == "sampled" else None
        return QuantilePredictor(model, tokenizer, device, found.clip, found=found, sampler=sampler)
    found.check_calibration(weights_hash(model))
    return KronosPredictor(model, tokenizer, device, found.max_context(max_context), found.clip, found=found)


def _sampler_of(
    head: FoundModel, device: str | torch.device | None, max_context: int | None, tokenizer: KronosTokenizer | None
) -> KronosPredictor:
    """The predictor of the run that a quantile head is of."""
    if head.run is None or not (head.run / "predictor").is_dir():
        raise ValueError(
            f"paths=sampled needs a predictor, and {head.name} has only a quantile head; pass the folder of a run of "
            "kronos-ft finetune --stages tokenizer predictor quantiles, or use paths blocks"
        )
    return load_predictor(find_model(str(head.run), head.tokenizer, head=False), device, max_context, tokenizer)


def remarks_on(found: FoundModel, tokenizer: KronosTokenizer | None, lookback: int, horizon: int) -> list[str]:
    """Warnings about a model and how it is used: another tokenizer, context or horizon than in training."""
    sizes = found.context_remark(lookback), found.long_horizon_remark(horizon)
    remarks = pairing_remark(found.model, found.tokenizer, tokenizer), *sizes
    return [remark for remark in remarks if remark]
