"""Training steps of tokenizer and predictor beside the published code: same weights, same windows, in turns.

    python -m benchmarks.training_step [--only tokenizer] [--output benchmarks/results/training_step.json]

A step is forward, backward, clipping and AdamW, as the published loops and the Trainer do them. Exits 1 when the losses
(tokenizer, over 20 steps) or the evaluated logits (predictor) differ by more than rounding does.
"""

import argparse
import copy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import model as published
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kronos_ft import (
    Kronos,
    KronosConfig,
    KronosTokenizer,
    KronosTokenizerConfig,
    WindowDataset,
    WindowShape,
    load_sample,
)
from kronos_ft.models.fast_layers import compile_blocks, speed_up
from kronos_ft.models.layers import TransformerBlock
from kronos_ft.training.losses import tokenizer_objective, tokenizer_terms
from kronos_ft.training.predictor_losses import predictor_objective, predictor_terms
from kronos_ft.training.speed import has_native_bf16

from .comparison import RESULTS, Row, alternate, print_rows, ratio_figures, write_rows

NO_BF16 = "this CPU makes no bf16 products by itself"
REFERENCE = "kronos-model-arch 0.1.0, published loop, fp32"
EXACT = {"fp32": 1e-5, "bf16": 2e-2}  # largest difference of the losses


def published_tokenizer_loss(model: nn.Module, candles: Tensor) -> Tensor:
    """The published loop's loss."""
    (z_pre, z_all), bsq, _, _ = model(candles)
    return (F.mse_loss(z_pre, candles) + F.mse_loss(z_all, candles) + bsq) / 2


def tokenizer_loss(model: KronosTokenizer, candles: Tensor) -> Tensor:
    """The trainer's loss."""
    output = model(candles)
    terms = tokenizer_terms(output.reconstruction_pre, output.reconstruction, output.unit, candles)
    return tokenizer_objective(terms.per_window.mean(dim=0), terms.bit_means.mean(dim=0), model.config)["loss"]


def published_predictor_loss(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The published loop's loss, with a coarse token sampled from the model."""
    s1, s2, stamps = batch
    logits = model(s1[:, :-1], s2[:, :-1], stamps[:, :-1])
    return model.head.compute_loss(logits[0], logits[1], s1[:, 1:], s2[:, 1:])[0]


def predictor_loss(model: Kronos, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The trainer's loss, given the true coarse token."""
    s1, s2, stamps = batch
    output = model(s1[:, :-1], s2[:, :-1], stamps[:, :-1], s1_targets=s1[:, 1:])
    terms = predictor_terms(output.s1_logits, output.s2_logits, s1[:, 1:], s2[:, 1:])
    return predictor_objective(terms.mean(dim=0))["loss"]


class Step:
    """A training step that remembers its losses.

    Args:
        batches: of each step, from -1 (the one that warms up).
    """

    def __init__(self, model: nn.Module, loss_of: Callable, batches: list, clip: float, fused: bool):
        self.model, self.loss_of, self.batches, self.clip = model.train(), loss_of, batches, clip
        # the published loop leaves the optimizer's implementation to PyTorch; the Trainer asks for the fused one
        self.optimizer = torch.optim.AdamW(model.parameters(), 2e-4, weight_decay=0.1, fused=fused or None)
        self.losses: list[float] = []

    def __call__(self, repeat: int) -> None:
        loss = self.loss_of(self.model, self.batches[repeat + 1])
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.losses.append(loss.item())


def _fast(model: nn.Module, products: str, compiled: bool) -> nn.Module:
    speed_up(model, torch.bfloat16 if products == "bf16" else None, cheap=True)
    if compiled:
        compile_blocks(model, TransformerBlock, partial(torch.compile, dynamic=False))
    return model


def compare_tokenizer(batch: int, bars: int, products: str, steps: int, goal: float, compiled: bool = True) -> Row:
    """A row on the tokenizer, base size."""
    row = Row(f"tokenizer step, base, {batch} x {bars}, CPU, {products}", REFERENCE, goal)
    if products == "bf16" and not has_native_bf16("cpu"):
        row.note = NO_BF16
        return row
    config = KronosTokenizerConfig.from_size("base")
    torch.manual_seed(0)
    theirs = published.KronosTokenizer(**{key: getattr(config, key) for key in config.published_keys()})
    ours = KronosTokenizer(config)
    ours.load_state_dict(theirs.state_dict())
    windows = WindowDataset(load_sample(), "train", WindowShape(bars - 11, 10))
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0)).repeat(9)[: (steps + 1) * batch]
    batches = [windows.__getitems__(part.tolist())["target"] for part in order.split(batch)]
    rivals = {
        "published": Step(theirs, published_tokenizer_loss, batches, 2.0, fused=False),
        "ours": Step(_fast(ours, products, compiled), tokenizer_loss, batches, 2.0, fused=True),
    }
    seconds = alternate(rivals, steps)
    figures = ratio_figures(seconds["published"], seconds["ours"])
    difference = max(abs(a - b) for a, b in zip(rivals["published"].losses, rivals["ours"].losses, strict=True))
    figures["details"] |= {"largest_loss_difference": difference, "steps": steps, "compiled": compiled}
    return Row(row.work, REFERENCE, goal, **figures, correct=difference < EXACT[products])


