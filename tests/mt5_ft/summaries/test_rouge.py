"""Tokens by script and ROUGE against rouge_score, rouge-chinese and brute force."""

import random
import sys

import pytest
from hypothesis import assume, given, strategies as st

from mt5_ft.summaries.rouge import (
    ScriptTokenizer,
    all_tokens,
    common_subsequence_length,
    is_chinese,
    normalise_text,
    repeats_itself,
    score_pair,
)
from tests.examples import examples

ENGLISH = ["the", "Cat", "sat", "it's", "3.5", "--", "e-mail", "WELL,", "x_y", "(mat)", "!", "50%", "ﬁne"]
CHINESE = [*"认知行为疗法有效的了患者", "，", "。", "！", "？", "、", "：", "“", "”", "（", "）", "……", "-"]
MIXED = [*CHINESE, "CBT", "ｃｂｔ", "PTSD", "3", "2024", "α", "café"]
POINTS = examples(300)


def ours(prediction, reference, chinese="char"):
    split = ScriptTokenizer(chinese).split_pair(normalise_text(prediction), normalise_text(reference))
    return score_pair(*split)


def assert_close(score, rouge1, rouge2, rouge_l):
    assert (score.rouge1, score.rouge2, score.rougeL) == pytest.approx((rouge1, rouge2, rouge_l), abs=1e-3)


def by_rouge_score(prediction, reference):
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1", "rouge2", "rougeL"])
    return [score.fmeasure for score in scorer.score(reference, prediction).values()]


def by_rouge_chinese(prediction, reference, **options):
    """Takes tokens; a mark that NFKC folds into several characters is several tokens."""
    rouge = pytest.importorskip("rouge_chinese").Rouge(**options)
    scores = rouge.get_scores(" ".join(prediction), " ".join(reference))[0]
    return [scores[name]["f"] for name in ("rouge-1", "rouge-2", "rouge-l")]


def folded(tokens):
    """What stands in the text after NFKC, as words and single marks."""
    pieces = (normalise_text(token).lower() for token in tokens)
    return [part for piece in pieces for part in ([piece] if piece.isalnum() else piece)]


def text_of(tokens):
    """Writes tokens without spaces, as Chinese is, except between words that would grow together."""
    text = ""
    for token in tokens:
        glue = text and text[-1].isalnum() and token[0].isalnum() and not {text[-1], token[0]} & set(CHINESE)
        text += (" " if glue else "") + token
    return text


@POINTS
@given(*[st.lists(st.sampled_from(ENGLISH), max_size=25).map(" ".join)] * 2)
def test_english_equals_rouge_score(prediction, reference):
    assert_close(ours(prediction, reference), *by_rouge_score(normalise_text(prediction), normalise_text(reference)))


ASCII = st.characters(max_codepoint=0x7F)


@POINTS
@given(*[st.text(ASCII, max_size=40)] * 2)
def test_any_ascii_text_equals_rouge_score(prediction, reference):
    assert_close(ours(prediction, reference), *by_rouge_score(normalise_text(prediction), normalise_text(reference)))


@POINTS
@given(st.text(ASCII, max_size=40))
def test_tokens_of_ascii_text_are_those_of_any_text(text):
    """ASCII text is split by simpler patterns; a foreign word at the end selects the general ones."""
    text = " ".join(text.split()).lower()
    assert ScriptTokenizer().split_pair(text, "é")[0] == ScriptTokenizer().split_pair(text + " é", "é")[0][:-1]
    assert all_tokens(text) == all_tokens(text + " é")[:-1]


def test_plain_english_needs_no_normalisation_to_be_equal():
    prediction, reference = (
        "The therapist's 2 sessions (CBT) helped; she slept.",
        "2 sessions of CBT helped: she SLEPT!",
    )
    assert_close(ours(prediction, reference), *by_rouge_score(prediction, reference))


@POINTS
@given(*[st.lists(st.sampled_from(CHINESE), min_size=1, max_size=25)] * 2)
def test_chinese_equals_rouge_chinese_by_character(prediction, reference):
    assume(any(token in CHINESE[:12] for token in reference))
    expected = by_rouge_chinese(folded(prediction), folded(reference), exclusive=False)
    assert_close(ours("".join(prediction), "".join(reference)), *expected)


