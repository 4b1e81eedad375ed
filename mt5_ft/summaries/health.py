"""Signs of a defective output, read from its characters and raw tokens, before punctuation is dropped."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from .rouge import all_tokens, has_content, repeats_itself

SENTINEL = "<extra_id_"
# a character at least 12 times in a row, a pair at least 6 times, 3 to 20 characters at least 4 times
_RUN = re.compile(r"(.)\1{11,}|(..)\2{5,}|(.{3,20}?)\3{3,}", re.DOTALL)
# a letter at least 4 times in a row, 2 to 20 characters at least 3 times
_REPEAT = re.compile(r"([^\W\d_])\1{3,}|(.{2,20}?)\2{2,}", re.DOTALL)
_MOST_DOTS = 24  # NFKC turns one Chinese ellipsis into six dots
SHORT, LONG = 0.2, 5.0  # length relative to the reference, in characters
FEWEST_CHARACTERS = 20  # of a reference to which the length is compared
MANY = 0.2  # share of defective outputs that is warned of
MANY_IDENTICAL = 1 / 3  # share of identical outputs above which they are warned of
FEWEST_TO_COMPARE = 3  # outputs; of fewer, identical ones may be a coincidence
MOSTLY_REPEATED = 0.25  # share of an output's characters in direct repeats that makes it a looping one
MANY_REPEATED = 0.02  # mean share of characters in direct repeats that is warned of
SIGNS = {
    "only_punctuation": "consist only of punctuation",
    "repeated": "repeat themselves",
    "sentinel": "contain a sentinel (<extra_id_0>)",
    "empty": "are empty",
}


def has_run(text: str) -> bool:
    """Whether a character or an n-gram of at most 20 characters repeats in a row, as in a looping output."""
    text = " ".join(text.split())
    return any(set(run[0]) != {"."} or len(run[0]) >= _MOST_DOTS for run in _RUN.finditer(text))


def repeated_characters(text: str) -> float:
    """Share of the characters of a text that directly repeat what precedes them, within words too.

    repeated_characters(x) = sum over the runs u u ... u (k times) of (k - 1) |u| / |x|

    A run is a letter at least 4 times in a row, or a unit u of 2 to 20 characters at least 3 times, from left to right,
    the shortest unit first. Units without a letter (`......`, `000000`) do not count. Characters and not words are
    compared, because Chinese has no spaces: `hahaha` 4/6, `的的的的` 3/4, `焦虑焦虑焦虑` 4/6. Counting distinct n-grams
    (seq-rep-n; Welleck et al., 2020, arXiv:1908.04319) instead would grow with the length of a healthy text.

    Returns:
        `float`: from 0 (no run) to below 1; 0 for an empty text.
    """
    text = " ".join(text.split())
    found = ((run[0], run[1] or run[2]) for run in _REPEAT.finditer(text))
    repeated = sum(len(run) - len(unit) for run, unit in found if any(map(str.isalpha, unit)))
    return repeated / len(text) if text else 0.0


def health_of(prediction: str, reference: str, tokens: Sequence[str]) -> dict[str, bool]:
    """The signs of one normalised output.

    Args:
        prediction, reference (`str`): normalised texts.
        tokens (`Sequence[str]`): tokens of the prediction, as ROUGE counts them.

    Returns:
        `dict`: empty, sentinel, repeated (a 4-gram of tokens at least three times, [`has_run`], or a quarter of its
        [`repeated_characters`]), only_punctuation, short and long (below a fifth or above five times the characters of
        the reference).
    """
    compared = len(reference) >= FEWEST_CHARACTERS
    return {
        "empty": not prediction,
        "sentinel": SENTINEL in prediction,
        "repeated": has_run(prediction)
        or repeats_itself(tokens)
        or repeats_itself(all_tokens(prediction))
        or repeated_characters(prediction) >= MOSTLY_REPEATED,
        "only_punctuation": bool(prediction) and not has_content(prediction),
        "short": compared and len(prediction) < SHORT * len(reference),
        "long": compared and len(prediction) > LONG * len(reference),
    }


def health_shares(rows: Sequence[Mapping[str, bool]]) -> dict[str, float]:
    """Shares of the signs in the rows of [`health_of`], and of outputs with any of [`SIGNS`] as defective_share."""
    names = ("empty", "sentinel", "repeated", "only_punctuation", "short", "long")
    shares = {f"{name}_share": fmean(row[name] for row in rows) for name in names}
    return shares | {"defective_share": fmean(any(row[name] for name in SIGNS) for row in rows)}


def identical_share(outputs: Sequence[str], sources: Sequence[str], references: Sequence[str]) -> float:
    """Share of the outputs that equal the output of another record with another source and another reference.

    A model that writes the same text for every record (mode collapse) may get high ROUGE where references are similar.
    Where references repeat, such as labels, equal outputs do not count, nor do empty ones, which empty_share contains.

    Args:
        outputs (`Sequence[str]`): normalised texts.
        sources, references (`Sequence[str]`): one of each per output.
    """
    records_of = defaultdict(set)
    for output, *record in zip(outputs, sources, references, strict=True):
        records_of[output].add(tuple(record))
    several = {
        output: all(len(set(texts)) > 1 for texts in zip(*records, strict=True))
        for output, records in records_of.items()
    }
    return fmean(bool(output) and several[output] for output in outputs)


def health_warnings(scores: Mapping[str, float], count: int) -> list[str]:
    """Lines on outputs that are defective, identical or of another length; empty for healthy ones.

    Args:
        scores: of [`~mt5_ft.summaries.metrics.score_texts`]; scores of older runs lack some shares.
        count (`int`): number of outputs.
    """

    def of_all(name: str) -> str:
        return f"{round(scores.get(f'{name}_share', 0) * count):,} of {count:,}"

    worst = max(scores.get(f"{name}_share", 0) for name in SIGNS)
    lines = []
    if max(worst, scores.get("defective_share", 0)) >= MANY:
        found = [name for name in SIGNS if scores.get(f"{name}_share", 0) > 0]
        found.sort(key=lambda name: -scores[f"{name}_share"])
        listed = ", ".join(f"{of_all(name)} {SIGNS[name]}" for name in found)
        lines.append(
            f"the outputs are defective: {listed}; the model has not learnt enough: train longer, raise learning_rate, "
            "or start from published weights; against repetitions alone set no_repeat_ngram_size 3"
        )
    elif (repeated := scores.get("repeated_characters", 0)) >= MANY_REPEATED:
        lines.append(
            f"{repeated:.1%} of the characters of the outputs repeat what precedes them (as in hahaha, 焦虑焦虑焦虑); "
            "train longer, or summarise with --no_repeat_ngram_size 3"
        )
    if count >= FEWEST_TO_COMPARE and scores.get("identical_share", 0) > MANY_IDENTICAL:
        lines.append(
            f"{of_all('identical')} outputs are identical to an output for another source and another reference: the "
            "model ignores its input; train longer, raise learning_rate, or start from published weights"
        )
    lines += [
        f"{of_all(name)} outputs have {what} the characters of their reference"
        for name, what in (("short", "less than a fifth of"), ("long", "more than five times"))
        if scores.get(f"{name}_share", 0) >= MANY
    ]
    return lines
