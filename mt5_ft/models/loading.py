"""Loads an mT5 model and its tokenizer, with fixes for bugs of the libraries.

Notable:
- lm_head stays untied: MT5Config requires tied embeddings, but the published weights are untied, and tying would
  overwrite lm_head.
- Byte fallback stays on: the tokenizer class turns it off, and rare characters and emoji would become `<unk>`.
- Under fp16, the feed-forward output `wo`, where mT5 overflows, runs in fp32.
- In training, the activation is one operation instead of eight, so the backward pass needs to store only its input.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NotRequired, TypedDict

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.activations import NewGELUActivation
from transformers.utils import logging

from ft_core.checkpoints.safety import check_model_folder, check_revision
from ft_core.checkpoints.weights import check_finite, defect_of_weights
from ft_core.hub.origin import origin_of, read_pulled
from ft_core.hub.resolve import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    CONFIG,
    WEIGHTS,
    WEIGHTS_INDEX,
    HubFiles,
    HubUnreachable,
    check_name,
    fetch,
    pickled_weights,
    refuse_pickles,
)
from ft_core.io.console import note
from ft_core.io.formats import parse_json, read_json
from ft_core.io.progress_lines import without_loading_bar
from ft_core.runs.folder import KEPT_IDS_FILE

from .weight_names import Misfit, WeightsIndex, check_adapter_weights, check_weights

ModelUnreachable = HubUnreachable  # its name in earlier versions
TOKENIZER_FILES = ("tokenizer.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "vocab.json")
TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja")
ANY_CONFIG = ((CONFIG,), (ADAPTER_CONFIG,))
# errors of transformers for a folder that it cannot load, including malformed files
LOADING_ERRORS = (OSError, ValueError, ImportError, TypeError, KeyError, AttributeError)


class AdapterConfig(TypedDict):
    """What is read here of `adapter_config.json`."""

    base_model_name_or_path: str
    revision: NotRequired[str | None]


class Fp32Linear(nn.Linear):
    """A linear layer that computes in fp32 under autocast."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.float(), self.weight.float(), None if self.bias is None else self.bias.float())


