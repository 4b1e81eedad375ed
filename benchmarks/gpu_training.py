"""Training steps on one GPU beside the published code, in fp32 and in bf16 (autocast), the batch as published.

    python -m benchmarks.gpu_training [--output benchmarks/results/gpu_training.json]

Without a GPU every row says so and the exit status is 0.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import model as published
import torch
from torch import nn

from kronos_ft import Kronos, KronosConfig, KronosTokenizer, KronosTokenizerConfig, WindowDataset, load_sample
from kronos_ft.models.fast_layers import compile_blocks, speed_up
from kronos_ft.models.layers import TransformerBlock

from .comparison import RESULTS, Row, alternate, print_rows, ratio_figures, write_rows
from .training_step import (
    predictor_loss,
    published_predictor_loss,
    published_tokenizer_loss,
    tokenizer_loss,
)

NO_GPU = "no GPU at hand"
GOALS = {"fp32": 4.0, "bf16": 2.0}
STEPS, INNER = 8, 10
LARGEST_DIFFERENCE = 5e-2  # of the first loss: one side is bf16


class GpuStep:
    """Ten training steps, waited for at the end; losses stay on the device as in the Trainer."""

    def __init__(self, model: nn.Module, loss_of: Callable, batches: list, autocast: bool, fused: bool):
        self.model, self.loss_of, self.batches, self.autocast = model.train(), loss_of, batches, autocast
        self.optimizer = torch.optim.AdamW(model.parameters(), 2e-4, weight_decay=0.1, fused=fused or None)
        self.reads_each_loss = not fused  # as the published loop does
        self.first: float | None = None

    def __call__(self, repeat: int) -> None:
        for inner in range(INNER):
            with torch.autocast("cuda", torch.bfloat16, enabled=self.autocast):
                loss = self.loss_of(self.model, self.batches[inner % len(self.batches)])
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=2.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            if self.reads_each_loss:
                loss.item()
        if self.first is None:
            self.first = loss.item()
        torch.cuda.synchronize()


def compare(stage: str, reference_precision: str) -> Row:
    """A row on a stage, ours in bf16 beside the reference in either precision."""
    name = "base, 50 x 101" if stage == "tokenizer" else "small, 50 x 101"
    row = Row(
        f"GPU: {stage} step, {name}", f"published loop, {reference_precision}", GOALS[reference_precision], unit="s/10"
    )
    if not torch.cuda.is_available():
        row.note = NO_GPU
        return row
    torch.manual_seed(0)
    windows = WindowDataset(load_sample(), "train")
    found = [windows.__getitems__(range(50 * i, 50 * i + 50)) for i in range(4)]
    if stage == "tokenizer":
        config = KronosTokenizerConfig.from_size("base")
        theirs = published.KronosTokenizer(**{key: getattr(config, key) for key in config.published_keys()})
        ours, losses = KronosTokenizer(config), (published_tokenizer_loss, tokenizer_loss)
        batches = [batch["target"].cuda() for batch in found]
    else:
        config = KronosConfig.from_size("small")
        theirs = published.Kronos(**{key: getattr(config, key) for key in config.published_keys()})
        ours, losses = Kronos(config), (published_predictor_loss, predictor_loss)
        batches = [
            (*torch.randint(2**config.s1_bits, (2, 50, 101)).cuda().unbind(0), batch["stamps"].cuda())
            for batch in found
        ]
    ours.load_state_dict(theirs.state_dict())
    speed_up(ours, torch.bfloat16, cheap=True)
    started = time.perf_counter()
    compile_blocks(ours, TransformerBlock, partial(torch.compile, dynamic=False))
    rivals = {
        "published": GpuStep(theirs.cuda(), losses[0], batches, reference_precision == "bf16", fused=False),
        "ours": GpuStep(ours.cuda(), losses[1], batches, False, fused=True),
    }
    seconds = alternate(rivals, STEPS, warm_up=2)
    figures = ratio_figures(seconds["published"], seconds["ours"])
    difference = abs(rivals["published"].first - rivals["ours"].first)
    figures["details"] |= {"first_loss_difference": difference, "seconds_in_all": time.perf_counter() - started}
    return Row(row.work, row.reference, row.goal, unit=row.unit, **figures, correct=difference < LARGEST_DIFFERENCE)


def rows() -> list[Row]:
    """Both stages beside both precisions."""
    return [compare(stage, precision) for stage in ("tokenizer", "predictor") for precision in GOALS]


def main() -> int:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "gpu_training.json")
    options = parser.parse_args()
    found = rows()
    write_rows(options.output, found)
    print_rows(found)
    return 1 if any(row.correct is False for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
