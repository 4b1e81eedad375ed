"""Names of symbols: they come from files, columns and data sets of others and go into reports and names of files."""

import re
import unicodedata

MOST_CHARACTERS = 100
UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control and formatting characters, surrogates, separators of lines


def check_symbol(symbol: str, source: str) -> None:
    """Refuses names that no market has: `BTC/USDT:USDT`, `^GSPC` and `贵州茅台` are fine.

    Args:
        symbol (`str`): the name.
        source (`str`): table that it comes from, for the message.

    Raises:
        ValueError: empty, too long, with characters that do not print, or a path that leads out of a folder.
    """
    reason = None
    if not symbol.strip():
        reason = "is empty"
    elif len(symbol) > MOST_CHARACTERS:
        reason = f"has {len(symbol)} characters, more than {MOST_CHARACTERS}"
    elif any(unicodedata.category(character) in UNPRINTABLE for character in symbol):
        reason = "holds characters that do not print"
    elif symbol.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:[/\\]", symbol):
        reason = "is an absolute path"
    elif any(part in (".", "..") for part in re.split(r"[/\\]", symbol)):
        reason = "is a path that leads out of its folder"
    if reason:
        raise ValueError(f"{source}: symbol {symbol[:MOST_CHARACTERS]!r} {reason}; rename it, e.g. BTCUSDT")
