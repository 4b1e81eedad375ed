"""Trims the vocabulary of a model and its tokenizer to the kept pieces, and expands it again.

Notable:
- Every row of the trimmed tables is a row of the full tables, so the logits of kept pieces do not change.
- `shared` and `lm_head` are trimmed separately: transformers' resizing would tie them.
- config.json records the full model, also in checkpoints, final/ and merged adapters. The kept ids follow from the
  pieces; `kept_ids.json` next to a trimmed model lists them for other programs.
- Expanding writes the trained rows into the full model's tables; the other rows do not change.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ft_core.io.files import write_text
from ft_core.io.formats import parse_json
from ft_core.runs.folder import KEPT_IDS_FILE

from .kept_pieces import MULTIPLE, KeptIds, backend_of
from .loading import load_model, load_tokenizer

ORIGIN = "full_model"  # keys of config.json; a local path is in ORIGIN_PATH, which is not pushed
ORIGIN_PATH = "full_model_path"
ID_SETTINGS = ("pad_token_id", "eos_token_id", "bos_token_id", "decoder_start_token_id", "forced_bos_token_id")


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of a tokenizer's pieces, scores and rules."""
    backend = parse_json(tokenizer.backend_tokenizer.to_str())
    lasting = {name: value for name, value in backend.items() if name not in ("padding", "truncation")}
    return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()


def tables_digest(model: PreTrainedModel) -> str:
    """SHA-256 of a model's embeddings and output layer."""
    digest = hashlib.sha256()
    for table in (model.shared.weight, model.lm_head.weight):
        digest.update(table.detach().cpu().float().contiguous().numpy().data)
    return digest.hexdigest()


def trim_tokenizer(tokenizer: PreTrainedTokenizerBase, kept: KeptIds) -> PreTrainedTokenizerBase:
    """A tokenizer with only the kept pieces, in their order and with their scores.

    Raises:
        ValueError: not a Unigram tokenizer, or an added or special piece is not kept.
    """
    backend = backend_of(tokenizer)
    model = backend["model"]
    model["vocab"] = [model["vocab"][position] for position in kept.ids.tolist() if position < len(model["vocab"])]
    (model["unk_id"],) = kept.to_kept([model["unk_id"]])
    for token in backend["added_tokens"]:
        (token["id"],) = kept.to_kept([token["id"]])
    for token in ((backend["post_processor"] or {}).get("special_tokens") or {}).values():
        token["ids"] = kept.to_kept(token["ids"])
    backend |= {"padding": None, "truncation": None}
    named = dict(tokenizer.special_tokens_map)
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(backend)),
        **named,
        additional_special_tokens=[token for token in tokenizer.all_special_tokens if token not in named.values()],
        model_max_length=tokenizer.model_max_length,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
    )


def _configs(model: PreTrainedModel) -> tuple:
    return model.config, model.encoder.config, model.decoder.config, model.generation_config


def _rows(kept: Sequence[int], pieces: int, table_rows: int) -> list[int]:
    """Rows of the full tables to keep: kept pieces, plus spare rows up to a multiple of `MULTIPLE`."""
    spare = range(pieces, table_rows)[: -len(kept) % MULTIPLE]
    return [*kept, *spare]


def _set_tables(model: PreTrainedModel, shared: Tensor, output: Tensor) -> None:
    """Replaces embeddings and output layer, untied."""
    model.set_input_embeddings(nn.Embedding.from_pretrained(shared, freeze=False))
    head = nn.Linear(output.shape[1], output.shape[0], bias=False, device="meta")
    head.weight = nn.Parameter(output)
    model.lm_head = head
    for config in (model.config, model.encoder.config, model.decoder.config):
        config.vocab_size = len(output)


def _check_tables(model: PreTrainedModel, name: str) -> None:
    if not isinstance(getattr(model, "shared", None), nn.Embedding) or model.lm_head.bias is not None:
        raise ValueError(f"{name} does not have the tables of mT5 (shared, lm_head); pass an mT5 model")


@torch.no_grad()
def trim_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, kept: KeptIds) -> PreTrainedModel:
    """Trims the tables of a model to the kept pieces, in place.

    Args:
        model: a full model, from [`~mt5_ft.models.loading.load_model`].
        tokenizer: the full tokenizer.
        kept ([`KeptIds`]): from [`~mt5_ft.models.kept_pieces.choose_pieces`].

    Raises:
        ValueError: another kind of model, or a special piece is not kept.
    """
    _check_tables(model, model.name_or_path or "the model")
    origin = {
        "vocab_size": len(model.shared.weight),
        "tokenizer_sha256": tokenizer_digest(tokenizer),
        "tables_sha256": tables_digest(model),
    }
    for config in _configs(model):
        for name in ID_SETTINGS:
            value = getattr(config, name, None)
            if isinstance(value, int):
                setattr(config, name, kept.to_kept([value])[0])
    rows = _rows(kept.ids.tolist(), len(tokenizer), len(model.shared.weight))
    _set_tables(model, model.shared.weight[rows], model.lm_head.weight[rows])
    for parameter in model.parameters():  # views would keep the whole weight file in memory
        parameter.data = parameter.data.clone()
    setattr(model.config, ORIGIN, origin)
    setattr(model.config, ORIGIN_PATH, model.name_or_path)
    return model


