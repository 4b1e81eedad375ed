"""Savings and costs of trimming a vocabulary: size, coverage, changed segmentations, longer unseen texts."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from .kept_pieces import BYTE, TEXTS_AT_ONCE, KeptIds, choose_pieces
from .vocabulary import trim_tokenizer

HELD_OUT = 10  # every tenth record is held out from a second choice of pieces
BYTES = 4
MIB = 2**20


@dataclass(frozen=True)
class TextFigures:
    """A trimmed tokenizer compared with the full one on texts.

    Attributes:
        coverage (`float`): share of the non-blank characters that are neither `<unk>` nor bytes.
        changed (`float`): share of the texts with another segmentation.
        growth (`float`): relative increase of the number of tokens.
    """

    coverage: float
    changed: float
    growth: float


@dataclass(frozen=True)
class TrimReport:
    """Measurements of a trimmed vocabulary.

    Attributes:
        pieces_before, pieces_after (`int`): pieces of the tokenizers.
        parameters_before, parameters_after (`int`): parameters of the model.
        corpus ([`TextFigures`]): on the texts that the pieces were chosen for.
        unseen ([`TextFigures`], *optional*): on a held-out tenth of the texts, with pieces chosen for the others; None
            for fewer than two texts.
    """

    pieces_before: int
    pieces_after: int
    parameters_before: int
    parameters_after: int
    corpus: TextFigures
    unseen: TextFigures | None

    def lines(self) -> list[str]:
        """The report as text."""
        sizes = [count * BYTES / MIB for count in (self.parameters_before, self.parameters_after)]
        lines = [
            f"pieces      {self.pieces_before:,} -> {self.pieces_after:,}",
            f"parameters  {self.parameters_before:,} -> {self.parameters_after:,} "
            f"({self.parameters_after / self.parameters_before:.1%})",
            f"weights     {sizes[0]:,.1f} MiB -> {sizes[1]:,.1f} MiB in fp32",
            f"coverage    {self.corpus.coverage:.3%} of the corpus's characters without <unk> or bytes",
            f"changed     {self.corpus.changed:.2%} of the texts have another segmentation",
        ]
        if self.unseen:
            lines.append(
                f"unseen      {self.unseen.growth:+.1%} tokens and {self.unseen.coverage:.3%} coverage on texts held "
                "out from the choice of pieces"
            )
        return lines


def measure_texts(
    full: PreTrainedTokenizerBase, trimmed: PreTrainedTokenizerBase, kept: KeptIds, texts: Sequence[str]
) -> TextFigures:
    """Compares the two tokenizers on texts; `texts` must not be empty."""
    names = trimmed.convert_ids_to_tokens(range(len(trimmed)))
    lost = {number for number, piece in enumerate(names) if BYTE.fullmatch(piece)} | {trimmed.unk_token_id}
    characters = lost_characters = changed = before = after = 0
    for first in range(0, len(texts), TEXTS_AT_ONCE):
        some = list(texts[first : first + TEXTS_AT_ONCE])
        old = full(some)["input_ids"]
        new = trimmed(some, return_offsets_mapping=True)
        for text, ids, other, places in zip(some, old, new["input_ids"], new["offset_mapping"], strict=True):
            gone = {place for number, place in zip(other, places, strict=True) if number in lost}
            characters += sum(not letter.isspace() for letter in text)
            lost_characters += sum(not letter.isspace() for start, end in gone for letter in text[start:end])
            changed += ids != kept.to_full(other)
            before, after = before + len(ids), after + len(other)
    return TextFigures(1 - lost_characters / max(1, characters), changed / len(texts), after / before - 1)


def measure_unseen(
    full: PreTrainedTokenizerBase, texts: Sequence[str], languages: Sequence[str], extra: int, texts_each: int = 1
) -> TextFigures | None:
    """Measures trimming on unseen texts: every tenth record, with pieces chosen for the others.

    `texts_each` consecutive texts are one record, held out together.
    """
    if len(texts) < 2 * texts_each:
        return None
    held_out = [position // texts_each % HELD_OUT == 0 for position in range(len(texts))]
    seen = [text for text, out in zip(texts, held_out, strict=True) if not out]
    kept = choose_pieces(full, seen, languages, extra)
    unseen = [text for text, out in zip(texts, held_out, strict=True) if out]
    return measure_texts(full, trim_tokenizer(full, kept), kept, unseen)
