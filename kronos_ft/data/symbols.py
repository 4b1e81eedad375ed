"""Validates symbol names: they come from untrusted files and go into reports and file names."""

import re
import unicodedata

MOST_CHARACTERS = 100
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
