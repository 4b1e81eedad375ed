"""Loads an mT5 model and its tokenizer with the faults of the stack mended.

Notable:
- lm_head stays untied: MT5Config insists on tied embeddings while the published weights are not, and tying again would
  overwrite lm_head.
- Byte fallback is kept: the tokenizer class drops it, so that rare characters and emoji would become `<unk>`.
- Under fp16 the feed-forward output `wo` runs in fp32, where mT5 overflows.
- In training the activation is one operation instead of eight, which keeps its input alone for the backward pass.
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
# what transformers and the Hub's client raise for a name that cannot be loaded, odd files among it
LOADING_ERRORS = (OSError, ValueError, ImportError, TypeError, KeyError, AttributeError, httpx.HTTPError)


class ModelUnreachable(ConnectionError):
    """The Hub gave no usable answer and the cache does not hold the model."""


class Fp32Linear(nn.Linear):
    """A linear layer that computes in fp32 inside an autocast region."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.float(), self.weight.float(), None if self.bias is None else self.bias.float())


class TanhGELU(nn.Module):
    """GELU with tanh; in an autocast region in fp32, as the powers of transformers' own are computed there on a GPU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(x.float() if torch.is_autocast_enabled(x.device.type) else x, approximate="tanh")


def keep_feed_forward_in_fp32(model: nn.Module) -> int:
    """Replaces each feed-forward output `wo` by one that computes in fp32; returns how many there are."""
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
    """Replaces transformers' tanh-GELU of eight operations by PyTorch's one; returns how many there are.

    The same formula, equal to rounding. Instead of four tensors of `(batch, length, d_ff)` a layer it keeps one.
    """
    count = 0
    for module in model.modules():
        if isinstance(getattr(module, "act", None), NewGELUActivation):
            module.act = TanhGELU()
            count += 1
    return count


def untie(model: PreTrainedModel) -> PreTrainedModel:
    """Gives a new model an output layer of its own, and checks that a loaded one has it."""
    if model.lm_head.weight is model.shared.weight:
        model.lm_head.weight = nn.Parameter(model.shared.weight.detach().clone())
    model.config.tie_word_embeddings = False
    return model


def _check_folder(folder: Path) -> None:
    check_folder(folder)
    defect = defect_of_weights(folder)
    if defect:
        raise ValueError(f"model folder {folder} cannot be used: {defect}; pass a folder of whole *.safetensors")


def _may_download(name: str) -> bool:
    return not Path(name).is_dir() and hub_answers()


def _explain(name: str, error: Exception, revision: str | None = None) -> Exception:
    """One line for what transformers says about a name it cannot load."""
    text = " ".join(str(error).split())
    if Path(name).exists():
        return ValueError(f"{name} cannot be loaded ({text[:200]}); pass the folder of an mT5 model")
    found = explain(error, name, revision)
    if isinstance(found, HubFailure):
        return ModelUnreachable(
            f"{found}, and the local cache does not hold {name}; nothing half is kept: try again later, or pass a "
            "folder"
        )
    unknown = isinstance(error, RepositoryNotFoundError | HFValidationError) and not isinstance(error, GatedRepoError)
    if unknown or "is not a local folder and is not a valid model identifier" in text:
        return ValueError(
            f"model={name!r} is neither a folder nor a repository on the Hub that you may read; correct it"
        )
    if found is not None:
        return found
    return ModelUnreachable(
        f"could not reach the Hub for {name} and the local cache does not hold it; pass a folder, or "
        "--model small --from_scratch for a small model from random weights"
    )


def _cached(name: str, revision: str | None, *files: str) -> Path | None:
    """The first of the files of a repository that the cache holds, or None."""
    found = (try_to_load_from_cache(name, file, revision=revision) for file in files)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def locate(name: str, revision: str | None = None) -> tuple[bool, HubOrigin | None]:
    """Whether a name is to be loaded without the Hub, and the commit that it stands for.

    Without it are loaded: a folder, and what the cache holds while the Hub cannot be asked.

    Asks for the file that every whole model has, so that a failing Hub is waited for and explained once: transformers
    would ask for file after file, each with all its tries, and say less.

    Args:
        name (`str`): folder or Hub repository.
        revision (`str`, *optional*): branch, tag or commit.

    Raises:
        ValueError: no such repository or revision, or one that may not be read.
        ModelUnreachable: the Hub cannot be reached, and the cache does not hold the model.
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
    except RemoteEntryNotFoundError as error:  # adapters, or no model: what loads it says so
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
    """The tokenizer of a folder or Hub repository, with byte fallback where its vocabulary has bytes.

    Args:
        name (`str`): folder or Hub repository.
        revision (`str`, *optional*): branch, tag or commit.

    Raises:
        ValueError: no tokenizer there, a pickled one, or one that asks for code of its own.
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
    """The same tokenizer with byte fallback switched on, or unchanged when its vocabulary has no bytes."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = (
        {piece for piece, _ in backend["model"].get("vocab", [])} if backend["model"]["type"] == "Unigram" else ()
    )
    if "<0x00>" not in vocabulary or backend["model"].get("byte_fallback"):
        return tokenizer
    backend["model"]["byte_fallback"] = True
    # the metaspace decoder drops every space of the first token it sees, so it must come before the tokens are fused
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
    """An encoder-decoder model of a folder or Hub repository, fp32 and untied; adapters are merged into their base.

    Its `hub_origin` is the commit of the Hub that it came from, or None.

    Args:
        name (`str`): folder or Hub repository.
        tokenizer (*optional*): its tokenizer, to be compared with its embeddings.
        revision (`str`, *optional*): branch, tag or commit.

    Raises:
        ValueError: no model, another kind of model, pickled or cut weights, adapters without their base, or fewer
            embeddings than the tokenizer has pieces.
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
            f"the tokenizer has {len(tokenizer)} pieces but {name} embeds {embeddings}; pass that model's tokenizer"
        )
    if folder.is_dir():
        model.name_or_path = str(folder.resolve())  # adapters keep it, and are loaded from any folder
    return untie(model) if hasattr(model, "shared") else model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' warning that the embeddings are not tied, which is right for mT5."""
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
            raise  # memory may have run out
        adapters = None if Path(name).is_dir() else _adapters_on_the_hub(name, options)
        if adapters:
            return _load_adapters(adapters)
        raise _explain(name, error) from None


