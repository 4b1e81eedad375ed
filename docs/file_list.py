"""The list of files in CONTRIBUTING.md, from the first line of each file's docstring.

`python -m docs.file_list` writes it; a test compares it with the files.
"""

import ast
from pathlib import Path

from ft_core.io.files import write_text

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- files -->", "<!-- end of files -->"
PACKAGES = ("ft_core", "kronos_ft", "mt5_ft")


def first_line(path: Path) -> str:
    """The first sentence of a file's docstring, on one line.

    Raises:
        ValueError: a file without one.
    """
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not text:
        raise ValueError(f"{path.relative_to(ROOT)} has no docstring; write one line that tells what it holds")
    return " ".join(text.split("\n\n")[0].split())


def file_list() -> str:
    """A table for each folder of the packages, in Markdown."""
    lines = []
    for package in PACKAGES:
        for folder in sorted({path.parent for path in (ROOT / package).rglob("*.py")}):
            paths = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
            if not paths:
                continue
            lines += [f"### `{folder.relative_to(ROOT)}/`", "", "| file | content |", "|---|---|"]
            lines += [f"| `{path.name}` | {first_line(path)} |" for path in paths]
            lines.append("")
    return "\n".join(lines)


def with_list(page: str) -> str:
    """The page with the list between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{file_list()}\n{END}{after}"


if __name__ == "__main__":
    write_text(PAGE, with_list(PAGE.read_text(encoding="utf-8")))
