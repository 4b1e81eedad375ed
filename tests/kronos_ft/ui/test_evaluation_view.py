"""The evaluation tab: the run's own figures, the command where there are none, and one line where they are damaged."""

import dataclasses
import json
import shutil
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from kronos_ft.evaluation.facts import read_evaluation
from kronos_ft.evaluation.verdict import headline, p_words, verdict, verdicts
from kronos_ft.models.found_model import find_model
from kronos_ft.models.identity import weights_hash
from kronos_ft.ui.evaluation_view import check_named, evaluation_page, evaluation_tab, find_evaluation
from kronos_ft.ui.markup import text
from kronos_ft.ui.words import words_of
from tests.any_json import VALUES, places, replaced
from tests.examples import examples

WORDS = words_of("en")
NAMES = {  # of what is judged
    "close": "Close",
    "volatility": "Volatility",
    "probability up": "Probability of a rise",
    "range": "Range",
    "volume": "Volume",
}


def test_found_in_the_run_or_named(run, shown, tmp_path):
    inside = run.folder / "evaluation"
    assert find_evaluation(shown) == inside
    assert find_evaluation(shown, str(inside / "evaluation.json")) == inside
    assert find_evaluation(find_model(str(run.folder / "predictor" / "best_model"))) is None
    with pytest.raises(ValueError, match=r"contains no evaluation\.json; pass the output folder of kronos-ft evaluate"):
        find_evaluation(shown, str(tmp_path))


def test_verdict_tables_and_pictures(run, shown):
    evaluation = read_evaluation(run.folder / "evaluation" / "evaluation.json")
    page = evaluation_tab(shown, run.folder / "evaluation", WORDS)
    assert text(verdict(evaluation)) in page
    assert all(f'<th scope="row">{name}</th>' in page for name in evaluation["forecasters"])
    assert page.count("data:image/png;base64,") == 2
    assert page.index("kf-verdict") < page.index("kf-table")
    chinese = evaluation_tab(shown, run.folder / "evaluation", words_of("zh"))
    assert "预测方法" in chinese
    assert "结论" in chinese


def tables(page):
    """Headings and rows of the tables of judged quantities."""
    first, end = page.index('<div class="kf-targets">'), page.index('<h3 class="kf-head">Close, 3 bars')
    found = ElementTree.fromstring(page[first:end])
    return {
        one.find("h3").text: [[cell.text for cell in row] for row in one.iter("tr")][1:] for one in found.findall("div")
    }


def test_a_sentence_and_a_table_for_each_judged_quantity(head_run):
    """All that the file contains, after the headline, the close first."""
    evaluation = read_evaluation(head_run / "evaluation" / "evaluation.json")
    page = evaluation_tab(find_model(str(head_run)), head_run / "evaluation", WORDS)
    said = verdicts(evaluation)
    assert len(said) > 1
    places = [page.index(f"<p>{text(sentence)}.</p>") for sentence in said.values()]
    assert places == sorted(places)
    assert page.index(f"<strong>{text(headline(evaluation))}.</strong>") < places[0]
    assert next(iter(said)) == "close"
    found = tables(page)
    titles = {judged: f"{name}: skill and coverage, 3 bars ahead" for judged, name in NAMES.items()}
    expected = dict.fromkeys((*said, *evaluation["references"]))
    assert list(found) == [titles[judged] for judged in expected]
    for judged, reference in evaluation["references"].items():
        rows = {row[0]: row for row in found[titles[judged]] if row[1] != "absolute error"}
        outcome = evaluation["skill"]["head"][reference["name"]][reference["target"]][reference["loss"]]
        row = rows[f"head against {reference['name']}"]
        assert row[2] == f"{100 * outcome['skill']['by_horizon'][-1]:+.1f} %"
        assert row[3] == p_words(outcome["p_value"]["by_horizon"][-1]).removeprefix("p ").removeprefix("= ")
        assert "head against paths" in rows
        assert "head against head" not in rows
        if judged == reference["target"]:
            share = evaluation["scores"]["head"][judged]["bands"]["0.9"]["coverage"]
            assert row[4].startswith(f"{100 * (share['last'] if 'last' in share else share['by_horizon'][-1]):.0f} %")
        else:
            assert row[4] == "-"


def test_a_quantity_that_the_page_has_no_name_for_is_shown(head_run):
    """What is judged comes from the file."""
    evaluation = read_evaluation(head_run / "evaluation" / "evaluation.json")
    evaluation["references"]["<range>"] = evaluation["references"]["volatility"]
    page = evaluation_page(evaluation, head_run / "evaluation", WORDS)
    assert "&lt;range&gt;: skill and coverage, 3 bars ahead" in page
    assert len(tables(page)) == len(evaluation["references"])


