"""A cost model of an epoch, from a laptop to 64 GPUs: computation, gradient traffic and reading, with assumptions.

    python -m benchmarks.cost_model [--bars 1000000] [--cpu-gflops 200]

Computation: 6 operations per weight and bar (forward 2, backward 4) for each pass of a bar through a block, and 12 x T
x D for attention's products over T bars at width D, halved by the causal mask. Gradients: ring all-reduce, 2 (N - 1) /
N x 4 bytes per weight, without overlap. Reading: the measured rate of one loader thread. The results are estimates, not
measurements; `python -m benchmarks.ranks` and `make bench-gpu` measure.
"""

import argparse
from dataclasses import dataclass

import torch

from kronos_ft import Kronos, KronosConfig, KronosTokenizer, KronosTokenizerConfig

BARS_OF_A_WINDOW = 101
WINDOWS_PER_SECOND = 50_000  # of one loader thread, batch 64 (python -m benchmarks.windows)
BATCH = 50  # windows a device and step


@dataclass(frozen=True)
class Site:
    """The hardware of a run.

    Attributes:
        devices: processes that train together.
        operations: operations per second and device in training (a multiply-add counts as two).
        traffic: bytes per second between the slowest two devices.
        step_seconds: constant overhead per step (kernel launches, Python).
    """

    name: str
    devices: int
    operations: float
    traffic: float
    step_seconds: float


def sites(cpu_operations: float) -> list[Site]:
    """The rows of the table. Assumed speed of the GPUs: a tenth of 989 TFLOP/s, because the layers are narrow."""
    gpu = 0.1 * 989e12
    return [
        Site("laptop, 2 cores", 1, cpu_operations, 1.0, 0.0),
        Site("2 processes on it", 2, cpu_operations / 2, 2e9, 0.0),
        Site("1 GPU", 1, gpu, 1.0, 5e-3),
        Site("8 GPUs, one node", 8, gpu, 200e9, 5e-3),
        Site("64 GPUs, 8 nodes", 64, gpu, 25e9, 5e-3),
    ]


def operations_of_a_bar(stage: str, size: str, bars: int = BARS_OF_A_WINDOW) -> tuple[float, int]:
    """Operations of forward and backward for one bar of a window, and trainable weights."""
    with torch.device("meta"):
        if stage == "tokenizer":
            config = KronosTokenizerConfig.from_size(size)
            model = KronosTokenizer(config)
            encoder, decoder = (
                sum(p.numel() for p in part.parameters() if p.ndim > 1) for part in (model.encoder, model.decoder)
            )
            weights_passed = encoder + 2 * decoder  # from the coarse bits and from the whole code
            layers = len(model.encoder) + 2 * len(model.decoder)
        else:
            config = KronosConfig.from_size(size)
            model = Kronos(config)
            tables = sum(
                p.numel() for m in model.modules() if isinstance(m, torch.nn.Embedding) for p in m.parameters()
            )
            weights_passed = sum(p.numel() for p in model.parameters() if p.ndim > 1) - tables
            layers = len(model.transformer) + 1
    weights = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return 6.0 * weights_passed + 0.5 * layers * 12 * bars * config.d_model, weights


def epoch_seconds(site: Site, operations: float, weights: int, windows: int) -> dict[str, float]:
    """Seconds of an epoch by part; the total is the larger of reading and the rest."""
    steps = windows / (BATCH * site.devices)
    computing = windows * BARS_OF_A_WINDOW * operations / (site.operations * site.devices) + steps * site.step_seconds
    n = site.devices
    traffic = steps * 2 * (n - 1) / n * 4 * weights / site.traffic
    reading = windows / n / WINDOWS_PER_SECOND
    return {"computing": computing, "traffic": traffic, "reading": reading, "whole": max(computing + traffic, reading)}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bars", type=int, default=1_000_000, help="bars of training data, a window from each")
    parser.add_argument("--cpu-gflops", type=float, default=200.0, help="of the laptop, as profile_step prints them")
    options = parser.parse_args()
    print(f"an epoch of {options.bars:,} windows of {BARS_OF_A_WINDOW} bars, {BATCH} a device and step")
    print(f"{'':34}{'computing':>12}{'traffic':>12}{'reading':>12}{'whole':>12}{'efficiency':>12}")
    for stage, size in (("tokenizer", "base"), ("predictor", "small"), ("predictor", "base")):
        operations, weights = operations_of_a_bar(stage, size)
        print(f"{stage} {size}: {weights / 1e6:.1f} M weights, {operations / 1e6:.0f} MFLOP a bar")
        for site in sites(options.cpu_gflops * 1e9):
            parts = epoch_seconds(site, operations, weights, options.bars)
            cells = "".join(f"{parts[name]:>10.3g} s" for name in ("computing", "traffic", "reading", "whole"))
            print(f"  {site.name:<32}{cells}{parts['computing'] / parts['whole']:>12.0%}")


if __name__ == "__main__":
    main()
