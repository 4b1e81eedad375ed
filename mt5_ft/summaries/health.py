"""Signs of a defective output, read from its characters and raw tokens, before punctuation is dropped."""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean

from .rouge import all_tokens, has_content, repeats_itself

SENTINEL = "<extra_id_"
# a character at least 12 times in a row, a pair at least 6 times, 3 to 20 characters at least 4 times
_RUN = re.compile(r"(.)\1{11,}|(..)\2{5,}|(.{3,20}?)\3{3,}", re.DOTALL)
_MOST_DOTS = 24  # NFKC turns one Chinese ellipsis into six dots
SHORT, LONG = 0.2, 5.0  # length relative to the reference, in characters
FEWEST_CHARACTERS = 20  # of a reference to which the length is compared
MANY = 0.2  # share of defective outputs that is warned of
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


def health_of(prediction: str, reference: str, tokens: Sequence[str]) -> dict[str, bool]:
    """The signs of one normalised output.

    Args:
        prediction, reference (`str`): normalised texts.
        tokens (`Sequence[str]`): tokens of the prediction, as ROUGE counts them.

    Returns:
        `dict`: empty, sentinel, repeated (a 4-gram of tokens at least three times, or [`has_run`]), only_punctuation,
        short and long (below a fifth or above five times the characters of the reference).
    """
    compared = len(reference) >= FEWEST_CHARACTERS
    return {
        "empty": not prediction,
        "sentinel": SENTINEL in prediction,
        "repeated": has_run(prediction) or repeats_itself(tokens) or repeats_itself(all_tokens(prediction)),
        "only_punctuation": bool(prediction) and not has_content(prediction),
        "short": compared and len(prediction) < SHORT * len(reference),
        "long": compared and len(prediction) > LONG * len(reference),
    }


def health_shares(rows: Sequence[Mapping[str, bool]]) -> dict[str, float]:
    """Shares of the signs in the rows of [`health_of`], and of outputs with any of [`SIGNS`] as defective_share."""
    names = ("empty", "sentinel", "repeated", "only_punctuation", "short", "long")
    shares = {f"{name}_share": fmean(row[name] for row in rows) for name in names}
    return shares | {"defective_share": fmean(any(row[name] for name in SIGNS) for row in rows)}


def health_warnings(scores: Mapping[str, float], count: int) -> list[str]:
    """Lines on outputs that are mostly defective or of another length; empty for healthy ones.

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
    lines += [
        f"{of_all(name)} outputs have {what} the characters of their reference"
        for name, what in (("short", "less than a fifth of"), ("long", "more than five times"))
        if scores.get(f"{name}_share", 0) >= MANY
    ]
    return lines