def test_an_evaluation_of_earlier_versions_has_no_such_tables(run):
    evaluation = read_evaluation(run.folder / "evaluation" / "evaluation.json")
    del evaluation["references"]
    assert "kf-targets" not in evaluation_page(evaluation, run.folder / "evaluation", WORDS)


def test_an_evaluation_of_other_weights(run, shown, predictor, tmp_path):
    """A retrained predictor: what was evaluated before is shown below a warning, and refused when it is named."""
    sha256 = weights_hash(predictor.model)
    inside = run.folder / "evaluation"
    assert evaluation_tab(shown, inside, WORDS, sha256) == evaluation_tab(shown, inside, WORDS)
    check_named(inside, shown, sha256)
    page = evaluation_tab(shown, inside, WORDS, "0" * 64)
    assert page.index("This evaluation is of a different model") < page.index("kf-verdict")
    with pytest.raises(ValueError, match=r"evaluation.json is an evaluation of other weights .*omit --evaluation"):
        check_named(inside, shown, "0" * 64)
    evaluation = json.loads((inside / "evaluation.json").read_text())
    for one in evaluation["models"]:
        del one["sha256"]  # an older one: the place decides
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    check_named(tmp_path, dataclasses.replace(shown, model=evaluation["models"][0]["model"]), "0" * 64)


def test_an_evaluation_that_comes_later_is_found(run, predictor, tmp_path):
    pytest.importorskip("gradio")
    from kronos_ft.ui.page import Page

    shutil.copytree(run.folder / "predictor" / "best_model", tmp_path / "best_model")
    one = find_model(str(tmp_path / "best_model"), str(run.folder / "tokenizer"))
    one = dataclasses.replace(one, run=tmp_path)
    page = Page(one, predictor, None, None, WORDS, None, tmp_path)
    assert "kf-verdict" not in page.evaluation_html()
    shutil.copytree(run.folder / "evaluation", tmp_path / "evaluation")
    assert "kf-verdict" in page.evaluation_html()
    assert "other weights" not in page.evaluation_html()


def test_the_command_where_there_is_none(run, shown):
    page = evaluation_tab(shown, None, WORDS)
    assert f"kronos-ft evaluate --data {run.data} --model {run.folder} --output_dir" in page


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "has invalid content: expected object, got array; run kronos-ft evaluate again"),
        ('{"scores": {}, "skill": {}, "settings": {"horizon": 2}}', "lacks the field lookback of settings"),
    ],
)
def test_a_damaged_file_is_one_line(shown, tmp_path, content, message):
    (tmp_path / "evaluation.json").write_text(content)
    page = evaluation_tab(shown, tmp_path, WORDS)
    assert message in page
    assert 'role="alert"' in page
    assert "\n" not in page


@pytest.mark.fault(18)
@settings(examples(150, 30), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_value_anywhere_is_a_page_or_one_line(run, shown, tmp_path, data):
    """Random JSON in place of any value of the file: never a traceback."""
    evaluation = json.loads((run.folder / "evaluation" / "evaluation.json").read_text())
    place = data.draw(st.sampled_from(sorted(places(evaluation), key=repr)))
    content = json.dumps(replaced(evaluation, place, data.draw(VALUES)))
    (tmp_path / "evaluation.json").write_text(content)
    page = evaluation_tab(shown, tmp_path, WORDS)
    assert 'role="alert"' in page or "kf-verdict" in page


def test_names_of_others_are_no_markup(run, shown, tmp_path):
    shutil.copytree(run.folder / "evaluation", tmp_path, dirs_exist_ok=True)
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    evaluation["notes"] = ["<img src=x onerror=alert(1)>"]
    evaluation["warnings"] = ["<script>alert(1)</script>"]
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    page = evaluation_tab(shown, tmp_path, WORDS)
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "<img src=x" not in page


@pytest.mark.parametrize("fault", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_a_full_memory_is_a_line_of_the_page_and_a_fault_of_the_program_is_not(fault):
    pytest.importorskip("gradio")
    from kronos_ft.ui.page import _said

    def failing(error):
        raise error

    said = _said(2, "choose fewer paths")(failing)
    line, *others = said(fault)
    assert "choose fewer paths" in line
    assert len(others) == 2
    with pytest.raises(RuntimeError, match="a bug"):
        said(RuntimeError("a bug"))
