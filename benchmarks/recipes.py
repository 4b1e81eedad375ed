"""Compares the named recipes: are the promised gains of `optimized` real?

    python -m benchmarks.recipes kronos [--market sample FILE ...]   see `benchmarks.kronos_recipes`
    python -m benchmarks.recipes merge OTHER.json [...]              adds the runs of other results files
    python -m benchmarks.recipes mt5 [--presets original optimized fast best] [--data records.jsonl]
    python -m benchmarks.recipes page                                writes tables and picture of docs/recipes.md

mT5: a small model from random weights on the embedded records (or your own JSONL), with one learning rate for all and
doubled epochs. Runs that are already in the results are not repeated. All values come from the run records; the test
split is not used for selection.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.comparison import RESULTS, machine
from ft_core.io.files import write_json
from ft_core.runs.folder import LOG_FILE, METRICS_FILE, RUN_FILE
from ft_core.runs.record_schema import git_state, now, versions

RESULT = RESULTS / "recipes.json"
PRESETS = ["original", "optimized", "fast", "best"]
MT5 = ("--model", "small", "--from_scratch", "--max_source_length", "192", "--max_target_length", "128")
MT5_EPOCHS = {"original": 10, "optimized": 6, "fast": 6, "best": 10}
# evaluations and saves at like places of an epoch, as 500 and 1000 steps are of the reference corpus
MT5_STEPS = ("--eval_steps", "28", "--save_steps", "28", "--warmup_steps", "20")


def _run(module: str, words: Iterable[str], folder: Path) -> int:
    """Runs one command in its own process; returns the peak size of its folder, sampled twice per second.

    Raises:
        RuntimeError: the run failed; contains its last lines.
    """
    command = [sys.executable, "-m", module, *words, "--output_dir", str(folder)]
    most = 0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        while process.poll() is None:
            most = max(most, _bytes(folder))
            time.sleep(0.5)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{said.read()[-3000:]}")
    return max(most, _bytes(folder))


def _history(run: Path, score: str) -> list[dict[str, float]]:
    """Evaluations of a run: step, passes over the data, the score."""
    lines = (run / LOG_FILE).read_text(encoding="utf-8").splitlines()
    entries = [entry for entry in map(json.loads, lines) if score in entry]
    return [{"step": entry["step"], "epoch": entry["epoch"], "score": entry[score]} for entry in entries]


def _bytes(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):  # which passes over folders that are removed meanwhile
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(place, name)).st_size
    return total


def figures_of(run: Path, score: str) -> dict[str, object]:
    """The records of a finished run: evaluations, steps, time, test metrics and size on disk."""
    metrics = json.loads((run / METRICS_FILE).read_text(encoding="utf-8"))
    record = json.loads((run / RUN_FILE).read_text(encoding="utf-8"))
    return {
        "history": _history(run, score),
        "steps": record["global_step"],
        "max_steps": record["max_steps"],
        "epochs": record["epoch"],
        "planned_epochs": record["arguments"]["num_train_epochs"],
        "seconds": record["seconds"],
        "test": metrics.get("test"),
        "disk_at_end": _bytes(run),
    }


def train_mt5(preset: str, seed: int, data: str, folder: Path) -> dict[str, object]:
    """Figures of one mT5 run with a preset: time, disk and the quality on the validation records."""
    run = folder / "run"
    words = ["train", "--preset", preset, *MT5, "--data", data, "--seed", str(seed), "--learning_rate", "3e-3"]
    words += ["--num_train_epochs", str(MT5_EPOCHS[preset]), *MT5_STEPS, "--logging_steps", "10"]
    most = _run("mt5_ft", words, run)
    try:
        final = json.loads((run / METRICS_FILE).read_text(encoding="utf-8"))["final"]
        return figures_of(run, "eval_loss") | {"disk_at_peak": most, "rougeL": final["rougeL"]}
    finally:
        shutil.rmtree(run)


def _load(path: Path) -> dict[str, dict]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"runs": {}}


def _keep(path: Path, found: dict, key: str, figures: dict[str, object]) -> None:
    """Adds a run to the results file at once, so that an interrupted benchmark can continue."""
    found["runs"][key] = figures
    about = {"written": now(), "machine": machine(), "versions": versions(), "git": git_state(Path(__file__).parent)}
    write_json(path, {**found, **about})
    sys.stderr.write(f"{key}: {figures['steps']} steps, {figures['seconds']:.0f} s\n")


def main() -> int:
    """Trains the runs that are not in the results yet."""
    if sys.argv[1:2] in (["kronos"], ["merge"]):
        from benchmarks.kronos_recipes import main as kronos_main

        return kronos_main(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("kronos", "merge", "mt5", "page"))
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--data", default="sample", help="JSONL of records (default: the embedded ones)")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    found = _load(options.output)
    if options.what == "page":
        from benchmarks.recipe_picture import draw
        from benchmarks.recipe_tables import write_page

        write_page(found["runs"])
        draw(found["runs"])
        return 0
    wanted = {f"mt5/{preset}/{seed}": (preset, seed) for seed in options.seeds for preset in options.presets}
    with tempfile.TemporaryDirectory() as name:
        for key, (preset, seed) in wanted.items():
            if key not in found["runs"]:
                _keep(options.output, found, key, train_mt5(preset, seed, options.data, Path(name)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
