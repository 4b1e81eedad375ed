"""A kind of run for tests of the search itself: its objective is a formula, its checkpoints are empty folders.

It trains in four evaluations, goes on from its newest checkpoint, and calls callbacks as a Trainer does.
"""

import json
import math
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from ft_core.sweep.stage import COMMON_FIXED, SweepStage
from ft_core.training.interruption import StoppedBySignal

EVALUATIONS = 4


class Died(BaseException):
    """Stands for the end of the process, in the midst of a run."""


@dataclass
class ToyArguments:
    preset: str = "plain"
    learning_rate: float = 1e-2
    weight_decay: float = 0.0
    layers: int = 2
    noise: bool = False
    kind: str = "a"
    model: str = "tiny"
    tokenizer: str | None = None
    seed: int = 42
    data_seed: int | None = None
    output_dir: str = "runs/toy"
    resume: bool = False
    overwrite: bool = False
    overwrite_lock: bool = False
    resume_force: bool = False
    dry_run: bool = False
    metric_for_best_model: str | None = "eval_loss"
    greater_is_better: bool = False
    eval_strategy: str = "steps"
    hub_token: str | None = None
    push_to_hub: bool = False
    shares: list[float] = field(default_factory=lambda: [0.5, 0.5])
    die_at: str = field(default="", metadata={"help": "FILE: while it exists, it says how and where to end."})

    def __post_init__(self):
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate={self.learning_rate} is not positive; use e.g. 1e-4")


def loss_of(args, evaluation):
    """Falls with each evaluation to the square of the rate's distance from 1e-3, in decades, and the decay."""
    away = (math.log10(args.learning_rate) + 3) ** 2 + args.weight_decay
    return away + (EVALUATIONS - evaluation) * 0.1 + 0.001 * (args.seed - 42)


def _end(args, evaluation):
    """What the file says: `HOW NUMBER EVALUATION`, done once for each line."""
    path = Path(args.die_at)
    if not args.die_at or not path.is_file():
        return
    how, number, at = path.read_text().splitlines()[0].split()
    if Path(args.output_dir).name != number or int(at) != evaluation:
        return
    rest = path.read_text().splitlines()[1:]
    path.write_text("\n".join(rest)) if rest else path.unlink()
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise {"die": Died, "stop": lambda: StoppedBySignal(signal.SIGTERM)}[how]()


def run_toy(settings, callbacks):
    (args,) = settings
    folder = Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if args.kind == "broken":
        raise ValueError("kind=broken cannot be trained; choose a or b")
    if args.kind == "memory":
        raise RuntimeError("CUDA out of memory")
    done = max((int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*")), default=0)
    history = [{"step": step, "eval_loss": loss_of(args, step)} for step in range(1, done + 1)]
    for evaluation in range(done + 1, EVALUATIONS + 1):
        with open(folder / "steps.txt", "a") as file:
            file.write(f"{evaluation}\n")
        _end(args, evaluation)
        value = math.nan if args.kind == "nan" else loss_of(args, evaluation)
        history.append({"step": evaluation, "eval_loss": value})
        state = SimpleNamespace(log_history=history, global_step=evaluation, max_steps=EVALUATIONS)
        for callback in callbacks:
            callback.on_evaluate(args, state, None)
        (folder / f"checkpoint-{evaluation}").mkdir()
    lines = [json.dumps({k: v if v == v else None for k, v in entry.items()}) for entry in history]
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    best = None if args.kind == "nan" else min(entry["eval_loss"] for entry in history)
    record = {"status": "finished", "seconds": 0, "started": "", "best_step": 4, "world_size": 1, "arguments": {}}
    (folder / "run.json").write_text(json.dumps({**record, "best_metric": best}))
    (folder / "model").mkdir(exist_ok=True)


def toy_stage():
    return SweepStage(
        command="toy train",
        types=(ToyArguments,),
        presets={"plain": {}, "strong": {"weight_decay": 0.5}},
        default_preset="plain",
        fixed=COMMON_FIXED | {"shares": "all trials must use the same data"},
        model_folder="model",
        run=run_toy,
        check=lambda settings: "data-1",
    )
