"""The messages that docs/troubleshooting.md quotes are those of the source."""

import ast
import re

import pytest

from tests.docs.markdown import ROOT, read_page

PAGE = ROOT / "docs" / "troubleshooting.md"
GAP = "\0"


def texts_of_source():
    """Every text of the packages on one line each, what is filled in replaced by a gap."""
    found = []
    for package in ("ft_core", "kronos_ft", "mt5_ft"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
                    found.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return " \n".join(" ".join(text.replace("`", "").split()) for text in found)


def quoted():
    rows = [row for table in read_page(PAGE).tables for row in table[2:]]
    return [row[0].strip("`") for row in rows if row[0].startswith("`")]


@pytest.fixture(scope="module")
def source():
    return texts_of_source()


def pattern(message):
    """A quoted message as a pattern: `...` is one thing filled in, or several, or none at an end."""
    parts = [re.escape(part.strip()) for part in message.split("...")]
    return re.compile(r"[^\n]{0,60}?".join(parts))


@pytest.mark.parametrize("message", quoted())
def test_a_quoted_message_is_printed_by_the_source(message, source):
    assert pattern(message).search(source), f"no text of the packages is like: {message}"


def test_a_message_that_nobody_prints_is_noticed(source):
    assert not pattern("output_dir=... is not empty; pass --continue to resume it").search(source)


def test_many_messages_are_explained():
    assert len(quoted()) >= 50
