"""Signs of defective outputs: only punctuation, loops, another length; and the lines that warn of them."""

import pytest

from mt5_ft.summaries.health import has_run, health_warnings, identical_share, repeated_characters
from mt5_ft.summaries.metrics import per_example, score_texts

REFERENCE = "The patient slept well and felt calmer after the third session."


def signs(output, reference=REFERENCE):
    (row,) = per_example([output], [reference])
    return {name for name, value in row.items() if value is True}


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (REFERENCE, set()),
        (",", {"only_punctuation", "short"}),
        (", , , , , , , ,", {"only_punctuation", "repeated"}),
        ("，，，，，，，，，，，，", {"only_punctuation", "repeated", "short"}),
        ("。!?「」……——", {"only_punctuation"}),
        ("o" * 256, {"repeated"}),
        ("ha" * 40, {"repeated"}),
        ("and then she slept " * 4, {"repeated"}),
        ("I said so I said so I said so I said", {"repeated"}),
        ("The patient … slept …… well and … felt calmer", set()),
        ("", {"empty", "short"}),
        ("<extra_id_0> slept well and calm", {"sentinel"}),
        ("well", {"short"}),
        (" ".join(f"word{n}" for n in range(60)), {"long"}),
        ("😀 the patient slept", set()),
    ],
)
def test_signs_of_one_output(output, expected):
    assert signs(output) == expected


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("hahaha", 4 / 6),
        ("的的的的", 3 / 4),
        ("焦虑焦虑焦虑", 4 / 6),
        ("她很焦虑焦虑焦虑。", 4 / 9),
        ("no no no no", 6 / 11),  # "no " three times; the last word has no space after it
        ("Hmmmm, hahaha", (3 + 4) / 13),
        ("哈哈哈 very very good, 研究研究", 0),
        ("...... 1,000,000,000 --------- 2024-01-01", 0),
        ("www.example.org", 0),
        (REFERENCE, 0),
        ("来访者的焦虑减轻了，睡眠也改善了。", 0),
        ("", 0),
    ],
)
def test_repeated_characters_are_counted_within_words(text, share):
    assert repeated_characters(text) == pytest.approx(share)


def test_a_short_output_that_mostly_repeats_is_defective():
    assert "repeated" in signs("她很焦虑焦虑焦虑", "来访者很焦虑，睡眠不好，需要支持和陪伴，还需要时间。")
    assert "repeated" not in signs(
        "来访者在咨询中哈哈哈哈地笑了，焦虑减轻了。", "来访者很焦虑，睡眠不好，需要支持和陪伴。"
    )


def test_repeats_within_otherwise_healthy_outputs_are_named():
    output = f"{REFERENCE} She felt hahaha calmer."
    scores = score_texts([output], [REFERENCE])
    assert scores["repeated_share"] == 0
    assert scores["repeated_characters"] == pytest.approx(4 / len(output))
    (line,) = health_warnings(scores, 1)
    assert line.startswith("4.6% of the characters of the outputs repeat what precedes them (as in hahaha, ")


@pytest.mark.parametrize("size", range(1, 21))
def test_runs_of_any_size(size):
    unit = "abcdefghijklmnopqrst"[:size]
    assert has_run("start " + unit * 12 + " end")
    assert not has_run("start " + unit * 2 + " end")


@pytest.mark.parametrize(
    "text",
    ["哈哈哈哈", "……" * 2, "1,000,000", "2024-01-01 --- 2024-02-02", "a" + " " * 30 + "b", "very very good"],
)
def test_usual_repetitions_are_no_runs(text):
    assert not has_run(text)


def test_thirteen_of_fifteen_comma_outputs_are_called_so():
    outputs = [", , , , , , , ,"] * 13 + [REFERENCE, "She slept well after the third session."]
    scores = score_texts(outputs, [REFERENCE] * 15)
    assert scores["only_punctuation_share"] == scores["repeated_share"] == pytest.approx(13 / 15)
    assert scores["defective_share"] == pytest.approx(13 / 15)
    (line,) = health_warnings(scores, 15)
    assert line.startswith(
        "the outputs are defective: 13 of 15 consist only of punctuation, 13 of 15 repeat themselves; the model has"
    )


def test_healthy_outputs_and_scores_of_older_runs_give_no_line():
    assert health_warnings(score_texts([REFERENCE] * 3, [REFERENCE] * 3), 3) == []
    assert health_warnings({"rougeL": 30.0, "empty_share": 0.0}, 10) == []


def test_one_text_for_every_source_is_named():
    targets = [f"{REFERENCE} Session {number}." for number in range(5)]
    scores = score_texts([targets[0]] * 5, targets)
    assert scores["rougeL"] > 60
    assert scores["defective_share"] == 0
    assert scores["identical_share"] == 1
    (line,) = health_warnings(scores, 5)
    assert line == (
        "5 of 5 outputs are identical to an output for another source and another reference: the model ignores its "
        "input; train longer, raise learning_rate, or start from published weights"
    )


def test_identical_outputs_of_one_source_and_empty_outputs_do_not_count():
    outputs, sources = ["a", "a", "b", "b", "", "", "c"], ["1", "1", "2", "3", "4", "5", "6"]
    assert identical_share(outputs, sources, sources) == pytest.approx(2 / 7)
    assert identical_share(outputs, sources, outputs) == 0  # the references repeat too, as labels do
    scores = score_texts([REFERENCE] * 3, [f"{REFERENCE} {number}" for number in range(3)], sources=["same"] * 3)
    assert scores["identical_share"] == 0
    with pytest.raises(ValueError, match="sources has 1 rows, but predictions has 3; pass one source per row"):
        score_texts([REFERENCE] * 3, [REFERENCE] * 3, sources=["one"])


@pytest.mark.parametrize(("share", "count", "is_named"), [(1.0, 2, False), (1 / 3, 9, False), (4 / 9, 9, True)])
def test_few_identical_outputs_are_not_named(share, count, is_named):
    assert bool(health_warnings({"identical_share": share}, count)) is is_named


def test_outputs_of_another_length_are_named():
    scores = score_texts(["well", "ok", REFERENCE], [REFERENCE] * 3)
    assert health_warnings(scores, 3) == ["2 of 3 outputs have less than a fifth of the characters of their reference"]
