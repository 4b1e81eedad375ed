"""The report tab: a report in the language of the page, in a frame that can do nothing."""

import dataclasses
import html
import re

import pytest

from ft_core.report.write import write_report
from kronos_ft.models.found_model import find_model
from kronos_ft.report.views import VIEWS
from kronos_ft.ui.report_view import POLICY, find_runs, report_tab
from kronos_ft.ui.words import words_of
from tests.written_runs import predictor_run, tokenizer_run

WORDS = words_of("en")


def content_of(page):
    frame = re.search(r'<iframe class="kf-report" sandbox="" title="([^"]*)" srcdoc="([^"]*)"></iframe>', page)
    return html.unescape(frame[2])


@pytest.fixture
def both(shown, tmp_path):
    """A folder of both stages."""
    tokenizer_run().write(tmp_path / "run" / "tokenizer")
    predictor_run().write(tmp_path / "run" / "predictor")
    return dataclasses.replace(shown, run=tmp_path / "run")


def test_the_command_where_nothing_is_recorded(shown, tmp_path):
    page = report_tab(dataclasses.replace(shown, run=tmp_path), WORDS)
    assert f"kronos-ft report {tmp_path}" in page
    assert "iframe" not in page


def test_a_model_alone_has_none(run):
    page = report_tab(find_model(str(run.folder / "predictor" / "best_model")), WORDS)
    assert WORDS["no_run"] in page


def test_the_frame_can_do_nothing(shown, tmp_path):
    run = predictor_run().write(tmp_path / "run")
    content = content_of(report_tab(dataclasses.replace(shown, run=run), WORDS))
    assert POLICY in content
    assert content.index("Content-Security-Policy") < content.index("<h1>")
    assert "script" not in POLICY
    assert "<script" not in content


@pytest.mark.parametrize(("language", "words"), [("en", "Did the run finish?"), ("zh", "训练是否完成？")])
def test_the_report_is_in_the_language_of_the_page(language, words, shown, tmp_path):
    """Whatever language the file in the run folder is in, which a visit does not change."""
    run = predictor_run().write(tmp_path / "run")
    write_report(run, VIEWS, "zh")
    stored = (run / "report.html").read_text(encoding="utf-8")
    content = content_of(report_tab(dataclasses.replace(shown, run=run), words_of(language)))
    assert words in content
    assert ("训练报告" in content) == (language == "zh")
    assert (run / "report.html").read_text(encoding="utf-8") == stored


def test_a_report_of_each_stage(both):
    assert set(find_runs(both)) == {"tokenizer", "predictor"}
    page = report_tab(both, WORDS)
    assert page.count("<iframe") == 2
    assert "Kronos tokenizer" in html.unescape(page)


def test_a_run_that_cannot_be_read(shown, tmp_path):
    run = predictor_run()
    run.record["stage"] = run.observed["stage"] = "mt5"
    page = report_tab(dataclasses.replace(shown, run=run.write(tmp_path / "run")), WORDS)
    assert 'role="alert"' in page
    assert "mt5-ft report" in page
    assert "iframe" not in page


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_report_of_a_quantile_head(head_run, language):
    """A run of three stages has three reports; that of a head alone has its name."""
    words = words_of(language)
    page = report_tab(find_model(str(head_run)), words)
    titles = [words[f"stage_{stage}"] for stage in ("tokenizer", "predictor", "quantiles")]
    assert re.findall(r'sandbox="" title="([^"]*)"', page) == titles
    alone = report_tab(find_model(str(head_run / "quantiles")), words)
    assert re.findall(r'sandbox="" title="([^"]*)"', alone) == titles[2:]
