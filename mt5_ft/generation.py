"""Summaries in batches: length-sorted for speed, returned in order, resumable and reproducible."""

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from ft_core.files import write_text

from .data.records import Record, split_targets

PART = ".part"


@dataclass(frozen=True)
class GenerationSettings:
    """How summaries are generated.

    Attributes:
        max_length, min_length (`int`): most and fewest tokens of a summary.
        num_beams (`int`): beams; 1 is greedy unless `do_sample`.
        do_sample (`bool`): draw tokens, by `temperature` and `top_p`, from a generator seeded for each batch.
        no_repeat_ngram_size (`int`): n-grams of this size occur once at most; 0 allows all.
        batch_size (`int`): texts at once.
        max_source_length (`int`): source tokens.
        seed (`int`): seed of sampling.
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

    def __post_init__(self):
        for name in ("max_length", "num_beams", "batch_size", "max_source_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is below 1; use a positive number")
        if self.no_repeat_ngram_size < 0:
            raise ValueError(f"no_repeat_ngram_size={self.no_repeat_ngram_size} is negative; use 0 or more")
        if not self.temperature > 0 or not 0 < self.top_p <= 1:
            raise ValueError(
                f"temperature={self.temperature} or top_p={self.top_p} is out of range; use e.g. 1.0 and 0.9"
            )


def _sentinels(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Ids of `<extra_id_N>`, which a summary must not contain: mT5 was pre-trained to write them."""
    ids = tokenizer.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(100)])
    return [[i] for i in ids if i is not None and i != tokenizer.unk_token_id]


@torch.no_grad()
def generate_batch(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str], settings: GenerationSettings
) -> list[str]:
    """Summaries of one batch of texts."""
    batch = tokenizer(
        texts, return_tensors="pt", padding=True, truncation=True, max_length=settings.max_source_length
    ).to(model.device)
    sampling = {"temperature": settings.temperature, "top_p": settings.top_p} if settings.do_sample else {}
    output = model.generate(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        max_length=settings.max_length,
        min_length=settings.min_length,
        num_beams=settings.num_beams,
        do_sample=settings.do_sample,
        no_repeat_ngram_size=settings.no_repeat_ngram_size or None,
        bad_words_ids=_sentinels(tokenizer) or None,
        **sampling,
    )
    return [text.strip() for text in tokenizer.batch_decode(output, skip_special_tokens=True)]


def summarize_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    settings: GenerationSettings,
) -> list[str]:
    """Summaries in the order of `texts`; each batch holds texts of like length.

    Args:
        model, tokenizer: an encoder-decoder model and its tokenizer.
        texts (`list[str]`): sources.
        settings ([`GenerationSettings`]): how to generate.
    """
    found: dict[int, str] = {}

    def keep(positions: list[int], summaries: list[str]) -> None:
        found.update(zip(positions, summaries, strict=True))

    was_training = model.training
    _generate_missing(model, tokenizer, texts, settings, found, keep)
    model.train(was_training)
    return [found[position] for position in range(len(texts))]


def _finished_batches(part: Path, key: str) -> dict[int, str]:
    """Summaries of an interrupted run, when it had the same input and settings; a torn last line is left out."""
    if not part.exists():
        return {}
    found: dict[int, str] = {}
    lines = part.read_text(encoding="utf-8").split("\n")
    if json.loads(lines[0] or "{}").get("key") != key:
        return {}
    for line in lines[1:-1]:
        entry = json.loads(line)
        found.update(zip(entry["positions"], entry["summaries"], strict=True))
    return found


def summarize_file(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: list[Record],
    output: Path,
    settings: GenerationSettings,
    *,
    key: str,
    prefix: str = "",
    targets: tuple[str, ...] = ("prediction",),
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Writes one JSON line a record, in input order, whole or not at all; an interrupted run goes on where it stopped.

    Batches are fixed by the input, and finished ones are kept in `OUTPUT.part`, so that the bytes do not depend on
    interruptions.

    Args:
        model, tokenizer: an encoder-decoder model and its tokenizer.
        records (`list` of [`Record`]): sources.
        output (`Path`): the JSONL file.
        settings ([`GenerationSettings`]): how to generate.
        key (`str`): identifies model and input; a part of another key is not used.
        prefix (`str`): put before each source.
        targets: with several, each summary is split at their headings into fields of these names.
        progress (*optional*): called with records done and in all.

    Returns:
        `int`: records that an earlier, interrupted run had done.
    """
    part = output.with_name(output.name + PART)
    done = _finished_batches(part, key)
    texts = [prefix + record.source for record in records]
    resumed = len(done)
    with open(part, "a" if done else "w", encoding="utf-8") as file:
        if not done:
            file.write(json.dumps({"key": key}) + "\n")

        def keep(positions: list[int], summaries: list[str]) -> None:
            done.update(zip(positions, summaries, strict=True))
            file.write(json.dumps({"positions": positions, "summaries": summaries}) + "\n")
            file.flush()
            os.fsync(file.fileno())
            if progress is not None:
                progress(len(done), len(texts))

        _generate_missing(model, tokenizer, texts, settings, done, keep)
    lines = []
    for position, record in enumerate(records):
        entry: dict[str, object] = {"id": record.id, "prediction": done[position]}
        if len(targets) > 1:
            entry |= split_targets(done[position], targets)
        lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
    write_text(output, "".join(lines))
    part.unlink()
    return resumed


def _generate_missing(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    settings: GenerationSettings,
    done: dict[int, str],
    keep: Callable[[list[int], list[str]], None],
) -> None:
    """Generates the batches that are not done; batches are the same as without an interruption."""
    model.eval()
    order = sorted(range(len(texts)), key=lambda position: (-len(texts[position]), position))
    for first in range(0, len(order), settings.batch_size):
        positions = order[first : first + settings.batch_size]
        if all(position in done for position in positions):
            continue
        if settings.do_sample:
            set_seed(settings.seed + first)
        keep(positions, generate_batch(model, tokenizer, [texts[position] for position in positions], settings))


def read_predictions(path: Path) -> dict[str, str]:
    """Predictions by id from a JSONL file of `summarize`.

    Raises:
        ValueError: missing file, bad JSON, or a line without id and prediction.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ValueError(f"predictions file {path} cannot be read ({error.strerror}); correct the path") from error
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            found[str(entry["id"])] = str(entry["prediction"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path}:{number} has no id and prediction as JSON; write it with summarize") from error
    if not found:
        raise ValueError(f"predictions file {path} is empty; write it with summarize")
    return found
