"""The fields of the page for each kind of model, without a browser."""

import pytest

from kronos_ft.models.found_model import find_model
from kronos_ft.ui.candle_choice import CandleChoice
from kronos_ft.ui.forecast_kinds import BLOCKS, BOTH, CALIBRATED, OWN, RAW, SAMPLED, load_page_predictor
from kronos_ft.ui.words import LANGUAGES, words_of

pytest.importorskip("gradio")

from kronos_ft.ui.page import Page

WORDS = words_of("en")


@pytest.fixture
def page_of(tmp_path):
    """A function that makes the page of a model, and its fields by name."""

    def page_of(name, language="en"):
        shown = find_model(name)
        predictor, _ = load_page_predictor(shown, "cpu")
        page = Page(shown, predictor, CandleChoice.of(shown), None, words_of(language), None, tmp_path)
        fields = {one.elem_id: one for one in page.build().blocks.values() if getattr(one, "elem_id", None)}
        return page, fields

    return page_of


def values(field):
    return [value for _, value in field.choices]


def test_the_page_of_a_head_with_a_predictor(page_of, head_run):
    page, fields = page_of(str(head_run))
    assert values(fields["kind"]) == [CALIBRATED, RAW, BOTH]
    assert [label for label, _ in fields["kind"].choices] == [
        "calibrated: quantile head",
        "raw: sampled paths, T=1, top_p=1",
        "both, drawn over each other",
    ]
    assert fields["kind"].visible
    assert fields["head_paths"].visible
    assert values(fields["layers"]) == ["paths", "levels", "truth"]
    assert (fields["horizon"].maximum, fields["horizon"].value, fields["lookback"].value) == (4, 4, 20)
    assert not fields["temperature"].visible
    assert not fields["top_p"].visible
    assert "Temperature and top_p have no effect" in fields["sampling_note"].value
    assert "quantile head · " in page._header()


def test_the_page_of_a_head_alone(page_of, head_run):
    page, fields = page_of(str(head_run / "quantiles"))
    assert not fields["kind"].visible
    assert not fields["head_paths"].visible
    assert not fields["temperature"].visible
    assert fields["horizon"].maximum == 4
    assert "blocks of past bars" in page.sampling_note(CALIBRATED, BLOCKS)


def test_the_page_of_a_calibrated_predictor(page_of, calibrated):
    page, fields = page_of(calibrated)
    assert fields["kind"].choices[0] == ("calibrated: sampled paths, T=0.8, top_p=0.9", CALIBRATED)
    assert fields["kind"].choices[-1] == (WORDS["kind_own"], OWN)
    assert (fields["temperature"].value, fields["top_p"].value) == (0.8, 0.9)
    assert not fields["temperature"].visible
    assert not fields["head_paths"].visible
    assert "T=0.8 and top_p=0.9, chosen on the validation split" in fields["sampling_note"].value
    assert page.sampling_note(OWN, BLOCKS) == ""
    assert "T=1 and top_p=1" in page.sampling_note(RAW, BLOCKS)


def test_the_page_of_a_predictor_without_calibration(page_of, run):
    page, fields = page_of(str(run.folder))
    assert not fields["kind"].visible
    assert fields["temperature"].visible
    assert fields["top_p"].visible
    assert page.sampling_note(OWN, BLOCKS) == ""
    assert fields["horizon"].maximum == 256
    assert values(fields["layers"]) == ["paths", "90", "50", "truth"]


def test_the_note_about_sampling_fields(page_of, head_run):
    page, _ = page_of(str(head_run))
    both = page.sampling_note(BOTH, BLOCKS)
    assert WORDS["unused_by_blocks"] in both
    assert WORDS["fixed_raw"] in both
    assert page.sampling_note(CALIBRATED, SAMPLED) == ""
    assert WORDS["unused_by_blocks"] not in page.sampling_note(BOTH, SAMPLED)


@pytest.mark.parametrize("language", LANGUAGES)
def test_labels_in_every_language(page_of, head_run, calibrated, language):
    words = words_of(language)
    for name in (str(head_run), calibrated):
        _, fields = page_of(name, language)
        for label, kind in fields["kind"].choices:
            assert label.startswith(words[f"kind_{kind}"])
            assert "{" not in label
