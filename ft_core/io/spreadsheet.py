"""Escapes untrusted text in tables and reports: spreadsheet formulas and HTML stay text."""

import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # also full-width
MARKUP = re.compile(r"&|<(?!\s)|(?<!\s)>")  # `p < 0.05` is no markup


def neutral_cell(text: str) -> str:
    """Text of a CSV cell, with an apostrophe before a spreadsheet formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def neutral_frame(frame: "pd.DataFrame") -> "pd.DataFrame":
    """A table with all text cells and column names escaped by [`neutral_cell`]; numbers and times are unchanged."""
    import pandas as pd

    result = frame.rename(columns=lambda name: neutral_cell(name) if isinstance(name, str) else name)
    for position, kind in enumerate(frame.dtypes):
        if not pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_datetime64_any_dtype(kind):
            column = frame.iloc[:, position]
            result.isetitem(position, column.map(lambda cell: neutral_cell(cell) if isinstance(cell, str) else cell))
    return result


def markdown_text(text: str) -> str:
    """Text for a line or a table cell of Markdown: one line without formula, HTML, link, picture or emphasis."""
    line = "".join(character for character in " ".join(neutral_cell(text).split()) if character.isprintable())
    escaped = MARKUP.sub(lambda found: html.escape(found[0], quote=False), line)
    return re.sub(r"([\\`*\[\]|])", r"\\\1", escaped)
