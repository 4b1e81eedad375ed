"""Reads Markdown: fenced blocks with the directives before them, headings, tables, links."""

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIRECTIVE = re.compile(r"<!-- (not run|file|given|exits):? (.+?) -->")
FENCE = re.compile(r"^```(\w*)\s*$")


@dataclass
class Block:
    """A fenced block.

    Attributes:
        line: number of its first fence, from 1.
        language: the word after the fence; may be empty.
        text: what is between the fences.
        directives: of the lines right before it, such as `{"not run": "needs a GPU"}`.
    """

    line: int
    language: str
    text: str
    directives: dict[str, str] = field(default_factory=dict)


@dataclass
class Page:
    """A Markdown file taken apart; `given` names the runs that a reader of it has already."""

    path: Path
    blocks: list[Block]
    given: list[str]
    prose: list[str]

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def headings(self) -> list[str]:
        return [line for line in self.prose if re.match(r"#+ ", line)]

    @property
    def tables(self) -> list[list[list[str]]]:
        """Tables as rows of cells."""
        found: list[list[list[str]]] = []
        inside = False
        for line in self.prose:
            if line.startswith("|"):
                if not inside:
                    found.append([])
                found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))])
            inside = line.startswith("|")
        return found


def read_page(path: Path) -> Page:
    """Takes a file apart; raises ValueError for a fence that is not closed."""
    blocks, given, prose = [], [], []
    pending: dict[str, str] = {}
    block: Block | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if block is not None:
            if line.startswith("```"):
                blocks.append(block)
                block = None
            else:
                block.text += line + "\n"
        elif match := FENCE.match(line):
            block, pending = Block(number, match[1], "", pending), {}
        else:
            directives = dict(DIRECTIVE.findall(line))
            if "given" in directives:
                given.append(directives.pop("given"))
            pending = directives if directives else pending if not line.strip() else {}
            prose.append(line)
    if block is not None:
        raise ValueError(f"{path}:{block.line}: the block is not closed")
    return Page(path, blocks, given, prose)


def documents() -> list[Path]:
    """Every page whose commands are run."""
    pages = [
        ROOT / "README.md",
        ROOT / "README_zh.md",
        ROOT / "docs/zh/reference.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "examples/accelerate/README.md",
    ]
    return pages + sorted((ROOT / "docs").glob("*.md"))


def chinese_documents() -> list[Path]:
    """The Chinese pages; tests compare their code with that of the English ones, which is run."""
    return [ROOT / "README_zh.md", *sorted((ROOT / "docs/zh").glob("*.md"))]


def commands(text: str) -> list[str]:
    """The commands of a shell block: lines, those with a backslash at the end joined with the next."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]
