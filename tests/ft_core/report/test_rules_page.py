"""The documented rules are those of the code."""

from pathlib import Path

from tests.report_rules import with_rules

PAGE = Path(__file__).parents[3] / "docs" / "report.md"


def test_the_page_is_in_step():
    text = PAGE.read_text(encoding="utf-8")
    assert with_rules(text) == text, "python -m tests.report_rules docs/report.md brings it up to date"
    assert text.count("| `") >= 30
