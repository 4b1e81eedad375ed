"""The Kronos half of `benchmarks.recipes`: runs of tokenizer and predictor on several markets, in one process.

    python -m benchmarks.recipes kronos --market sample [FILE ...] [--starts 600 3000] [--presets baseline best]
    python -m benchmarks.recipes kronos --market sample --candidates adamw-1e-3 muon-3e-3-b16 --seeds 11
    python -m benchmarks.recipes merge OTHER.json [...]       adds the runs of other results files

Of each market, the last 35,019 bars are used (the length of the embedded sample). Starting weights are trained on their
first 60 %; each recipe fine-tunes them on the last 40 %, a later period. The strides of a shorter market are smaller,
so that every market has about as many windows. Starting weights of 600 steps are weak, those of 3,000 strong.

Processor seconds are those of the process. They count from the first step (`cpu` of an evaluation) and over the
complete run: data, model, training, test split and report (`cpu_run`). The test split is not used for selection.
"""

import argparse
import contextlib
import io
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from benchmarks.comparison import RESULTS, machine
from ft_core.cli.settings import parse_settings
from ft_core.io.files import write_json
from ft_core.runs.folder import BEST_MODEL, LOG_FILE, METRICS_FILE
from ft_core.runs.record_schema import git_state, now, versions
from kronos_ft.data.sources import load_sample, load_source
from kronos_ft.runs.predictor import run_predictor
from kronos_ft.runs.tokenizer import run_tokenizer
from kronos_ft.training.presets import DEFAULT_PRESET, STAGE_PRESETS
from kronos_ft.training.quantile_arguments import STAGE_TYPES
from kronos_ft.windows.dataset import WindowDataset, WindowShape

RESULT = RESULTS / "recipes.json"
SCORES = {"tokenizer": "eval_recon_all", "predictor": "eval_loss"}
RUNS = {"tokenizer": run_tokenizer, "predictor": run_predictor}
TOKENIZERS = {"tiny": "tiny", "mini": "2k"}  # of the sizes of the predictor
BARS = 35_019  # of the embedded sample
EARLIER = 0.6  # share of the candles that the starting weights have seen
STRIDE, VALIDATION_STRIDE = 25, 10  # with so many bars
START = {"learning_rate": 1e-3, "per_device_train_batch_size": 32, "seed": 7}
STARTS = (600, 3000)
STRONG_BATCH = 8  # of starting weights of more steps than 600
EPOCH_EVALUATIONS = 600  # starting weights of more steps are evaluated every 150 steps, not after each pass
PUBLISHED = "published"  # the published loop, in the keys of the results
QUIET = {"report_to": "none", "push_to_hub": False}

_ADAMW = {"preset": "baseline", "max_grad_norm": 1.0}
_MUON = _ADAMW | {"optim": "muon"}
_SHORT = {"per_device_train_batch_size": 16, "num_train_epochs": 10}
_EMA = {"ema_decay": 0.98}


def _rates(**rates: float) -> dict[str, object]:
    """AdamW's rate, and Muon's where it differs."""
    return {"learning_rate": rates["adamw"]} | ({"muon_learning_rate": rates["muon"]} if "muon" in rates else {})


