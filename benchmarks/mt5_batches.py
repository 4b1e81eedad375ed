"""Real (non-padding) tokens per second: micro-batches by token budget, compared with random order and dynamic padding.

    python -m benchmarks.mt5_batches [--samples 8] [--passes 3] [--output benchmarks/results/mt5_batches.json]

13,000 records with lognormal source and target lengths, truncated at 512 and 256. An epoch of each is planned; forward
and backward of an evenly spaced sample of its batches are timed alternately, several times, on a model of mT5-small's
width with two layers and a vocabulary of 4,096. The budget of a micro-batch is the mean batch size of the reference, so
both need the same memory. Correct: every record occurs once per epoch.
"""

import argparse
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import MT5Config, MT5ForConditionalGeneration

from benchmarks.comparison import RESULTS, Row, alternate, print_rows, ratio_figures, write_rows
from mt5_ft.data.token_batches import StepBatches
from mt5_ft.models.linear_cross_entropy import IGNORED
from mt5_ft.models.loading import untie
from mt5_ft.models.loss_head import use_loss_head

RECORDS = 13_000
GOALS = {2: 1.2, 8: 1.6}
RECORDS_PER_STEP = 32  # of ours; preset fast has 8, which leave little choice at 8 records at once
STEP = f"steps of {RECORDS_PER_STEP} records"
PIECES = 4096
Lengths = tuple[np.ndarray, np.ndarray]


def lognormal_lengths(count: int, seed: int = 0) -> Lengths:
    """Source and target tokens of records: medians of 148 and 74, cut at 512 and 256."""
    random = np.random.default_rng(seed)
    source = np.clip(np.exp(random.normal(5.0, 0.6, count)), 8, 512).astype(int)
    target = np.clip(np.exp(random.normal(4.3, 0.5, count)), 4, 256).astype(int)
    return source, target


def padded(lengths: Lengths, rows: list[int]) -> int:
    """Source and target tokens of a batch, including padding."""
    return len(rows) * sum(int(tokens[rows].max()) for tokens in lengths)


def counted(lengths: Lengths, rows: list[int]) -> int:
    """Source and target tokens of a batch that are not padding."""
    return sum(int(tokens[rows].sum()) for tokens in lengths)


def random_order(count: int, batch: int) -> list[list[int]]:
    """Rows of an epoch's batches, in random order."""
    order = np.random.default_rng(1).permutation(count).tolist()
    return [order[first : first + batch] for first in range(0, count, batch)]


def by_budget(lengths: Lengths, budget: int) -> list[list[int]]:
    """Rows of an epoch's micro-batches, as planned by preset `fast`."""
    per_step = RECORDS_PER_STEP * int(lengths[1].mean())
    steps = StepBatches(*lengths, seed=0, tokens_per_batch=budget, target_tokens_per_step=per_step)
    return [list(rows) for step in steps for rows in step]


def spread(lengths: Lengths, batches: list[list[int]], count: int) -> list[list[int]]:
    """`count` batches, evenly spread over the sizes of all."""
    ordered = sorted(batches, key=lambda rows: padded(lengths, rows))
    return [ordered[int((place + 0.5) * len(ordered) / count)] for place in range(count)]


def made_batch(lengths: Lengths, rows: list[int]) -> dict[str, Tensor]:
    """Random pieces in the lengths of some records."""
    random = torch.Generator().manual_seed(rows[0])
    places = [torch.arange(int(tokens[rows].max())) for tokens in lengths]
    real = [place < torch.tensor(tokens[rows])[:, None] for place, tokens in zip(places, lengths, strict=True)]
    ids = [torch.randint(3, PIECES, mask.shape, generator=random) for mask in real]
    given = {"input_ids": ids[0] * real[0], "attention_mask": real[0].long(), "decoder_input_ids": ids[1] * real[1]}
    return given | {"labels": torch.where(real[1], ids[1], IGNORED)}


def rows(samples: int = 8, passes: int = 3, records: int = RECORDS) -> list[Row]:
    """A row for each batch size.

    Args:
        samples (`int`): timed batches of each.
        passes (`int`): times that each of them is timed.
        records (`int`): fewer in tests.
    """
    lengths = lognormal_lengths(records)
    torch.manual_seed(0)
    config = MT5Config(vocab_size=PIECES, num_layers=2, num_decoder_layers=2, decoder_start_token_id=0)
    model = untie(MT5ForConditionalGeneration(config)).train()
    head = use_loss_head(model)

    def work(rows: list[int]) -> None:
        batch = made_batch(lengths, rows)
        labels = batch.pop("labels")
        with head.counting(labels):
            model(**batch).logits.total.backward()
        model.zero_grad(set_to_none=True)

    found = []
    for batch, goal in GOALS.items():
        epochs = {"reference": random_order(records, batch)}
        sizes = [padded(lengths, rows) for rows in epochs["reference"]]
        budget = round(sum(sizes) / len(sizes))
        epochs["ours"] = by_budget(lengths, budget)
        correct = all(sorted(chain.from_iterable(epoch)) == list(range(records)) for epoch in epochs.values())
        samples_of = {name: spread(lengths, epoch, samples) for name, epoch in epochs.items()}
        work(max(samples_of["reference"], key=lambda rows: padded(lengths, rows)))  # memory that later ones find
        seconds = alternate(
            {name: lambda repeat, some=some: work(some[repeat % samples]) for name, some in samples_of.items()},
            samples * passes,
            warm_up=0,
        )
        # of a million tokens that count, of all sampled batches together, once for each pass over them
        counts = {name: sum(counted(lengths, rows) for rows in some) for name, some in samples_of.items()}
        cost = {
            name: [1e6 * sum(each) / counts[name] for each in np.reshape(seconds[name], (passes, samples))]
            for name in epochs
        }
        figures = ratio_figures(cost["reference"], cost["ours"])
        padding = {
            name: sum(padded(lengths, rows) for rows in epoch) / sum(counted(lengths, rows) for rows in epoch)
            for name, epoch in epochs.items()
        }
        figures["details"] |= {
            "padded_over_counted": padding,
            "ratio_of_padded_tokens": padding["reference"] / padding["ours"],
            "tokens_per_batch": budget,
            "timed_batches": samples,
            "passes": passes,
        }
        found.append(
            Row(
                f"mT5, {records / 1000:g}k rows of lognormal lengths, batch {batch}, {STEP}: tokens that count",
                "random order, dynamic padding",
                goal,
                correct=correct,
                unit="s/M",
                note=f"all records once; padded {padding['reference']:.2f} -> {padding['ours']:.2f} a counted one",
                **figures,
            )
        )
    return found


def main() -> int:
    """Runs the comparison; returns 1 if a record is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "mt5_batches.json")
    options = parser.parse_args()
    found = rows(options.samples, options.passes)
    print_rows(found)
    write_rows(options.output, found)
    return int(any(row.correct is False for row in found))


if __name__ == "__main__":
    raise SystemExit(main())
