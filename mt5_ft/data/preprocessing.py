"""Tokenises records with `datasets.map`, cached by content, and reports truncation by the length limits."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from ft_core.io.cache_folder import own_cache

from .record_table import encoded
from .records import Record

NOTHING = "none"
MOST = 0.95
IDS_AT_ONCE = 10_000


@dataclass(frozen=True)
class TokenLengths:
    """Lengths of the texts in tokens, and shares truncated by the limits.

    Attributes:
        source_mean, target_mean (`float`): mean length before truncation.
        source_cut, target_cut (`float`): share of texts longer than the limit.
        source_most, target_most (`int`): the limit into which 95 % of the texts fit.
    """

    source_mean: float
    target_mean: float
    source_cut: float
    target_cut: float
    source_most: int
    target_most: int

    def line(self, max_source_length: int, max_target_length: int) -> str:
        """One line for the user."""
        return (
            f"sources have {self.source_mean:.0f} tokens on average, {self.source_cut:.1%} truncated at "
            f"{max_source_length}; targets {self.target_mean:.0f}, {self.target_cut:.1%} truncated at "
            f"{max_target_length}"
        )


def _cache_file(cache: str | None, key: str) -> str | None:
    """File of cached tokens; None turns the cache off."""
    if cache == NOTHING:
        return None
    folder = Path(cache).expanduser() if cache else own_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"cannot write to token_cache={folder} ({error.strerror}); use another folder, or none"
        ) from error
    return str(folder / f"{key}.arrow")


def _content_key(records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, settings: dict) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode("utf-8", "surrogatepass"))
    for text in encoded(records):
        digest.update(text)
    return digest.hexdigest()


def tokenize_records(
    records: Sequence[Record],
    tokenizer: PreTrainedTokenizerBase,
    *,
    prefix: str = "",
    max_source_length: int = 256,
    max_target_length: int = 256,
    processes: int | None = None,
    cache: str | None = None,
) -> tuple[Dataset, TokenLengths]:
    """Token ids of records, truncated at the limits.

    Args:
        records (`Sequence[Record]`): texts, read in parts.
        tokenizer: the model's tokenizer.
        prefix (`str`): added before each source.
        max_source_length, max_target_length (`int`): limits in tokens, including the end token.
        processes (`int`, *optional*): worker processes of `datasets.map`.
        cache (`str`, *optional*): cache folder, by default [`own_cache`]; `"none"` turns the cache off.

    Returns:
        `Dataset` with input_ids, attention_mask, labels, length (source plus target tokens, for grouping), row
        (position), record (id), and [`TokenLengths`].
    """
    for name, value in (("max_source_length", max_source_length), ("max_target_length", max_target_length)):
        if value < 2:
            raise ValueError(f"{name}={value} is too small for a text; use at least 2 tokens")
    settings = {"prefix": prefix, "source": max_source_length, "target": max_target_length, "version": 1}
    key = _content_key(records, tokenizer, settings)
    places = Dataset.from_dict({"place": range(len(records))})

    def encode(batch: dict[str, list[int]]) -> dict[str, list]:
        part = list(records[batch["place"][0] : batch["place"][-1] + 1])
        sources = tokenizer([prefix + record.source for record in part], add_special_tokens=True)["input_ids"]
        targets = tokenizer([record.target for record in part], add_special_tokens=True)["input_ids"]
        inputs = [_cut(ids, max_source_length) for ids in sources]
        labels = [_cut(ids, max_target_length) for ids in targets]
        return {
            "input_ids": inputs,
            "attention_mask": [[1] * len(ids) for ids in inputs],
            "labels": labels,
            "length": [len(a) + len(b) for a, b in zip(inputs, labels, strict=True)],
            "source_tokens": [len(ids) for ids in sources],
            "target_tokens": [len(ids) for ids in targets],
        }

    tokens = places.map(
        encode,
        batched=True,
        num_proc=processes,
        remove_columns=["place"],
        cache_file_name=_cache_file(cache, key),
        new_fingerprint=key,  # or the library would hash the records with the function
        keep_in_memory=cache == NOTHING,
        load_from_cache_file=cache != NOTHING,
        desc="tokenising",
    )
    sources, targets = tokens["source_tokens"][:], tokens["target_tokens"][:]
    lengths = TokenLengths(
        source_mean=sum(sources) / len(sources),
        target_mean=sum(targets) / len(targets),
        source_cut=sum(n > max_source_length for n in sources) / len(sources),
        target_cut=sum(n > max_target_length for n in targets) / len(targets),
        source_most=fitting_length(sources),
        target_most=fitting_length(targets),
    )
    tokens = tokens.remove_columns(["source_tokens", "target_tokens"]).add_column("row", range(len(records)))
    parts = (records[first : first + IDS_AT_ONCE] for first in range(0, len(records), IDS_AT_ONCE))
    ids = pyarrow.chunked_array([[record.id for record in part] for part in parts], pyarrow.string())
    return tokens.add_column("record", ids), lengths


def fitting_length(lengths: list[int]) -> int:
    """The shortest length into which a share `MOST` of the texts fits."""
    return sorted(lengths)[math.ceil(MOST * len(lengths)) - 1]


def _cut(ids: list[int], limit: int) -> list[int]:
    """Truncates token ids; keeps the end token."""
    return ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]
