"""Profile of a training step, and the speed of its matrix products compared with the machine's limit.

    python -m benchmarks.profile_step [--stage tokenizer] [--compile] [--output FILE]

Prints the shares of products, attention, optimizer and the rest (torch.profiler, self time on the CPU), and the speed
of products inside the step and of plain products with the same shapes. Written to
benchmarks/results/profile_STAGE.json.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.comparison import RESULTS, machine
from benchmarks.training_step import Step, predictor_loss, tokenizer_loss
from ft_core.io.files import write_json
from ft_core.runs.record_schema import now
from kronos_ft import Kronos, KronosConfig, KronosTokenizer, KronosTokenizerConfig, WindowDataset, load_sample
from kronos_ft.models.fast_layers import compile_blocks
from kronos_ft.models.layers import TransformerBlock
from kronos_ft.training.numerics import choose_numerics, set_numerics

GROUPS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::linear", "mkldnn"),
    "attention": ("scaled_dot_product",),
    "optimizer and clipping": ("adamw", "Optimizer", "vector_norm", "_foreach"),
    "compiled element-wise": ("CompiledFxGraph",),
    "random masks": ("random_", "bernoulli", "multinomial"),
}
REPEATS = 5


def group_of(name: str) -> str:
    """The part of a step that an operation belongs to."""
    return next((group for group, parts in GROUPS.items() if any(part in name for part in parts)), "element-wise")


def bare_speed(tokens: int, width: int, feed_forward: int) -> float:
    """Products (multiply and add counted as two) a second of plain matrix products of a block's shapes."""
    operations, seconds = 0.0, 0.0
    for k, n in ((width, width), (width, feed_forward), (feed_forward, width)):
        a, b = torch.randn(tokens, k), torch.randn(k, n)
        a @ b
        best = float("inf")
        for _ in range(REPEATS):
            started = time.perf_counter()
            a @ b
            best = min(best, time.perf_counter() - started)
        operations, seconds = operations + 2 * tokens * k * n, seconds + best
    return operations / seconds


def main() -> int:
    """Profiles and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", choices=["tokenizer", "predictor"], default="tokenizer")
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--output", type=Path, help="(default benchmarks/results/profile_STAGE.json)")
    options = parser.parse_args()

    torch.manual_seed(0)
    windows = WindowDataset(load_sample(), "train")
    found = windows.__getitems__(range(options.batch))
    if options.stage == "tokenizer":
        config = KronosTokenizerConfig.from_size("base")
        model, loss_of, batch = KronosTokenizer(config), tokenizer_loss, found["target"]
    else:
        config = KronosConfig.from_size("small")
        model, loss_of = Kronos(config), predictor_loss
        batch = (*torch.randint(2**config.s1_bits, (2, options.batch, 101)).unbind(0), found["stamps"])
    numerics = choose_numerics("auto", "auto", False, "cpu")
    set_numerics(model, numerics)
    if options.compile:
        compile_blocks(model, TransformerBlock, torch.compile(TransformerBlock.compute, dynamic=False))
    step = Step(model, loss_of, [batch] * (REPEATS + 3), 2.0, fused=True)
    step(-1), step(0)
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as profiler:
        step(1)
    events = profiler.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    shares: dict[str, float] = {}
    for event in events:
        group = group_of(event.key)
        shares[group] = shares.get(group, 0.0) + event.self_cpu_time_total / total
    products = [event for event in events if group_of(event.key) == "matrix products"]
    inside = sum(event.flops for event in products) / max(sum(event.self_cpu_time_total for event in products), 1) * 1e6
    bare = bare_speed(options.batch * 101, config.d_model, config.ff_dim)
    result = {
        "work": f"{options.stage} step, {options.batch} x 101, {numerics}{', compiled' if options.compile else ''}",
        "shares": dict(sorted(shares.items(), key=lambda item: -item[1])),
        "products_per_second_in_the_step": inside,
        "products_per_second_bare": bare,
        "machine": machine(),
    }
    write_json(options.output or RESULTS / f"profile_{options.stage}.json", {"written": now(), **result})
    print(result["work"])
    for group, share in result["shares"].items():
        print(f"  {group:<24} {share:6.1%}")
    print(f"  products: {inside / 1e9:.0f} GFLOP/s in the step, {bare / 1e9:.0f} bare ({inside / bare:.0%})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
