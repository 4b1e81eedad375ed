"""Compares the named recipes: are the promised gains of `optimized` real?

    python -m benchmarks.recipes kronos [--presets baseline optimized best] [--seeds 1 2 3]
    python -m benchmarks.recipes search [--seeds 11 12]       candidates for `best`, on seeds of their own
    python -m benchmarks.recipes page                         writes the tables of docs/recipes.md

Kronos: a tiny tokenizer and predictor are trained on the first 60 % of the embedded candles; each recipe fine-tunes
these weights on the last 40 %, a later period, for the same number of passes. Runs that are already in the results are
not repeated. All values come from the run records; the test split is not used for selection. For mT5 see
`benchmarks.mt5_recipes`.
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
from ft_core.runs.folder import BEST_MODEL, LOG_FILE, METRICS_FILE, RUN_FILE
from ft_core.runs.record_schema import git_state, now, versions

RESULT = RESULTS / "recipes.json"
EARLIER = 0.6  # share of the embedded candles that the starting weights have seen
WINDOWS = ("--lookback_window", "90", "--predict_window", "10", "--stride", "25", "--validation_stride", "10")
START = ("--max_steps", "600", "--learning_rate", "1e-3", "--per_device_train_batch_size", "32", "--seed", "7")
SCORES = {"tokenizer": "eval_recon_all", "predictor": "eval_loss"}
PRESETS = ["baseline", "optimized", "best"]
_NO_AUGMENTATION = {f"augment_{name}": False for name in ("noise", "feature_dropout", "time_shift", "scale")}
CANDIDATES: dict[str, dict[str, object]] = {
    "optimized-plain": {"preset": "optimized", **_NO_AUGMENTATION},
    "optimized-fast-rate": {"preset": "optimized", **_NO_AUGMENTATION, "learning_rate": 5e-4},
    "baseline-fast-rate": {"preset": "baseline", "learning_rate": 5e-4, "max_grad_norm": 1.0, "early_stopping": True},
    "baseline-faster-rate": {"preset": "baseline", "learning_rate": 1e-3, "max_grad_norm": 1.0, "early_stopping": True},
    "baseline-small-batch": {
        "preset": "baseline",
        "learning_rate": 5e-4,
        "per_device_train_batch_size": 25,
        "max_grad_norm": 1.0,
        "early_stopping": True,
    },
}


def _words(settings: dict[str, object]) -> list[str]:
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in settings.items()}
    return [word for name, text in texts.items() for word in (f"--{name}", text)]


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


def halves(folder: Path) -> tuple[Path, Path]:
    """The embedded candles in two files: for the starting weights, and the later period."""
    from kronos_ft.data.sources import load_sample

    table = load_sample()[0].to_frame()
    cut = int(len(table) * EARLIER)
    paths = folder / "earlier.csv", folder / "later.csv"
    table.iloc[:cut].to_csv(paths[0], index=False)
    table.iloc[cut:].to_csv(paths[1], index=False)
    return paths


class KronosRecipes:
    """Fine-tunes tokenizers and predictors from the same starting weights, which are trained once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.earlier, self.later = halves(folder)
        shared = (*WINDOWS, *START, "--model", "tiny", "--from_scratch", "--data", str(self.earlier))
        self.tokenizer, self.predictor = folder / "start-tokenizer", folder / "start-predictor"
        _run("kronos_ft", ("tokenizer", *shared), self.tokenizer)
        self.tokenizer_words = ("--tokenizer", str(self.tokenizer / BEST_MODEL))
        _run("kronos_ft", ("predictor", *shared, *self.tokenizer_words), self.predictor)

    def train(self, stage: str, settings: dict[str, object], seed: int) -> dict[str, object]:
        """Figures of one run of a stage with these settings."""
        run = self.folder / "run"
        start = self.tokenizer if stage == "tokenizer" else self.predictor
        words = [stage, *WINDOWS, "--data", str(self.later), "--model", str(start / BEST_MODEL), "--seed", str(seed)]
        words += self.tokenizer_words if stage == "predictor" else ()
        _run("kronos_ft", [*words, *_words(settings)], run)
        try:
            return figures_of(run, SCORES[stage])
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("kronos", "search", "page"))
    parser.add_argument("--presets", nargs="+", help="default: those of the package")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 1 2 3; for search 11 12")
    parser.add_argument("--stages", nargs="+", choices=tuple(SCORES), default=list(SCORES))
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    found = _load(options.output)
    if options.what == "page":
        from benchmarks.recipe_tables import write_page

        write_page(found["runs"])
        return 0
    seeds = options.seeds or ([11, 12] if options.what == "search" else [1, 2, 3])
    presets = options.presets or (list(CANDIDATES) if options.what == "search" else PRESETS)
    with tempfile.TemporaryDirectory() as name:
        wanted = {
            f"{stage}/{preset}/{seed}": (stage, CANDIDATES.get(preset, {"preset": preset}), seed)
            for seed in seeds
            for stage in options.stages
            for preset in presets
        }
        missing = {key: what for key, what in wanted.items() if key not in found["runs"]}
        recipes = KronosRecipes(Path(name)) if missing else None
        for key, what in missing.items():
            _keep(options.output, found, key, recipes.train(*what))
    return 0


if __name__ == "__main__":
    sys.exit(main())