def kept_ids_text(kept: KeptIds, digest: str) -> str:
    """The content of `kept_ids.json`; `digest` identifies the full tokenizer."""
    return json.dumps({"full_tokenizer_sha256": digest, "kept_ids": kept.ids.tolist()}) + "\n"


def write_trimmed(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, kept: KeptIds) -> None:
    """Writes a trimmed model, its tokenizer and the kept ids to a folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_text(folder / KEPT_IDS_FILE, kept_ids_text(kept, getattr(model.config, ORIGIN)["tokenizer_sha256"]))


def kept_ids(tokenizer: PreTrainedTokenizerBase, full: PreTrainedTokenizerBase) -> KeptIds:
    """The kept ids of a trimmed tokenizer, found by its pieces.

    Raises:
        ValueError: the full tokenizer lacks a piece, or has another order.
    """
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    vocabulary = full.get_vocab()
    ids = [vocabulary.get(piece, -1) for piece in pieces]
    if -1 in ids or ids != sorted(set(ids)):
        raise ValueError(
            "the trimmed tokenizer has other pieces than the full one; pass the model that it was trimmed from"
        )
    return KeptIds(ids)


def origin_of(model: PreTrainedModel, name: str) -> tuple[str | None, dict]:
    """Name or folder of the full model (None if unknown), and its digests.

    Raises:
        ValueError: the model was not trimmed.
    """
    origin = getattr(model.config, ORIGIN, None)
    if not isinstance(origin, dict) or not {"vocab_size", "tokenizer_sha256", "tables_sha256"} <= origin.keys():
        raise ValueError(
            f"{name} was not trimmed (its config.json has no {ORIGIN}); pass a model of trim-vocab, or one trained "
            "from it"
        )
    path = getattr(model.config, ORIGIN_PATH, None)
    return (path if isinstance(path, str) and path else None), origin


@torch.no_grad()
def expand_model(trained: PreTrainedModel, full: PreTrainedModel, kept: KeptIds, pieces: int) -> PreTrainedModel:
    """Expands a trained, trimmed model to the full vocabulary, in place.

    Args:
        trained: the trimmed model, trained or not.
        full: the model it was trimmed from; its tables are overwritten and reused.
        kept ([`KeptIds`]): the kept ids.
        pieces (`int`): pieces of the full tokenizer.

    Raises:
        ValueError: the sizes do not fit.
    """
    rows = torch.tensor(_rows(kept.ids.tolist(), pieces, len(full.shared.weight)))
    if trained.shared.weight.shape != (len(rows), full.config.d_model):
        raise ValueError(
            f"the trimmed model has embeddings of shape {tuple(trained.shared.weight.shape)}, but trimming the full "
            f"model gives {(len(rows), full.config.d_model)}; pass the model that it was trimmed from"
        )
    for table, part in ((full.shared, trained.shared), (full.lm_head, trained.lm_head)):
        table.weight[rows] = part.weight.to(table.weight)
    _set_tables(trained, full.shared.weight.detach(), full.lm_head.weight.detach())
    for mine, theirs in zip(_configs(trained), _configs(full), strict=True):
        for name in ID_SETTINGS:
            if hasattr(theirs, name):
                setattr(mine, name, getattr(theirs, name))
    for name in (ORIGIN, ORIGIN_PATH):  # the full model may itself be trimmed
        delattr(trained.config, name)
        if hasattr(full.config, name):
            setattr(trained.config, name, getattr(full.config, name))
    return trained


def expand(name: str, original: str | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a trimmed model, expands it to the full vocabulary, and returns it with the full tokenizer.

    Args:
        name (`str`): folder or Hub name of the trimmed model.
        original (`str`, *optional*): the full model, by default the recorded one.

    Raises:
        ValueError: the model was not trimmed, or the full model is not the one that it was trimmed from.
        HubUnreachable: the Hub cannot be reached.
    """
    tokenizer = load_tokenizer(name)
    trained = load_model(name, tokenizer)
    path, origin = origin_of(trained, name)
    source = original or path
    if source is None:
        raise ValueError(f"{name} has no record of its full model; pass --original DIR_OR_NAME")
    try:
        full_tokenizer = load_tokenizer(source)
        full = load_model(source, full_tokenizer)
    except ValueError as error:
        if original:
            raise
        raise ValueError(f"the full model of {name} cannot be loaded ({error}); pass --original DIR_OR_NAME") from error
    _check_tables(full, source)
    if tokenizer_digest(full_tokenizer) != origin["tokenizer_sha256"]:
        raise ValueError(f"{source} has another tokenizer than the model that {name} was trimmed from; pass that one")
    if tables_digest(full) != origin["tables_sha256"]:
        raise ValueError(f"{source} has other embeddings than the model that {name} was trimmed from; pass that one")
    return expand_model(trained, full, kept_ids(tokenizer, full_tokenizer), len(full_tokenizer)), full_tokenizer
