"""Both READMEs say the same: sections, code, figures of tables; their rooms and their links name what exists."""

import re
from itertools import pairwise

import pytest

from docs.file_list import PACKAGES, with_list
from tests.docs.markdown import ROOT, documents, read_page
from tests.faults.families import FAMILIES

ENGLISH, CHINESE = (read_page(ROOT / name) for name in ("README.md", "README_zh.md"))
MOST_LINES = 300
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def figures(text):
    return sorted(re.findall(r"\d[\d,.]*\d|\d", text))


def code_of(page):
    """Blocks without comments, which are in the page's language; the rooms are compared by themselves."""
    blocks = [block for block in page.blocks if block.language and not block.text.startswith("ft_core/ ")]
    return [(block.language, block.directives.keys(), re.sub(r" *#.*", "", block.text)) for block in blocks]


def rooms_of(page):
    """Folders that the section on the rooms names, as paths."""
    (tree,) = [block.text for block in page.blocks if block.text.startswith("ft_core/ ")]
    found, package = set(), None
    for line in tree.splitlines():
        if match := re.match(r"(\w+)/  ", line):
            package = match[1]
        elif match := re.match(r"  (\w+)/ ", line):
            found.add(f"{package}/{match[1]}")
    return found


def test_sections_are_the_same():
    levels = [[heading.split(" ")[0] for heading in page.headings] for page in (ENGLISH, CHINESE)]
    assert levels[0] == levels[1]


def test_code_is_the_same():
    assert code_of(ENGLISH) == code_of(CHINESE)


def test_the_number_of_fault_scenarios():
    for page, name in ((ENGLISH, "fault scenarios"), (CHINESE, "种故障场景")):
        assert re.findall(rf"(\d+) ?{name}", " ".join(page.prose)) == [str(len(FAMILIES))]


def test_tables_hold_the_same_figures():
    assert len(ENGLISH.tables) == len(CHINESE.tables)
    for ours, theirs in zip(ENGLISH.tables, CHINESE.tables, strict=True):
        assert [len(row) for row in ours] == [len(row) for row in theirs], ours[0]
        for row, other in zip(ours, theirs, strict=True):
            assert figures(" ".join(row)) == figures(" ".join(other)), (row, other)


def test_measured_rows_have_a_command():
    (measured,) = [table for table in ENGLISH.tables if table[0][-1] == "command"]
    for row in measured[2:]:
        assert re.match(r"`(make|python|kronos-ft|mt5-ft) ", row[-1]), row


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=lambda page: page.name)
def test_every_room_is_named(page):
    folders = (path for package in PACKAGES for path in (ROOT / package).iterdir() if (path / "__init__.py").is_file())
    assert rooms_of(page) == {str(path.relative_to(ROOT)) for path in folders}


def test_the_list_of_files_is_that_of_the_files():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert page == with_list(page), "run python -m docs.file_list"


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=lambda page: page.name)
def test_it_is_short_and_has_no_indented_code(page):
    assert len(page.path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    for before, line in pairwise(page.prose):
        assert before.strip() or not line.startswith("    "), f"an indented block, which no test runs: {line}"


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in LINK.findall("\n".join(read_page(path).prose)):
        if not re.match(r"\w+:", target):
            assert (path.parent / target).exists(), target
