"""The toy stage with a trial that waits after its second evaluation while a file is there; notes where trials run.

Started as a program, it is a search's driver in a process of its own: `python -m tests.ray.held_stage OPTIONS`.
"""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from transformers import TrainerCallback

from ft_core.sweep.search import run_sweep
from tests.sweep_stage import run_toy, toy_stage

HELD_AT, MOST_SECONDS = 2, 300
PLACES, HOLD = "places.txt", "hold"


class Hold(TrainerCallback):
    """Notes node and process of a trial beside the folder of the search, and waits while `hold` is there."""

    def __init__(self, trial: Path):
        self.trial = trial
        self.beside = trial.parents[2]

    def on_evaluate(self, args, state, control, **kwargs):
        if state.global_step != HELD_AT:
            return
        import ray

        with open(self.beside / PLACES, "a") as file:
            file.write(f"{int(self.trial.name)} {ray.get_runtime_context().get_node_id()} {os.getpid()}\n")
        end = time.monotonic() + MOST_SECONDS
        while (self.beside / HOLD).exists() and time.monotonic() < end:
            time.sleep(0.05)


def run_held(settings, callbacks):
    run_toy(settings, [*callbacks, Hold(Path(settings[0].output_dir))])


def held_stage():
    return replace(toy_stage(), run=run_held)


def crashing_stage():
    """A stage that ends a worker before it has a trial; the driver and the keeper make it as usual."""
    import ray

    if ray.is_initialized() and ray.get_runtime_context().get_assigned_resources().get("CPU"):
        os.kill(os.getpid(), signal.SIGKILL)
    return toy_stage()


if __name__ == "__main__":
    from tests.ray import held_stage as module  # by its name, which actors can import

    run_sweep(module.held_stage, sys.argv[1:], "toy sweep")
