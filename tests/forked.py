"""Processes forked from a server that has everything imported: they begin at once instead of after ten seconds.

What needs a new interpreter (what a command imports, say) is no matter for these.
"""

import atexit
import contextlib
import gc
import multiprocessing
import os
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from torch.distributed import TCPStore
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from tests.short_runs import shorten_runs

PRELOADED = ["kronos_ft.runs.both", "mt5_ft.runs.run", "mt5_ft.runs.finish", "tests.fault_runs"]
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(PRELOADED)


def program(name: str, words: list[str]) -> int:
    """What `python -m NAME WORDS` does."""
    from kronos_ft.cli.main import main as kronos
    from mt5_ft.cli.main import main as mt5

    return {"kronos_ft": kronos, "mt5_ft": mt5}[name]([str(word) for word in words])


def is_imported(name: str) -> bool:
    """Whether importing what is preloaded, the trainers among it, imports a module."""
    return name in sys.modules


def script(path: Path, words: list[str]) -> None:
    """What `python PATH WORDS` does."""
    sys.argv = [str(path), *(str(word) for word in words)]
    runpy.run_path(str(path), run_name="__main__")


def _leave(code: int) -> None:
    """Ends this process as an interpreter does at its end; multiprocessing runs no exit functions."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _child(text: Path, environment: dict[str, str], group: bool, function: Callable, arguments: tuple) -> None:
    handle = os.open(text, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.environ.update(environment)
    gc.freeze()  # what is imported stays
    shorten_runs(pytest.MonkeyPatch())
    if group:
        os.setsid()
    try:
        code = function(*arguments) or 0
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        traceback.print_exc()
        code = 1
    _leave(code)


class Forked:
    """A process that calls a function of a module and ends with what it returns; `text` is the file of its output.

    Args:
        text (`Path`): takes what it writes.
        function (`Callable`): is found by its name in its module.
        arguments: of the function.
        environment (`dict`, *optional*): variables that are set first.
        group (`bool`): whether it leads a process group of its own.
    """

    def __init__(self, text: Path, function: Callable, *arguments, environment=None, group: bool = False):
        self._text = text
        words = (text, environment or {}, group, function, arguments)
        self.process = context.Process(target=_child, args=words)
        self.process.start()
        self.pid = self.process.pid

    def text(self) -> str:
        """What it has written so far."""
        with contextlib.suppress(FileNotFoundError):
            return self._text.read_text(encoding="utf-8", errors="replace")
        return ""

    def wait_until(self, reached: Callable[[], bool], seconds: float = 120.0) -> None:
        """Waits until something holds; the process must not end before."""
        until = time.monotonic() + seconds
        while not reached():
            if not self.process.is_alive() or time.monotonic() > until:
                self.kill()
                raise AssertionError(self.text()[-3000:])
            time.sleep(0.01)

    def wait_until_stopped(self) -> None:
        """Waits until SIGSTOP has reached it."""
        self.wait_until(lambda: psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        if self.process.is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it by SIGKILL."""
        self.signal(signal.SIGKILL)
        self.process.join()

    def end(self, seconds: float = 240.0) -> int:
        """Waits for its end; its exit code (negative: the signal)."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            raise AssertionError(f"still running after {seconds} s: {self.text()[-3000:]}")
        return self.process.exitcode


class Ranks:
    """Processes that form a group, as `torch.distributed.run --standalone` makes them; none ends the others.

    Args:
        folder (`Path`): exists; what the ranks write goes there.
        count (`int`): how many.
        function (`Callable`): what each of them calls.
        arguments: of the function.
        environment (`dict`, *optional*): variables of them all.
    """

    def __init__(self, folder: Path, count: int, function: Callable, *arguments, environment=None):
        self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        together = {
            **(environment or {}),
            **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self._store.port), "TORCHELASTIC_RUN_ID": "tests"},
            **{"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"},
            **{"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "GROUP_RANK": "0"},
        }
        self.ranks = [
            Forked(
                folder / f"rank-{rank}.text",
                function,
                *arguments,
                environment=together | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(count)
        ]

    def text(self) -> str:
        """What they have written so far."""
        return "\n".join(rank.text() for rank in self.ranks)

    def end(self, seconds: float = 240.0) -> list[int]:
        """Waits for all of them; the exit codes."""
        try:
            return [rank.end(seconds) for rank in self.ranks]
        finally:
            for rank in self.ranks:
                rank.kill()  # those that waited in vain for another


def run_ranks(folder: Path, count: int, function: Callable, *arguments, environment=None) -> None:
    """Runs a function in so many processes that form a group, to their end."""
    ranks = Ranks(folder, count, function, *arguments, environment=environment)
    assert ranks.end() == [0] * count, ranks.text()[-6000:]


def _rank(function: Callable, arguments: tuple) -> None:
    _leave(function(*arguments) or 0)


def torchrun(count: int, function: Callable, *arguments) -> None:
    """What `torchrun --standalone` does: its agent runs in this process, and ends the other ranks when one has ended.

    Raises:
        ChildFailedError: a rank has failed.
    """
    config = LaunchConfig(
        1, 1, count, run_id="tests", rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0,
        start_method="fork",
    )  # fmt: skip
    elastic_launch(config, _rank)(function, arguments)
