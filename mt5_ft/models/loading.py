"""Loads an mT5 model and its tokenizer, with fixes for bugs of the libraries.

Notable:
- lm_head stays untied: MT5Config requires tied embeddings, but the published weights are untied, and tying would
  overwrite lm_head.
- Byte fallback stays on: the tokenizer class turns it off, and rare characters and emoji would become `<unk>`.
- Under fp16, the feed-forward output `wo`, where mT5 overflows, runs in fp32.
- In training, the activation is one operation instead of eight, so the backward pass needs to store only its input.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import httpx
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

from ft_core.checkpoints.safety import check_revision
from ft_core.checkpoints.weights import defect_of_weights
from ft_core.hub.client import hub_answers
from ft_core.hub.errors import HubFailure, explain
from ft_core.hub.origin import HubOrigin, origin_of
from ft_core.runs.folder import KEPT_IDS_FILE

from .sources import (
    MODEL_CONFIGS,
    TOKENIZER_CONFIGS,
    WEIGHT_FILES,
    RefusedModel,
    check_folder,
    check_name,
    check_published_weights,
    check_repository,
    check_tokenizer_folder,
)

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
# errors of transformers and the Hub client for a name that cannot be loaded, including malformed files
LOADING_ERRORS = (OSError, ValueError, ImportError, TypeError, KeyError, AttributeError, httpx.HTTPError)


class ModelUnreachable(ConnectionError):
    """The Hub gave no usable answer and the model is not in the cache."""


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


def _check_folder(folder: Path) -> None:
    check_folder(folder)
    defect = defect_of_weights(folder)
    if defect:
        raise ValueError(
            f"model folder {folder} cannot be used: {defect}; pass a folder with complete *.safetensors files"
        )


def _may_download(name: str) -> bool:
    return not Path(name).is_dir() and hub_answers()


def _explain(name: str, error: Exception, revision: str | None = None) -> Exception:
    """A one-line error for a name that transformers cannot load."""
    text = " ".join(str(error).split())
    if Path(name).exists():
        return ValueError(f"{name} cannot be loaded ({text[:200]}); pass the folder of an mT5 model")
    found = explain(error, name, revision)
    if isinstance(found, HubFailure):
        return ModelUnreachable(
            f"{found}, and {name} is not in the local cache; no incomplete file is kept: try again later, or pass a "
            "folder"
        )
    unknown = isinstance(error, RepositoryNotFoundError | HFValidationError) and not isinstance(error, GatedRepoError)
    if unknown or "is not a local folder and is not a valid model identifier" in text:
        return ValueError(f"model={name!r} is not a folder or a Hub repository that you can read; correct it")
    if found is not None:
        return found
    return ModelUnreachable(
        f"cannot reach the Hub for {name}, and it is not in the local cache; pass a folder, or --model small "
        "--from_scratch for a small model from random weights"
    )


def _cached(name: str, revision: str | None, *files: str) -> Path | None:
    """The first of the files that is in the cache, or None."""
    found = (try_to_load_from_cache(name, file, revision=revision) for file in files)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def locate(name: str, revision: str | None = None) -> tuple[bool, HubOrigin | None]:
    """Returns whether to load a model without the Hub (a folder, or from the cache while offline), and its commit.

    Requests one file that every model has, so that retries and the error message of a failing Hub occur once;
    transformers would retry file by file.

    Args:
        name (`str`): folder or Hub repository.
        revision (`str`, *optional*): branch, tag or commit.

    Raises:
        ValueError: the repository or revision does not exist or is not readable.
        ModelUnreachable: the Hub cannot be reached, and the model is not in the cache.
    """
    check_name(name)
    check_revision("revision", revision)
    folder = Path(name)
    if folder.is_dir():
        return True, origin_of(folder)
    if not _may_download(name):
        return True, _origin(_cached(name, revision, "config.json", ADAPTER_CONFIG))
    try:
        return False, _origin(Path(hf_hub_download(name, "config.json", revision=revision)))
    except RemoteEntryNotFoundError as error:  # adapters, or not a model: loading will report it
        commit = error.response.headers.get("X-Repo-Commit")
        return False, HubOrigin(name, commit) if commit else None
    except LOADING_ERRORS as error:
        explained = _explain(name, error, revision)
        cached = _cached(name, revision, "config.json", ADAPTER_CONFIG)
        if isinstance(explained, ModelUnreachable) and cached:
            return True, _origin(cached)
        raise explained from None


def _origin(file: Path | None) -> HubOrigin | None:
    return None if file is None else origin_of(file.parent)


def load_tokenizer(name: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of a folder or Hub repository, with byte fallback if its vocabulary contains bytes.

    Args:
        name (`str`): folder or Hub repository.
        revision (`str`, *optional*): branch, tag or commit.

    Raises:
        ValueError: no tokenizer, a pickled tokenizer, or one that requires its own code.
        ModelUnreachable: the Hub cannot be reached.
    """
    check_name(name)
    folder = Path(name)
    if folder.is_dir():
        check_tokenizer_folder(folder)
    local, origin = locate(name, revision)
    options = {"local_files_only": local, "revision": None if folder.is_dir() or origin is None else origin.commit}
    try:
        if not folder.is_dir():
            check_repository(name, TOKENIZER_CONFIGS, **options)
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options)
    except RefusedModel:
        raise
    except LOADING_ERRORS as error:
        raise _explain(name, error) from None
    return with_byte_fallback(tokenizer)


