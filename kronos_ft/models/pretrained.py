"""Finds and loads published or saved model folders, from disk or the Hub.

Security: only `config.json` and `model.safetensors` are read. Pickled weights are refused, and code of a repository is
never run. A folder of low-rank adapters is loaded together with its base model.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import torch
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    StrictDataclassError,
)
from huggingface_hub.utils import httpx
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig, PreTrainedModel

from ft_core.checkpoints.safety import check_model_folder, check_revision
from ft_core.hub.client import hub_answers
from ft_core.hub.errors import LOG_IN, HubFailure, explain
from ft_core.hub.origin import HubOrigin, origin_of, read_pulled
from ft_core.io.pickles import is_pickle, refuse_pickled_weights, weights_remedy
from ft_core.runs.folder import BEST_MODEL

from .identity import ADAPTER_CONFIG

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
ADAPTER_FILES = (ADAPTER_CONFIG, "adapter_model.safetensors", "base_model.json")
LATER = "try again later, or pass a folder with the model"
DOWNLOAD_OPTIONS = ("revision", "token", "cache_dir", "local_files_only", "force_download", "subfolder")


class HubUnreachable(ConnectionError):
    """The Hub gave no usable answer and the model is not in the cache."""


def _pickle_message(name: str, pickles: list[str]) -> str:
    first, *_ = found = sorted(pickles)
    return (
        f"{name} contains only pickled weights ({', '.join(found[:3])}), which are never loaded; get "
        f"{WEIGHTS_NAME} from the author, or {weights_remedy(first)}"
    )


def _check_folder(folder: Path) -> Path:
    missing = [name for name in (CONFIG_NAME, WEIGHTS_NAME) if not (folder / name).is_file()]
    pickles = [path.name for path in folder.iterdir() if is_pickle(path)] if folder.is_dir() else []
    if WEIGHTS_NAME in missing and pickles:
        raise ValueError(_pickle_message(str(folder), pickles))
    if missing:
        raise ValueError(
            f"model folder {folder} has no {' and no '.join(missing)}; pass a folder with both {CONFIG_NAME} and "
            f"{WEIGHTS_NAME}"
        )
    check_model_folder(folder)
    return folder


def _fetch(name: str, options: dict) -> Path:
    """Downloads the files of a model, or of adapters if the repository contains only adapters."""
    folder = Path(hf_hub_download(name, CONFIG_NAME, **options)).parent
    check_model_folder(folder)  # before downloading the weights
    if origin := origin_of(folder):  # the branch may change between two files
        options = {**options, "revision": origin.commit}
    try:
        hf_hub_download(name, WEIGHTS_NAME, **options)
    except EntryNotFoundError as missing:
        if isinstance(missing, LocalEntryNotFoundError):  # the Hub failed: adapters may be in the cache
            options = {**options, "local_files_only": True, "force_download": False}
        try:
            for file in ADAPTER_FILES:
                hf_hub_download(name, file, **options)
        except EntryNotFoundError:
            raise missing from missing.__cause__
    return folder


def _download(name: str, options: dict) -> Path:
    if not options.get("local_files_only") and not hub_answers():
        options = {**options, "local_files_only": True}
    revision = options.get("revision")
    try:
        return _fetch(name, options)
    except HFValidationError as error:
        raise ValueError(f"model={name!r} is not an existing folder or a Hub name (owner/name); correct it") from error
    except RepositoryNotFoundError as error:
        if isinstance(error, GatedRepoError):
            raise explain(error, name) from error
        raise ValueError(
            f"model={name!r} is not a folder or a Hub repository that you can read; correct the name or {LOG_IN}"
        ) from error
    except RemoteEntryNotFoundError as error:
        raise _incomplete(name, revision, options.get("token")) from error
    except LocalEntryNotFoundError as error:
        failure = explain(error, name, revision)
        if isinstance(failure, ValueError) and not isinstance(error.__cause__, OfflineModeIsEnabled):
            raise failure from None
        if isinstance(failure, HubFailure):
            raise HubUnreachable(f"{failure}, and the model is not in the local cache; {LATER}") from None
        raise HubUnreachable(
            f"cannot reach the Hub for {name}, and it is not in the local cache; connect, or pass a folder with the "
            "model, or start from random weights (--from_scratch; in Python from_size)"
        ) from None
    except (httpx.HTTPError, ConnectionError) as error:  # includes error responses of the Hub
        found = explain(error, name, revision) or HubFailure(f"the download of {name} failed ({error})")
        if isinstance(found, ValueError):
            raise found from error
        if not options.get("local_files_only"):
            with suppress(LocalEntryNotFoundError):  # the client uses the cache after some failures, but not all
                return _fetch(name, {**options, "local_files_only": True, "force_download": False})
        raise HubUnreachable(f"{found}; no incomplete file is kept; {LATER}") from error
    except OSError as error:
        if "Consistency check failed" not in str(error):
            raise
        raise HubUnreachable(
            f"the Hub sent a file of {name} with a wrong size; no incomplete file is kept; {LATER}"
        ) from None


def _incomplete(name: str, revision: str | None, token: str | bool | None) -> ValueError:
    """The error for a repository without the files of a model."""
    files = HfApi().list_repo_files(name, revision=revision, token=token)
    pickles = [file for file in files if is_pickle(file)]
    if pickles and WEIGHTS_NAME not in files:
        return ValueError(_pickle_message(name, pickles))
    return ValueError(
        f"repository {name} has no {CONFIG_NAME} or no {WEIGHTS_NAME}; pass a repository with a Kronos model"
    )


def folder_of(name: str) -> str:
    """The folder of the best model if `name` is a run folder, else `name`."""
    best = Path(name) / BEST_MODEL
    return str(best) if best.is_dir() and not (Path(name) / CONFIG_NAME).is_file() else name


def find_pretrained(name_or_path: str | Path, **options) -> Path:
    """Finds or downloads a folder with `config.json` and `model.safetensors`.

    Args:
        name_or_path (`str` or `Path`): a model folder, a run folder (uses its best model), or `owner/name` on the Hub.
        options: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download`, `subfolder`.

    Raises:
        ValueError: the folder or repository has no model in safetensors format, or requires its own code.
        HubUnreachable: the Hub cannot be reached and the model is not in the cache.
    """
    path = Path(name_or_path)
    for option in ("revision", "subfolder"):
        check_revision(option, options.get(option))
    if path.is_dir():
        subfolder = options.get("subfolder")
        return _check_folder(path / subfolder if subfolder else Path(folder_of(str(path))))
    if path.exists():
        refuse_pickled_weights(path)
        raise ValueError(f"model={name_or_path} is a file; pass the folder with {CONFIG_NAME} and {WEIGHTS_NAME}")
    if path.is_absolute() or str(name_or_path).startswith(("./", "../", "~")):
        raise ValueError(f"model folder {name_or_path} does not exist; correct the path")
    return _download(str(name_or_path), {k: v for k, v in options.items() if v is not None})


def read_keys(folder: Path) -> dict:
    """The content of a folder's `config.json`, for any model.

    Raises:
        ValueError: the file is not JSON, or not a JSON object.
    """
    try:
        values = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{folder / CONFIG_NAME} is not valid JSON ({error}); restore the file") from error
    if not isinstance(values, dict):
        raise ValueError(f"{folder / CONFIG_NAME} contains a {type(values).__name__}, not an object; restore the file")
    return values


def _holds_adapters(folder: Path) -> bool:
    return (folder / ADAPTER_CONFIG).is_file() and not (folder / WEIGHTS_NAME).is_file()


class KronosPreTrainedModel(PreTrainedModel):
    """Base class of the Kronos models: strict loading of published folders (no `model_type`), only from safetensors."""

    base_model_prefix = ""
    hub_origin: HubOrigin | None = None  # repository and commit on the Hub that it was loaded from
    _no_split_modules: ClassVar[list[str]] = ["TransformerBlock"]
    _supports_sdpa = True

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *args,
        config: PreTrainedConfig | None = None,
        **kwargs,
    ) -> "KronosPreTrainedModel":
        r"""Loads a published or saved model from a folder or Hub repository; merges adapters.

        Args:
            pretrained_model_name_or_path (`str` or `Path`): model folder, run folder (uses its best model), or
                `owner/name` on the Hub.
            config (*optional*): a configuration that replaces the folder's `config.json`.
            kwargs: Hub options (`revision`, `token`, `cache_dir`, `local_files_only`, `force_download`, `subfolder`),
                configuration values to override, and `dtype`, `device_map` as in transformers.

        Raises:
            ValueError: another architecture, only pickled weights, missing tensors, or a repository with code.
            HubUnreachable: the Hub cannot be reached and the model is not in the cache.
        """
        if kwargs.pop("trust_remote_code", None):
            raise ValueError("trust_remote_code=True is refused; omit it, Kronos models need no code from a repository")
        options = {name: kwargs.pop(name) for name in DOWNLOAD_OPTIONS if name in kwargs}
        path = Path(folder_of(str(pretrained_model_name_or_path)))
        folder = path if _holds_adapters(path) else find_pretrained(pretrained_model_name_or_path, **options)
        if _holds_adapters(folder):
            from .adapters import load_merged

            check_model_folder(folder)
            config = config or cls._read_config(folder, kwargs)[0]
            model = load_merged(cls, folder, config=config, **kwargs)
            model.hub_origin = origin_of(folder)
            return model
        if config is None:
            config, kwargs = cls._read_config(folder, kwargs)
        cls.check_weights(folder, config)
        model = super().from_pretrained(str(folder), *args, config=config, use_safetensors=True, **kwargs).eval()
        model.hub_origin = origin_of(folder)
        if model.hub_origin and read_pulled(folder) is None:
            model.name_or_path = model.hub_origin.repository  # instead of the cache folder, which adapters would record
        return model

    @classmethod
    def read_config(cls, name_or_path: str | Path, **options) -> PreTrainedConfig:
        """Configuration of a folder or Hub repository, validated as in [`~KronosPreTrainedModel.from_pretrained`]."""
        path = Path(folder_of(str(name_or_path)))
        folder = path if (path / ADAPTER_CONFIG).is_file() else find_pretrained(name_or_path, **options)
        return cls._read_config(folder, {})[0]

    @classmethod
    def check_weights(cls, folder: Path, config: PreTrainedConfig) -> None:
        """Compares tensor names and shapes in the file's header with the architecture, before loading."""
        try:
            with safe_open(folder / WEIGHTS_NAME, framework="pt") as file:
                found = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{folder / WEIGHTS_NAME} is damaged ({error}); download it again") from error
        with torch.device("meta"):
            expected = {name: list(value.shape) for name, value in cls(config).state_dict().items()}
        wrong = {
            "missing": sorted(expected.keys() - found.keys()),
            "unexpected": sorted(found.keys() - expected.keys()),
            "with another shape": sorted(n for n in expected.keys() & found.keys() if expected[n] != found[n]),
        }
        for kind, names in wrong.items():
            if names:
                raise ValueError(
                    f"the weights in {folder} do not match its configuration as {cls.__name__}: {len(names)} tensors "
                    f"{kind}, the first is {names[0]}; pass a folder of the right model"
                )

    @classmethod
    def _read_config(cls, folder: Path, kwargs: dict) -> tuple[PreTrainedConfig, dict]:
        """Reads a folder's configuration, applies overrides from `kwargs`, and returns it with the remaining kwargs."""
        values = read_keys(folder)
        fields = cls.config_class.published_keys()
        missing = [key for key in fields if key not in values]
        if missing:
            found = values.get("model_type") or ", ".join(sorted(values)[:4]) or "nothing"
            raise ValueError(
                f"{folder} is not a {cls.__name__}: its {CONFIG_NAME} lacks {missing[0]} (it describes: {found}); "
                "pass a folder of the right model"
            )
        own = [key for key in cls.config_class.optional_keys if key in values]
        overrides = {key: kwargs.pop(key) for key in list(kwargs) if key in (*fields, *cls.config_class.optional_keys)}
        try:
            return cls.config_class(**{key: values[key] for key in (*fields, *own)} | overrides), kwargs
        except (ValueError, TypeError, StrictDataclassError) as error:
            raise ValueError(f"{folder / CONFIG_NAME}: {' '.join(str(error).split())}") from error
