"""Chooses the pieces of a SentencePiece vocabulary to keep: those of a corpus, and enough for any other text.

Notable:
- Ids keep their order: the special pieces stay at 0, 1 and 2, and if all pieces of a text are kept, its segmentation
  does not change.
- The piece with the lowest score is kept: the penalty of unknown characters depends on it.
- The number of pieces is filled up to a multiple of `MULTIPLE` with the most frequent other pieces.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import chain, islice

import numpy as np
from transformers import PreTrainedTokenizerBase

from ft_core.io.formats import parse_json

MULTIPLE = 64  # table sizes that are fast in matrix products
SPACE = "▁"
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
SENTINEL = re.compile(rf"{SPACE}?<extra_id_\d+>")
CONTROL = re.compile("<pad>|</s>|<s>|<unk>")
TEXTS_AT_ONCE = 1000
ASCII = "ASCII"
LATIN = (ASCII, "LATIN")
EXTRA = 2000  # default number of most frequent pieces per chosen language
MAIN_LANGUAGES = ("zh", "en")
# only by script: pieces do not show in which of the languages with the same script they are frequent
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
    """The kept ids of the full vocabulary, and conversion between full and trimmed ids.

    Args:
        ids: ids of the full vocabulary, in any order.
    """

    def __init__(self, ids: Iterable[int]):
        self.ids = np.unique(np.fromiter(ids, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ids)

    def to_full(self, ids: Sequence[int]) -> list[int]:
        """Converts trimmed ids to ids of the full vocabulary."""
        return self.ids[np.asarray(ids, dtype=np.int64)].tolist()

    def to_kept(self, ids: Sequence[int]) -> list[int]:
        """Converts full ids to ids of the trimmed vocabulary.

        Raises:
            ValueError: an id is not kept.
        """
        wanted = np.asarray(ids, dtype=np.int64)
        places = np.searchsorted(self.ids, wanted)
        missing = np.append(self.ids, -1)[places] != wanted
        if missing.any():
            raise ValueError(f"id {wanted[missing][0]} is not kept; choose the pieces with texts that contain it")
        return places.tolist()


def backend_of(tokenizer: PreTrainedTokenizerBase) -> dict:
    """The content of a tokenizer's tokenizer.json.

    Raises:
        ValueError: not a Unigram tokenizer, or ids with gaps.
    """
    backend = parse_json(tokenizer.backend_tokenizer.to_str())
    kind = backend["model"]["type"]
    if kind != "Unigram":
        raise ValueError(f"the tokenizer has type {kind}, but only Unigram can be trimmed; pass an mT5 model")
    added = {token["id"] for token in backend["added_tokens"]}
    if added | set(range(len(backend["model"]["vocab"]))) != set(range(len(tokenizer))):
        raise ValueError("the tokenizer's ids have gaps, so it cannot be trimmed; pass a published tokenizer")
    return backend


def _is_special(piece: str) -> bool:
    """Whether a piece is not text; such pieces have score 0, as if they were the most frequent."""
    return bool(BYTE.fullmatch(piece) or SENTINEL.fullmatch(piece) or CONTROL.fullmatch(piece))


def _is_general(piece: str) -> bool:
    """Whether a piece is needed for any text: special pieces, single characters, a digit or mark after a space."""
    bare = piece.removeprefix(SPACE)
    return len(piece) == 1 or (len(bare) == 1 and not bare.isalpha()) or _is_special(piece)


def _script(letter: str) -> str:
    return ASCII if letter.isascii() else unicodedata.name(letter, "").split(" ")[0]


def _scripts(piece: str) -> set[str]:
    return {_script(letter) for letter in piece if letter.isalpha()}


def _of_languages(pieces: list[str], order: np.ndarray, languages: Sequence[str]) -> dict[str, list[int]]:
    """Ids of the pieces with only letters of a language's scripts, most frequent first."""
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


def used_ids(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> set[int]:
    """Ids that occur in texts, including the end token."""
    found: set[int] = set()
    texts = iter(texts)
    while part := list(islice(texts, TEXTS_AT_ONCE)):
        found.update(*tokenizer(part, add_special_tokens=True)["input_ids"])
    return found


def choose_pieces(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], languages: Sequence[str] = (), extra: int = 0
) -> KeptIds:
    """Chooses the pieces to keep.

    Always keeps special pieces, sentinels, bytes, single characters, digits, punctuation, and the pieces of the texts.

    Args:
        tokenizer: the full tokenizer, from [`~mt5_ft.models.loading.load_tokenizer`].
        texts (`Iterable[str]`): the corpus.
        languages (`Sequence[str]`): keys of `LANGUAGES`, for texts outside the corpus.
        extra (`int`): number of most frequent pieces to keep per language.

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
