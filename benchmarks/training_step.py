"""Training steps of tokenizer and predictor compared with the published code: same weights and windows, alternating.

    python -m benchmarks.training_step [--only tokenizer] [--output benchmarks/results/training_step.json]

A step is forward, backward, gradient clipping and AdamW, as in the published loops and the Trainer, without the rest of
the Trainer. Tokenizers have compiled blocks, the default for runs of thousands of steps; rows without a goal show short
runs. The published predictor samples a coarse token in each step, ours uses the true one. Exits 1 if losses or
gradients differ by more than rounding errors: the tokenizer's losses over all steps, with a wider bound from the first
step in which rounding has flipped a bit of a code; the predictor's loss and gradient with the same true coarse token,
without dropout.
"""

import argparse
import copy
import sys
from collections.abc import Callable
from pathlib import Path

import model as published
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.comparison import RESULTS, Row, alternate, print_rows, ratio_figures, write_rows
from kronos_ft import (
    Kronos,
    KronosConfig,
    KronosTokenizer,
    KronosTokenizerConfig,
    WindowDataset,
    WindowShape,
    load_sample,
)
from kronos_ft.models.fast_layers import compile_blocks
from kronos_ft.models.layers import TransformerBlock
from kronos_ft.training.losses import predictor_objective, predictor_terms, tokenizer_objective, tokenizer_terms
from kronos_ft.training.numerics import has_native_bf16, set_numerics

NO_BF16 = "this CPU makes no bf16 products by itself"
REFERENCE = "kronos-model-arch 0.1.0, published loop, fp32"
EXACT = {"fp32": 1e-5, "bf16": 2e-2}  # largest difference of the losses
FLIPPED = 2e-2  # of the losses once rounding has flipped a code bit
GRADIENT = {"fp32": 1e-4, "bf16": 5e-2}  # of the gradients, relative to their norm


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
    """The trainer's loss with the true coarse token."""
    s1, s2, stamps = batch
    output = model(s1[:, :-1], s2[:, :-1], stamps[:, :-1], s1_targets=s1[:, 1:])
    terms = predictor_terms(output.s1_logits, output.s2_logits, s1[:, 1:], s2[:, 1:])
    return predictor_objective(terms.mean(dim=0))["loss"]


class Step:
    """A training step that records its losses.

    Args:
        batches: batch of each step, starting at -1 (warm-up).
    """

    def __init__(self, model: nn.Module, loss_of: Callable, batches: list, clip: float, fused: bool):
        self.model, self.loss_of, self.batches, self.clip = model.train(), loss_of, batches, clip
        # the published loop leaves the optimizer's implementation to PyTorch; the Trainer asks for the fused one
        self.optimizer = torch.optim.AdamW(model.parameters(), 2e-4, weight_decay=0.1, fused=fused or None)
        self.losses: list[float] = []
        self.codes: list[Tensor] = []  # of a tokenizer: the sign bits of each step
        if isinstance(getattr(model, "quant_embed", None), nn.Module):
            model.quant_embed.register_forward_hook(lambda module, inputs, output: self.codes.append(output > 0))

    def __call__(self, repeat: int) -> None:
        loss = self.loss_of(self.model, self.batches[repeat + 1])
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.losses.append(loss.item())


def _fast(model: nn.Module, products: str, compiled: bool = False) -> nn.Module:
    set_numerics(model, products)
    if compiled:
        compile_blocks(model, TransformerBlock, torch.compile(TransformerBlock.compute, dynamic=False))
    return model


def steps_with_equal_codes(first: list[Tensor], second: list[Tensor]) -> int:
    """Number of steps before the first one whose codes differ in a bit."""
    equal = [torch.equal(one, other) for one, other in zip(first, second, strict=True)]
    return equal.index(False) if False in equal else len(equal)


def agree(first: Step, second: Step, most: float) -> tuple[bool, str, dict]:
    """Whether two tokenizers have the same losses: exactly while their codes are equal, and roughly from then on.

    Args:
        first, second ([`Step`]): of a tokenizer, after the same steps.
        most (`float`): largest difference of the losses while the codes are equal; [`FLIPPED`] afterwards.

    Returns:
        the answer, a note on what was compared, and details.
    """
    compared, steps = steps_with_equal_codes(first.codes, second.codes), len(first.losses)
    differences = [abs(a - b) for a, b in zip(first.losses, second.losses, strict=True)]
    bounds = [most] * compared + [max(most, FLIPPED)] * (steps - compared)
    correct = all(difference < bound for difference, bound in zip(differences, bounds, strict=True))  # false for NaN
    details = {"loss_differences": differences, "compared_steps": compared}
    if compared == steps:
        return correct, "", details
    note = f"losses equal to {most:g} compared over {compared} of {steps} steps: a code bit differs in step"
    return correct, f"{note} {compared + 1}; from there to {max(most, FLIPPED):g}", details


