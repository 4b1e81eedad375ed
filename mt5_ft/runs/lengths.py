"""Length limits from the records, where none are set: the 95th percentile of their tokens.

Notable:
- Of a large file, a seeded sample is tokenised; equal records give equal limits.
- A run that is resumed keeps its limits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from ft_core.runs.record_schema import find_record

from ..data.preprocessing import TokenLengths, fitting_length
from ..data.records import Record
from ..training.arguments import MT5Arguments, MT5DataArguments

SIDES = ("source", "target")
MEASURED = 2000  # records that are tokenised
MULTIPLE = 8  # batches are padded to it on a GPU
FEWEST = 32  # tokens
# mT5 was pretrained on sources of 1,024 tokens (Xue et al., 2021); relative positions allow longer ones. Every target
# token takes one pass in generation
MOST = {"source": 1024, "target": 512}


@dataclass(frozen=True)
class ChosenLengths:
    """Limits that were chosen from the records.

    Attributes:
        limits (`dict[str, int]`): by side; none for a side whose limit is set.
        caps (`dict[str, int]`): the largest limit that could be chosen.
        measured, records (`int`): records that were tokenised, and all training records.
    """

    limits: dict[str, int]
    caps: dict[str, int]
    measured: int
    records: int

    def is_capped(self, side: str) -> bool:
        """Whether the limit of a side could not be larger."""
        return self.limits.get(side) == self.caps[side]

    def line(self, lengths: TokenLengths) -> str:
        """The limits and what they truncate of the training records; empty if none was chosen."""
        if not self.limits:
            return ""
        names = " and ".join(f"max_{side}_length {limit}" for side, limit in self.limits.items())
        of = f"{self.measured:,} of {self.records:,}" if self.measured < self.records else f"{self.records:,}"
        cut = (f"{round(getattr(lengths, f'{side}_cut') * self.records):,} {side}s" for side in self.limits)
        capped = [f"max_{side}_length" for side in self.limits if self.is_capped(side)]
        most = f" ({' and '.join(capped)}: the largest value chosen)" if capped else ""
        return f"{names} chosen to fit 95 % of {of} training records{most}; {' and '.join(cut)} are truncated"


def adopt_recorded_lengths(data: MT5DataArguments, args: MT5Arguments) -> MT5DataArguments:
    """The settings with the limits of the run that is resumed, where none are set."""
    recorded = find_record(Path(args.output_dir)).get("data") if args.resume else None
    names = [f"max_{side}_length" for side in SIDES]
    missing = [name for name in names if getattr(data, name) is None and (recorded or {}).get(name)]
    return replace(data, **{name: recorded[name] for name in missing}) if missing else data


def choose_lengths(
    data: MT5DataArguments, records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, tokens_per_batch: int = 0
) -> tuple[MT5DataArguments, ChosenLengths]:
    """The settings with a limit for each side: the given one, or one that fits 95 % of the records.

    limit = min(cap, max(32, 95th percentile of tokens, rounded up to a multiple of 8))

    Args:
        data ([`MT5DataArguments`]): the settings.
        records (`Sequence[Record]`): training records.
        tokenizer: the model's tokenizer.
        tokens_per_batch (`int`): source and target tokens of a micro-batch; a record of both limits fits into it.
    """
    unset = [side for side in SIDES if getattr(data, f"max_{side}_length") is None]
    caps = dict(MOST)
    if not unset:
        return data, ChosenLengths({}, caps, 0, len(records))
    places: Sequence[int] = range(len(records))
    if len(records) > MEASURED:
        places = np.random.default_rng(0).choice(len(records), MEASURED, replace=False).tolist()
    limits: dict[str, int] = {}
    for side in reversed(unset):  # the target first: the source gets what it leaves of a micro-batch
        prefix = data.prefix if side == "source" else ""
        texts = [prefix + getattr(records[place], side) for place in places]
        counts = [len(ids) for ids in tokenizer(texts, add_special_tokens=True)["input_ids"]]
        if side == "source" and tokens_per_batch:
            target = data.max_target_length or limits["target"]
            caps["source"] = max(FEWEST, min(MOST["source"], (tokens_per_batch - target) // MULTIPLE * MULTIPLE))
        fitting = -(-fitting_length(counts) // MULTIPLE) * MULTIPLE
        limits[side] = min(caps[side], max(FEWEST, fitting))
    limits = {side: limits[side] for side in unset}
    chosen = replace(data, **{f"max_{side}_length": limit for side, limit in limits.items()})
    return chosen, ChosenLengths(limits, caps, len(places), len(records))
