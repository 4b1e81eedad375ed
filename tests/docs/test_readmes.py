"""READMEs and references say the same in both languages: sections, code, figures; rooms and links name what exists."""

import re
from itertools import pairwise

import pytest

from docs.file_list import PACKAGES, with_list
from tests.docs.markdown import ROOT, documents, read_page
from tests.faults.families import FAMILIES

PAIRS = {
    name: (read_page(ROOT / name), read_page(ROOT / chinese))
    for name, chinese in (("README.md", "README_zh.md"), ("docs/reference.md", "docs/zh/reference.md"))
}
ENGLISH, CHINESE = PAIRS["docs/reference.md"]
READMES = PAIRS["README.md"]
MOST_BYTES = 9_000  # of the English README
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


@pytest.mark.parametrize("pair", PAIRS)
def test_sections_are_the_same(pair):
    levels = [[heading.split(" ")[0] for heading in page.headings] for page in PAIRS[pair]]
    assert levels[0] == levels[1]


@pytest.mark.parametrize("pair", PAIRS)
def test_code_is_the_same(pair):
    english, chinese = PAIRS[pair]
    assert code_of(english) == code_of(chinese)


def test_the_number_of_fault_scenarios():
    for page, name in ((ENGLISH, "fault scenarios"), (CHINESE, "种故障场景")):
        assert re.findall(rf"(\d+) ?{name}", " ".join(page.prose)) == [str(len(FAMILIES))]


@pytest.mark.parametrize("pair", PAIRS)
def test_tables_hold_the_same_figures(pair):
    english, chinese = PAIRS[pair]
    assert len(english.tables) == len(chinese.tables)
    for ours, theirs in zip(english.tables, chinese.tables, strict=True):
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


def test_the_readme_is_short():
    assert len(READMES[0].path.read_bytes()) <= MOST_BYTES


@pytest.mark.parametrize("page", [page for pair in PAIRS.values() for page in pair], ids=lambda page: str(page.path))
def test_there_is_no_indented_code(page):
    for before, line in pairwise(page.prose):
        assert before.strip() or not line.startswith("    "), f"an indented block, which no test runs: {line}"


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in LINK.findall("\n".join(read_page(path).prose)):
        if not re.match(r"\w+:", target):
            assert (path.parent / target).exists(), target