def compare_tokenizer(batch: int, bars: int, products: str, steps: int, goal: float) -> list[Row]:
    """Rows of the tokenizer, base size: with and without compiled blocks."""
    work = f"tokenizer step, base, {batch} x {bars}, CPU, {products}"
    row, eager_row = Row(f"{work}, compiled", REFERENCE, goal), Row(work, REFERENCE, None)
    if products == "bf16" and not has_native_bf16("cpu"):
        row.note = NO_BF16
        return [row]
    config = KronosTokenizerConfig.from_size("base")
    torch.manual_seed(0)
    theirs = published.KronosTokenizer(**{key: getattr(config, key) for key in config.published_keys()})
    ours = KronosTokenizer(config)
    ours.load_state_dict(theirs.state_dict())
    windows = WindowDataset(load_sample(), "train", WindowShape(bars - 11, 10))
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0)).repeat(9)[: (steps + 1) * batch]
    batches = [windows.__getitems__(part.tolist())["target"] for part in order.split(batch)]
    eager = _fast(copy.deepcopy(ours), products)
    rivals = {
        "published": Step(theirs, published_tokenizer_loss, batches, 2.0, fused=False),
        "ours": Step(_fast(ours, products, compiled=True), tokenizer_loss, batches, 2.0, fused=True),
        "eager": Step(eager, tokenizer_loss, batches, 2.0, fused=True),
    }
    seconds = alternate(rivals, steps)
    found = []
    for one, name in ((row, "ours"), (eager_row, "eager")):
        figures = ratio_figures(seconds["published"], seconds[name])
        correct, note, details = agree(rivals["published"], rivals[name], EXACT[products])
        figures["details"] |= details | {"steps": steps}
        found.append(Row(one.work, REFERENCE, one.goal, **figures, correct=correct, note=note))
    return found


def compare_predictor(batch: int, bars: int, products: str, steps: int, goal: float) -> list[Row]:
    """The row of the predictor, small size."""
    row = Row(f"predictor step, small, {batch} x {bars}, CPU, {products}", REFERENCE, goal)
    if products == "bf16" and not has_native_bf16("cpu"):
        row.note = NO_BF16
        return [row]
    config = KronosConfig.from_size("small")
    theirs, ours = _pair(config)
    windows = WindowDataset(load_sample(), "train", WindowShape(bars - 11, 10))
    stamps = windows.__getitems__(range(batch))["stamps"]
    batches = [
        (*torch.randint(2**config.s1_bits, (2, batch, bars)).unbind(0), stamps) for _ in range(steps + 1)
    ]  # the cost of a step does not depend on the tokens
    loss_difference, gradient_difference = _differences(products, batches[0])
    rivals = {
        "published": Step(theirs, published_predictor_loss, batches, 3.0, fused=False),
        "ours": Step(_fast(ours, products), predictor_loss, batches, 3.0, fused=True),
    }
    seconds = alternate(rivals, steps)
    figures = ratio_figures(seconds["published"], seconds["ours"])
    figures["details"] |= {"loss_difference": loss_difference, "gradient_difference": gradient_difference}
    correct = loss_difference < EXACT[products] and gradient_difference < GRADIENT[products]
    return [Row(row.work, REFERENCE, goal, **figures, correct=correct)]


def _pair(config: KronosConfig) -> tuple[nn.Module, Kronos]:
    """The published predictor and ours with the same random weights."""
    torch.manual_seed(0)
    theirs = published.Kronos(**{key: getattr(config, key) for key in config.published_keys()})
    ours = Kronos(config)
    ours.load_state_dict(theirs.state_dict())
    return theirs.train(), ours.train()


def _differences(products: str, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[float, float]:
    """Differences of loss and gradient from the published code, without dropout, with the true token."""
    config = KronosConfig.from_size("small")
    config.update({f"{name}_dropout_p": 0.0 for name in ("ffn", "attn", "resid", "token")})
    theirs, ours = _pair(config)
    _fast(ours, products)
    part = tuple(values[:4] for values in batch)
    s1, s2, stamps = part
    logits = theirs(s1[:, :-1], s2[:, :-1], stamps[:, :-1], use_teacher_forcing=True, s1_targets=s1[:, 1:])
    expected = theirs.head.compute_loss(logits[0], logits[1], s1[:, 1:], s2[:, 1:])[0]
    found = predictor_loss(ours, part)
    gradients = []
    for loss, model in ((expected, theirs), (found, ours)):
        loss.backward()
        named = sorted((name, p.grad) for name, p in model.named_parameters() if p.grad is not None)
        gradients.append(torch.cat([gradient.flatten() for _, gradient in named]))
    return float((expected - found).detach().abs()), float((gradients[0] - gradients[1]).norm() / gradients[0].norm())


def rows(only: str | None = None) -> list[Row]:
    """All rows, or those of one model."""
    found = []
    if only in (None, "tokenizer"):
        found += compare_tokenizer(50, 101, "bf16", 20, 3.0) + compare_tokenizer(50, 101, "fp32", 20, 1.4)
        found += compare_tokenizer(64, 512, "bf16", 4, 3.0) + compare_tokenizer(64, 512, "fp32", 2, 3.0)
    if only in (None, "predictor"):
        found += compare_predictor(32, 101, "bf16", 10, 2.5) + compare_predictor(32, 101, "fp32", 10, 1.3)
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
