"""Bars per second of two training processes compared with one, each pinned to its own core.

    python -m benchmarks.ranks [--size base] [--steps 12] [--output benchmarks/results/ranks.json]

The effective batch is the same, so the reconstruction error of the first step (recon_all) must be equal (the codebook
entropy may differ, because it is computed per micro-batch); exits 1 otherwise. Both use exact numerics.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.comparison import RESULTS, Row, print_rows, write_rows

BATCH = 32
TURNS = 2
TOLERANCE = 1e-5


def work(size: str, steps: int, output: Path) -> None:
    """The work of each process; the first one writes reconstruction errors and bars per second of each step."""
    rank, world = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    from transformers import set_seed

    from kronos_ft import (
        KronosTokenizer,
        KronosTokenizerArguments,
        KronosTokenizerConfig,
        KronosTokenizerTrainer,
        WindowDataset,
        load_sample,
    )

    with tempfile.TemporaryDirectory() as folder:
        args = KronosTokenizerArguments(
            output_dir=folder if rank == 0 else f"{folder}-{rank}",
            per_device_train_batch_size=BATCH // world,
            max_steps=steps,
            logging_steps=1,
            eval_strategy="no",
            eval_on_start=False,
            load_best_model_at_end=False,
            save_strategy="no",
            exact=True,
            use_cpu=True,
        )
        set_seed(args.seed)
        series = load_sample()
        trainer = KronosTokenizerTrainer(
            KronosTokenizer(KronosTokenizerConfig.from_size(size)),
            args,
            WindowDataset(series, "train"),
            WindowDataset(series, "validation"),
        )
        trainer.train()
        if rank == 0:
            entries = [entry for entry in trainer.state.log_history if "bars_per_second" in entry]
            output.write_text(json.dumps([(entry["recon_all"], entry["bars_per_second"]) for entry in entries]))


def measure(world: int, size: str, steps: int) -> tuple[list[float], list[float]]:
    """Reconstruction errors and bars per second of a run."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "found.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={world}"]
        command += ["-m", "benchmarks.ranks", "--work", str(output), "--size", size, "--steps", str(steps)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found = json.loads(output.read_text())
    return [loss for loss, _ in found], [speed for _, speed in found[1:]]  # the first step warms up


def rows(size: str = "base", steps: int = 12) -> list[Row]:
    """One row."""
    row = Row(f"tokenizer, {size}, batch {BATCH}: bars/s, 2 ranks, 1 core each", "1 rank, 1 core", None, unit="bars/s")
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        row.note = "needs two cores that processes can be pinned to (Linux)"
        return [row]
    first, speeds = {}, {1: [], 2: []}
    for turn in range(TURNS):
        for world in (1, 2) if turn % 2 else (2, 1):
            found, speed = measure(world, size, steps)
            first[world] = found[0]
            speeds[world] += speed
    one, two = (statistics.median(speeds[world]) for world in (1, 2))
    difference = abs(first[1] - first[2])
    row.ratio, row.reference_value, row.our_value = two / one, one, two
    row.correct = difference < TOLERANCE
    row.details = {"efficiency": two / one / 2, "first_recon_all_difference": difference, "steps": steps * TURNS}
    return [row]


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="base")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=RESULTS / "ranks.json")
    options = parser.parse_args()
    if options.work:
        work(options.size, options.steps, options.work)
        return 0
    found = rows(options.size, options.steps)
    write_rows(options.output, found)
    print_rows(found)
    return 1 if any(row.correct is False for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
