"""Checks the source of an mT5 model or tokenizer before transformers loads any file of it."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers.utils import cached_file

from ft_core.checkpoints.safety import (
    check_model_folder,
    check_weights_index,
    check_weights_setting,
    refuse_remote_code,
)
from ft_core.checkpoints.weights import NOT_WEIGHTS
from ft_core.io.pickles import is_pickle, refuse_pickled_weights, weights_remedy

TOKENIZER_FILES = ("tokenizer.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "vocab.json")
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
TOKENIZER_CONFIGS = ("config.json", "tokenizer_config.json")
MOST_PULL_REQUESTS = 5  # newest pull requests to search
MODEL_CONFIGS = ("config.json", "model.safetensors.index.json")


class RefusedModel(ValueError):
    """A model that must not or cannot be used; the message contains reason and remedy."""


def _pickles(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.iterdir() if is_pickle(path))
    return [name for name in names if not name.startswith(NOT_WEIGHTS)]


def check_name(name: str) -> None:
    """Raises ValueError for a file, a missing path, or an invalid repository name."""
    path = Path(name)
    if path.is_dir():
        return
    if path.is_file():
        refuse_pickled_weights(path)
        raise ValueError(f"model={name} is a file; pass the folder with config.json and model.safetensors")
    if path.is_absolute() or name.startswith(("./", "../", "~")):
        raise ValueError(f"model folder {name} does not exist; correct the path")
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ValueError(f"model={name!r} is not an existing folder or a Hub name (owner/name); correct it") from error


def check_folder(folder: Path) -> None:
    """Rejects a folder with only pickled weights, with its own code, or with weights outside of it.

    Raises:
        ValueError: the folder is rejected; the message explains how to convert it, or what to remove.
    """
    check_model_folder(folder)
    pickles = _pickles(folder)
    if pickles and not any(folder.glob("*.safetensors")):
        target = "adapter_model.safetensors" if pickles[0].startswith("adapter") else "model.safetensors"
        raise ValueError(
            f"model folder {folder} contains only pickled weights ({pickles[0]}), which are never loaded; "
            f"{weights_remedy(pickles[0], target)}"
        )


def check_tokenizer_folder(folder: Path) -> None:
    """Rejects a pickled tokenizer, or one that requires its own code.

    Raises:
        ValueError: the tokenizer is rejected; the message names the needed files.
    """
    check_model_folder(folder)
    pickles = [name for name in _pickles(folder) if "token" in name.lower() or "vocab" in name.lower()]
    if pickles and not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ValueError(
            f"folder {folder} contains only a pickled tokenizer ({pickles[0]}), which is never loaded; if you trust "
            "its origin, load it elsewhere and write tokenizer.json with tokenizer.save_pretrained(folder)"
        )


def _published_file(name: str, file: str, options: dict) -> Path | None:
    """A small file of a repository, from the cache or the Hub; None if it is missing or unreachable."""
    found = cached_file(
        name,
        file,
        **options,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return None if found is None else Path(found)


def check_repository(name: str, files: tuple[str, ...], **options) -> None:
    """Checks the small files of a Hub repository before its weights are downloaded.

    Args:
        name (`str`): owner/name.
        files (`tuple` of `str`): the files to check.
        options: `revision`, and `local_files_only` to use only the cache.

    Raises:
        RefusedModel: the repository requires its own code, or has weights that are pickled or outside of it.
        OSError: the repository does not exist.
    """
    try:
        for file in files:
            if (path := _published_file(name, file, options)) is not None:
                if file.endswith(".index.json"):
                    check_weights_index(path)
                else:
                    refuse_remote_code(path)
                    check_weights_setting(path)
    except ValueError as error:
        raise RefusedModel(f"{name}: {error}") from error


def _offered_conversion(name: str) -> str | None:
    """The newest pull request of a Hub repository with safetensors weights, `refs/pr/N`, or None.

    Anybody can open a pull request: the message names it, but it is never used automatically.
    """
    try:
        refs = HfApi().list_repo_refs(name, include_pull_requests=True).pull_requests or []
        newest = sorted(refs, key=lambda one: int(one.ref.rsplit("/", 1)[-1]), reverse=True)
        for one in newest[:MOST_PULL_REQUESTS]:
            if {*WEIGHT_FILES} & set(HfApi().list_repo_files(name, revision=one.ref)):
                return one.ref
    except (OSError, ValueError):
        pass
    return None


def check_published_weights(name: str, revision: str | None = None) -> None:
    """Rejects a Hub repository without safetensors; transformers would use a conversion service for it.

    Raises:
        RefusedModel: no safetensors; the message explains how to convert pickled weights.
        OSError: the Hub does not answer.
    """
    files = HfApi().list_repo_files(name, revision=revision)
    if {*WEIGHT_FILES, "adapter_model.safetensors"} & set(files):
        return
    pickles = sorted(file for file in files if is_pickle(file) and not file.startswith(NOT_WEIGHTS))
    if pickles:
        offered = _offered_conversion(name)
        others = f"pass --revision {offered}, a pull request with safetensors, if you trust it; or " if offered else ""
        raise RefusedModel(
            f"{name} contains only pickled weights ({pickles[0]}), which are never loaded; {others}download it and "
            f"{weights_remedy(pickles[0])}"
        )
    raise RefusedModel(f"{name} has no {WEIGHT_FILES[0]}; pass a repository with an mT5 model")