@POINTS
@given(*[st.lists(st.sampled_from(MIXED), min_size=1, max_size=25)] * 2)
def test_mixed_text_equals_rouge_chinese_by_character_and_word(prediction, reference):
    characters = sum(token in CHINESE[:12] for token in reference)
    assume(characters > sum(token in MIXED[len(CHINESE) :] for token in reference))
    expected = by_rouge_chinese(folded(prediction), folded(reference), exclusive=False)
    assert_close(ours(text_of(prediction), text_of(reference)), *expected)


def test_without_repeated_characters_the_default_of_rouge_chinese_is_equal_too():
    """By default it counts distinct n-grams."""
    draw = random.Random(4)
    alphabet = [chr(0x4E00 + index) for index in range(60)]
    for _ in range(50):
        prediction, reference = draw.sample(alphabet, 40), draw.sample(alphabet, 30)
        assert_close(ours("".join(prediction), "".join(reference)), *by_rouge_chinese(prediction, reference))
    assert ours("好好好好", "好").rouge1 == pytest.approx(0.4)
    assert by_rouge_chinese("好好好好", "好")[0] == pytest.approx(1.0)


@POINTS
@given(*[st.text("abc", max_size=80)] * 2)
def test_longest_common_subsequence_equals_the_table(first, second):
    row = [0] * (len(second) + 1)
    for left in first:
        above = row[:]
        for index, right in enumerate(second):
            row[index + 1] = above[index] + 1 if left == right else max(above[index + 1], row[index])
    assert common_subsequence_length(first, second) == row[-1]


@pytest.mark.parametrize(
    ("prediction", "reference"), [("", "你好"), ("你好", ""), ("", ""), ("", "a"), ("。", "!"), ("a", " ")]
)
def test_nothing_to_count_scores_0(prediction, reference):
    assert_close(ours(prediction, reference), 0, 0, 0)


@pytest.mark.parametrize(
    ("output", "reference"),
    [
        ("来访者情绪稳定。", "来访者情绪稳定。"),
        ("患者,女,3岁;“失眠”(两周)......", "患者，女，３岁；“失眠”（两周）……"),
        ("认知 疗法", "\ufeff认知\u200b疗法"),
        ("ねむれない", "ねむれない"),
        ("잠을 못 잔다", "잠을 못 잔다"),
        ("Он не спит.", "Он не спит."),
    ],
)
def test_a_perfect_output_scores_1_after_what_the_vocabulary_folds(output, reference):
    assert_close(ours(output, reference), 1, 1, 1)
    assert ours("认", reference).rougeL < 0.5


def test_wrong_chinese_with_the_same_latin_words_scores_low():
    """rouge_score sees only 'cbt' and '3' in both."""
    prediction, reference = "使用CBT治疗失眠，共3次", "病人拒绝CBT，只来3天"
    assert by_rouge_score(prediction, reference) == pytest.approx([1, 1, 1])
    assert ours(prediction, reference).rouge2 < 0.2


def test_tokens_follow_the_script_of_the_reference():
    split = ScriptTokenizer().split_pair
    assert split("CBT有3.5成效！", "有效") == (["cbt", "有", "3", ".", "5", "成", "效", "！"], ["有", "效"])
    assert split("It works, 有效!", "It works.") == (["it", "works", "有", "效"], ["it", "works"])
    assert split("It works!", "有效")[0] == ["it", "works", "!"]
    assert split("有效。", "") == (["有", "效", "。"], [])
    assert split("睡眠カナ한글", "字")[0] == list("睡眠カナ한글")