# What well-trained tokenizers were tried with
BEST_CHANGES: dict[str, dict[str, object]] = {
    "pct-0.25": {"pct_start": 0.25},
    "adamw-1e-3": {"learning_rate": 1e-3, "muon_learning_rate": 3e-3},
    "pct-0.25-adamw-1e-3": {"pct_start": 0.25, "learning_rate": 1e-3, "muon_learning_rate": 3e-3},
    "4e-4": {"learning_rate": 4e-4},
    "1e-3": {"learning_rate": 1e-3},
    "1.1e-3": {"learning_rate": 1.1e-3},
    "2e-3": {"learning_rate": 2e-3},
    "5e-3": {"learning_rate": 5e-3},
    "7e-3": {"learning_rate": 7e-3},
    "3e-3": {"learning_rate": 3e-3},
    "3.5e-3": {"learning_rate": 3.5e-3},
    "1e-2": {"learning_rate": 1e-2},
    "5e-3-pct-0.25": {"learning_rate": 5e-3, "pct_start": 0.25},
    "adamw-3e-3-muon-1e-2": {"learning_rate": 3e-3, "muon_learning_rate": 1e-2},
    "ema-0.95": {"ema_decay": 0.95},
    "ema-0.99": {"ema_decay": 0.99},
    "b8-9": {"per_device_train_batch_size": 8, "num_train_epochs": 9},
    "b8-8-1e-2": {"per_device_train_batch_size": 8, "num_train_epochs": 8, "learning_rate": 1e-2},
    "b8-9-1e-2": {"per_device_train_batch_size": 8, "num_train_epochs": 9, "learning_rate": 1e-2},
    "b8-9-5e-3": {"per_device_train_batch_size": 8, "num_train_epochs": 9, "learning_rate": 5e-3},
    "60": {"num_train_epochs": 60, "early_stopping": False},
}
CANDIDATES: dict[str, dict[str, object]] = {
    "adamw-1e-3": _ADAMW | _rates(adamw=1e-3),
    "adamw-3e-3": _ADAMW | _rates(adamw=3e-3),
    "adamw-1e-3-ema": _ADAMW | _EMA | _rates(adamw=1e-3),
    "adamw-3e-3-ema": _ADAMW | _EMA | _rates(adamw=3e-3),
    "adamw-3e-3-b16": _ADAMW | _SHORT | _rates(adamw=3e-3),
    "adamw-1e-3-wsd": _ADAMW
    | _rates(adamw=1e-3)
    | {
        "one_cycle": False,
        "lr_scheduler_type": "warmup_stable_decay",
        "warmup_steps": 10,
        "lr_scheduler_kwargs": json.dumps({"num_decay_steps": 60}),
    },
    "muon-3e-3": _MUON | _rates(adamw=3e-3),
    "muon-1e-2": _MUON | _rates(adamw=1e-2),
    "muon-1e-3-b16": _MUON | _SHORT | _rates(adamw=1e-3),
    "muon-3e-3-b16": _MUON | _SHORT | _rates(adamw=3e-3),
    "muon-1e-2-b16": _MUON | _SHORT | _rates(adamw=1e-2),
    "muon-1e-3-b16-ema": _MUON | _SHORT | _EMA | _rates(adamw=1e-3),
    "muon-2e-3-b16-ema": _MUON | _SHORT | _EMA | _rates(adamw=2e-3),
    "muon-3e-3-b16-ema": _MUON | _SHORT | _EMA | _rates(adamw=3e-3),
    "muon-3e-3-adamw-1e-3-b16-ema": _MUON | _SHORT | _EMA | _rates(adamw=1e-3, muon=3e-3),
    "muon-1e-3-b16-ema-15": _MUON | _SHORT | _EMA | _rates(adamw=1e-3) | {"num_train_epochs": 15},
    "muon-2e-3-b16-ema-15": _MUON | _SHORT | _EMA | _rates(adamw=2e-3) | {"num_train_epochs": 15},
    "muon-3e-3-b16-ema-15": _MUON | _SHORT | _EMA | _rates(adamw=3e-3) | {"num_train_epochs": 15},
    **{f"best-{name}": {"preset": "best", "learning_rate": 3e-3} | change for name, change in BEST_CHANGES.items()},
}


def as_argv(settings: dict[str, object]) -> list[str]:
    """Settings as options of a command line."""
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in settings.items()}
    return [word for name, text in texts.items() for word in (f"--{name}", text)]


