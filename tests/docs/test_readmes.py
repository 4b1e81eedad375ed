"""READMEs, references and the list of files: rooms, links and commands name what exists; the README is short."""

import re
from itertools import pairwise

import pytest

from docs.file_list import PACKAGES, with_list
from tests.docs.markdown import ROOT, chinese_documents, documents, read_page
from tests.faults.families import FAMILIES

ENGLISH, CHINESE = (read_page(ROOT / name) for name in ("docs/reference.md", "docs/zh/reference.md"))
READMES = [read_page(ROOT / name) for name in ("README.md", "README_zh.md")]
MOST_BYTES = 9_000  # of the English README
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


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


def test_the_number_of_fault_scenarios():
    for page, name in ((ENGLISH, "fault scenarios"), (CHINESE, "种故障场景")):
        assert re.findall(rf"(\d+) ?{name}", " ".join(page.prose)) == [str(len(FAMILIES))]


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


@pytest.mark.parametrize("page", [*READMES, ENGLISH, CHINESE], ids=lambda page: page.name)
def test_there_is_no_indented_code(page):
    for before, line in pairwise(page.prose):
        assert before.strip() or not line.startswith("    "), f"an indented block, which no test runs: {line}"


@pytest.mark.parametrize(
    "path", dict.fromkeys([*documents(), *chinese_documents()]), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_links_lead_somewhere(path):
    for target in LINK.findall("\n".join(read_page(path).prose)):
        if not re.match(r"\w+:", target):
            assert (path.parent / target).exists(), target
