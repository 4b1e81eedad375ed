"""Generates summaries in batches, sorted by length for speed and returned in input order; deterministic."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from ..data.preprocessing import fitting_length

TEXTS_AT_ONCE = 1000
SENTINELS = [f"{space}<extra_id_{i}>" for i in range(100) for space in ("", "\u2581")]


@dataclass(frozen=True)
class GenerationSettings:
    """Settings of the generation.

    Attributes:
        max_length, min_length (`int`): maximum and minimum tokens of a summary.
        num_beams (`int`): number of beams; 1 is greedy decoding unless `do_sample`.
        do_sample (`bool`): sample tokens with `temperature` and `top_p`; seeded for each batch.
        no_repeat_ngram_size (`int`): n-grams of this size occur at most once; 0 allows repetitions.
        repetition_penalty (`float`, *optional*): above 1, repeated tokens become less likely; default: the model's.
        length_penalty (`float`, *optional*): above 0, beams prefer longer summaries; default: the model's.
        batch_size (`int`): texts per batch.
        max_source_length (`int`): maximum source tokens.
        seed (`int`): seed of the sampling.
    """

    max_length: int = 256
    min_length: int = 0
    num_beams: int = 1
    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 0.9
    no_repeat_ngram_size: int = 0
    batch_size: int = 8
    max_source_length: int = 256
    seed: int = 42
    repetition_penalty: float | None = None
    length_penalty: float | None = None

    def __post_init__(self):
        for name in ("max_length", "num_beams", "batch_size", "max_source_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is below 1; use a positive number")
        if not 0 <= self.min_length <= self.max_length:
            raise ValueError(f"min_length={self.min_length} is outside [0, max_length={self.max_length}]; lower it")
        if self.repetition_penalty is not None and not 0 < self.repetition_penalty < float("inf"):
            raise ValueError(f"repetition_penalty={self.repetition_penalty} is not positive; use e.g. 1.2")
        if self.length_penalty is not None and self.num_beams == 1:
            raise ValueError(f"length_penalty={self.length_penalty} has no effect without beams; set num_beams, e.g. 4")
        if self.no_repeat_ngram_size < 0:
            raise ValueError(f"no_repeat_ngram_size={self.no_repeat_ngram_size} is negative; use 0 or more")
        if not self.temperature > 0 or not 0 < self.top_p <= 1:
            raise ValueError(
                f"temperature={self.temperature} or top_p={self.top_p} is out of range; use e.g. 1.0 and 0.9"
            )


def sentinel_ids(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Ids of `<extra_id_N>`, which summaries must not contain: mT5 was pre-trained to generate them.

    In the published vocabularies they start with the word-boundary mark.
    """
    ids = tokenizer.convert_tokens_to_ids(SENTINELS)
    return [[i] for i in ids if i is not None and i != tokenizer.unk_token_id]


@torch.no_grad()
def generate_batch(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str], settings: GenerationSettings
) -> list[str]:
    """Summaries of one batch of texts."""
    batch = tokenizer(
        texts, return_tensors="pt", padding=True, truncation=True, max_length=settings.max_source_length
    ).to(model.device)
    output = generate_ids(model, tokenizer, batch["input_ids"], batch["attention_mask"], settings)
    return [text.strip() for text in tokenizer.batch_decode(output, skip_special_tokens=True)]


@torch.no_grad()
def generate_ids(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    input_ids: Tensor,
    attention_mask: Tensor,
    settings: GenerationSettings,
) -> Tensor:
    """Token ids of the summaries of one batch.

    Args:
        model, tokenizer: an encoder-decoder model and its tokenizer.
        input_ids, attention_mask (`torch.Tensor` of shape `(batch_size, source_len)`): the sources.
        settings ([`GenerationSettings`]): settings of the generation.

    Returns:
        `torch.Tensor` of shape `(batch_size, summary_len)`.
    """
    further = {"temperature": settings.temperature, "top_p": settings.top_p} if settings.do_sample else {}
    for name in ("repetition_penalty", "length_penalty"):
        if (value := getattr(settings, name)) is not None:
            further[name] = value
    return model.generate(
        input_ids=input_ids,
        attention_mask=attention_mask,
        max_length=settings.max_length,
        min_length=settings.min_length,
        num_beams=settings.num_beams,
        do_sample=settings.do_sample,
        no_repeat_ngram_size=settings.no_repeat_ngram_size or None,
        bad_words_ids=sentinel_ids(tokenizer) or None,
        **further,
    )


def truncation_warning(tokenizer: PreTrainedTokenizerBase, texts: list[str], limit: int) -> str | None:
    """A line on the sources that `max_source_length` cuts, or None.

    Args:
        tokenizer: the model's tokenizer.
        texts (`list[str]`): sources with their prefix.
        limit (`int`): maximum source tokens.
    """
    lengths = []
    for first in range(0, len(texts), TEXTS_AT_ONCE):
        lengths += map(len, tokenizer(texts[first : first + TEXTS_AT_ONCE])["input_ids"])
    cut = [length for length in lengths if length > limit]
    if not cut:
        return None
    lost = sum(length - limit for length in cut) / sum(lengths)
    return (
        f"{len(cut):,} of {len(texts):,} sources are longer than max_source_length={limit} tokens, and {lost:.0%} of "
        f"all source tokens are not read; --max_source_length {fitting_length(lengths)} would fit 95 % of the sources"
    )


def summarize_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    settings: GenerationSettings,
) -> list[str]:
    """Generates summaries, in the order of `texts`; batches contain texts of similar length.

    Args:
        model, tokenizer: an encoder-decoder model and its tokenizer.
        texts (`list[str]`): source texts.
        settings ([`GenerationSettings`]): settings of the generation.
    """
    found: dict[int, str] = {}

    def keep(positions: list[int], summaries: list[str]) -> None:
        found.update(zip(positions, summaries, strict=True))

    was_training = model.training
    generate_missing(model, tokenizer, texts, settings, found, keep)
    model.train(was_training)
    return [found[position] for position in range(len(texts))]


def generate_missing(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    settings: GenerationSettings,
    done: dict[int, str],
    keep: Callable[[list[int], list[str]], None],
    process: int = 0,
    processes: int = 1,
) -> None:
    """Generates the missing batches; neither an interruption nor the number of processes changes the batches.

    Args:
        model, tokenizer, texts, settings: as of [`summarize_texts`].
        done (`dict` of position to summary): what is known already.
        keep (`Callable`): called with the positions and summaries of each new batch.
        process, processes (`int`): number of this process, and how many share the missing batches: every so many of
            them, in the order of length, is this process's.
    """
    model.eval()
    order = sorted(range(len(texts)), key=lambda position: (-len(texts[position]), position))
    starts = range(0, len(order), settings.batch_size)
    missing = [one for one in starts if not all(at in done for at in order[one : one + settings.batch_size])]
    for first in missing[process::processes]:
        positions = order[first : first + settings.batch_size]
        if settings.do_sample:
            set_seed(settings.seed + first)
        keep(positions, generate_batch(model, tokenizer, [texts[position] for position in positions], settings))