class Clock(TrainerCallback):
    """Processor and wall-clock seconds since the first step, at each evaluation."""

    def __init__(self):
        self.began: tuple[float, float] | None = None
        self.at: dict[int, dict[str, float]] = {}

    def seconds(self) -> dict[str, float]:
        """Since the start of training."""
        cpu, wall = self.began
        return {"cpu": round(time.process_time() - cpu, 3), "wall": round(time.perf_counter() - wall, 3)}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.began = time.process_time(), time.perf_counter()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.at.setdefault(state.global_step, self.seconds())  # not the evaluation of the test split


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """No output and no warnings inside the block."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def run_stage(stage: str, settings: dict[str, object], folder: Path) -> tuple[dict, Clock]:
    """One run of the library in this process, without its output.

    Args:
        stage (`str`): tokenizer or predictor.
        settings (`dict`): of the run; other settings come from its `preset`.
        folder (`Path`): run folder.

    Returns:
        the figures of `training_metrics.json`, and the clock.
    """
    argv = as_argv({**QUIET, **settings, "output_dir": folder})
    clock = Clock()
    with silence():
        given = parse_settings(
            STAGE_TYPES[stage], argv, presets=STAGE_PRESETS[stage], default_preset=DEFAULT_PRESET, program=stage
        )
        return RUNS[stage](*given, callbacks=[clock]), clock


def figures_of(run: Path, metrics: dict, clock: Clock, score: str, cpu: float) -> dict[str, object]:
    """What is kept of a finished run: evaluations, steps, passes, seconds and the test score."""
    lines = (run / LOG_FILE).read_text(encoding="utf-8").splitlines()
    entries = [entry for entry in map(json.loads, lines) if score in entry]
    history = [
        {"step": entry["step"], "epoch": entry["epoch"], "score": entry[score], **clock.at[entry["step"]]}
        for entry in entries
    ]
    term = score.removeprefix("eval_")
    return {
        "history": history,
        "steps": metrics["steps"],
        "max_steps": metrics["max_steps"],
        "epochs": metrics["epochs"],
        "seconds": round(metrics["seconds"], 2),
        "cpu_run": round(cpu, 2),
        "test": {term: metrics["test"][term]},
    }


def market_name(market: str) -> str:
    """The name of a market in the keys of the results."""
    return market if market == "sample" else Path(market).stem


def halves(market: str, folder: Path) -> tuple[Path, Path, int]:
    """Candles of the starting weights and of the later period, each as a file in a folder, and the bars of both."""
    series = load_sample() if market == "sample" else load_source(market, "error", "UTC")
    if len(series) != 1:
        raise SystemExit(f"{market} has {len(series)} symbols; give a file of one")
    table = series[0].to_frame().iloc[-BARS:]
    cut = int(len(table) * EARLIER)
    earlier, later = folder / "earlier.csv", folder / "later.csv"
    folder.mkdir(parents=True, exist_ok=True)
    for path, part in ((earlier, table.iloc[:cut]), (later, table.iloc[cut:])):
        if not path.is_file() or len(pd.read_csv(path)) != len(part):
            part.to_csv(path, index=False)
    return earlier, later, len(table)


def windows_of(bars: int) -> dict[str, object]:
    """Settings of the windows of a market with so many bars."""
    strides = {"stride": STRIDE, "validation_stride": VALIDATION_STRIDE}
    shares = {name: max(1, round(stride * bars / BARS)) for name, stride in strides.items()}
    return {"lookback_window": 90, "predict_window": 10, **shares}


class KronosRecipes:
    """Fine-tunes the starting weights of one market, which are trained once and kept in a folder.

    Args:
        market (`str`): `sample`, or a file of candles of one symbol.
        size (`str`): of the predictor; the tokenizer's follows.
        start (`int`): steps of the starting weights.
        work (`Path`): folder of candles and starting weights.
    """

    def __init__(self, market: str, size: str, start: int, work: Path):
        self.size, self.start = size, start
        self.folder = work / f"{market_name(market)}-{size}"
        self.earlier, self.later, bars = halves(market, self.folder)
        self.windows = windows_of(bars)

    def weights(self, stage: str) -> Path:
        """The starting weights of a stage, trained now if they are not there yet."""
        run = self.folder / f"{stage}-{self.start}"
        if not (run / METRICS_FILE).is_file():
            shared = {**self.windows, **START, "data": self.earlier, "from_scratch": True, "max_steps": self.start}
            if self.start > EPOCH_EVALUATIONS:
                shared |= dict.fromkeys(("eval_strategy", "save_strategy"), "steps")
                shared |= {"eval_steps": 150, "save_steps": 150, "per_device_train_batch_size": STRONG_BATCH}
            shared |= {"model": TOKENIZERS[self.size] if stage == "tokenizer" else self.size, "overwrite": True}
            run_stage(stage, shared | self._tokens(stage), run)
        return run / BEST_MODEL

    def _tokens(self, stage: str) -> dict[str, object]:
        """Settings of the predictor's tokens, which are computed in each run."""
        if stage == "tokenizer":
            return {}
        return {"tokenizer": self.weights("tokenizer"), "token_cache": False}

    def train_published(self, stage: str, seed: int) -> dict[str, object]:
        """Figures of the published loop with the published model code, from the same weights on the same windows."""
        from benchmarks.published_loop import PublishedLoop

        series, length = load_source(str(self.later), "error", "UTC"), WindowShape().length
        train, validation = (
            WindowDataset(series, name, WindowShape(stride=self.windows[stride]), embargo=length)
            for name, stride in (("train", "stride"), ("validation", "validation_stride"))
        )
        tokenizer = None if stage == "tokenizer" else self.weights("tokenizer")
        with tempfile.TemporaryDirectory() as folder, silence():
            return PublishedLoop(self.weights(stage), tokenizer, train, validation, Path(folder)).run(seed)

    def train(self, stage: str, settings: dict[str, object] | None, seed: int) -> dict[str, object]:
        """Figures of one fine-tuning run; without settings, of the published loop."""
        if settings is None:
            return self.train_published(stage, seed)
        start = {"data": self.later, "model": self.weights(stage), "seed": seed, **self._tokens(stage)}
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            began = time.process_time()
            metrics, clock = run_stage(stage, {**self.windows, **start, **settings}, folder / "run")
            cpu = time.process_time() - began
            return figures_of(folder / "run", metrics, clock, SCORES[stage], cpu) | {"settings": settings}
        finally:
            shutil.rmtree(folder)


