"""Estimates of `mt5-ft plan` compared with a complete run: time, disk and memory, for three presets.

    python benchmarks/mt5_estimate.py [--data records.jsonl] [--rows 600] [--output results.json]

Trains a small mT5 from random weights on the first rows of the file (by default the embedded sample). Prints one line
per preset and quantity; exits 1 if disk differs by more than 15 %, or the peak exceeds the plan. Time depends on other
programs: the share of processor time is recorded for the probe and for the run.
"""

import argparse
import os
import platform
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from transformers.utils import logging

from ft_core.io.files import write_json
from ft_core.runs.record_schema import versions
from mt5_ft.runs.cleaning import folder_bytes
from mt5_ft.runs.data import read_splits, sample_path
from mt5_ft.runs.finish import finish_training
from mt5_ft.runs.planning import make_plan
from mt5_ft.runs.probe import PeakMemory
from mt5_ft.runs.run import build_trainer, prepare
from mt5_ft.runs.start import resolve_model
from mt5_ft.training.arguments import MT5Arguments, MT5DataArguments, MT5ModelArguments
from mt5_ft.training.presets import PRESETS

TOLERANCE = 0.15
COMPARED = ("original", "optimized", "fast")  # the vocabulary is one of the records, with nothing to trim


class PeakDisk:
    """Peak bytes of a folder inside a `with` block, sampled continuously."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.bytes = 0

    def __enter__(self) -> "PeakDisk":
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.03):
            self.bytes = max(self.bytes, _bytes_now(str(self.folder)))

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watcher.join()


def _bytes_now(folder: str) -> int:
    """A fast version of `folder_bytes`; ignores files deleted meanwhile."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                total += _bytes_now(entry.path) if entry.is_dir() else entry.stat().st_size
    except FileNotFoundError:
        pass
    return total


def run_preset(preset: str, data: MT5DataArguments, folder: Path, every: int) -> dict:
    """Plans and trains one preset; returns planned and used figures."""
    values = {key: value for key, value in PRESETS[preset].items() if key in MT5Arguments.__dataclass_fields__}
    # checkpoints as often as a run of this size needs to have some rotated
    values |= {"eval_steps": every, "save_steps": every, "warmup_steps": 20, "learning_rate": 1e-3, "logging_steps": 10}
    args = MT5Arguments(output_dir=str(folder / preset), generation_max_length=data.max_target_length, **values)
    model = MT5ModelArguments(model="small", from_scratch=True, preset=preset)
    trainer = build_trainer(prepare(resolve_model(model, args), data, args, read_splits(data, args.seed)), data, args)
    probed, worked = time.perf_counter(), time.process_time()
    plan = make_plan(trainer, preset)
    probe_share = (time.process_time() - worked) / (time.perf_counter() - probed)
    print("\n".join(plan.lines()))
    started, worked = time.perf_counter(), time.process_time()
    with PeakDisk(folder / preset) as disk, PeakMemory(args.device) as memory:
        trainer.train()
        trained = time.perf_counter() - started
        finish_training(trainer, model, data)
    seconds = time.perf_counter() - started
    run_share = (time.process_time() - worked) / seconds
    pairs = {
        "seconds": (plan.seconds, seconds),
        "peak_disk": (plan.peak_disk, disk.bytes),
        "final_disk": (plan.final_disk, folder_bytes(folder / preset)),
        "peak_memory": (plan.peak_memory, memory.bytes),
    }
    return {
        "steps": plan.steps,
        "batch": f"{plan.batch} x {plan.accumulation}",
        "training_seconds": trained,
        "processor_share": {"probe": probe_share, "run": run_share},
        **{name: {"planned": a, "used": b, "planned_over_used": a / b} for name, (a, b) in pairs.items()},
    }


def main() -> int:
    """Runs the presets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=sample_path())
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--every", type=int, default=50, help="steps between evaluations and checkpoints")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "mt5_estimate.json")
    options = parser.parse_args()
    logging.disable_progress_bar()
    results = {}
    with tempfile.TemporaryDirectory() as name:
        lines = options.data.read_text(encoding="utf-8").split("\n")[: options.rows]
        cut = Path(name) / "cut.jsonl"
        cut.write_text("\n".join(line for line in lines if line.strip()) + "\n", encoding="utf-8", newline="")
        data = MT5DataArguments(data=str(cut), token_cache="none", max_source_length=256, max_target_length=256)
        for preset in COMPARED:
            results[preset] = run_preset(preset, data, Path(name), options.every)
    write_json(
        options.output,
        {
            "work": f"a run of each preset on {len(lines)} records, small mT5 from random weights, CPU",
            **results,
            "machine": {"processor": platform.machine(), "threads": torch.get_num_threads(), **versions()},
        },
    )
    off = 0
    for preset, result in results.items():
        for name in ("seconds", "peak_disk", "final_disk", "peak_memory"):
            ratio = result[name]["planned_over_used"]
            print(f"{preset:10} {name:12} planned / used = {ratio:.2f}")
            # the planned peak is for a best checkpoint that is not the newest, which a run need not have
            off += "disk" in name and (ratio < 1 - TOLERANCE or (name == "final_disk" and ratio > 1 + TOLERANCE))
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
