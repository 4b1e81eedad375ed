"""Escapes untrusted text in tables and reports, so that no spreadsheet runs it as a formula and no page as HTML."""

import html
import re

import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # also full-width
MARKUP = re.compile(r"&|<(?!\s)|(?<!\s)>")  # `p < 0.05` is none


def neutral_cell(text: str) -> str:
    """Text of a CSV cell, with an apostrophe before what a spreadsheet would take for a formula (OWASP)."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def neutral_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose text cells and column names are no formulas; numbers and times stay what they are."""
    result = frame.rename(columns=lambda name: neutral_cell(name) if isinstance(name, str) else name)
    for position, kind in enumerate(frame.dtypes):
        if not pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_datetime64_any_dtype(kind):
            column = frame.iloc[:, position]
            result.isetitem(position, column.map(lambda cell: neutral_cell(cell) if isinstance(cell, str) else cell))
    return result


def markdown_text(text: str) -> str:
    """Text for a line or a table cell of Markdown: one line, no formula, no HTML, no link, picture or emphasis."""
    line = "".join(character for character in " ".join(neutral_cell(text).split()) if character.isprintable())
    escaped = MARKUP.sub(lambda found: html.escape(found[0], quote=False), line)
    return re.sub(r"([\\`*\[\]|])", r"\\\1", escaped)
