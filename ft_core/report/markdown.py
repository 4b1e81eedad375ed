"""Blocks as Markdown; pictures are files beside it."""

import re
from collections.abc import Callable

from .blocks import Block, Cell, Code, Document, Heading, Picture, Table, Text, Verdict
from .wording import VERDICT_WORDS

MARKS = {"ok": "✔", "watch": "▲", "problem": "✖", "not applicable": "–", "not known": "?"}
FENCE = "```"


def verdict_text(verdict: str, language: str) -> str:
    """A verdict with its mark."""
    return f"{MARKS[verdict]} {VERDICT_WORDS[verdict][language]}"


def _cell(cell: Cell, language: str) -> str:
    if isinstance(cell, Verdict):
        return f"**{verdict_text(cell.verdict, language)}**"
    return escape_text(cell).replace("|", "\\|")


def escape_text(text: str) -> str:
    """Text on one line in which names from outside are no markup; what stands between backquotes is left alone."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else re.sub(r"([<\[\]])", r"\\\1", part) for part in parts)


def _table(table: Table, language: str) -> str:
    head = "| " + " | ".join(_cell(cell, language) or " " for cell in table.head) + " |"
    rows = ["| " + " | ".join(_cell(cell, language) for cell in row) + " |" for row in table.rows]
    return "\n".join([head, "|" + "---|" * len(table.head), *rows])


def _block(block: Block, language: str, place_of: Callable[[Picture], str]) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {escape_text(text)}"
        case Text(text):
            return escape_text(text)
        case Table():
            return _table(block, language)
        case Code(text, kind):
            return f"{FENCE}{kind}\n{text.replace(FENCE, '')}\n{FENCE}"
        case Picture(chart):
            return f"![{escape_text(chart.title)}]({place_of(block)})"


def to_markdown(document: Document, place_of: Callable[[Picture], str]) -> str:
    """The document as Markdown.

    Args:
        place_of: the file of a picture, relative to the document.
    """
    return "\n\n".join(_block(block, document.language, place_of) for block in document.blocks) + "\n"
