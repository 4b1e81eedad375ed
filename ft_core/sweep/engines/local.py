"""The local engine: the trials run in this process, or in several workers with a device or a share of the cores each.

Notable:
- Workers share only the folder of the search. A worker that dies is replaced, and another one resumes its trial.
- They have their own process group, so Ctrl-C reaches only this process, which lets them save; and they end
  at once when this process ends for any reason.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import torch
from optuna.study import Study

from ...io.console import echo
from ...training.interruption import StoppedBySignal
from ..plan import SweepPlan
from ..study import TooManyFailures, check_failures, claim_trial, had_trial, open_study
from ..table import progress_line, trial_line
from ..trial import run_trial
from .interface import LostWorkers, RunTrials, SweepCommand, signals_to

DEVICES = "CUDA_VISIBLE_DEVICES"
THREADS = "OMP_NUM_THREADS"
STOP_CODE = 3  # exit code of a worker: too many failures, or an error that is not the trial's


def run_trials(study: Study, plan: SweepPlan) -> None:
    """Runs trials in this process until the requested number is reached.

    Raises:
        ValueError: too many failures in a row, or the disk is full.
        StoppedBySignal: the running trial is saved.
    """
    while (trial := claim_trial(study, plan)) is not None:
        echo(trial_line(plan, trial.number, trial.params))
        run_trial(study, plan, trial)
        echo(progress_line(study, plan, trial.number))


def device_share(worker: int, workers: int) -> dict[str, str]:
    """Environment variables that set a worker's device, or its share of the cores."""
    visible = os.environ.get(DEVICES)
    devices = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    found = {DEVICES: devices[worker % len(devices)]} if devices and torch.cuda.is_available() else {}
    # OpenMP accepts a list, one number per level of nesting; invalid values count as unset
    first = os.environ.get(THREADS, "").split(",")[0].strip()
    cores = int(first) if first.isdecimal() and int(first) else os.cpu_count() or 1
    return found | {THREADS: str(max(1, cores // workers))}


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _end_with_parent() -> None:
    def watch() -> None:
        wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def work(command: SweepCommand) -> None:
    """The main function of a worker: runs trials. Exits with [`STOP_CODE`] if the search cannot continue."""
    os.setpgrp()
    _end_with_parent()
    torch.set_num_threads(int(os.environ[THREADS]))
    try:
        plan = command.plan()
        run_trials(open_study(plan), plan)
    except TooManyFailures:
        sys.exit(STOP_CODE)  # the parent process logs the reason
    except ValueError as error:
        print(f"{command.program}: {error}", file=sys.stderr)
        sys.exit(STOP_CODE)


@contextlib.contextmanager
def local_engine(plan: SweepPlan, command: SweepCommand) -> Iterator[RunTrials]:
    """The engine of one machine; see [`run_trials`] and [`run_workers`]."""
    yield lambda study: run_workers(study, plan, command) if plan.search.workers > 1 else run_trials(study, plan)


def run_workers(study: Study, plan: SweepPlan, command: SweepCommand) -> None:
    """Runs trials in `workers` processes until the requested number is reached.

    Raises:
        ValueError: too many failures in a row, or a worker that cannot continue.
        StoppedBySignal: after SIGTERM or Ctrl-C, once every running trial is saved.
    """
    number = min(plan.search.workers, plan.trials)
    context = multiprocessing.get_context("spawn")
    lost = LostWorkers("above")

    def start(worker: int) -> BaseProcess:
        process = context.Process(target=work, args=(command,))
        with _environment(device_share(worker, number)):
            process.start()
        return process

    def stop(number: int) -> None:
        raise StoppedBySignal(number)

    with signals_to(stop):
        running = {worker: start(worker) for worker in range(number)}
        try:
            while running:
                wait([process.sentinel for process in running.values()])
                for worker, process in list(running.items()):
                    if process.is_alive():
                        continue
                    process.join()
                    del running[worker]
                    if process.exitcode == 0:
                        continue
                    if process.exitcode > 0:
                        check_failures(study, plan)
                        raise ValueError(
                            f"a worker ended with code {process.exitcode}; correct the error in the output above and "
                            "continue with --resume"
                        )
                    name = signal.Signals(-process.exitcode).name
                    lost.add(f"killed by {name}", had_trial(study, process.pid))
                    running[worker] = start(worker)
        finally:
            _end(list(running.values()))


def _end(processes: list[BaseProcess]) -> None:
    """Tells the workers to save and end, and waits; a second signal kills them."""
    for process in processes:
        process.terminate()
    try:
        for process in processes:
            process.join()
    except StoppedBySignal:
        for process in processes:
            process.kill()
        raise