def compare_predictor(batch: int, bars: int, products: str, steps: int, goal: float) -> Row:
    """A row on the predictor, small size."""
    row = Row(f"predictor step, small, {batch} x {bars}, CPU, {products}", REFERENCE, goal)
    if products == "bf16" and not has_native_bf16("cpu"):
        row.note = NO_BF16
        return row
    config = KronosConfig.from_size("small")
    torch.manual_seed(0)
    theirs = published.Kronos(**{key: getattr(config, key) for key in config.published_keys()})
    ours = Kronos(config)
    ours.load_state_dict(theirs.state_dict())
    windows = WindowDataset(load_sample(), "train", WindowShape(bars - 11, 10))
    stamps = windows.__getitems__(range(batch))["stamps"]
    batches = [
        (*torch.randint(2**config.s1_bits, (2, batch, bars)).unbind(0), stamps) for _ in range(steps + 1)
    ]  # the cost of a step does not depend on the tokens
    difference = _logit_difference(copy.deepcopy(theirs).eval(), copy.deepcopy(ours).eval(), batches[0])
    rivals = {
        "published": Step(theirs, published_predictor_loss, batches, 3.0, fused=False),
        "ours": Step(_fast(ours, products, False), predictor_loss, batches, 3.0, fused=True),
    }
    seconds = alternate(rivals, steps)
    figures = ratio_figures(seconds["published"], seconds["ours"])
    figures["details"] |= {"largest_logit_difference": difference, "steps": steps}
    return Row(row.work, REFERENCE, goal, **figures, correct=difference < 1e-4)


@torch.no_grad()
def _logit_difference(theirs: nn.Module, ours: Kronos, batch: tuple[Tensor, Tensor, Tensor]) -> float:
    s1, s2, stamps = (part[:2, :-1] for part in batch)
    expected, _ = theirs.decode_s1(s1, s2, stamps)
    found, _ = ours.decode_s1(s1, s2, stamps)
    return float((expected - found).abs().max())


def rows(only: str | None = None) -> list[Row]:
    """All rows, or those of one model."""
    found = []
    if only in (None, "tokenizer"):
        found += [
            compare_tokenizer(50, 101, "bf16", 20, 3.0),
            compare_tokenizer(50, 101, "fp32", 20, 1.4),
            compare_tokenizer(64, 512, "bf16", 4, 3.0),
            compare_tokenizer(64, 512, "fp32", 2, 3.0),
        ]
    if only in (None, "predictor"):
        found += [compare_predictor(32, 101, "bf16", 10, 2.5), compare_predictor(32, 101, "fp32", 10, 1.3)]
    return found


def main() -> int:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["tokenizer", "predictor"])
    parser.add_argument("--output", type=Path, default=RESULTS / "training_step.json")
    options = parser.parse_args()
    found = rows(options.only)
    write_rows(options.output, found)
    print_rows(found)
    return 1 if any(row.correct is False for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
