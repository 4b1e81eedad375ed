"""Training step of the tokenizer beside the published implementation: same weights, same windows, alternating steps.

    python benchmarks/tokenizer_step.py [--steps 15] [--output benchmarks/results/tokenizer_step.json]

Prints the ratio of medians (published / ours) and checks that both lose the same; exits 1 when they do not.
"""

import argparse
import platform
import statistics
import sys
import time
from pathlib import Path

import torch
from model import KronosTokenizer as PublishedTokenizer
from torch.nn import functional as F

from ft_core.files import write_json
from ft_core.run_record import versions
from kronos_ft import KronosTokenizer, KronosTokenizerConfig, WindowDataset, load_sample
from kronos_ft.training.losses import tokenizer_objective, tokenizer_terms


def published_loss(model: torch.nn.Module, candles: torch.Tensor) -> torch.Tensor:
    """The published loop's loss."""
    (z_pre, z_all), bsq, _, _ = model(candles)
    return (F.mse_loss(z_pre, candles) + F.mse_loss(z_all, candles) + bsq) / 2


def our_loss(model: KronosTokenizer, candles: torch.Tensor) -> torch.Tensor:
    """The trainer's loss."""
    output = model(candles)
    terms = tokenizer_terms(output.reconstruction_pre, output.reconstruction, output.unit, candles)
    return tokenizer_objective(terms.per_window.mean(dim=0), terms.bit_means.mean(dim=0), model.config)["loss"]


def main() -> int:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "tokenizer_step.json")
    options = parser.parse_args()

    config = KronosTokenizerConfig.from_size("base")
    torch.manual_seed(0)
    published = PublishedTokenizer(**{key: getattr(config, key) for key in config.published_keys()})
    ours = KronosTokenizer(config)
    ours.load_state_dict(published.state_dict())
    windows = WindowDataset(load_sample(), "train")
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0)).tolist()

    # the published loop leaves the optimizer's implementation to PyTorch; the Trainer asks for the fused one
    rivals = {
        "published": (published, published_loss, torch.optim.AdamW(published.parameters(), 2e-4, weight_decay=0.1)),
        "ours": (ours, our_loss, torch.optim.AdamW(ours.parameters(), 2e-4, weight_decay=0.1, fused=True)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    losses: dict[str, list[float]] = {name: [] for name in rivals}
    for step in range(options.steps + 1):
        batch = windows.__getitems__(order[step * options.batch : (step + 1) * options.batch])["target"]
        for name, (model, loss_of, optimizer) in list(rivals.items())[:: 1 if step % 2 else -1]:
            started = time.perf_counter()
            loss = loss_of(model.train(), batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=2.0)
            optimizer.step()
            optimizer.zero_grad()
            losses[name].append(loss.item())
            if step:  # the first one warms up
                seconds[name].append(time.perf_counter() - started)

    pairs = [a / b for a, b in zip(seconds["published"], seconds["ours"], strict=True)]
    difference = max(abs(a - b) for a, b in zip(losses["published"], losses["ours"], strict=True))
    result = {
        "work": f"tokenizer training step, base, {options.batch} x 101 bars, fp32, CPU",
        "ratio_of_medians": statistics.median(seconds["published"]) / statistics.median(seconds["ours"]),
        "ratio_pairs": {"min": min(pairs), "median": statistics.median(pairs), "max": max(pairs)},
        "steps": options.steps,
        "largest_loss_difference": difference,
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads(), **versions()},
    }
    write_json(options.output, result)
    spread = f"pairs {min(pairs):.2f}..{max(pairs):.2f}"
    print(f"{result['work']}: published / ours = {result['ratio_of_medians']:.2f} ({spread})")
    print(f"largest difference of the losses over {options.steps + 1} steps: {difference:.1e}")
    return 0 if difference < 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())
