"""Which pieces are kept, and the numbering of those that are."""

import pytest
from hypothesis import given, strategies as st

from mt5_ft.models.kept_pieces import (
    BYTE,
    MULTIPLE,
    SENTINEL,
    KeptIds,
    _is_general,
    _scripts,
    backend_of,
    choose_pieces,
    used_ids,
)

ids = st.lists(st.integers(0, 300_000), min_size=1, max_size=200)


@given(ids, st.randoms())
def test_old_to_new_to_old_is_the_way_back(chosen, random):
    kept = KeptIds(chosen)
    some = [random.choice(chosen) for _ in range(50)]
    assert kept.to_full(kept.to_kept(some)) == some
    numbers = [random.randrange(len(kept)) for _ in range(50)]
    assert kept.to_kept(kept.to_full(numbers)) == numbers
    assert kept.to_kept([]) == kept.to_full([]) == []


@given(ids)
def test_order_stays_and_new_ids_have_no_gaps(chosen):
    kept = KeptIds(chosen)
    assert kept.to_full(range(len(kept))) == sorted(set(chosen))
    assert kept.to_kept(sorted(set(chosen))) == list(range(len(set(chosen))))


@given(ids, st.integers(0, 300_001))
def test_an_id_that_is_not_kept_has_no_number(chosen, other):
    kept = KeptIds(chosen)
    if other in chosen:
        assert kept.to_full(kept.to_kept([other])) == [other]
    else:
        with pytest.raises(ValueError, match=f"id {other} is not kept"):
            kept.to_kept([chosen[0], other])


@pytest.mark.parametrize(
    "piece", ["<0x0A>", "<extra_id_7>", "▁<extra_id_99>", "▁", "中", "a", "7", "▁7", "▁(", "。", "😀"]
)
def test_pieces_that_write_any_text(piece):
    assert _is_general(piece)


@pytest.mark.parametrize("piece", ["▁a", "中国", "the", "19", "<0x0A", "▁▁▁", "<extra_id_7>x"])
def test_pieces_that_must_be_asked_for(piece):
    assert not _is_general(piece)


def test_scripts_of_pieces():
    assert _scripts("▁中国") == {"CJK"}
    assert _scripts("▁the") == {"ASCII"}
    assert _scripts("été") == {"ASCII", "LATIN"}
    assert _scripts("вот") == {"CYRILLIC"}
    assert _scripts("ー") == {"KATAKANA-HIRAGANA"}
    assert _scripts("▁2019!") == set()


def test_what_is_kept(tokenizer, records):
    texts = [record.source for record in records[:3]]
    kept = set(choose_pieces(tokenizer, texts).ids.tolist())
    vocabulary = [piece for piece, _ in backend_of(tokenizer)["model"]["vocab"]]
    scores = [score for _, score in backend_of(tokenizer)["model"]["vocab"]]
    assert set(tokenizer.all_special_ids) <= kept
    assert used_ids(tokenizer, texts) <= kept
    for position, piece in enumerate(vocabulary):
        if len(piece) == 1 or BYTE.fullmatch(piece) or SENTINEL.fullmatch(piece):
            assert position in kept
    assert scores.index(min(scores)) in kept
    assert len(kept) % MULTIPLE == 0
    assert len(kept) < len(tokenizer)


def test_the_most_frequent_of_a_language(tokenizer):
    """Scores fall with the position, but for special pieces."""
    few, many = (set(choose_pieces(tokenizer, ["。"], ["zh"], extra).ids.tolist()) for extra in (0, 700))
    assert few < many
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    chinese = [position for position, piece in enumerate(pieces) if _scripts(piece) == {"CJK"}]
    assert set(chinese[:700]) <= many
    assert not set(chinese) <= few


def test_bytes_and_special_pieces_are_of_no_language(tokenizer):
    """Their score of 0 would make them the most frequent of English."""
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    english = [position for position, piece in enumerate(pieces) if _scripts(piece) == {"ASCII"} and position > 300]
    some = set(choose_pieces(tokenizer, ["。"], ["en"], 100).ids.tolist())
    frequent = [position for position in english if not SENTINEL.fullmatch(pieces[position])][:100]
    assert set(frequent) <= some


def test_room_up_to_a_multiple_goes_to_chosen_languages_first(tokenizer):
    plain = set(choose_pieces(tokenizer, ["。"]).ids.tolist())
    english = set(choose_pieces(tokenizer, ["。"], ["en"]).ids.tolist())
    assert len(plain) == len(english)
    added = tokenizer.convert_ids_to_tokens(sorted(english - plain))
    assert all(_scripts(piece) == {"ASCII"} for piece in added)


def test_a_vocabulary_that_is_all_needed_is_kept_whole(tokenizer):
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    languages = ["zh", "ja", "ko", "en", "fr", "ru"]
    kept = choose_pieces(tokenizer, pieces, languages, 10_000)
    assert len(kept) <= len(tokenizer)
    assert len(kept) > len(tokenizer) - 2 * MULTIPLE


def test_what_is_refused(tokenizer, monkeypatch):
    with pytest.raises(ValueError, match="extra=-1 is negative; use 0 or more pieces"):
        choose_pieces(tokenizer, ["a"], (), -1)
    with pytest.raises(ValueError, match="language 'klingon' is not known; use some of zh, ja, ko, en"):
        choose_pieces(tokenizer, ["a"], ["zh", "klingon"])
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    with pytest.raises(ValueError, match="has type WordLevel, but only Unigram can be trimmed; pass an"):
        choose_pieces(other, ["a"])
