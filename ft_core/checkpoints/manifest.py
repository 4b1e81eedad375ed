"""The manifest of a checkpoint: size and SHA-256 of every file, and facts of the training.

A folder without a manifest is incomplete; a folder whose files differ from it is damaged. Neither is loaded.
"""

import hashlib
import json
from pathlib import Path
from typing import NotRequired, TypedDict

from ..io.files import plain, write_text
from ..io.formats import read_record_file

MANIFEST = "manifest.json"
FORMAT = 1


class _File(TypedDict):
    bytes: int
    sha256: str


class Manifest(TypedDict):
    """The fields of `manifest.json` that are read; the facts of training are those of the trainer that wrote it."""

    format: int
    files: dict[str, _File]
    run: NotRequired[str | None]
    extra: NotRequired[bool]
    settings: NotRequired[dict[str, object]]
    world_size: NotRequired[int]
    training_data: NotRequired[str]


def file_hash(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(values: dict) -> str:
    """Hash of the content of a manifest."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def write_manifest(folder: Path, facts: dict[str, object]) -> None:
    """Lists and hashes all files below `folder` in its `manifest.json`, with `facts` beside them."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": file_hash(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    values = plain({"format": FORMAT, **facts, "files": files})
    write_text(folder / MANIFEST, json.dumps({**values, "seal": _seal(values)}, indent=1, ensure_ascii=False) + "\n")


def read_manifest(folder: Path) -> dict:
    """The manifest of a folder.

    Raises:
        ValueError: it is missing or damaged.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise ValueError(f"{MANIFEST} is missing: the checkpoint is incomplete")
    try:
        values = read_record_file(path, "", Manifest)
        seal = values.pop("seal")
        is_sealed = _seal(values) == seal
    except (ValueError, KeyError) as error:  # ValueError: also half of a surrogate pair, which UTF-8 has no bytes for
        raise ValueError(f"{MANIFEST} is damaged") from error
    if not is_sealed:
        raise ValueError(f"{MANIFEST} is damaged")
    if values["format"] > FORMAT:
        raise ValueError(f"{MANIFEST} was written by a newer version of this library")
    return values


def defect_of(folder: Path) -> str | None:
    """Describes the first missing or damaged file of a folder with a manifest, or None; reads every byte."""
    try:
        manifest = read_manifest(folder)
        for name, expected in manifest["files"].items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != expected["bytes"]:
                return f"{name} has {path.stat().st_size:,} bytes instead of {expected['bytes']:,}"
            if file_hash(path) != expected["sha256"]:
                return f"{name} is damaged (its SHA-256 differs from the manifest)"
    except FileNotFoundError:
        return f"{MANIFEST} is missing: the checkpoint is incomplete"
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    return None


def is_extra(folder: Path) -> bool:
    """Whether a checkpoint was written only because of a signal, outside the save schedule of the run."""
    try:
        return bool(read_manifest(folder).get("extra"))
    except ValueError:
        return False
