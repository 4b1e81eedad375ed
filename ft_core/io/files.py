"""Atomic writes: write to a temporary name in the same folder, flush to disk, rename."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

FULL_DISK_CODES = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
FULL_DISK_MESSAGES = (
    *("no space left", "file too large", "quota exceeded", "os error 28", "os error 27", "os error 122"),
    *("pytorchstreamwriter failed", "unexpected pos"),
)


OLD = ".old-"  # a folder that is being replaced
MOST_PREFIX, MOST_SUFFIX = 64, 16  # bytes of a name, characters of its suffix, in the temporary name beside it


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows has no folder handles to flush
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _short(name: str) -> str:
    """A name, cut so that a temporary name made of it is not too long where the name itself is not."""
    return os.fsencode(name)[:MOST_PREFIX].decode(errors="ignore")


def remove_tree(path: Path) -> None:
    """Removes a folder with its content, a file, or a link (not what it names); nothing if there is none."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.exists():
        shutil.rmtree(path)


def write_file(path: Path, write: Callable[[Path], None]) -> None:
    """Lets `write` fill a temporary file beside `path`, flushes it and renames it into place."""
    suffix = path.suffix if len(path.suffix) < MOST_SUFFIX else ""
    handle, name = tempfile.mkstemp(prefix=f".{_short(path.name)}.", suffix=suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file atomically."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def write_json(path: Path, values: object, indent: int | None = 2) -> None:
    """Writes JSON atomically; NaN becomes null, so that every parser accepts it.

    Args:
        path (`Path`): the file.
        values: dicts, lists, numbers and texts.
        indent (`int`, *optional*): None writes one line, which is several times as fast for large values.
    """
    write_text(path, json.dumps(plain(values), indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: object) -> object:
    """Converts a value for JSON: NaN and infinities become null, arrays of one element become numbers."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if abs(value) != float("inf") and value == value else None
    if hasattr(value, "item"):
        return plain(value.item())
    return str(value)


def flush_folder(folder: Path) -> None:
    """Flushes a folder and its content to disk, with the read permissions of the folder."""
    for path in folder.rglob("*"):
        if path.is_dir():
            _sync_folder(path)
            continue
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(path, 0o644)  # safetensors creates files that only their owner may read
    os.chmod(folder, 0o755)
    _sync_folder(folder)


def move_folder(source: Path, target: Path) -> None:
    """Renames a folder and flushes the rename to disk."""
    source.rename(target)
    _sync_folder(target.parent)


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Lets `fill` write into a temporary folder beside `path`, flushes it and puts it in place of `path`."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{_short(path.name)}.", dir=path.parent))
    try:
        fill(temporary)
        flush_folder(temporary)
        if path.exists() or path.is_symlink():
            old = path.with_name(f"{OLD}{_short(path.name)}")
            remove_tree(old)
            path.rename(old)
            temporary.rename(path)
            remove_tree(old)
        else:
            temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_folder(path.parent)


def is_full_disk(error: BaseException) -> bool:
    """Whether an error or one of its causes means that the disk is full."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in FULL_DISK_CODES:
            return True
        if any(text in str(seen).lower() for text in FULL_DISK_MESSAGES):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


DATA_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".gz", ".bz2", ".zip", ".json", ".jsonl")


def check_data_file(name: str) -> None:
    """Raises ValueError if a name can only be a data file and the file does not exist.

    Folders, globs and data sets of the Hub are checked by the code that reads them.
    """
    path = Path(name)
    if path.suffix.lower() in DATA_SUFFIXES and not any(sign in name for sign in "*?[") and not path.exists():
        raise ValueError(f"data file {path} does not exist; correct the path")
