"""Both READMEs say the same: sections, code, figures of tables; their tree and their links name what exists."""

import re
from itertools import pairwise

import pytest

from tests.docs.markdown import ROOT, documents, read_page

ENGLISH, CHINESE = (read_page(ROOT / name) for name in ("README.md", "README_zh.md"))
MOST_LINES = 300
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
NO_FILES = {  # in Latin letters in the Chinese tree, and no file of it
    *("demo", "test", "bench", "quality", "docs", "wheel", "check", "faults", "ddp"),
    *("SIGTERM", "Ctrl", "one", "cycle", "YAML", "dataclass", "Hub", "kronos", "ft", "mt5", "JSONL", "fp16"),
}


def figures(text):
    return sorted(re.findall(r"\d[\d,.]*\d|\d", text))


def code_of(page):
    """Blocks without comments, which are in the page's language; the tree is compared by itself."""
    blocks = [block for block in page.blocks if block.language]
    return [(block.language, block.directives.keys(), re.sub(r" *#.*", "", block.text)) for block in blocks]


def tree_of(page):
    (tree,) = [block.text for block in page.blocks if block.text.startswith("Makefile")]
    return tree


def folders_of(tree):
    """Lines of the tree with the folder that each speaks of."""
    top, folder = ".", "."
    for line in tree.splitlines():
        if match := re.match(r"(\w+)/(?: |$)", line):
            top = folder = match[1]
        elif match := re.match(r"  (\w+)/ ", line):
            folder = f"{top}/{match[1]}"
        elif re.match(r"  \w", line):
            folder = top
        elif not line.startswith(" "):
            top = folder = "."
        yield folder, line


def test_sections_are_the_same():
    levels = [[heading.split(" ")[0] for heading in page.headings] for page in (ENGLISH, CHINESE)]
    assert levels[0] == levels[1]


def test_code_is_the_same():
    assert code_of(ENGLISH) == code_of(CHINESE)


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
def test_the_tree_names_what_exists(page):
    for folder, line in folders_of(tree_of(page)):
        assert (ROOT / folder).is_dir(), line
        for name in re.findall(r"[\w./-]+\.(?:py|md|yaml|yml|cfg|txt)\b", line):
            assert (ROOT / folder / name).is_file() or (ROOT / name).is_file(), f"{folder}: {name}"


def test_the_trees_name_the_same():
    ours, theirs = (set(re.findall(r"[\w./-]+\.(?:py|md|yaml|yml|cfg|txt)\b", tree_of(p))) for p in (ENGLISH, CHINESE))
    assert ours == theirs


def test_modules_of_the_tree_exist():
    """In the Chinese tree, words in Latin letters are names."""
    for folder, line in folders_of(tree_of(CHINESE)):
        for word in set(re.findall(r"(?<![\w.*/-])[a-zA-Z_]\w+(?![\w./*-])", line.partition("/")[2] or line)):
            if word in NO_FILES or word.endswith("_") or folder in (".", "docs", "examples", "tests", "benchmarks"):
                continue
            names = [f"{folder}/{word}.py", f"{folder}/{word}", word]
            assert any((ROOT / name).exists() for name in names), f"{folder}: {word}"


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
