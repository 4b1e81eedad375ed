"""Memory of the presets for small machines: peak memory of the process `mt5-ft train`.

    python -m benchmarks.mt5_presets [--presets 8gb cpu] [--steps 3] [--output benchmarks/results/mt5_presets.json]

A model of the published shape and vocabulary, with random weights, is trimmed to 20,480 pieces by `mt5-ft trim-vocab`
and trained for a few steps on the embedded records. The result is the peak memory of the training process: fp32
weights, gradients, AdamW state and activations, and Python with its libraries (about half a GiB). On a GPU, the first
four are on the device; `gpu_mt5` measures this.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.comparison import RESULTS, Row, print_rows, write_rows
from benchmarks.mt5_rivals import FILLING, PIECES, extra_pieces, write_full_model
from mt5_ft.data.records import EMOTION_SUMMARY, read_records
from mt5_ft.runs.data import sample_path

GIB = 2**30
KEPT = 20_480
SHAPES = {"8gb": "mt5-base", "cpu": "mt5-small"}
MOST_GIB = {"8gb": 8.0}
WATCH_SECONDS = 0.02


def _peak(command: list[str]) -> int:
    """Peak bytes of a command, including its children.

    Raises:
        RuntimeError: the command failed; contains its last lines.
    """
    most = 0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            most = max(most, _held(watched))
            time.sleep(WATCH_SECONDS)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{said.read()[-3000:]}")
    return most


def _held(process: psutil.Process) -> int:
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:  # ended meanwhile
        pass
    return total


def _make(folder: Path, shape: str, pieces: int, kept: int) -> None:
    """Writes the full model; returns the number of unused pieces to keep for `kept` pieces in total."""
    texts = [
        text for record in read_records(sample_path(), EMOTION_SUMMARY)[0] for text in (record.source, record.target)
    ]
    tokenizer = write_full_model(folder, texts, shape, pieces)
    (folder / "extra.txt").write_text(str(extra_pieces(tokenizer, texts, kept)), encoding="utf-8")


def row(preset: str, steps: int = 3, shape: str | None = None, pieces: int = PIECES, kept: int = KEPT) -> Row:
    """Peak memory of a few steps with a preset; shape and vocabulary are smaller in tests."""
    shape = shape or SHAPES[preset]
    with tempfile.TemporaryDirectory() as name:
        full, trimmed, run = (Path(name) / part for part in ("full", "trimmed", "run"))
        full.mkdir()
        words = ["--make", str(full), shape, str(pieces), str(kept)]  # in a process of its own, which gives memory back
        subprocess.run([sys.executable, "-m", "benchmarks.mt5_presets", *words], check=True)
        extra = (full / "extra.txt").read_text(encoding="utf-8")
        cut = ["trim-vocab", "--model", str(full), "--data", "sample", "--output", str(trimmed)]
        cut += ["--languages", FILLING, "--extra", extra]
        subprocess.run([sys.executable, "-m", "mt5_ft", *cut], check=True, capture_output=True)
        train = ["train", "--preset", preset, "--model", str(trimmed), "--trim_vocab", "false", "--data", "sample"]
        train += ["--max_steps", str(steps), "--eval_strategy", "no", "--save_strategy", "no", "--use_cpu", "true"]
        train += ["--load_best_model_at_end", "false", "--token_cache", "none", "--output_dir", str(run)]
        peak = _peak([sys.executable, "-m", "mt5_ft", *train]) / GIB
    goal = MOST_GIB.get(preset)
    return Row(
        f"preset {preset}, {shape}'s shape, {kept:,} pieces: peak memory of the whole process",
        "bound" if goal else "none",
        goal,
        ratio=peak,
        reference_value=goal,
        our_value=peak,
        unit="GiB",
        at_most=goal is not None,
        note=f"{steps} steps on a CPU; ratio: GiB held at most",
    )


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", choices=tuple(SHAPES), default=list(SHAPES))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--make", nargs=4, metavar=("FOLDER", "SHAPE", "PIECES", "KEPT"), help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=RESULTS / "mt5_presets.json")
    options = parser.parse_args()
    if options.make:
        folder, shape, pieces, kept = options.make
        _make(Path(folder), shape, int(pieces), int(kept))
        return 0
    found = [row(preset, options.steps) for preset in options.presets]
    write_rows(options.output, found)
    print_rows(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