def load(path: Path) -> dict[str, dict]:
    """The results so far."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"runs": {}}


def keep(path: Path, runs: dict[str, dict]) -> None:
    """Adds runs to the results file, which other processes may have changed meanwhile."""
    found = load(path)
    about = {"written": now(), "machine": machine(), "versions": versions(), "git": git_state(Path(__file__).parent)}
    write_json(path, {**found, **about, "runs": {**found["runs"], **runs}})


def wanted_runs(options: argparse.Namespace, market: str, start: int) -> Iterator[tuple[str, tuple]]:
    """Keys of the runs of one market and start, and what is trained; recipes with the same seed follow each other."""
    place = market_name(market) + ("" if options.size == "tiny" else f"-{options.size}")
    recipes = {PUBLISHED: None} if options.published else {}
    recipes |= {name: {"preset": name} for name in options.presets}
    recipes |= {name: CANDIDATES[name] for name in options.candidates}
    for seed in options.seeds:
        for stage in options.stages:
            for name, settings in recipes.items():
                yield f"{stage}/{place}/{start}/{name}/{seed}", (stage, settings, seed)


def main(argv: list[str]) -> int:
    """Trains the runs that are not in the results yet, or merges results."""
    parser = argparse.ArgumentParser(prog="benchmarks.recipes", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("kronos", "merge"))
    parser.add_argument("files", nargs="*", type=Path, help="merge: other results files")
    parser.add_argument("--market", nargs="+", default=["sample"], help="sample, or files of candles")
    parser.add_argument("--size", choices=tuple(TOKENIZERS), default="tiny")
    parser.add_argument("--starts", type=int, nargs="+", default=list(STARTS), help="steps of the starting weights")
    parser.add_argument("--published", action="store_true", help="also the published loop with the published code")
    parser.add_argument("--presets", nargs="*", default=[])
    parser.add_argument("--candidates", nargs="*", choices=tuple(CANDIDATES), default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--stages", nargs="+", choices=tuple(SCORES), default=list(SCORES))
    parser.add_argument("--work", type=Path, default=Path("runs/recipes"), help="folder of the starting weights")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args(argv)
    if options.what == "merge":
        for path in options.files:
            keep(options.output, load(path)["runs"])
        return 0
    for market in options.market:
        for start in options.starts:
            known = load(options.output)["runs"]
            missing = {key: what for key, what in wanted_runs(options, market, start) if key not in known}
            recipes = KronosRecipes(market, options.size, start, options.work) if missing else None
            for key, what in missing.items():
                figures = recipes.train(*what)
                keep(options.output, {key: figures})
                best = min(entry["score"] for entry in figures["history"] if entry["step"])
                sys.stderr.write(f"{key}: {figures['steps']} steps, {figures['cpu_run']:.1f} s, best {best:.4f}\n")
    return 0
