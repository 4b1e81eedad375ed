"""Names of symbols: validated, since they come from untrusted files and go into reports and file names; partitions."""

import numbers
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import pandas as pd

MOST_CHARACTERS = 100
PARTITION = "symbol="  # start of the name of a folder with the files of one symbol, as Spark, Hive and pyarrow write it
UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control and format characters, surrogates, line separators


def check_symbol(symbol: str, source: str) -> None:
    """Rejects invalid symbol names; `BTC/USDT:USDT`, `^GSPC` and `贵州茅台` are valid.

    Args:
        symbol (`str`): the name.
        source (`str`): the table it comes from, for the message.

    Raises:
        ValueError: empty, too long, with unprintable characters, or a path out of its folder.
    """
    reason = None
    if not symbol.strip():
        reason = "is empty"
    elif len(symbol) > MOST_CHARACTERS:
        reason = f"has {len(symbol)} characters, the limit is {MOST_CHARACTERS}"
    elif any(unicodedata.category(character) in UNPRINTABLE for character in symbol):
        reason = "contains unprintable characters"
    elif symbol.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:[/\\]", symbol):
        reason = "is an absolute path"
    elif any(part in (".", "..") for part in re.split(r"[/\\]", symbol)):
        reason = "is a path that leads out of its folder"
    if reason:
        raise ValueError(f"{source}: symbol {symbol[:MOST_CHARACTERS]!r} {reason}; rename it, e.g. BTCUSDT")


def symbols_in(frame: pd.DataFrame, column: object | None, name: str, row_word: str) -> list:
    """Different values of the symbol column of a table.

    Args:
        frame (`pd.DataFrame`): the table.
        column (*optional*): its symbol column; the list is empty without one.
        name, row_word (`str`): of the table and of its rows, for messages.

    Raises:
        ValueError: cells that are not text or numbers, such as the lists of a Parquet file.
    """
    if column is None:
        return []
    cells = frame[column].dropna()
    for row, cell in cells.items() if cells.dtype == object else ():
        if not isinstance(cell, str | numbers.Number):
            raise ValueError(
                f"{name}: {column} in {row_word} {row} is a {type(cell).__name__}; the column of symbols must contain "
                "text"
            )
    return list(cells.unique())


def partitions_of(folder: Path) -> list[Path]:
    """The folders `symbol=NAME` in a folder, sorted; the folder itself if it has such a name."""
    if folder.name.startswith(PARTITION):
        return [folder]
    return sorted(path for path in folder.glob(f"{PARTITION}*") if path.is_dir())


def partition_symbol(folder: Path) -> str:
    """The symbol of a folder `symbol=NAME`; characters that a file name cannot have are written as `%2F`."""
    return unquote(folder.name.removeprefix(PARTITION))
