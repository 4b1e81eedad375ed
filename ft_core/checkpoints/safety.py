"""Safety checks of a model folder before loading: no code, no pickled weights, no weights outside the folder."""

from pathlib import Path

from ..io.formats import read_json
from ..io.pickles import is_pickle, weights_remedy

CODE_KEYS = ("auto_map", "custom_pipelines")  # name modules of the repository
FILES_WITH_CODE = ("config.json", "tokenizer_config.json", "processor_config.json", "adapter_config.json")
INDEX_FILES = ("model.safetensors.index.json", "adapter_model.safetensors.index.json")
RESTORE = "restore the file"
WEIGHTS_KEY = "transformers_weights"  # lets config.json name the file of weights


def _asks_for_code(value: object) -> str | None:
    """The key by which a configuration asks to run code of a repository, at any depth."""
    if isinstance(value, dict):
        for key, item in value.items():
            if (key in CODE_KEYS and item) or (key == "trust_remote_code" and item is True):
                return key
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for part in parts if (found := _asks_for_code(part))), None)


def refuse_remote_code(path: Path) -> None:
    """Raises ValueError if a configuration file asks to run code of its repository."""
    if path.is_file() and (key := _asks_for_code(read_json(path, RESTORE))):
        raise ValueError(
            f"{path} asks to run code of the repository ({key}), which is never done; if the weights have a known "
            f"architecture, remove {key} from the file; otherwise pass another model"
        )


def _check_weights_name(path: Path, name: object) -> None:
    if not isinstance(name, str) or name != Path(name).name or "\\" in name or name in ("", ".", ".."):
        raise ValueError(f"{path} refers to weights outside its folder ({name!r:.100}); download the model again")
    if is_pickle(name):
        raise ValueError(f"{path} refers to pickled weights ({name}), which are never loaded; {weights_remedy(name)}")
    if not name.endswith(".safetensors"):
        raise ValueError(f"{path} refers to weights that are not safetensors ({name!r:.100}); download the model again")


def check_weights_index(path: Path) -> None:
    """Raises ValueError when an index of weights names a file that is pickled or outside of its folder."""
    if not path.is_file():
        return
    values = read_json(path, RESTORE)
    shards = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(shards, dict):
        raise ValueError(f"{path} has no weight_map; download the model again")
    for name in dict.fromkeys(map(str, shards.values())):
        _check_weights_name(path, name)


def check_weights_setting(path: Path) -> None:
    """Raises ValueError when a `config.json` names a file of weights that is pickled or outside of its folder."""
    values = read_json(path, RESTORE) if path.is_file() else None
    name = values.get(WEIGHTS_KEY) if isinstance(values, dict) else None
    if name is not None and name not in INDEX_FILES:
        _check_weights_name(path, name)


def check_model_folder(folder: Path) -> None:
    """Rejects a folder whose files ask for code, or for weights that are pickled or outside the folder.

    Raises:
        ValueError: naming the file and what it asks for.
    """
    for name in FILES_WITH_CODE:
        refuse_remote_code(folder / name)
    for name in INDEX_FILES:
        check_weights_index(folder / name)
    check_weights_setting(folder / "config.json")


def check_revision(name: str, value: str | None) -> None:
    """Raises ValueError if a setting that is part of a path (a revision, a subfolder) points outside of it."""
    if value and (value.startswith(("/", "\\", "~")) or ".." in value.replace("\\", "/").split("/")):
        raise ValueError(f"{name}={value!r} is outside the folder of the model; pass a path inside it")
