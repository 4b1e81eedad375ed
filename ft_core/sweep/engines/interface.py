"""What the engines of a search share: the command line that workers plan from, lost workers, signals.

An engine is a context manager. It takes a [`SweepPlan`] and a [`SweepCommand`], and yields a function that runs the
trials of a study until the requested number is reached.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from optuna.study import Study

from ...io.console import echo
from ..plan import SweepPlan, parse_sweep
from ..stage import MakeStage

MOST_STARTS = 3  # consecutive workers that end before they claim a trial


@dataclass(frozen=True)
class SweepCommand:
    """A command line, from which other processes make the same plan.

    Attributes:
        make_stage: describes the runs; importable by name.
        argv: the command line.
        program (`str`): name for messages.
    """

    make_stage: MakeStage
    argv: Sequence[str]
    program: str

    def plan(self) -> SweepPlan:
        """The plan of the search; see [`parse_sweep`]."""
        return parse_sweep(self.make_stage(), list(self.argv), self.program)


RunTrials = Callable[[Study], None]
Engine = Callable[[SweepPlan, SweepCommand], AbstractContextManager[RunTrials]]


class LostWorkers:
    """Decides what happens after a worker was lost: it is replaced, unless several in a row had no trial.

    Args:
        output (`str`): where the output of workers is, for the message.
    """

    def __init__(self, output: str):
        self._output = output
        self._in_vain = 0

    def add(self, how: str, had_trial: bool) -> None:
        """Adds a worker that is to be replaced.

        Args:
            how (`str`): how it ended, such as `killed by SIGKILL`.
            had_trial (`bool`): whether it had claimed a trial.

        Raises:
            ValueError: [`MOST_STARTS`] workers in a row have ended without a trial.
        """
        self._in_vain = 0 if had_trial else self._in_vain + 1
        if self._in_vain == MOST_STARTS:
            raise ValueError(
                f"{self._in_vain} workers in a row were {how} before they started a trial; see {self._output} (a "
                "device or memory problem?), then use --resume, perhaps with fewer --workers"
            )
        remedy = "resumes its trial from the last checkpoint" if had_trial else "is started"
        echo(f"worker      {how}; another worker {remedy}")


@contextlib.contextmanager
def signals_to(receive: Callable[[int], object]) -> Iterator[None]:
    """Within it, SIGTERM and Ctrl-C call a function with their number, if this is the main thread."""

    def handle(number: int, frame: object) -> None:
        receive(number)

    before: dict[int, Callable | int | None] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
