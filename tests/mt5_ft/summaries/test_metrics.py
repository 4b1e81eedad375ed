"""Scores of a set: sacrebleu as the reference, rates of faulty outputs, evaluate with two processes, the Trainer."""

import random
import socket

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, strategies as st

from mt5_ft.summaries.metrics import SummaryMetric, _chinese_splitter, per_example, score_texts
from mt5_ft.summaries.rouge import normalise_text
from tests.examples import examples
from tests.forked import context

CHINESE = "".join(chr(0x4E00 + index) for index in range(80))
NAMES = [
    "rouge1",
    "rouge2",
    "rougeL",
    "chrf",
    "bleu",
    "length_ratio",
    "repeated_characters",
    "empty_share",
    "sentinel_share",
    "repeated_share",
    "only_punctuation_share",
    "short_share",
    "long_share",
    "defective_share",
    "identical_share",
]


def draw_pairs(rows, seed, alphabet=CHINESE + "，。（3A "):
    draw = random.Random(seed)
    references = ["".join(draw.choices(alphabet, k=draw.randint(20, 60))) for _ in range(rows)]
    predictions = ["".join(c if draw.random() < 0.8 else draw.choice(alphabet) for c in text) for text in references]
    return predictions, references


def test_scores_are_flat_floats_from_0_to_100():
    scores = score_texts(["情绪稳定，睡眠好"], ["情绪稳定，睡眠好"])
    assert list(scores) == NAMES
    assert all(type(value) is float for value in scores.values())
    assert list(scores.values()) == pytest.approx([100, 100, 100, 100, 100, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])


def test_means_are_means_of_the_rows():
    predictions, references = draw_pairs(20, 1)
    scores, rows = score_texts(predictions, references), per_example(predictions, references)
    for name in ("rouge1", "rouge2", "rougeL"):
        assert 0 < scores[name] < 100
        assert scores[name] == pytest.approx(np.mean([row[name] for row in rows]))
        assert rows[7][name] == pytest.approx(score_texts(predictions[7:8], references[7:8])[name])


def test_chrf_and_bleu_are_sacrebleu_on_normalised_text():
    predictions, references = (list(map(normalise_text, texts)) for texts in draw_pairs(30, 2))
    scores = score_texts(predictions, references)
    assert scores["bleu"] == pytest.approx(sacrebleu.corpus_bleu(predictions, [references], tokenize="zh").score)
    assert scores["chrf"] == pytest.approx(sacrebleu.corpus_chrf(predictions, [references]).score)
    assert scores["bleu"] > 5 + sacrebleu.corpus_bleu(predictions, [references]).score


def test_bleu_splits_by_the_script_of_most_references():
    english = ["the cat sat on the mat, they say", "it was a (very) good day"]
    outputs = ["the cat sat on a mat, they say", "it was a (very) bad day"]
    expected = sacrebleu.corpus_bleu([*outputs, "好的吧"], [[*english, "好的呀"]], tokenize="13a").score
    assert score_texts([*outputs, "好的吧"], [*english, "好的呀"])["bleu"] == pytest.approx(expected)


# what the two tokenizers might cut differently: rare planes, marks beside digits, spaces, characters at the edges
PIECES = [
    *"认知的",
    "㐀",
    "䶿",
    "\u9fbc",
    "𠀀",
    "，",
    ",",
    ".",
    "。",
    "3",
    "-",
    "a",
    "&",
    " ",
    "  ",
    "\n",
    "①",
    "“",
    "あ",
    "😀",
]


@examples(500)
@given(st.lists(st.sampled_from(PIECES), max_size=15).map("".join))
def test_the_quick_split_equals_that_of_sacrebleu(text):
    assert _chinese_splitter()(text).split() == sacrebleu.metrics.BLEU(tokenize="zh").tokenizer(text).split()


def test_full_width_marks_cost_nothing():
    scores = score_texts(["患者,女,30岁(失眠)!"], ["患者，女，３０岁（失眠）！"])
    assert [scores[name] for name in NAMES[:5]] == pytest.approx([100] * 5)


def test_rates_of_faulty_outputs():
    outputs = ["", "  ", "<extra_id_0> 情绪", "很好很好很好很好很好很好", "情绪稳定"]
    scores = score_texts(outputs, ["情绪稳定"] * 5)
    assert scores["empty_share"] == pytest.approx(2 / 5)
    assert scores["sentinel_share"] == pytest.approx(1 / 5)
    assert scores["repeated_share"] == pytest.approx(1 / 5)
    assert 0 < scores["rouge1"] < 100
    rows = per_example(outputs, ["情绪稳定"] * 5)
    assert [row["empty"] for row in rows] == [True, True, False, False, False]
    assert not per_example(["!"], ["good"])[0]["empty"], "a mark without a word is not an empty output"
    assert [row["repeated"] for row in rows] == [False, False, False, True, False]


def test_length_ratio_counts_tokens():
    assert score_texts(["情绪", "good"], ["情绪很稳定", "very good day"])["length_ratio"] == pytest.approx(3 / 8)
    assert score_texts(["情绪"], [""])["length_ratio"] == 0


@pytest.mark.parametrize("texts", [([""], [""]), ([""], ["情绪"]), (["情绪"], [""]), (["a"], ["。"])])
def test_empty_rows_score_0(texts):
    scores = score_texts(*texts)
    assert [scores[name] for name in NAMES[:5]] == [0.0] * 5


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        (["a"], ["a", "b"], "predictions has 1 rows, but references has 2; pass one reference per row"),
        ([], [], "predictions has 0 rows; pass at least one row"),
        (["a", "b"], ["a", None], r"references\[1\]=None is not text; pass a string"),
        ([3], ["a"], r"predictions\[0\]=3 is not text"),
    ],
)
def test_rows_that_cannot_be_scored_are_named(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        score_texts(predictions, references)


def test_the_metric_module_works_in_batches_and_offline(tmp_path, monkeypatch):
    def refuse(*args):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    predictions, references = draw_pairs(10, 3)
    metric = SummaryMetric(cache_dir=str(tmp_path))
    metric.add_batch(predictions=predictions[:6], references=references[:6])
    for prediction, reference in zip(predictions[6:], references[6:], strict=True):
        metric.add(prediction=prediction, reference=reference)
    assert metric.compute() == score_texts(predictions, references)
    assert metric.compute(predictions=["a"], references=["a"])["rouge1"] == 100
    with pytest.raises(ValueError, match="chinese='words'"):
        metric.compute(predictions=["a"], references=["a"], chinese="words")


def compute_in_process(process_id, cache_dir):
    predictions, references = draw_pairs(7, process_id)
    metric = SummaryMetric(num_process=2, process_id=process_id, cache_dir=cache_dir, experiment_id="two")
    return metric.compute(predictions=predictions, references=references)


@pytest.mark.distributed
def test_two_processes_give_process_0_the_scores_of_all_rows(tmp_path):
    with context.Pool(2) as pool:
        work = pool.starmap_async(compute_in_process, [(0, str(tmp_path)), (1, str(tmp_path))], chunksize=1)
        first, second = work.get(timeout=240)
    (predictions, references), (more_predictions, more_references) = draw_pairs(7, 0), draw_pairs(7, 1)
    assert second is None
    assert first == pytest.approx(score_texts(predictions + more_predictions, references + more_references))
    assert first["rouge1"] != pytest.approx(score_texts(predictions, references)["rouge1"])
