"""Small real runs of tokenizer, predictor, quantile head and mT5, each in its own process, to be killed and resumed.

They are forked (`tests.forked`), so that a run takes seconds. What a run ends with is compared by [`outcome`], which
leaves out nothing but times.
"""

import itertools
import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ft_core.checkpoints.listing import list_checkpoints
from ft_core.checkpoints.manifest import defect_of, file_hash
from tests.forked import Forked, program

TIMED = ("per_second", "runtime", "seconds", "flos", "preparation_time")
STEPS, EVERY = 24, 4
COMMON = [
    *("--max_steps", str(STEPS), "--eval_strategy", "steps", "--eval_steps", str(EVERY)),
    *("--save_strategy", "steps", "--save_steps", str(EVERY), "--logging_steps", "3"),
]
KRONOS = [
    *("--model", "tiny", "--from_scratch", "--lookback_window", "20", "--predict_window", "4", *COMMON),
    *("--per_device_train_batch_size", "32", "--gradient_accumulation_steps", "1", "--keep_best", "2"),
    *("--early_stopping", "true", "--early_stopping_patience", "50"),
]
PREDICTOR = ["--optim", "muon", "--ema_decay", "0.8"]  # their states are saved and restored too
QUANTILES = [
    *("--body", "full", "--lookback_window", "20", "--predict_window", "4", *COMMON),
    *("--per_device_train_batch_size", "32", "--keep_best", "2", "--early_stopping", "false"),
]
MT5 = [
    *(*COMMON, "--warmup_steps", "2", "--max_source_length", "48", "--max_target_length", "24", "--precision", "fp32"),
    *("--generation_max_length", "8", "--eval_generate_rows", "2", "--per_device_eval_batch_size", "8"),
    *("--learning_rate", "1e-3", "--save_total_limit", "2"),
    *("--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "2"),
]
_numbers = itertools.count()


@dataclass
class Run:
    """A command line of one of the fine-tuners; `output` is its run folder."""

    kind: str
    words: list[str]
    output: Path
    environment: dict[str, str] = field(default_factory=dict)

    def to(self, output: Path) -> "Run":
        """The same run in another folder."""
        return Run(self.kind, self.words, output, self.environment)

    def with_settings(self, *words: object) -> "Run":
        """The same run with further settings, which win over those before."""
        return Run(self.kind, [*self.words, *(str(word) for word in words)], self.output, self.environment)

    @property
    def program(self) -> str:
        return "mt5_ft" if self.kind == "mt5" else "kronos_ft"

    @property
    def model(self) -> Path:
        """The weights that the run ends with."""
        return self.output / ("final" if self.kind == "mt5" else "best_model") / "model.safetensors"

    def command(self, *words: object) -> list[str]:
        """The whole command line of a process of its own."""
        everything = [*self.words, "--output_dir", self.output, *words]
        return [sys.executable, "-m", self.program, *(str(word) for word in everything)]


@dataclass
class Ended:
    """How a run ended: exit code (negative: the signal), what it wrote, its file operations, and how long it took."""

    code: int
    text: str
    operations: int = 0
    seconds: float = 0.0


When = int | tuple[str, int]  # the number of a file operation, or of one on paths that contain a word


def _do(run: Run, words: list[str], signals: dict[When, int], count: Path) -> int:
    began = time.monotonic()
    seen = [0]
    named = Counter()
    names = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "shutil.rmtree"}
    root = str(run.output)

    def watch(event: str, arguments: tuple) -> None:
        if event in names and root in str(arguments[:2]):
            seen[0] += 1
            named.update(when[0] for when in signals if isinstance(when, tuple) and when[0] in str(arguments[:2]))
            for when in (seen[0], *named.items()):
                if when in signals:
                    os.kill(os.getpid(), signals[when])

    sys.addaudithook(watch)
    command = "train" if run.kind == "mt5" else run.kind
    code = program(run.program, [command, *run.words, "--output_dir", root, *words])
    count.write_text(f"{seen[0]} {time.monotonic() - began}")
    return code


class Started(Forked):
    """A run in a process of its own that has begun."""

    def __init__(self, run: Run, *words: object, signals: dict[When, int] | None = None):
        self.run = run
        beside = run.output.parent / f".{run.output.name}-{next(_numbers)}"
        self._count = Path(f"{beside}.count")
        text, words = Path(f"{beside}.text"), [str(word) for word in words]
        super().__init__(text, _do, run, words, signals or {}, self._count, environment=run.environment)

    def ended(self) -> Ended:
        """Waits for its end."""
        code = self.end()
        if not self._count.is_file():  # killed
            return Ended(code, self.text())
        operations, seconds = self._count.read_text().split()
        return Ended(code, self.text(), int(operations), float(seconds))


def start(run: Run, *words: object, signals: dict[When, int] | None = None) -> Ended:
    """Does a run to its end; it is sent `signals`, each when its file operation comes."""
    return Started(run, *words, signals=signals).ended()


def _untimed(entry: dict) -> dict:
    return {name: value for name, value in entry.items() if not any(word in name for word in TIMED)}


def outcome(run: Run) -> dict:
    """Everything that a run ends with, but for times: weights, checkpoints, state, history, records, summaries."""
    checkpoints = list_checkpoints(run.output)
    newest = list(checkpoints.values())[-1]
    state = json.loads((newest / "trainer_state.json").read_text(encoding="utf-8"))
    state["log_history"] = [_untimed(entry) for entry in state["log_history"]]
    state["best_model_checkpoint"] = Path(state["best_model_checkpoint"]).name
    log = [json.loads(line) for line in (run.output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    metrics = json.loads((run.output / "training_metrics.json").read_text(encoding="utf-8"))
    record = json.loads((run.output / "run.json").read_text(encoding="utf-8"))
    predictions = sorted((run.output / "predictions").glob("*")) if run.kind == "mt5" else []
    return {
        "weights": file_hash(run.model),
        "defects": {path.name: defect_of(path) for path in checkpoints.values()},
        "checkpoints": {path.name: file_hash(path / "model.safetensors") for path in checkpoints.values()},
        "resumable": {name: file_hash(newest / name) for name in ("optimizer.pt", "scheduler.pt")},
        "state": _untimed(state),
        "log": [_untimed(entry) for entry in log if "train_loss" not in entry],
        "metrics": _untimed(metrics),
        "status": (record["status"], record["global_step"], record["best_step"], record["best_metric"]),
        "predictions": {path.name: path.read_text(encoding="utf-8") for path in predictions},
        "left": sorted(path.name for path in run.output.iterdir() if path.name.startswith((".", "broken"))),
    }
