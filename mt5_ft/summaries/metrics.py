"""Scores of generated summaries in any language: ROUGE, chrF, BLEU and the rates of defective outputs.

Nothing is downloaded. Predictions and references are normalised first, see [`normalise_text`]. Scores range from 0 to
100, shares from 0 to 1. `mt5_ft/summaries/rouge.py` documents the tokenisation and the role of punctuation,
`mt5_ft/summaries/health.py` the signs of a defective output.
"""

import re
from collections.abc import Callable, Sequence
from statistics import fmean

import datasets
import evaluate
from sacrebleu.metrics import BLEU, CHRF

from .health import health_of, health_shares, identical_share, repeated_characters
from .rouge import ScriptTokenizer, is_chinese, normalise_text, score_pair

# characters that sacrebleu's `zh` always splits; sacrebleu tokenises everything else
_SPLIT_BY_SACREBLEU = re.compile("([\u4e00-\u9fbb])|([^\u4e00-\u9fbb]+)")


def _check_texts(predictions: Sequence[str], references: Sequence[str]) -> None:
    if len(predictions) != len(references):
        raise ValueError(
            f"predictions has {len(predictions)} rows, but references has {len(references)}; pass one reference per row"
        )
    if not len(predictions):
        raise ValueError("predictions has 0 rows; pass at least one row to score")
    for name, texts in (("predictions", predictions), ("references", references)):
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise ValueError(f"{name}[{row}]={text!r:.60} is not text; pass a string, empty if there is none")


def per_example(
    predictions: Sequence[str], references: Sequence[str], chinese: str = "char"
) -> list[dict[str, float | int | bool]]:
    """Scores every row separately, e.g. to find the best and worst outputs.

    Args:
        predictions (`Sequence[str]`): generated texts.
        references (`Sequence[str]`): one target text per prediction.
        chinese (`str`, *optional*, defaults to `"char"`): `"char"` or `"jieba"`, see [`ScriptTokenizer`].

    Returns:
        `list` of `dict`: rouge1, rouge2 and rougeL (0 to 100), prediction_tokens and reference_tokens,
        [`~mt5_ft.summaries.health.repeated_characters`] (0 to 1), and the signs of
        [`~mt5_ft.summaries.health.health_of`].

    Raises:
        ValueError: no rows, different numbers of rows, rows that are not text, or an unknown `chinese`.
    """
    _check_texts(predictions, references)
    splitter = ScriptTokenizer(chinese)
    rows = []
    for prediction, reference in zip(map(normalise_text, predictions), map(normalise_text, references), strict=True):
        output, target = splitter.split_pair(prediction, reference)
        rouge = score_pair(output, target)
        rows.append(
            {
                "rouge1": 100 * rouge.rouge1,
                "rouge2": 100 * rouge.rouge2,
                "rougeL": 100 * rouge.rougeL,
                "prediction_tokens": len(output),
                "reference_tokens": len(target),
                "repeated_characters": repeated_characters(prediction),
            }
            | health_of(prediction, reference, output)
        )
    return rows


def score_texts(
    predictions: Sequence[str],
    references: Sequence[str],
    chinese: str = "char",
    sources: Sequence[str] | None = None,
) -> dict[str, float]:
    """Scores a set of generated texts.

    chrF and BLEU are corpus scores of sacrebleu on normalised texts; BLEU uses `tokenize="zh"` if most references are
    Chinese, else `"13a"`.

    Args:
        predictions (`Sequence[str]`): generated texts.
        references (`Sequence[str]`): one target text per prediction.
        chinese (`str`, *optional*, defaults to `"char"`): `"char"` or `"jieba"`, see [`ScriptTokenizer`].
        sources (`Sequence[str]`, *optional*): one source text per prediction, to compare the outputs for different
            sources; without them, the outputs of rows with different references are compared.

    Returns:
        `dict` of floats: rouge1, rouge2 and rougeL (means of the rows' F-measures), chrf and bleu, from 0 to 100;
        length_ratio (tokens of all predictions divided by tokens of all references, 0 without reference tokens);
        repeated_characters (mean of [`~mt5_ft.summaries.health.repeated_characters`] over the predictions, 0 to 1);
        the shares of [`~mt5_ft.summaries.health.health_shares`] and
        [`~mt5_ft.summaries.health.identical_share`], from 0 to 1.

    Raises:
        ValueError: no rows, different numbers of rows, rows that are not text, or an unknown `chinese`.
    """
    if sources is not None and len(sources) != len(predictions):
        raise ValueError(
            f"sources has {len(sources)} rows, but predictions has {len(predictions)}; pass one source per row"
        )
    rows = per_example(predictions, references, chinese)
    outputs = [normalise_text(text) for text in predictions]
    targets = [normalise_text(text) for text in references]
    reference_tokens = sum(row["reference_tokens"] for row in rows)
    return {
        **{name: fmean(row[name] for row in rows) for name in ("rouge1", "rouge2", "rougeL")},
        "chrf": CHRF().corpus_score(outputs, [targets]).score,
        "bleu": _bleu(outputs, targets),
        "length_ratio": sum(row["prediction_tokens"] for row in rows) / reference_tokens if reference_tokens else 0.0,
        "repeated_characters": fmean(row["repeated_characters"] for row in rows),
        **health_shares(rows),
        "identical_share": identical_share(outputs, references if sources is None else sources, targets),
    }


def _bleu(outputs: list[str], targets: list[str]) -> float:
    # force: suppress sacrebleu's warning about tokenised lines that end in ' .', which generated texts may
    if 2 * sum(map(is_chinese, targets)) <= len(targets):
        return BLEU(tokenize="13a", force=True).corpus_score(outputs, [targets]).score
    split = _chinese_splitter()
    split_targets = [split(text) for text in targets]
    return BLEU(tokenize="none", force=True).corpus_score([split(text) for text in outputs], [split_targets]).score


def _chinese_splitter() -> Callable[[str], str]:
    """A faster version of sacrebleu's `zh` tokenizer, with the same tokens.

    sacrebleu puts spaces around every Chinese character and runs regular expressions over the result. This function
    passes only the text between Chinese characters to sacrebleu (with a character on both sides as context); such
    pieces recur, and sacrebleu caches them.
    """
    tokenize = BLEU(tokenize="zh").tokenizer

    def split(text: str) -> str:
        pieces = _SPLIT_BY_SACREBLEU.findall(text)
        tokens: list[str] = []
        for index, (character, rest) in enumerate(pieces):
            if character:
                tokens.append(character)
                continue
            before, after = index > 0, index < len(pieces) - 1
            words = tokenize("字" * before + rest + "字" * after).split()
            tokens.extend(words[before : len(words) - after])
        return " ".join(tokens)

    return split


class SummaryMetric(evaluate.Metric):
    """[`score_texts`] as an `evaluate` metric: rows may arrive in batches and from several processes.

    Instantiated directly, it downloads nothing. With `num_process=n, process_id=i` and a common `cache_dir` and
    `experiment_id`, `compute` returns the scores of all rows in process 0 and `None` in the others.

    Example:

    ```python
    >>> from mt5_ft.summaries.metrics import SummaryMetric

    >>> SummaryMetric().compute(predictions=["认知疗法有效"], references=["认知疗法有效"])["rougeL"]
    100.0
    ```
    """

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description="ROUGE, chrF, BLEU and the rates of defective outputs, for summaries in any language.",
            citation="",
            inputs_description=score_texts.__doc__,
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: list[str], references: list[str], chinese: str = "char") -> dict[str, float]:
        return score_texts(predictions, references, chinese)
