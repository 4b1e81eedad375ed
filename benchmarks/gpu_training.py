"""Training steps on one GPU compared with the published code, in fp32 and bf16 (autocast), with the published batch.

    python -m benchmarks.gpu_training [--output benchmarks/results/gpu_training.json]

Ours uses the defaults of a run on a GPU; the ratio with compiled blocks is in the results file. Without a GPU, the rows
are marked as not measured, and the exit code is 0.
"""

import copy
import sys
from collections.abc import Callable

import model as published
import torch
from torch import nn

from benchmarks.comparison import Row, alternate, command, ratio_figures
from benchmarks.training_step import predictor_loss, published_predictor_loss, published_tokenizer_loss, tokenizer_loss
from kronos_ft import Kronos, KronosConfig, KronosTokenizer, KronosTokenizerConfig, WindowDataset, load_sample
from kronos_ft.models.fast_layers import compile_blocks
from kronos_ft.models.layers import TransformerBlock
from kronos_ft.training.numerics import set_numerics

NO_GPU = "no GPU at hand"
GOALS = {"fp32": 4.0, "bf16": 2.0}
STEPS, INNER = 8, 10
LARGEST_DIFFERENCE = 2e-2  # of the first loss: one side is bf16


class GpuStep:
    """Ten training steps with one device synchronisation at the end; losses stay on the device as in the Trainer."""

    def __init__(self, model: nn.Module, loss_of: Callable, batches: list, autocast: bool, fused: bool):
        self.model, self.loss_of, self.batches, self.autocast = model.train(), loss_of, batches, autocast
        self.optimizer = torch.optim.AdamW(model.parameters(), 2e-4, weight_decay=0.1, fused=fused or None)
        self.reads_each_loss = not fused  # as the published loop does

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
        torch.cuda.synchronize()


def compare(stage: str, reference_precision: str) -> Row:
    """A row of one stage: ours in bf16, the reference in the given precision."""
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
    theirs, ours = theirs.cuda(), ours.cuda()
    set_numerics(ours, "bf16")
    difference = _first_difference(stage, theirs, ours, batches[0])
    compiled = copy.deepcopy(ours)
    compile_blocks(compiled, TransformerBlock, torch.compile(TransformerBlock.compute, dynamic=False))
    rivals = {
        "published": GpuStep(theirs, losses[0], batches, reference_precision == "bf16", fused=False),
        "ours": GpuStep(ours, losses[1], batches, False, fused=True),
        "compiled": GpuStep(compiled, losses[1], batches, False, fused=True),  # compile_blocks yes
    }
    seconds = alternate(rivals, STEPS, warm_up=2)
    figures = ratio_figures(seconds["published"], seconds["ours"])
    with_blocks = ratio_figures(seconds["published"], seconds["compiled"])["ratio"]
    figures["details"] |= {"first_loss_difference": difference, "ratio_with_compiled_blocks": with_blocks}
    return Row(row.work, row.reference, row.goal, unit=row.unit, **figures, correct=difference < LARGEST_DIFFERENCE)


def _first_difference(stage: str, theirs: nn.Module, ours: nn.Module, batch: object) -> float:
    """Of the losses on the starting weights, ours with bf16 products, without dropout, given the true coarse token."""
    theirs, ours = copy.deepcopy(theirs).train(), copy.deepcopy(ours).train()
    for model in (theirs, ours):
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if hasattr(module, "attn_dropout_p"):
                module.attn_dropout_p = 0.0
    with torch.no_grad():
        if stage == "tokenizer":
            return float((published_tokenizer_loss(theirs, batch) - tokenizer_loss(ours, batch)).abs())
        s1, s2, stamps = batch
        logits = theirs(s1[:, :-1], s2[:, :-1], stamps[:, :-1], use_teacher_forcing=True, s1_targets=s1[:, 1:])
        expected = theirs.head.compute_loss(logits[0], logits[1], s1[:, 1:], s2[:, 1:])[0]
        return float((expected - predictor_loss(ours, batch)).abs())


def rows() -> list[Row]:
    """Both stages with both precisions of the reference."""
    return [compare(stage, precision) for stage in ("tokenizer", "predictor") for precision in GOALS]


if __name__ == "__main__":
    sys.exit(command(__doc__, "gpu_training", rows))
