"""An optimizer step with the shape of mT5-base on one GPU, batch 8, 512/256, bf16, compared with transformers; 8 GB.

    python -m benchmarks.gpu_mt5 [--output benchmarks/results/gpu_mt5.json]

Random weights. The reference has all 250,112 pieces and the model's loss; ours has 20,480 pieces and the chunked loss.
The second row is the peak memory of preset `8gb`: activation checkpointing, 2 x 512/256, memory of the device
(reserved, plus the CUDA context). Without a GPU, the rows are marked as not measured, and the exit code is 0.
"""

import sys
from collections.abc import Callable

import torch
from torch import nn
from transformers import MT5Config, MT5ForConditionalGeneration

from benchmarks.comparison import Row, alternate, command, ratio_figures
from benchmarks.gpu_training import NO_GPU
from mt5_ft.models.linear_cross_entropy import IGNORED
from mt5_ft.models.loss_head import use_loss_head

PIECES, KEPT = 250_112, 20_480
BASE = {"d_model": 768, "d_ff": 2048, "d_kv": 64, "num_layers": 12, "num_heads": 12, "feed_forward_proj": "gated-gelu"}
BATCH, SOURCE, TARGET = 8, 512, 256
SMALL_BATCH, MOST_GIB, GIB = 2, 8.0, 2**30
TOLERANCE = 0.05  # between the model's own loss and ours on the same weights, in bf16


def build(pieces: int, checkpointing: bool = False) -> MT5ForConditionalGeneration:
    """mT5-base's shape with random weights."""
    torch.manual_seed(0)
    model = MT5ForConditionalGeneration(MT5Config(vocab_size=pieces, tie_word_embeddings=False, **BASE)).cuda().train()
    if checkpointing:
        model.gradient_checkpointing_enable()
        model.config.use_cache = False
    return model


def batch_of(rows: int) -> dict[str, torch.Tensor]:
    """Random tokens of both vocabularies; a third of the labels is padding."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(300, KEPT - 100, (rows, TARGET), generator=generator)
    labels[:, TARGET * 2 // 3 :] = IGNORED
    source = torch.randint(300, KEPT - 100, (rows, SOURCE), generator=generator)
    return {"input_ids": source.cuda(), "attention_mask": torch.ones_like(source).cuda(), "labels": labels.cuda()}


def stock_loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The model's own loss, from all logits."""
    return model(**batch).loss


def chunked_loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The same mean over target tokens, in chunks."""
    labels = batch["labels"]
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    inputs["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(labels)
    with model.lm_head.counting(labels):
        sums = model(**inputs).logits
    return sums.total / sums.tokens.sum()


def step_of(model: nn.Module, loss_of: Callable, batch: dict[str, torch.Tensor]) -> Callable[[int], None]:
    """A function that takes one optimizer step and waits for it."""
    optimizer = torch.optim.AdamW(model.parameters(), 5e-5, fused=True)

    def step(_: int) -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        torch.cuda.synchronize()

    return step


def rows() -> list[Row]:
    """Time of a step, and peak memory of the small batch."""
    timed = Row(f"GPU: mT5-base step, batch {BATCH}, {SOURCE}/{TARGET}, bf16", "transformers, same precision", 2.0)
    memory = Row(
        f"GPU: mT5-base, trimmed, batch {SMALL_BATCH} x {SOURCE}/{TARGET}: reserved, GiB",
        "8 GiB",
        MOST_GIB,
        unit="GiB",
        at_most=True,
    )
    if not torch.cuda.is_available():
        timed.note = memory.note = NO_GPU
        return [timed, memory]
    trimmed = build(KEPT)
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        trimmed.eval()
        expected = float(stock_loss(trimmed, batch_of(1)))
        use_loss_head(trimmed)
        correct = abs(float(chunked_loss(trimmed, batch_of(1))) - expected) < TOLERANCE
        trimmed.train()
    batch = batch_of(BATCH)
    rivals = {"stock": step_of(build(PIECES), stock_loss, batch), "ours": step_of(trimmed, chunked_loss, batch)}
    seconds = alternate(rivals, 8, warm_up=2)
    timed = Row(timed.work, timed.reference, timed.goal, **ratio_figures(*seconds.values()), correct=correct)
    del rivals, trimmed
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    small = build(KEPT, checkpointing=True)
    use_loss_head(small)
    step = step_of(small, chunked_loss, batch_of(SMALL_BATCH))
    for repeat in range(2):
        step(repeat)
    free, total = torch.cuda.mem_get_info()
    context = total - free - torch.cuda.memory_reserved()  # of this process, where no other uses the device
    memory.ratio = memory.our_value = (torch.cuda.max_memory_reserved() + context) / GIB
    memory.reference_value = MOST_GIB
    return [timed, memory]


if __name__ == "__main__":
    sys.exit(command(__doc__, "gpu_mt5", rows))
