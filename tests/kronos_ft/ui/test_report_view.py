"""The report tab: a report in a frame that can do nothing, or the command that writes one."""

import dataclasses
import html
import re

from kronos_ft.ui.report_view import POLICY, REPORT_FILE, find_reports, report_tab
from kronos_ft.ui.shown_model import find_shown
from kronos_ft.ui.words import words_of

WORDS = words_of("en")
REPORT = '<!doctype html><title>"R"</title><h1>Report & more</h1>'


def run_with(tmp_path, *places):
    for name in ("tokenizer", "predictor"):
        (tmp_path / name).mkdir()
    for place in places:
        (tmp_path / place / REPORT_FILE).write_text(REPORT)
    return tmp_path


def test_the_command_where_there_is_none(shown, tmp_path):
    page = report_tab(dataclasses.replace(shown, run=run_with(tmp_path)), WORDS)
    assert f"kronos-ft report {tmp_path}" in page
    assert "iframe" not in page


def test_a_model_alone_has_none(run):
    page = report_tab(find_shown(str(run.folder / "predictor" / "best_model")), WORDS)
    assert WORDS["no_run"] in page


def test_the_frame_can_do_nothing(shown, tmp_path):
    page = report_tab(dataclasses.replace(shown, run=run_with(tmp_path, ".")), WORDS)
    frame = re.fullmatch(r'<iframe class="kf-report" sandbox="" title="([^"]*)" srcdoc="([^"]*)"></iframe>', page)
    content = html.unescape(frame[2])
    assert content.endswith(REPORT)
    assert POLICY in content
    assert content.index("Content-Security-Policy") < content.index("<h1>")
    assert "script" not in POLICY


def test_a_report_of_each_stage(shown, tmp_path):
    found = dataclasses.replace(shown, run=run_with(tmp_path, ".", "tokenizer", "predictor"))
    assert list(find_reports(found)) == ["finetune", "tokenizer", "predictor"]
    assert report_tab(found, WORDS).count("<iframe") == 3


def test_a_report_that_cannot_be_read(shown, tmp_path):
    run = run_with(tmp_path, ".")
    (run / REPORT_FILE).write_bytes(b"\xff\xfe\xfa")
    page = report_tab(dataclasses.replace(shown, run=run), WORDS)
    assert 'role="alert"' in page
    assert "iframe" not in page