def with_byte_fallback(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Turns byte fallback on, if the vocabulary contains bytes."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_text(json.dumps(backend, ensure_ascii=False), encoding="utf-8")
        return PreTrainedTokenizerFast(
            tokenizer_file=str(path),
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
        ModelUnreachable: the Hub cannot be reached.
    """
    folder = Path(name)
    if folder.is_dir():
        _check_folder(folder)
    local, origin = locate(name, revision)
    with _quiet():
        adapters = (folder / ADAPTER_CONFIG).is_file()
        model = _load_adapters(folder) if adapters else _load_whole(name, local, origin)
    model.hub_origin = origin
    embeddings = model.get_input_embeddings().weight.shape[0]
    if tokenizer is not None and len(tokenizer) > embeddings:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} pieces, but {name} has {embeddings} embeddings; pass the model's "
            "tokenizer"
        )
    if folder.is_dir():
        model.name_or_path = str(folder.resolve())  # adapters record it, and may be loaded from any folder
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


def _load_whole(name: str, local: bool, origin: HubOrigin | None) -> PreTrainedModel:
    revision = None if Path(name).is_dir() or origin is None else origin.commit
    options = {"local_files_only": local, "revision": revision}
    try:
        if not Path(name).is_dir():
            check_repository(name, MODEL_CONFIGS, **options)
        config = AutoConfig.from_pretrained(name, trust_remote_code=False, **options)
        if not config.is_encoder_decoder:
            raise RefusedModel(f"{name} is a {config.model_type} model, not encoder-decoder; pass an mT5 model")
        if not local and not _cached(name, revision, *WEIGHT_FILES, ADAPTER_WEIGHTS):
            check_published_weights(name, revision)
        return AutoModelForSeq2SeqLM.from_pretrained(
            name, use_safetensors=True, dtype=torch.float32, trust_remote_code=False, **options
        )
    except RefusedModel:
        raise
    except (*LOADING_ERRORS, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "mismatch" not in str(error):
            raise  # e.g. out of memory
        adapters = None if Path(name).is_dir() else _adapters_on_the_hub(name, options)
        if adapters:
            return _load_adapters(adapters)
        raise _explain(name, error) from None


def _adapters_on_the_hub(name: str, options: dict) -> Path | None:
    """Folder of the adapters of a Hub repository that contains only adapters, or None."""
    try:
        hf_hub_download(name, ADAPTER_CONFIG, **options)
        return Path(hf_hub_download(name, ADAPTER_WEIGHTS, **options)).parent
    except LOADING_ERRORS:
        return None


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
        values = json.loads(path.read_text(encoding="utf-8"))
        base, revision = str(values["base_model_name_or_path"]), values.get("revision")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} names no base model ({error}); restore it or train again") from error
    if Path(base).resolve() == folder.resolve():
        raise ValueError(f"{path} names this adapter folder as its base model; correct it")
    return base, revision


def _load_adapters(folder: Path) -> PreTrainedModel:
    from peft import PeftModel

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
    except (ValueError, ModelUnreachable) as error:
        raise ValueError(
            f"the base model {base} of the adapters in {folder} cannot be loaded ({error}); restore it, or correct "
            f"base_model_name_or_path in {folder / ADAPTER_CONFIG}"
        ) from None
    try:
        return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        text = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the adapters in {folder} do not fit their base model {base} ({text}); correct the base model"
        ) from None
