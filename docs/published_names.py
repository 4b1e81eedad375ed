"""The table of names in docs/coming-from-kronos.md, from the table that the commands answer with.

`python -m docs.published_names` writes it; a test compares it with the page.
"""

from pathlib import Path

from ft_core.io.files import write_text
from kronos_ft.cli.published_names import NAMES

PAGE = Path(__file__).parent / "coming-from-kronos.md"
BEGIN, END = "<!-- names -->", "<!-- end of names -->"


def name_table() -> str:
    """The names of the published scripts, ours and what differs, in Markdown."""
    rows = ["| published | file | kronos-ft | note |", "|---|---|---|---|"]
    for one in NAMES:
        ours = ", ".join(f"`{name}`" for name in one.ours) or "-"
        rows.append(f"| `{one.name}` | {', '.join(one.files)} | {ours} | {one.note or '-'} |")
    return "\n".join(rows)


def page_with(table: str) -> str:
    """The page with a table."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    write_text(PAGE, page_with(name_table()))
