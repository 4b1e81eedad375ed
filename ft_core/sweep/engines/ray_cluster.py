"""The Ray engine: the trials run in actors on the nodes of a cluster.

Notable:
- The driver claims, ends and records all trials, so the study's file is opened only on its machine. An actor trains one
  trial at a time. After each evaluation it asks the keeper, an actor on the driver's node, whether to prune the trial.
- The trial of an actor that is lost, alone or with its node, is claimed again: same number, values and folder.
- The nodes must see the search's folder, the space and the data under the same paths.
"""

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from optuna.study import Study
from optuna.trial import Trial

from ...io.console import echo, note
from ...runs.folder import SWEEP_FILE
from ...runs.lock import is_held
from ...runs.ray_work import connected
from ...training.interruption import StoppedBySignal
from ..plan import SweepPlan
from ..study import claim_trial, open_study
from ..table import progress_line, trial_line
from ..trial import Outcome, end_trial, report_evaluation, train_trial
from .interface import LostWorkers, RunTrials, SweepCommand, signals_to

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

POLL = 1.0  # seconds between two looks whether a signal has arrived
PATIENCE = 180.0  # seconds without a running trial before a note
LOCK_SECONDS = 30.0  # seconds for which the process of a lost actor may still hold the folder of its trial


@dataclass(frozen=True)
class WorkerShare:
    """What each worker has of the cluster."""

    cpus: int
    gpus: int


