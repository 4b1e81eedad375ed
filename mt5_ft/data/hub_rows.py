"""Rows of a data set of the Hugging Face Hub, by its name; nothing of it is executed."""

import re
from collections.abc import Iterator
from pathlib import Path

from ft_core.io.compressed import SUFFIXES
from ft_core.io.files import DATA_SUFFIXES

NAME = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(:(?P<split>[A-Za-z0-9][\w.-]*))?")
FILES = {*DATA_SUFFIXES, *SUFFIXES, ".ndjson"}
SPLIT = "train"
ROWS_AT_ONCE = 1000


def is_hub_name(path: Path) -> bool:
    """Whether a path can only be a data set of the Hub: `owner/name` or `owner/name:split`, and no such file."""
    return bool(NAME.fullmatch(path.as_posix())) and path.suffix.lower() not in FILES and not path.exists()


def load_hub_rows(path: Path) -> Iterator[tuple[int, dict]]:
    """The rows of a data set with their numbers, from 1; at most `ROWS_AT_ONCE` are in memory.

    The library downloads a data set once and maps it from its cache, so that a run is resumed without the Hub.

    Args:
        path (`Path`): `owner/name` or `owner/name:split`; the split `train` by default.

    Raises:
        ValueError: it cannot be loaded, such as one that needs code of its repository; or no rows.
    """
    import datasets  # slow to import

    name, split = NAME.fullmatch(path.as_posix()).group("name", "split")
    try:
        rows = datasets.load_dataset(name, split=split or SPLIT).with_format("arrow")
    except Exception as error:  # the library raises a dozen unrelated types for a name it cannot load
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"data={path.as_posix()!r} is not a file and could not be loaded as a data set of the Hub ({reason}); "
            "correct the name (OWNER/NAME or OWNER/NAME:SPLIT), or check the connection"
        ) from None
    if not len(rows):
        raise ValueError(f"data set {path.as_posix()} is empty; pass one with records")
    yield from enumerate((row for part in rows.iter(ROWS_AT_ONCE) for row in part.to_pylist()), start=1)
