"""A complete tokenizer run compared with the published loop: from the start of the process to the saved model.

    python -m benchmarks.tokenizer_run [--steps 300] [--output benchmarks/results/tokenizer_run.json]

Both start from random weights of the base size on the embedded sample, see the same number of windows, evaluate the
whole validation split after each epoch and keep the best model. The reference is the published loop around the
published model, with prepared batches (its data set class would add time). Exits 1 if the last validation losses differ
by more than 25 %: order of windows and initial weights differ, so the runs are similar, not equal.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.comparison import RESULTS, Row, print_rows, write_rows

BATCH, CLIP, RATE = 50, 2.0, 2e-4
ALIKE = 0.25


def published_run(steps: int, folder: Path) -> None:
    """The published loop; writes its last validation loss to `loss.json`."""
    import model as published
    import torch
    from torch.nn import functional as F

    from kronos_ft import KronosTokenizerConfig, WindowDataset, WindowShape, load_sample

    torch.manual_seed(100)
    config = KronosTokenizerConfig.from_size("base")
    network = published.KronosTokenizer(**{key: getattr(config, key) for key in config.published_keys()})
    series, shape = load_sample(), WindowShape()
    train = WindowDataset(series, "train", shape, embargo=shape.length)
    validation = WindowDataset(series, "validation", WindowShape(stride=10), embargo=shape.length)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.1, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=RATE, total_steps=steps, pct_start=0.03, div_factor=10
    )
    best, loss_now, step = float("inf"), float("nan"), 0
    while step < steps:
        for part in torch.randperm(len(train)).split(BATCH):
            if len(part) < BATCH or step == steps:
                break
            candles = train.__getitems__(part.tolist())["target"]
            network.train()
            (z_pre, z_all), bsq, _, _ = network(candles)
            loss = (F.mse_loss(z_pre, candles) + F.mse_loss(z_all, candles) + bsq) / 2
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), max_norm=CLIP)
            optimizer.step()
            schedule.step()
            step += 1
        network.eval()
        with torch.no_grad():
            total = 0.0
            for first in range(0, len(validation), 64):
                candles = validation.__getitems__(range(first, min(first + 64, len(validation))))["target"]
                total += F.mse_loss(network(candles)[0][1], candles).item() * len(candles)
        loss_now = total / len(validation)
        if loss_now < best:
            best = loss_now
            network.save_pretrained(folder / "best_model")
    (folder / "loss.json").write_text(json.dumps(loss_now))


def our_run(steps: int, folder: Path) -> None:
    """`kronos-ft tokenizer` with its defaults."""
    words = ["tokenizer", "--data", "sample", "--model", "base", "--from_scratch", "--max_steps", str(steps)]
    words += ["--eval_on_start", "false", "--output_dir", str(folder / "run")]
    subprocess.run([sys.executable, "-m", "kronos_ft", *words], check=True, stdout=subprocess.DEVNULL)
    metrics = json.loads((folder / "run" / "training_metrics.json").read_text(encoding="utf-8"))
    (folder / "loss.json").write_text(json.dumps(metrics["validation"]["recon_all"]["last"]))


def measure(name: str, steps: int) -> tuple[float, float, float]:
    """Seconds, processor time and last validation loss of a run in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.tokenizer_run", "--work", name, folder, "--steps", str(steps)]
        before, started = os.times(), time.perf_counter()
        subprocess.run(command, check=True)
        seconds, after = time.perf_counter() - started, os.times()
        busy = after.children_user + after.children_system - before.children_user - before.children_system
        return seconds, busy, float(json.loads((Path(folder) / "loss.json").read_text()))


def rows(steps: int = 300) -> list[Row]:
    """One row, from one run of each."""
    os.environ.pop("KRONOS_FT_SPEED", None)
    ours, our_busy, our_loss = measure("ours", steps)
    reference, reference_busy, reference_loss = measure("published", steps)
    return [
        Row(
            f"whole tokenizer run, base, {steps} steps, start to saved model",
            "published loop, fp32",
            2.5,
            ratio=reference / ours,
            reference_value=reference,
            our_value=ours,
            correct=abs(our_loss / reference_loss - 1) < ALIKE,
            details={
                "last_validation_loss": {"published": reference_loss, "ours": our_loss},
                "ratio_of_processor_time": reference_busy / our_busy,  # less moved by other work on the machine
            },
        )
    ]


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--work", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=RESULTS / "tokenizer_run.json")
    options = parser.parse_args()
    if options.work:
        {"published": published_run, "ours": our_run}[options.work[0]](options.steps, Path(options.work[1]))
        return 0
    found = rows(options.steps)
    write_rows(options.output, found)
    print_rows(found)
    return 1 if any(row.correct is False for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