def share_of_nodes(nodes: Sequence[Mapping[str, float]], workers: int) -> WorkerShare:
    """The most CPUs that each worker can have if all run at the same time; and a GPU each, if there are any.

    Args:
        nodes: the resources of each node, by Ray's names.
        workers (`int`): number of workers.

    Raises:
        ValueError: the nodes have no room for the workers.
    """
    gpus = int(any(node.get("GPU", 0) >= 1 for node in nodes))

    def room(cpus: int) -> int:
        of_each = [(int(node.get("CPU", 0) // cpus), int(node.get("GPU", 0))) for node in nodes]
        return sum(min(pair) if gpus else pair[0] for pair in of_each)

    most = max((int(node.get("CPU", 0)) for node in nodes), default=0)
    for cpus in range(most, 0, -1):
        if room(cpus) >= workers:
            return WorkerShare(cpus, gpus)
    remedy = f"use --workers {room(1)}, or add nodes" if room(1) else "start nodes with CPUs"
    raise ValueError(
        f"workers={workers} but the cluster has room for {room(1)} with a CPU{' and a GPU' * gpus} each; {remedy}"
    )


class Keeper:
    """An actor on the driver's node that records evaluations in the study.

    Args:
        folder (`str`): the driver's working directory.
        command: of the search.
    """

    def __init__(self, folder: str, command: SweepCommand):
        os.chdir(folder)
        self._study = open_study(command.plan())

    def report(self, trial_id: int, value: float, evaluation: int, may_prune: bool) -> bool:
        """See [`report_evaluation`]."""
        return report_evaluation(Trial(self._study, trial_id), value, evaluation, may_prune)


class Worker:
    """An actor that trains trials.

    Args:
        folder (`str`): the driver's working directory.
        command: of the search.
        threads (`int`): for torch.
        keeper: handle of the [`Keeper`].
    """

    def __init__(self, folder: str, command: SweepCommand, threads: int, keeper: "ActorHandle"):
        self._folder = folder
        self._command = command
        self._threads = threads
        self._keeper = keeper

    def begin(self) -> str:
        """Makes the plan; returns the name of the node.

        Raises:
            ValueError: files that this node does not see.
        """
        node = socket.gethostname()
        try:
            os.chdir(self._folder)
            self._plan = self._command.plan()
            if not (self._plan.folder / SWEEP_FILE).is_file():
                raise ValueError(f"{self._plan.folder / SWEEP_FILE} does not exist")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"engine=ray: node {node}: {error}; put the search's folder, the space and the data on storage that "
                "all nodes see under the same paths"
            ) from None
        torch.set_num_threads(self._threads)
        return node

    def train(self, number: int, trial_id: int, values: Mapping[str, object], was_lost: bool) -> Outcome:
        """Trains a trial; see [`train_trial`].

        Args:
            number (`int`): of the trial.
            trial_id (`int`): Optuna's.
            values: of the settings that are searched over.
            was_lost (`bool`): whether the trial's former actor was lost, so that its lock is void.
        """
        import ray

        _wait_until_free(self._plan.trial_folder(number))

        def report(value: float, evaluation: int, may_prune: bool) -> bool:
            return ray.get(self._keeper.report.remote(trial_id, value, evaluation, may_prune))

        return train_trial(self._plan, number, values, report, overwrite_lock=was_lost)


def _wait_until_free(folder: Path) -> None:
    """Waits while the process of a lost actor or a killed driver may still write into the folder of a trial."""
    end = time.monotonic() + LOCK_SECONDS
    while folder.is_dir() and is_held(folder) and time.monotonic() < end:
        time.sleep(0.2)


@contextmanager
def ray_engine(plan: SweepPlan, command: SweepCommand) -> Iterator[RunTrials]:
    """The engine of a cluster; see [`run_actors`].

    Raises:
        ValueError: as [`connected`] and [`share_of_nodes`].
    """
    with connected():
        import ray

        workers = min(plan.search.workers, plan.trials)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        share = share_of_nodes(nodes, workers)
        echo(
            f"cluster     {len(nodes)} node{'s' * (len(nodes) > 1)}; each worker has {share.cpus} "
            f"CPU{'s' * (share.cpus > 1)}{' and a GPU' * share.gpus}"
        )
        yield lambda study: run_actors(study, plan, command, workers, share)


def run_actors(study: Study, plan: SweepPlan, command: SweepCommand, workers: int, share: WorkerShare) -> None:
    """Runs trials in actors until the requested number is reached.

    Raises:
        ValueError: too many failures in a row, files that a node does not see, or workers that are lost one after
            another.
        StoppedBySignal: after SIGTERM or Ctrl-C; a resumed search continues the trials from their last checkpoints.
    """
    import ray

    received: list[int] = []  # an exception in a handler would not come out of ray.wait
    pool = _Pool(study, plan, command, share)
    with signals_to(received.append):
        try:
            for _ in range(workers):
                pool.start()
            while pool.waiting:
                ready, _ = ray.wait(list(pool.waiting), num_returns=1, timeout=POLL)
                if received:
                    raise StoppedBySignal(received[0])
                for result in ready:
                    pool.settle(result)
                pool.check_start()
        finally:
            pool.end()


class _Pool:
    """The actors of a search, and what each of them does."""

    def __init__(self, study: Study, plan: SweepPlan, command: SweepCommand, share: WorkerShare):
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._study = study
        self._plan = plan
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        keeper = ray.remote(Keeper).options(num_cpus=0, scheduling_strategy=here, max_restarts=-1, max_task_retries=-1)
        self._keeper = keeper.remote(os.getcwd(), command)
        worker = ray.remote(Worker).options(num_cpus=share.cpus, num_gpus=share.gpus)
        self._make_worker = lambda: worker.remote(os.getcwd(), command, share.cpus, self._keeper)
        self._workers: list[ActorHandle] = []
        self._lost = LostWorkers("the logs of Ray")
        self._lost_trials: set[int] = set()
        self._note_at: float | None = None
        self.waiting: dict[ObjectRef, tuple[ActorHandle, Trial | None]] = {}  # without a trial: it begins

    @property
    def in_work(self) -> list[int]:
        """Numbers of the trials that actors train."""
        return [trial.number for _, trial in self.waiting.values() if trial is not None]

    def start(self) -> None:
        """Starts an actor; it waits until a node has its share free."""
        worker = self._make_worker()
        self._workers.append(worker)
        self.waiting[worker.begin.remote()] = (worker, None)
        self._note_at = time.monotonic() + PATIENCE

    def check_start(self) -> None:
        """Writes a note, once, if actors have been waiting for a node while no trial runs."""
        if self._note_at is not None and not self.in_work and time.monotonic() > self._note_at:
            self._note_at = None
            note(f"no worker could start for {PATIENCE:.0f} s; 'ray status' shows who uses the nodes")

    def settle(self, result: "ObjectRef") -> None:
        """Records what an actor has returned, and gives it the next trial; or replaces it if it was lost."""
        import ray

        worker, trial = self.waiting.pop(result)
        try:
            outcome = ray.get(result)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError:
            ray.kill(worker)
            self._lost.add("lost", trial is not None)
            if trial is not None:
                self._lost_trials.add(trial.number)
            self.start()
            return
        if trial is not None:
            end_trial(self._study, self._plan, trial, outcome)
            echo(progress_line(self._study, self._plan, trial.number))
        self._give_trial(worker)

    def _give_trial(self, worker: "ActorHandle") -> None:
        import ray

        trial = claim_trial(self._study, self._plan, self.in_work)
        if trial is None:
            ray.kill(worker)
            if not self.in_work:  # the others wait for a node
                self.waiting.clear()
            return
        echo(trial_line(self._plan, trial.number, trial.params))
        was_lost = trial.number in self._lost_trials
        result = worker.train.remote(trial.number, trial._trial_id, trial.params, was_lost)
        self.waiting[result] = (worker, trial)

    def end(self) -> None:
        """Kills all actors."""
        import ray

        for actor in (*self._workers, self._keeper):
            ray.kill(actor)
