"""Finds and loads published or saved model folders, from disk or the Hub.

Security: only `config.json` and `model.safetensors` are read. Pickled weights are refused, and code of a repository is
never run. A folder of low-rank adapters is loaded together with its base model.
"""

from pathlib import Path
from typing import ClassVar

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig, PreTrainedModel

from ft_core.checkpoints.safety import check_model_folder, check_revision
from ft_core.checkpoints.weights import check_finite
from ft_core.hub.origin import HubOrigin, origin_of, read_pulled
from ft_core.hub.resolve import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    CONFIG as CONFIG_NAME,
    WEIGHTS as WEIGHTS_NAME,
    HubFiles,
    HubUnreachable,
    check_name,
    fetch,
    refuse_pickles,
)
from ft_core.io.formats import read_json
from ft_core.io.progress_lines import without_loading_bar
from ft_core.runs.folder import BEST_MODEL

from .identity import weights_hash
from .pairing import read_forecaster

__all__ = ["HubUnreachable", "KronosPreTrainedModel", "find_pretrained"]

ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, "base_model.json")
LAYER_COUNTS, WIDTHS = ("n_layers", "n_enc_layers", "n_dec_layers"), ("d_in", "d_model", "n_heads", "ff_dim")
DOWNLOAD_OPTIONS = ("revision", "token", "cache_dir", "local_files_only", "force_download", "subfolder")


def _check_folder(folder: Path) -> Path:
    if not _holds_adapters(folder):
        refuse_pickles(folder)
        missing = [name for name in (CONFIG_NAME, WEIGHTS_NAME) if not (folder / name).is_file()]
        if missing:
            raise ValueError(
                f"model folder {folder} has no {' and no '.join(missing)}; pass a folder with both {CONFIG_NAME} and "
                f"{WEIGHTS_NAME}{_stage_hint(folder)}"
            )
    check_model_folder(folder)
    return folder


def _download(files: HubFiles) -> Path:
    """Downloads the files of a model, or of adapters if the repository contains only adapters."""
    folder = files.get(CONFIG_NAME).parent
    check_model_folder(folder)  # before downloading the weights
    files.first((WEIGHTS_NAME,), ADAPTER_FILES)
    return folder


def folder_of(name: str) -> str:
    """The folder of the best model if `name` is a run folder, else `name`."""
    best = Path(name) / BEST_MODEL
    return str(best) if best.is_dir() and not (Path(name) / CONFIG_NAME).is_file() else name


def _stage_hint(folder: Path) -> str:
    """Names the stages of a run of several, whose folders hold the models."""
    stages = [str(path.parent) for path in sorted(folder.glob(f"*/{BEST_MODEL}"))]
    return f"; it has {' and '.join(stages)}" if stages else ""


def find_pretrained(name_or_path: str | Path, **options) -> Path:
    """Finds or downloads a folder with `config.json` and `model.safetensors`, or with adapters.

    Args:
        name_or_path (`str` or `Path`): a model folder, a run folder (uses its best model), or `owner/name` on the Hub.
        options: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download`, `subfolder`.

    Raises:
        ValueError: the folder or repository has no model in safetensors format, or requires its own code.
        HubUnreachable: the Hub cannot be reached and the model is not in the cache.
    """
    for option in ("revision", "subfolder"):
        check_revision(option, options.get(option))
    name, subfolder = str(name_or_path), options.get("subfolder")
    check_name(name)
    if Path(name).is_dir():
        return _check_folder(Path(name) / subfolder if subfolder else Path(folder_of(name)))
    return fetch(name, _download, kind="a Kronos model", **options)


def read_keys(folder: Path) -> dict:
    """The content of a folder's `config.json`, for any model.

    Raises:
        ValueError: the file is not JSON, or not a JSON object.
    """
    return read_json(folder / CONFIG_NAME, "restore the file", dict)


def _holds_adapters(folder: Path) -> bool:
    return (folder / ADAPTER_CONFIG).is_file() and not (folder / WEIGHTS_NAME).is_file()


class KronosPreTrainedModel(PreTrainedModel):
    """Base class of the Kronos models: strict loading of published folders (no `model_type`), only from safetensors."""

    base_model_prefix = ""
    hub_origin: HubOrigin | None = None  # repository and commit on the Hub that it was loaded from
    keeps_hash: ClassVar[bool] = False  # of the weights that are loaded
    loaded_hash: str | None = None  # of the weights as they were loaded, see `weights_hash`
    forecaster: dict | None = None  # content of the `forecaster.json` that it was loaded with
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
            raise ValueError("trust_remote_code=True is not supported; omit it. Kronos models need no remote code")
        options = {name: kwargs.pop(name) for name in DOWNLOAD_OPTIONS if name in kwargs}
        folder = find_pretrained(pretrained_model_name_or_path, **options)
        if _holds_adapters(folder):
            from .adapters import load_merged

            config = config or cls._read_config(folder, kwargs)[0]
            model = load_merged(cls, folder, config=config, **kwargs)
            check_finite(model, folder)
            model.hub_origin, model.forecaster = origin_of(folder), read_forecaster(folder)
            return model
        if config is None:
            config, kwargs = cls._read_config(folder, kwargs)
        cls.check_weights(folder, config)
        with without_loading_bar():
            model = super().from_pretrained(str(folder), *args, config=config, use_safetensors=True, **kwargs).eval()
        check_finite(model, folder)
        model.hub_origin, model.forecaster = origin_of(folder), read_forecaster(folder)
        if model.hub_origin and read_pulled(folder) is None:
            model.name_or_path = model.hub_origin.repository  # instead of the cache folder, which adapters would record
        model.loaded_hash = weights_hash(model) if cls.keeps_hash else None
        return model

    @classmethod
    def read_config(cls, name_or_path: str | Path, **options) -> PreTrainedConfig:
        """Configuration of a folder or Hub repository, validated as in [`~KronosPreTrainedModel.from_pretrained`]."""
        return cls._read_config(find_pretrained(name_or_path, **options), {})[0]

    @classmethod
    def check_weights(cls, folder: Path, config: PreTrainedConfig) -> None:
        """Compares tensor names and shapes in the file's header with the architecture, before loading.

        Raises:
            ValueError: a damaged file, or a configuration of another or a larger model than the weights.
        """
        try:
            with safe_open(folder / WEIGHTS_NAME, framework="pt") as file:
                found = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{folder / WEIGHTS_NAME} is damaged ({error}); download it again") from error
        # before the model is built: a damaged configuration may describe more than the memory holds
        widest = max((size for shape in found.values() for size in shape), default=0)
        for names, most in ((LAYER_COUNTS, max(len(found), 256)), (WIDTHS, max(widest, 65_536))):
            for name in names:
                if (value := getattr(config, name, 0)) > most:
                    raise ValueError(
                        f"{folder / CONFIG_NAME} has {name}={value}, but the weights beside it are those of a smaller "
                        "model; restore the file"
                    )
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