class TanhGELU(nn.Module):
    """GELU with tanh; in fp32 under autocast, as the powers in transformers' implementation on a GPU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(x.float() if torch.is_autocast_enabled(x.device.type) else x, approximate="tanh")


def keep_feed_forward_in_fp32(model: nn.Module) -> int:
    """Replaces each feed-forward output `wo` by an [`Fp32Linear`]; returns their number."""
    count = 0
    for module in model.modules():
        output = getattr(module, "wo", None)
        if isinstance(output, nn.Linear):
            replacement = Fp32Linear(output.in_features, output.out_features, output.bias is not None, device="meta")
            replacement.weight, replacement.bias = output.weight, output.bias
            module.wo = replacement
            count += 1
    return count


def use_fused_gelu(model: nn.Module) -> int:
    """Replaces transformers' tanh-GELU (eight operations) by PyTorch's (one); returns the number of replacements.

    The formula is the same, up to rounding. It stores one tensor of `(batch, length, d_ff)` per layer instead of four.
    """
    count = 0
    for module in model.modules():
        if isinstance(getattr(module, "act", None), NewGELUActivation):
            module.act = TanhGELU()
            count += 1
    return count


def untie(model: PreTrainedModel) -> PreTrainedModel:
    """Unties the output layer from the embeddings, in place."""
    if model.lm_head.weight is model.shared.weight:
        model.lm_head.weight = nn.Parameter(model.shared.weight.detach().clone())
    model.config.tie_word_embeddings = False
    return model


def _not_loadable(folder: Path, error: Exception) -> ValueError:
    text = " ".join(str(error).split())[:200]
    return ValueError(f"{folder} cannot be loaded ({text}); pass the folder of an mT5 model")


def _check_config(folder: Path) -> None:
    """Raises ValueError for a configuration that asks for code, or of another kind of model."""
    check_model_folder(folder)
    if (folder / ADAPTER_CONFIG).is_file():
        return
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # classes of their own for a field of a wrong type
        raise _not_loadable(folder, error) from None
    if not config.is_encoder_decoder:
        raise ValueError(f"{folder} is a {config.model_type} model, not encoder-decoder; pass an mT5 model")


def check_fit(folder: Path) -> str:
    """[`~mt5_ft.models.weight_names.check_weights`], with one message for a configuration that describes no model.

    Args:
        folder (`Path`): folder of a complete model, with a configuration of an encoder-decoder.

    Returns:
        `str`: the prefix of the names, such as `module.`, that loading removes; empty if there is none.

    Raises:
        ValueError: tensors are missing, unexpected or of another shape, or no model can be built.
    """
    try:
        return check_weights(folder)
    except Misfit:
        raise
    except Exception as error:  # whatever a malformed configuration leads to; no weights are loaded yet
        raise _not_loadable(folder, error) from None


def _download_model(files: HubFiles) -> Path:
    """Downloads a model, or adapters if the repository contains only adapters; the weights last."""
    folder = files.first(*ANY_CONFIG)[0].parent
    if (folder / CONFIG).is_file():
        _check_config(folder)
    files.find("generation_config.json")
    found = files.first((WEIGHTS,), (WEIGHTS_INDEX,), (ADAPTER_CONFIG, ADAPTER_WEIGHTS))[-1]
    check_model_folder(folder)
    if found.name == WEIGHTS_INDEX:
        shards = read_json(found, "download the model again", WeightsIndex)["weight_map"].values()
        files.first(tuple(sorted(set(shards))))
    return folder


def _download_tokenizer(files: HubFiles) -> Path:
    """Downloads a tokenizer, its settings first: if its file is in the cache, so are they."""
    folder = files.first(*ANY_CONFIG)[0].parent
    for file in TOKENIZER_SETTINGS:
        files.find(file)
    if not any(files.find(file) for file in TOKENIZER_FILES) and files.failure:
        raise files.failure
    return folder


def find_model(name: str, revision: str | None = None, with_tokenizer: bool = False) -> Path:
    """The folder of a model, or of adapters; downloads it if it is on the Hub.

    Args:
        name (`str`): folder or Hub repository.
        revision (`str`, *optional*): branch, tag or commit.
        with_tokenizer (`bool`): also download the tokenizer, so that the folder is enough to load both.

    Raises:
        ValueError: no model in safetensors format, another kind of model, or one that requires its own code.
        HubUnreachable: the Hub cannot be reached, and the model is not in the cache.
    """
    return _find_fitting(name, revision, with_tokenizer)[0]


def _find_fitting(name: str, revision: str | None, with_tokenizer: bool = False) -> tuple[Path, str]:
    """[`find_model`], and the prefix of the names of its weights, as [`check_fit`] returns it."""
    check_name(name)
    check_revision("revision", revision)
    folder = Path(name)
    if not folder.is_dir():

        def download(files: HubFiles) -> Path:
            found = _download_model(files)
            return _download_tokenizer(files) if with_tokenizer else found

        folder = fetch(name, download, kind="an mT5 model", revision=revision)
    check_model_folder(folder)
    refuse_pickles(folder)
    if defect := defect_of_weights(folder):
        raise ValueError(
            f"model folder {folder} cannot be used: {defect}; pass a folder with complete *.safetensors files"
        )
    _check_config(folder)
    return folder, "" if (folder / ADAPTER_CONFIG).is_file() else check_fit(folder)


def load_tokenizer(name: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of a folder or Hub repository, with byte fallback if its vocabulary contains bytes.

    Args:
        name (`str`): folder or Hub repository.
        revision (`str`, *optional*): branch, tag or commit.

    Raises:
        ValueError: no tokenizer, a pickled tokenizer, or one that requires its own code.
        HubUnreachable: the Hub cannot be reached, and the tokenizer is not in the cache.
    """
    check_name(name)
    check_revision("revision", revision)
    folder = Path(name)
    if not folder.is_dir():
        folder = fetch(name, _download_tokenizer, kind="an mT5 model", revision=revision)
    check_model_folder(folder)
    pickles = pickled_weights([path.name for path in folder.iterdir() if re.search("token|vocab", path.name.lower())])
    if pickles and not any((folder / file).is_file() for file in TOKENIZER_FILES):
        raise ValueError(
            f"folder {folder} contains only a pickled tokenizer ({pickles[0]}), which is never loaded; if you trust "
            "its origin, load it elsewhere and write tokenizer.json with tokenizer.save_pretrained(folder)"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except LOADING_ERRORS as error:
        raise _not_loadable(folder, error) from None
    return with_byte_fallback(tokenizer)


def with_byte_fallback(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Turns byte fallback on, if the vocabulary contains bytes."""
    backend = parse_json(tokenizer.backend_tokenizer.to_str())
    vocabulary = (
        {piece for piece, _ in backend["model"].get("vocab", [])} if backend["model"]["type"] == "Unigram" else ()
    )
    if "<0x00>" not in vocabulary or backend["model"].get("byte_fallback"):
        return tokenizer
    backend["model"]["byte_fallback"] = True
    # the metaspace decoder removes all spaces of the first token, so it must run before the tokens are fused
    backend["decoder"] = {
        "type": "Sequence",
        "decoders": [backend["decoder"], {"type": "ByteFallback"}, {"type": "Fuse"}],
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(backend)),
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=[f"<extra_id_{i}>" for i in range(100) if f"<extra_id_{i}>" in vocabulary],
        model_max_length=tokenizer.model_max_length,
    )


def load_model(
    name: str, tokenizer: PreTrainedTokenizerBase | None = None, revision: str | None = None
) -> PreTrainedModel:
    """Loads an encoder-decoder model of a folder or Hub repository, in fp32 and untied; merges adapters.

    `model.hub_origin` is its commit on the Hub, or None.

    Args:
        name (`str`): folder or Hub repository.
        tokenizer (*optional*): its tokenizer, to check the number of embeddings.
        revision (`str`, *optional*): branch, tag or commit.

    Raises:
        ValueError: no model, another kind of model, pickled or incomplete weights, adapters without their base model,
            or fewer embeddings than the tokenizer has pieces.
        HubUnreachable: the Hub cannot be reached, and the model is not in the cache.
    """
    folder, prefix = _find_fitting(name, revision)
    with _quiet():
        model = _load_adapters(folder) if (folder / ADAPTER_CONFIG).is_file() else _load_whole(folder, prefix)
    model.hub_origin = origin_of(folder)
    embeddings = model.get_input_embeddings().weight.shape[0]
    if tokenizer is not None and len(tokenizer) > embeddings:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} pieces, but {name} has {embeddings} embeddings; pass the model's "
            "tokenizer"
        )
    # adapters record it, and may be loaded from any folder or machine
    in_cache = model.hub_origin is not None and read_pulled(folder) is None
    model.name_or_path = model.hub_origin.repository if in_cache else str(folder.resolve())
    return untie(model) if hasattr(model, "shared") else model


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses transformers' warning about untied embeddings, which are correct for mT5."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _load_whole(folder: Path, prefix: str) -> PreTrainedModel:
    if prefix:
        note(f"the names of the weights in {folder} begin with {prefix!r}; the prefix is removed")
    try:
        with without_loading_bar():
            model = AutoModelForSeq2SeqLM.from_pretrained(
                folder,
                use_safetensors=True,
                dtype=torch.float32,
                trust_remote_code=False,
                key_mapping={f"^{re.escape(prefix)}": ""} if prefix else None,
            )
    except (*LOADING_ERRORS, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "mismatch" not in str(error):
            raise  # e.g. out of memory
        raise _not_loadable(folder, error) from None
    check_finite(model, folder)
    return model


def adapter_base(folder: Path) -> str:
    """The name of the base model of a folder of adapters.

    Raises:
        ValueError: the adapter configuration does not name it.
    """
    return _adapter_base(folder)[0]


def _adapter_base(folder: Path) -> tuple[str, str | None]:
    """The base model of a folder of adapters, and its commit if it is from the Hub."""
    path = folder / ADAPTER_CONFIG
    try:
        values = read_json(path, "restore it or train again", AdapterConfig)
    except ValueError as error:
        raise ValueError(f"{path} names no base model ({error})") from error
    base, revision = values["base_model_name_or_path"], values.get("revision")
    if Path(base).resolve() == folder.resolve():
        raise ValueError(f"{path} names this adapter folder as its base model; correct it")
    return base, revision


def _load_adapters(folder: Path) -> PreTrainedModel:
    from peft import PeftModel, get_peft_model_state_dict

    base, revision = _adapter_base(folder)
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ValueError(f"{folder} has {ADAPTER_CONFIG} but no {ADAPTER_WEIGHTS}; pass a folder with both files")
    if (folder / KEPT_IDS_FILE).is_file():
        raise ValueError(
            f"{folder} contains adapters for a trimmed vocabulary, but {base} has the full vocabulary; continue the "
            "training with --resume, or use final/, the complete model"
        )
    try:
        model = load_model(base, revision=revision)
    except (ValueError, HubUnreachable) as error:
        raise ValueError(
            f"the base model {base} of the adapters in {folder} cannot be loaded ({error}); restore it, or correct "
            f"base_model_name_or_path in {folder / ADAPTER_CONFIG}"
        ) from None
    try:
        adapted = PeftModel.from_pretrained(model, str(folder))
        expected = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        text = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the adapters in {folder} do not fit their base model {base} ({text}); correct the base model"
        ) from None
    check_adapter_weights(folder, ADAPTER_WEIGHTS, expected, adapted)
    check_finite(adapted, folder)
    return adapted.merge_and_unload()
