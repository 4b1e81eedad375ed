"""Scores of generated summaries, Chinese or English: ROUGE, chrF, BLEU and the rates of faulty outputs.

Everything is computed here, without a download; both sides are normalised first, see [`normalise_text`]. Scores go from
0 to 100, shares and ratios from 0 to 1. How texts are split, and when punctuation counts, is documented in
`mt5_ft/summaries/rouge.py`.
"""

import re
from collections.abc import Callable, Sequence
from statistics import fmean

import datasets
import evaluate
import numpy as np
from sacrebleu.metrics import BLEU, CHRF
from transformers import EvalPrediction, PreTrainedTokenizerBase

from .rouge import ScriptTokenizer, is_chinese, normalise_text, repeats_itself, score_pair

SENTINEL = "<extra_id_"
# characters that sacrebleu's `zh` surely splits; anything else it sees itself
_SPLIT_BY_SACREBLEU = re.compile("([\u4e00-\u9fbb])|([^\u4e00-\u9fbb]+)")


def _check_texts(predictions: Sequence[str], references: Sequence[str]) -> None:
    if len(predictions) != len(references):
        raise ValueError(
            f"predictions has {len(predictions)} rows but references has {len(references)}; pass one reference a row"
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
    """Scores every row by itself, for a look at the best and worst outputs.

    Args:
        predictions (`Sequence[str]`): generated texts.
        references (`Sequence[str]`): one target text for each of them.
        chinese (`str`, *optional*, defaults to `"char"`): `"char"` or `"jieba"`, see [`ScriptTokenizer`].

    Returns:
        `list` of `dict`: rouge1, rouge2 and rougeL (0 to 100), prediction_tokens and reference_tokens, and whether the
        output is empty, has a sentinel (`<extra_id_0>`) or is repeated (a 4-gram at least 3 times).

    Raises:
        ValueError: for no rows, rows that do not match or are not text, or an unknown `chinese`.
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
                "empty": not prediction,
                "sentinel": SENTINEL in prediction,
                "repeated": repeats_itself(output),
            }
        )
    return rows


def score_texts(predictions: Sequence[str], references: Sequence[str], chinese: str = "char") -> dict[str, float]:
    """Scores a set of generated texts.

    chrF and BLEU are sacrebleu's, over the whole set, on normalised texts; BLEU splits as `tokenize="zh"` when most
    references are Chinese and as `"13a"` otherwise.

    Args:
        predictions (`Sequence[str]`): generated texts.
        references (`Sequence[str]`): one target text for each of them.
        chinese (`str`, *optional*, defaults to `"char"`): `"char"` or `"jieba"`, see [`ScriptTokenizer`].

    Returns:
        `dict` of floats: rouge1, rouge2 and rougeL (means of the rows' F-measures), chrf and bleu, from 0 to 100;
        length_ratio (tokens of all predictions over tokens of all references, 0 when the references have none);
        empty_share, sentinel_share and repeated_share, from 0 to 1.

    Raises:
        ValueError: for no rows, rows that do not match or are not text, or an unknown `chinese`.
    """
    rows = per_example(predictions, references, chinese)
    outputs = [normalise_text(text) for text in predictions]
    targets = [normalise_text(text) for text in references]
    reference_tokens = sum(row["reference_tokens"] for row in rows)
    return {
        **{name: fmean(row[name] for row in rows) for name in ("rouge1", "rouge2", "rougeL")},
        "chrf": CHRF().corpus_score(outputs, [targets]).score,
        "bleu": _bleu(outputs, targets),
        "length_ratio": sum(row["prediction_tokens"] for row in rows) / reference_tokens if reference_tokens else 0.0,
        **{f"{name}_share": fmean(row[name] for row in rows) for name in ("empty", "sentinel", "repeated")},
    }


def _bleu(outputs: list[str], targets: list[str]) -> float:
    # force: sacrebleu warns of 'tokenized' lines that end in ' .', which generated text may well do
    if 2 * sum(map(is_chinese, targets)) <= len(targets):
        return BLEU(tokenize="13a", force=True).corpus_score(outputs, [targets]).score
    split = _chinese_splitter()
    split_targets = [split(text) for text in targets]
    return BLEU(tokenize="none", force=True).corpus_score([split(text) for text in outputs], [split_targets]).score


def _chinese_splitter() -> Callable[[str], str]:
    """sacrebleu's `zh` tokenizer: the same tokens in a fraction of its time.

    It runs regular expressions over every space that it puts around a character. Here only what stands between Chinese
    characters goes through it, with a character at either side as context; such pieces recur and it caches them.
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
    """[`score_texts`] as a metric module: rows may arrive in batches and from several processes.

    It is instantiated directly, so nothing is downloaded. With `num_process=n, process_id=i` and one `cache_dir` and
    `experiment_id` for all, `compute` gives the scores of all rows to process 0 and `None` to the others.

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
            description="ROUGE, chrF, BLEU and the rates of faulty outputs, for Chinese and English summaries.",
            citation="",
            inputs_description=score_texts.__doc__,
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: list[str], references: list[str], chinese: str = "char") -> dict[str, float]:
        return score_texts(predictions, references, chinese)


def build_compute_metrics(
    tokenizer: PreTrainedTokenizerBase, chinese: str = "char"
) -> Callable[[EvalPrediction], dict[str, float]]:
    """Makes the `compute_metrics` of a `Seq2SeqTrainer` with `predict_with_generate=True`.

    Args:
        tokenizer ([`PreTrainedTokenizerBase`]): decodes outputs and labels.
        chinese (`str`, *optional*, defaults to `"char"`): `"char"` or `"jieba"`, see [`ScriptTokenizer`].

    Returns:
        A function from `EvalPrediction` to the `dict` of [`score_texts`]. Its sentinel_share counts the generated
        tokens, because decoding for the scores skips those sentinels that the tokenizer holds for special.

    Raises:
        ValueError: for an unknown `chinese`; the function itself, for predictions that are not token ids.
    """
    ScriptTokenizer(chinese)  # a wrong setting must fail before the first epoch, not after it
    # those that decoding may skip; as ordinary pieces, like the published mT5's, they stay in the text
    sentinels = [index for index, token in tokenizer.added_tokens_decoder.items() if SENTINEL in token.content]

    def decode(ids: np.ndarray) -> list[str]:
        # the Trainer pads both with -100, which no tokenizer can decode
        ids = np.where(ids == -100, tokenizer.pad_token_id, ids)
        return [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def compute_metrics(evaluated: EvalPrediction) -> dict[str, float]:
        predictions = evaluated.predictions
        predictions = np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)
        if predictions.ndim != 2:
            raise ValueError(
                f"predictions has shape {predictions.shape}, not (rows, tokens); set predict_with_generate=True"
            )
        texts = decode(predictions)
        scores = score_texts(texts, decode(np.asarray(evaluated.label_ids)), chinese)
        skipped = np.isin(predictions, sentinels).any(axis=1)
        spelled = np.array([SENTINEL in text for text in texts])
        return {**scores, "sentinel_share": float((skipped | spelled).mean())}

    return compute_metrics
