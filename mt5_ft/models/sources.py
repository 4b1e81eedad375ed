"""Where an mT5 model or tokenizer may come from, looked at before transformers loads anything of it."""

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
MOST_PULL_REQUESTS = 5  # that are looked into
MODEL_CONFIGS = ("config.json", "model.safetensors.index.json")


class RefusedModel(ValueError):
    """A model that must not or cannot be used; the message says why and what to do."""


def _pickles(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.iterdir() if is_pickle(path))
    return [name for name in names if not name.startswith(NOT_WEIGHTS)]


def check_name(name: str) -> None:
    """Raises ValueError for a file, a path that does not exist, and a name that no repository can have."""
    path = Path(name)
    if path.is_dir():
        return
    if path.is_file():
        refuse_pickled_weights(path)
        raise ValueError(f"model={name} is a file; pass the folder that holds config.json and model.safetensors")
    if path.is_absolute() or name.startswith(("./", "../", "~")):
        raise ValueError(f"model folder {name} does not exist; correct the path")
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ValueError(
            f"model={name!r} is neither an existing folder nor a Hub name of the form owner/name; correct it"
        ) from error


def check_folder(folder: Path) -> None:
    """Refuses pickled weights without others, code of the folder's own, and weights outside of it.

    Raises:
        ValueError: with the way to convert, or what to remove.
    """
    check_model_folder(folder)
    pickles = _pickles(folder)
    if pickles and not any(folder.glob("*.safetensors")):
        target = "adapter_model.safetensors" if pickles[0].startswith("adapter") else "model.safetensors"
        raise ValueError(
            f"model folder {folder} holds only pickled weights ({pickles[0]}), which are never loaded; "
            f"{weights_remedy(pickles[0], target)}"
        )


def check_tokenizer_folder(folder: Path) -> None:
    """Refuses a tokenizer that is pickled or asks for code of its folder.

    Raises:
        ValueError: with the files that are needed instead.
    """
    check_model_folder(folder)
    pickles = [name for name in _pickles(folder) if "token" in name.lower() or "vocab" in name.lower()]
    if pickles and not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ValueError(
            f"folder {folder} holds only a pickled tokenizer ({pickles[0]}), which is never loaded; convert it where "
            "you trust its origin: read it there and write tokenizer.json with tokenizer.save_pretrained(folder)"
        )


def _published_file(name: str, file: str, options: dict) -> Path | None:
    """A small file of a repository, from the cache or the Hub; None where it has none or cannot be reached."""
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
    """Looks at the small files of a Hub repository before its weights are fetched.

    Args:
        name (`str`): owner/name.
        files (`tuple` of `str`): what to look at.
        options: `revision`, and `local_files_only` to look into the cache alone.

    Raises:
        RefusedModel: code of its own, weights that are pickled or outside of the repository.
        OSError: a repository that does not exist.
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
    """The newest pull request of a Hub repository that holds its weights as safetensors, `refs/pr/N`, or None.

    Anybody may open one: it is named, and never taken unasked.
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
    """Refuses a repository on the Hub without safetensors, which transformers would have converted by a third party.

    Raises:
        RefusedModel: with the way to convert pickled weights.
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
            f"{name} holds only pickled weights ({pickles[0]}), which are never loaded; {others}fetch it and "
            f"{weights_remedy(pickles[0])}"
        )
    raise RefusedModel(f"{name} has no {WEIGHT_FILES[0]}; name a repository that holds an mT5 model")
