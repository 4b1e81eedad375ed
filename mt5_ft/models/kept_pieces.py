"""Which pieces of a SentencePiece vocabulary are kept: what a corpus uses, and enough to write anything else.

Notable:
- Ids keep their order, so that the special pieces stay at 0, 1 and 2, and the best segmentation of a text whose pieces
  are all kept is the one it had.
- The piece of the lowest score is kept: the penalty of an unknown character is counted from it.
- Room left up to a multiple of `MULTIPLE` goes to the most frequent other pieces, not to rows without a meaning.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from transformers import PreTrainedTokenizerBase

MULTIPLE = 64  # rows of a table that products work well with
SPACE = "▁"
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
SENTINEL = re.compile(rf"{SPACE}?<extra_id_\d+>")
CONTROL = re.compile("<pad>|</s>|<s>|<unk>")
TEXTS_AT_ONCE = 1000
ASCII = "ASCII"
LATIN = (ASCII, "LATIN")
EXTRA = 2000  # most frequent pieces of each chosen language
MAIN_LANGUAGES = ("zh", "en")
# by script alone: a piece does not say which of the languages that share a script it is frequent in
LANGUAGES: dict[str, tuple[str, ...]] = {
    "zh": ("CJK",),
    "ja": ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"),
    "ko": ("HANGUL",),
    "en": (ASCII,),
    **dict.fromkeys(("de", "es", "fr", "id", "it", "nl", "pl", "pt", "tr", "vi"), LATIN),
    **dict.fromkeys(("bg", "ru", "uk"), ("CYRILLIC",)),
    "ar": ("ARABIC",),
    "el": ("GREEK",),
    "he": ("HEBREW",),
    "hi": ("DEVANAGARI",),
    "th": ("THAI",),
}


class KeptIds:
    """The ids of the full vocabulary that are kept, and the way from one numbering to the other and back.

    Args:
        ids: ids of the full vocabulary, in any order.
    """

    def __init__(self, ids: Iterable[int]):
        self.ids = np.unique(np.fromiter(ids, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ids)

    def to_full(self, ids: Sequence[int]) -> list[int]:
        """Ids of the full vocabulary."""
        return self.ids[np.asarray(ids, dtype=np.int64)].tolist()

    def to_kept(self, ids: Sequence[int]) -> list[int]:
        """Ids of the trimmed vocabulary.

        Raises:
            ValueError: for an id that is not kept.
        """
        wanted = np.asarray(ids, dtype=np.int64)
        places = np.searchsorted(self.ids, wanted)
        missing = np.append(self.ids, -1)[places] != wanted
        if missing.any():
            raise ValueError(f"id {wanted[missing][0]} is not kept; choose the pieces with the texts that need it")
        return places.tolist()


def backend_of(tokenizer: PreTrainedTokenizerBase) -> dict:
    """The tokenizer.json of a tokenizer.

    Raises:
        ValueError: not a Unigram tokenizer, or ids with gaps.
    """
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    kind = backend["model"]["type"]
    if kind != "Unigram":
        raise ValueError(f"the tokenizer is of the kind {kind}, and only Unigram can be trimmed; pass an mT5 model")
    added = {token["id"] for token in backend["added_tokens"]}
    if added | set(range(len(backend["model"]["vocab"]))) != set(range(len(tokenizer))):
        raise ValueError("the tokenizer's ids have gaps, so that it cannot be trimmed; pass a published tokenizer")
    return backend


def _is_special(piece: str) -> bool:
    """Whether a piece is no text: its score is 0, as if it were the most frequent of all."""
    return bool(BYTE.fullmatch(piece) or SENTINEL.fullmatch(piece) or CONTROL.fullmatch(piece))


def _is_general(piece: str) -> bool:
    """Whether a piece helps to write any text: bytes, sentinels, one character, one digit or mark after a space."""
    bare = piece.removeprefix(SPACE)
    return len(piece) == 1 or (len(bare) == 1 and not bare.isalpha()) or _is_special(piece)


def _script(letter: str) -> str:
    return ASCII if letter.isascii() else unicodedata.name(letter, "").split(" ")[0]


def _scripts(piece: str) -> set[str]:
    return {_script(letter) for letter in piece if letter.isalpha()}


def _of_languages(pieces: list[str], order: np.ndarray, languages: Sequence[str]) -> dict[str, list[int]]:
    """Ids of the pieces whose letters are all of a language's scripts, the most frequent first."""
    found: dict[str, list[int]] = {language: [] for language in languages}
    for position in order.tolist():
        scripts = () if not found or _is_special(pieces[position]) else _scripts(pieces[position])
        for language, ids in found.items():
            if scripts and scripts <= set(LANGUAGES[language]):
                ids.append(position)
    return found


def check_languages(languages: Sequence[str], extra: int) -> None:
    """Raises ValueError for an unknown language or a negative number of pieces."""
    unknown = [language for language in languages if language not in LANGUAGES]
    if unknown:
        raise ValueError(f"language {unknown[0]!r} is not known; use some of {', '.join(LANGUAGES)}")
    if extra < 0:
        raise ValueError(f"extra={extra} is negative; use 0 or more pieces")


def used_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> set[int]:
    """Ids that occur in texts, the end mark included."""
    found: set[int] = set()
    for first in range(0, len(texts), TEXTS_AT_ONCE):
        found.update(*tokenizer(texts[first : first + TEXTS_AT_ONCE], add_special_tokens=True)["input_ids"])
    return found


def choose_pieces(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], languages: Sequence[str] = (), extra: int = 0
) -> KeptIds:
    """Chooses the pieces to keep.

    Always kept are special pieces, sentinels, bytes, every single character, digits and punctuation, and what the texts
    use.

    Args:
        tokenizer: the full tokenizer, as [`~mt5_ft.models.loading.load_tokenizer`] gives it.
        texts (`Sequence[str]`): the corpus.
        languages (`Sequence[str]`): keys of `LANGUAGES`, for text that the corpus does not hold.
        extra (`int`): pieces of each language, the most frequent ones, used by the corpus or not.

    Raises:
        ValueError: an unknown language, a negative `extra`, or a tokenizer that is not Unigram.
    """
    check_languages(languages, extra)
    backend = backend_of(tokenizer)
    pieces = [piece for piece, _ in backend["model"]["vocab"]]
    scores = np.array([score for _, score in backend["model"]["vocab"]])
    order = np.argsort(-scores, kind="stable")
    of_languages = _of_languages(pieces, order, languages)

    kept = {token["id"] for token in backend["added_tokens"]} | set(tokenizer.all_special_ids)
    kept |= {position for position, piece in enumerate(pieces) if _is_general(piece)}
    kept |= used_ids(tokenizer, texts) | {backend["model"]["unk_id"], int(scores.argmin())}
    for ids in of_languages.values():
        kept.update(ids[:extra])

    others = chain(*zip(*of_languages.values(), strict=False), *of_languages.values(), order.tolist())
    fitting = [position for position in dict.fromkeys(others) if position not in kept]
    kept.update(fitting[: -len(kept) % MULTIPLE])
    return KeptIds(kept)
