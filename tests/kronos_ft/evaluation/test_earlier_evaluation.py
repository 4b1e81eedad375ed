"""An evaluation of an earlier version, without range, volume, energy score and sampling of each model, is still read.

`evaluation_of_af5ee65.json.gz` was written by commit af5ee65: a volatility cone of 20 bars as the model, persistence
and the scaled cone as references, on simulated candles.
"""

import gzip
import json
from pathlib import Path

import pytest

from kronos_ft.evaluation.facts import read_evaluation
from kronos_ft.evaluation.report import markdown, terminal_text
from kronos_ft.evaluation.tables import other_rows
from kronos_ft.evaluation.verdict import verdict, verdicts
from kronos_ft.ui.evaluation_view import evaluation_page
from kronos_ft.ui.words import words_of

ARCHIVE = Path(__file__).with_name("evaluation_of_af5ee65.json.gz")


@pytest.fixture
def path(tmp_path):
    (tmp_path / "evaluation.json").write_bytes(gzip.decompress(ARCHIVE.read_bytes()))
    return tmp_path / "evaluation.json"


def test_its_verdicts_are_those_that_were_written(path):
    found = json.loads(path.read_text())
    assert set(found["scores"]["model"]) == {"open", "high", "low", "close", "volatility"}
    for one in (found, read_evaluation(path)):
        assert verdict(one) == found["verdict"]
        assert verdicts(one) == found["verdicts"]
        assert list(verdicts(one, "zh")) == list(found["verdicts"])


def test_report_terminal_and_page_show_it(path):
    found = json.loads(path.read_text())
    text = markdown(found)
    assert all(said in text for said in found["verdicts"].values())
    assert "| volatility |" in text
    assert "| range |" not in text
    assert "sampling of paths" not in text
    for row in other_rows(found):
        assert (row[2], row[7], row[8]) == ("-", "-", "-")
        assert row[1] != "-"
    assert "energy bp" in terminal_text(found, verbose=True)
    for language in ("en", "zh"):
        page = evaluation_page(read_evaluation(path), path.parent, words_of(language))
        assert "kf-verdict" in page
