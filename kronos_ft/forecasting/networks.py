"""Loads a predictor and its tokenizer from a folder, a published size or a Hub name."""

from ft_core.hub.origin import split_revision

from ..models.identity import weights_hash
from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..models.pairing import mismatch
from ..models.pretrained import folder_of
from ..models.sizes import PUBLISHED_PREDICTORS, PUBLISHED_TOKENIZERS, named_place


def pairing_remark(model: str, tokenizer: str, network: KronosTokenizer) -> str | None:
    """A warning if the predictor was trained with another tokenizer, else None."""
    named, paired = split_revision(model)[0], split_revision(tokenizer)[0]
    return mismatch(folder_of(named), folder_of(paired), weights_hash(network))


def load_network(kind: type[Kronos] | type[KronosTokenizer], name: str) -> Kronos | KronosTokenizer:
    """Loads a model from a model folder, run folder, published size, or Hub name with or without `@revision`."""
    named, revision = split_revision(name)
    published = PUBLISHED_PREDICTORS if kind is Kronos else PUBLISHED_TOKENIZERS
    return kind.from_pretrained(named_place(named, published), revision=revision)


def load_networks(model: str, tokenizer: str) -> tuple[Kronos, KronosTokenizer]:
    """Loads a predictor and its tokenizer; names as in [`load_network`].

    Raises:
        ValueError: the folder does not contain the model.
        HubUnreachable: the Hub cannot be reached and the model is not in the cache.
    """
    return load_network(Kronos, model), load_network(KronosTokenizer, tokenizer)