# ROUGE-1, -2 and -L as XL-Sum's multilingual scorer gives them (csebuetnlp/xl-sum, no language, no stemmer)
XL_SUM = [
    ("L'élève a réussi", "L'élève a échoué", (0.75, 0.667, 0.75)),
    ("élève", "étude", (0, 0, 0)),
    ("पानी", "किताब", (0, 0, 0)),
    ("लड़का पानी पीता", "लड़का दूध पीता", (0.667, 0, 0.667)),
    ("ذهب الولد إلى المدرسة.", "ذهب الرجل إلى السوق.", (0.5, 0, 0.5)),
    ("كَتَبَ", "دَخَلَ", (0, 0, 0)),
    ("Он не спит, но ест.", "Он не ест, но спит.", (1, 0.25, 0.6)),
    ("İstanbul'da güneşli", "İstanbul'da yağmurlu", (0.667, 0.5, 0.667)),
    ("The patient, 好, slept well.", "The patient slept well; she is 好 now.", (0.769, 0.364, 0.615)),
]


@pytest.mark.parametrize(("prediction", "reference", "expected"), XL_SUM)
def test_words_of_other_alphabets_score_as_in_xl_sum(prediction, reference, expected):
    assert_close(ours(prediction, reference), *(pytest.approx(value, abs=6e-4) for value in expected))


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("แมวนอน", "แมวกิน", ["แ", "ม", "ว", "น", "อ", "น"]),
        ("น้ำ", "กิน", ["น้ํ", "า"]),
        ("猫が眠る。", "犬が眠る。", ["猫", "が", "眠", "る", "。"]),
        ("ມື້ນີ້", "ມື້ນີ້", ["ມື້", "ນີ້"]),
    ],
)
def test_scripts_without_spaces_are_split_into_letters_with_their_marks(prediction, reference, expected):
    assert ScriptTokenizer().split_pair(normalise_text(prediction), normalise_text(reference))[0] == expected


@pytest.mark.parametrize("emoji", ["👨‍👩‍👧‍👦", "❤️", "🇫🇷", "👍🏽"])
def test_emoji_are_tokens(emoji):
    assert ours(emoji, emoji).rouge1 == 1
    assert ours(f"good {emoji}", f"good {emoji}").rouge2 == 1
    assert ours("😱", emoji).rouge1 == 0
    assert ours("❤", "❤️").rouge1 == 1  # with and without the selector of its form


def test_one_character_does_not_change_the_rule_of_a_pair():
    prediction, reference = "It works, she said!", "It works; he said."
    before = ScriptTokenizer().split_pair(prediction, reference)
    assert before == (["it", "works", "she", "said"], ["it", "works", "he", "said"])
    assert ScriptTokenizer().split_pair(prediction, reference + " 好") == (before[0], [*before[1], "好"])
    assert ScriptTokenizer().split_pair("情绪稳定", "情绪稳定 OK!")[1] == [*"情绪稳定", "ok", "!"]


def test_jieba_cuts_words():
    pytest.importorskip("jieba")
    prediction, reference = ScriptTokenizer("jieba").split_pair("治疗CBT失眠,3.5", "失眠")
    assert prediction == ["治疗", "cbt", "失眠", ",", "3", ".", "5"]
    assert reference == ["失眠"]
    assert ours("失望", "失眠").rouge1 == pytest.approx(0.5)
    assert ours("失望", "失眠", "jieba").rouge1 == 0


def test_jieba_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(ValueError, match="needs the package jieba, which is not installed; pip install jieba"):
        ScriptTokenizer("jieba")


def test_an_unknown_cut_is_refused():
    with pytest.raises(ValueError, match="chinese='words' is not known; use 'char' or 'jieba'"):
        ScriptTokenizer("words")


def test_chinese_text_has_more_characters_than_words():
    assert is_chinese("使用CBT治疗3次")
    assert not is_chinese("The word 认知 means cognition")
    assert not is_chinese("")


def test_a_loop_repeats_itself_and_an_ellipsis_does_not():
    tokens = ScriptTokenizer().split_pair
    assert repeats_itself(tokens("他说他说他说他说他说他说", "他")[0])
    assert repeats_itself(tokens("。。。。。。", "他")[0])
    assert repeats_itself([*"abcd", "x"] * 3)
    assert not repeats_itself([*"abcd", "x"] * 2 + [*"abc"])
    assert not repeats_itself(tokens(normalise_text("他说……我想……然后……"), "他")[0])
