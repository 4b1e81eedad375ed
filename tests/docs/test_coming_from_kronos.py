"""docs/coming-from-kronos.md shows the table of names that the commands answer with."""

from docs.published_names import PAGE, name_table, page_with
from tests.docs.markdown import read_page


def test_the_page_has_the_table_of_the_commands():
    page = PAGE.read_text(encoding="utf-8")
    assert page == page_with(name_table()), "run python -m docs.published_names"


def test_the_page_shows_three_commands():
    text = "\n".join(block.text for block in read_page(PAGE).blocks if block.language == "bash")
    assert [line.split()[1] for line in text.split("\n") if line] == ["convert-config", "finetune", "report"]
