"""THIRD_PARTY.md names every runtime dependency with its licence; CITATION.cff and the other papers are whole."""

import re
from email.message import Message
from types import SimpleNamespace

import pytest
import yaml

from docs.third_party import PAGE, dependencies, licence, required
from tests.docs.markdown import ROOT, read_page

LISTED = {row[0]: row[1] for table in read_page(PAGE).tables for row in table[2:]}


def test_all_of_setup_are_listed():
    assert set(required()) <= set(LISTED)


def test_what_they_need_in_turn_is_listed_with_its_licence():
    missing = {name: licence(name) for name in dependencies() if LISTED.get(name) != licence(name)}
    assert not missing, "run `python -m docs.third_party`"


def test_a_licence_that_is_not_known_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.metadata.metadata", lambda name: Message())
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: SimpleNamespace(files=None))
    with pytest.raises(ValueError, match="silent says nothing of its licence that is known; look it up"):
        licence("silent")


def test_the_citation_is_whole():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(cited)
    version = re.search(r"^version = (.+)$", (ROOT / "setup.cfg").read_text(encoding="utf-8"), re.M)[1]
    assert cited["version"] == version
    papers = " ".join(reference["title"] + reference["url"] for reference in cited["references"])
    for word in ("Kronos: A Foundation Model", "2508.02739", "mT5: A Massively Multilingual", "naacl-main.41"):
        assert word in papers
    for reference in cited["references"]:
        assert {"type", "authors", "year"} <= set(reference)


def test_the_licence_is_apache():
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")[:300]
