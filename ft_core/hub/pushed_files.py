"""Selects the files of a model folder to push: those that load the model, without code and local paths."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from ..checkpoints.listing import checkpoint_step
from ..checkpoints.weights import CONFIGS, WEIGHTS, defect_of_weights
from ..io.formats import read_json
from ..io.pickles import is_pickle
from ..runs.folder import BEST_MODEL, FINAL_MODEL, RUN_FILE
from .origin import PULLED_FILE, is_hub_name

CARD = "README.md"
LICENCE = re.compile(r"(LICENSE|NOTICE)(-[A-Z\d.]+)?(\.(txt|md))?")
STATE = ("run.json", "trainer_state.json", "training_metrics.json", "training_args.json", "manifest.json")
# JSON without settings: pieces of a vocabulary may look like paths
NO_SETTINGS = ("tokenizer.json", "vocab.json", "added_tokens.json", "kept_ids.json")
UNTOUCHED_CARD = "[More Information Needed]"  # peft writes a card of empty headings
PIECES = re.compile(r"tokens?(_decoder)?$")  # settings that hold pieces of a vocabulary
_PLACES = re.compile(r"(path|file|dir|folder)$")
_PARTS = re.compile(
    r"((generation|adapter|tokenizer|processor|preprocessor)_)?config\.json"
    r"|(tokenizer|vocab|special_tokens_map|added_tokens)\.json|(spiece|tokenizer|sentencepiece\.bpe)\.model"
    r"|(task|kept_ids|base_model|trained_with|forecaster)\.json|chat_template\.jinja"
)


@dataclass
class PushedFiles:
    """Files by their name in the repository, as a path or changed content, and why the others stay here."""

    files: dict[str, Path | bytes] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What stays here, in words, a line for each reason."""
        reasons = dict.fromkeys(self.left_out.values())
        return [
            f"left out ({reason}): {', '.join(n for n, why in self.left_out.items() if why == reason)}"
            for reason in reasons
        ]


def is_part(name: str) -> bool:
    """Whether a file is part of a model, pushed and pulled: weights, configuration, tokenizer, or licence."""
    if "/" in name or is_pickle(name) or name in (*STATE, PULLED_FILE):
        return False
    return bool(WEIGHTS.fullmatch(name) or _PARTS.fullmatch(name) or LICENCE.fullmatch(name))


def is_stale(name: str, pushed: Collection[str]) -> bool:
    """Whether a file of the repository would be loaded beside those that are pushed, and is of another model."""
    return name not in pushed and is_part(name) and not LICENCE.fullmatch(name)


def _reason_to_leave(path: Path) -> str | None:
    name = path.name
    if name.startswith(".") or name.endswith(("~", ".tmp", ".lock", ".incomplete")):
        return "hidden or temporary"
    if path.is_dir():
        return "a folder"
    if is_pickle(path):
        return "pickled: could run code"
    if name == PULLED_FILE:
        return "record of the pull"
    if name in STATE:
        return "training record with local paths"
    if name != CARD and not is_part(name):
        return "not part of a model"
    if name == CARD and UNTOUCHED_CARD in path.read_text(encoding="utf-8", errors="replace"):
        return "empty card template"
    return None


def _is_place(name: str, value: str) -> bool:
    """Whether a setting names a place on this machine."""
    if Path(value).is_absolute() or re.match(r"(\.{1,2}|~[\w.-]*)[/\\]|[A-Za-z]:[/\\]", value):
        return True
    may_be = _PLACES.search(name) or "/" in value or "\\" in value
    return bool(value and may_be and len(value) < 4096 and Path(value).exists())


def _public(value: object, name: str) -> object:
    """A setting without what names a place here, at any depth; None where nothing is left of it."""
    if isinstance(value, str):
        return None if _is_place(name, value) else value
    if PIECES.search(name):
        return value
    if isinstance(value, dict):
        return {key: kept for key, one in value.items() if (kept := _public(one, key)) is not None or one is None}
    if isinstance(value, list):
        return [kept for one in value if (kept := _public(one, name)) is not None or one is None]
    return value


def _changed_settings(path: Path, changes: Mapping[str, object]) -> bytes | None:
    """Content of a configuration with changes and without what names a place here, or None if neither alters it."""
    values = read_json(path, "restore the file, then push")
    if not isinstance(values, dict):
        return None
    kept = _public({name: value for name, value in values.items() if name not in changes}, "")
    kept |= {name: value for name, value in changes.items() if value is not None and name in values}
    if kept == values:
        return None
    return (json.dumps(kept, indent=2, ensure_ascii=False) + "\n").encode()


def choose_files(folder: Path, changes: Mapping[str, Mapping[str, object]] = MappingProxyType({})) -> PushedFiles:
    """The files of a model folder that are pushed; nothing in the folder is changed.

    Args:
        folder (`Path`): the model's.
        changes (`Mapping`, *optional*): settings by file that are pushed with another value; not at all where it is
            None.

    Raises:
        ValueError: weights that are missing, cut short, pickled alone, or a configuration that is not JSON.
    """
    defect = defect_of_weights(folder)
    if defect:
        raise ValueError(f"{folder} is not pushed: {defect}; push a folder with complete *.safetensors")
    chosen = PushedFiles()
    for path in sorted(folder.iterdir()):
        reason = _reason_to_leave(path)
        if reason:
            chosen.left_out[path.name] = reason
            continue
        is_settings = path.suffix == ".json" and path.name not in NO_SETTINGS and not path.name.endswith(".index.json")
        changed = _changed_settings(path, changes.get(path.name, {})) if is_settings else None
        chosen.files[path.name] = path if changed is None else changed
    return chosen


def find_folder(path: Path, kept: str) -> tuple[Path, Path | None]:
    """The model folder of a model folder or run folder, and the run that it is of, where there is one.

    Args:
        path: what was named.
        kept: name of the folder in which a finished run keeps its model.

    Raises:
        ValueError: no such folder, a run that kept no model, or a folder without a configuration.
    """
    if not path.is_dir():
        raise ValueError(f"{path} is {'a file' if path.exists() else 'missing'}; pass a model folder or a run folder")
    if (path / kept).is_dir():
        return path / kept, path
    if (path / RUN_FILE).is_file():
        raise ValueError(
            f"the run in {path} has no {kept}/, so it did not finish; continue with --resume, or push a checkpoint"
        )
    if not any((path / name).is_file() for name in CONFIGS):
        raise ValueError(
            f"{path} is neither a model folder (no {' and no '.join(CONFIGS)}) nor a run folder; pass one of them"
        )
    above = path.resolve().parent
    of_run = path.resolve().name in (BEST_MODEL, FINAL_MODEL) or checkpoint_step(path) is not None
    return path, above if of_run and (above / RUN_FILE).is_file() else None


def check_base(folder: Path, base: str, merge: str) -> str:
    """The Hub model that a folder's adapters belong to.

    Args:
        folder: holds the adapters.
        base: the model that they belong to.
        merge: how they are merged into a model of their own.

    Raises:
        ValueError: it is a folder of this machine, which nobody else has.
    """
    if not is_hub_name(base):
        raise ValueError(f"{folder} contains adapters for the local model {base}, which is not on the Hub; {merge}")
    return base
