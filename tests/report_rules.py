"""Writes the table of all rules of reports into a page: `python -m tests.report_rules docs/report.md`."""

import sys
from pathlib import Path

from ft_core.report.checklist import rules_page

BEGIN, END = "<!-- rules -->", "<!-- end of rules -->"


def with_rules(text: str) -> str:
    """A page with the tables of rules between its marks."""
    from kronos_ft.report.views import VIEWS
    from mt5_ft.report.views import MT5

    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{rules_page((*VIEWS, MT5))}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(with_rules(page.read_text(encoding="utf-8")), encoding="utf-8")
