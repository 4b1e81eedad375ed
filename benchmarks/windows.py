"""Windows per second, batches of 64, compared with a data set with the published behaviour.

    python -m benchmarks.windows [--batches 400] [--output benchmarks/results/windows.json]

The reference implements the behaviour of the published CSV script, which is not part of its package: each window is
sliced from a DataFrame, normalised over the full window, converted to a tensor, and stacked by torch's default
collator. Ours returns the candles, the clean target and the stamps of a batch at once. `correct`: equal stamps, and
equal candles if both normalise in the same way (lookback = full window). Exits 1 otherwise.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset, default_collate

from benchmarks.comparison import RESULTS, Row, alternate, print_rows, ratio_figures, write_rows
from kronos_ft import load_sample
from kronos_ft.data.columns import FEATURES
from kronos_ft.data.timestamps import CALENDAR_FEATURES, calendar_features
from kronos_ft.windows.augmentation import AugmentationArguments
from kronos_ft.windows.dataset import WindowDataset, WindowShape, normalise

GOAL = 100
BATCH, REFERENCE_BATCHES = 64, 10
WINDOW, CLIP = 101, 5.0
REFERENCE = "published data set class"


class PublishedWindows(Dataset):
    """Windows as in the published CSV fine-tuning: pandas slices and statistics for each window."""

    def __init__(self, frame: pd.DataFrame):
        self.frame = frame.reset_index(drop=True)
        self.frame[list(CALENDAR_FEATURES)] = calendar_features(frame["timestamps"].to_numpy())

    def __len__(self) -> int:
        return len(self.frame) - WINDOW + 1

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        window = self.frame.iloc[index : index + WINDOW]
        values = window[list(FEATURES)].values.astype(np.float32)
        stamps = window[list(CALENDAR_FEATURES)].values.astype(np.float32)
        mean, std = np.mean(values, axis=0), np.std(values, axis=0)
        values = np.clip((values - mean) / (std + 1e-5), -CLIP, CLIP)
        return torch.from_numpy(values), torch.from_numpy(stamps)


def agrees(theirs: PublishedWindows, ours: WindowDataset, batch: list[int]) -> bool:
    """Whether the stamps are equal, and the windows normalised over their full length."""
    candles, stamps = default_collate([theirs[index] for index in batch])
    raw = np.stack([theirs.frame[list(FEATURES)].to_numpy()[index : index + WINDOW] for index in batch])
    whole, _, _ = normalise(raw, WINDOW, CLIP)
    found = ours.__getitems__(batch)
    past, _, _ = normalise(raw, ours.shape.lookback, CLIP)
    return (
        bool(torch.equal(stamps.long(), found["stamps"]))
        and np.allclose(candles, whole, atol=1e-3)  # the reference takes its statistics in float32
        and np.array_equal(past, found["target"].numpy())
    )


def rows(batches: int = 400, repeats: int = 5) -> list[Row]:
    """One row without and one with augmentation."""
    series = load_sample()
    theirs = PublishedWindows(series[0].to_frame())
    shape = WindowShape(90, 10, max_gap=len(theirs), clip=CLIP)  # the reference knows no gaps
    plain = WindowDataset(series, "train", shape)
    augmented = WindowDataset(
        series,
        "train",
        shape,
        augmentation=AugmentationArguments(True, augment_feature_dropout=True, augment_scale=True),
    )
    order = np.random.default_rng(0).integers(0, len(plain), (batches, BATCH)).tolist()
    correct = agrees(theirs, plain, order[0])

    def published(repeat: int) -> None:
        for batch in order[:REFERENCE_BATCHES]:
            default_collate([theirs[index] for index in batch])

    def deliver(windows: WindowDataset, count: int) -> None:
        for batch in order[:count]:
            windows.__getitems__(batch)

    few = batches // 8
    runs = {
        "published": published,
        "plain": lambda repeat: deliver(plain, batches),
        "augmented": lambda repeat: deliver(augmented, few),
    }
    seconds = alternate(runs, repeats)
    each = {
        name: [one / count / BATCH for one in seconds[name]]
        for name, count in (("published", REFERENCE_BATCHES), ("plain", batches), ("augmented", few))
    }
    found = []
    for name, words, goal in (("plain", "", GOAL), ("augmented", ", noise, dropout and scale", None)):
        row = Row(
            f"windows delivered, batches of {BATCH} x {WINDOW} bars{words}",
            REFERENCE,
            goal,
            correct=correct,
            note="seconds a window; the reference augments nothing" if words else "seconds a window",
            **ratio_figures(each["published"], each[name]),
        )
        row.details |= {"windows_per_second": {"reference": 1 / row.reference_value, "ours": 1 / row.our_value}}
        found.append(row)
    return found


def main() -> int:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--output", type=Path, default=RESULTS / "windows.json")
    options = parser.parse_args()
    found = rows(options.batches)
    print_rows(found)
    write_rows(options.output, found)
    return 0 if all(row.correct for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
