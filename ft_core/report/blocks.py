"""A report as blocks that Markdown and HTML both render."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from .charts import Chart


@dataclass(frozen=True)
class Verdict:
    """A cell that shows a verdict."""

    verdict: str


Cell = str | Verdict


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the document's title."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; between `**` it is strong, between backquotes it is code."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table of text."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Picture:
    """A chart."""

    chart: Chart


@dataclass(frozen=True)
class Code:
    """Lines to copy."""

    text: str
    language: str = "yaml"


Block = Heading | Text | Table | Picture | Code


@dataclass(frozen=True)
class Document:
    """A report in one language."""

    language: str
    title: str
    blocks: list[Block] = field(default_factory=list)