def _adapters_on_the_hub(name: str, options: dict) -> Path | None:
    """Folder of the adapters that a Hub repository without a whole model holds, or None."""
    try:
        hf_hub_download(name, ADAPTER_CONFIG, **options)
        return Path(hf_hub_download(name, ADAPTER_WEIGHTS, **options)).parent
    except LOADING_ERRORS:
        return None


def adapter_base(folder: Path) -> str:
    """The model that the adapters of a folder belong to.

    Raises:
        ValueError: an adapter configuration that does not say it.
    """
    return _adapter_base(folder)[0]


def _adapter_base(folder: Path) -> tuple[str, str | None]:
    """The base model of a folder of adapters, and its commit where it was one of the Hub."""
    path = folder / ADAPTER_CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        base, revision = str(values["base_model_name_or_path"]), values.get("revision")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} names no base model ({error}); restore it or train again") from error
    if Path(base).resolve() == folder.resolve():
        raise ValueError(f"{path} names the adapters' own folder as their base model; correct it")
    return base, revision


def _load_adapters(folder: Path) -> PreTrainedModel:
    from peft import PeftModel

    base, revision = _adapter_base(folder)
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ValueError(f"{folder} has an {ADAPTER_CONFIG} but no {ADAPTER_WEIGHTS}; pass a folder that holds both")
    if (folder / KEPT_IDS_FILE).is_file():
        raise ValueError(
            f"{folder} holds adapters of a trimmed vocabulary, which {base} with its full one is no base for: go on "
            "with --resume; final/ is the whole model"
        )
    try:
        model = load_model(base, revision=revision)
    except (ValueError, ModelUnreachable) as error:
        raise ValueError(
            f"{folder} holds adapters of the base model {base}, which cannot be loaded ({error}); put it back, or "
            f"correct base_model_name_or_path in {folder / ADAPTER_CONFIG}"
        ) from None
    try:
        return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        text = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the adapters of {folder} do not fit their base model {base} ({text}); name another"
        ) from None
