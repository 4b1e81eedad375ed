"""Progress lines: completed items and remaining time. Imports nothing heavy."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .console import is_main_process
from .notebook import in_notebook, notebook_bar

if TYPE_CHECKING:
    from transformers.utils.notebook import NotebookProgressBar

LINE_SECONDS = 30.0


def span(seconds: float) -> str:
    """A readable time span: `45 s`, `3 min 20 s`, `2 h 5 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


@contextlib.contextmanager
def without_loading_bar() -> Iterator[None]:
    """Hides the bar of transformers for the weights that are loaded inside, which takes a moment only."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


class LineProgress:
    """Shows completed items and the remaining time: a bar in a notebook, one updated line on a terminal, otherwise
    separate lines.

    Only the main process of a launch shows them.

    Args:
        verb (`str`): what is done to them, such as `summarised`.
    """

    def __init__(self, verb: str):
        self.verb = verb
        self._started = self._last_line = time.monotonic()
        self._first: int | None = None
        self._bar: NotebookProgressBar | None = None

    def __call__(self, done: int, total: int) -> None:
        """Shows that `done` of `total` are done."""
        if not is_main_process():
            return
        if in_notebook():
            if self._bar is None or self._bar.total != total:
                self._bar = notebook_bar(total, self.verb)
            self._bar.update(done, force_update=done >= total)
            return
        now = time.monotonic()
        if self._first is None:
            self._first = done
        on_terminal = sys.stderr.isatty()
        if not on_terminal and now - self._last_line < LINE_SECONDS and done < total:
            return
        self._last_line = now
        rate = (done - self._first) / max(now - self._started, 1e-9)
        left = f", {span((total - done) / rate)} left" if rate > 0 and done < total else ""
        end = "\r" if on_terminal and done < total else "\n"
        sys.stderr.write(f"{self.verb} {done:,} of {total:,}{left}    {end}")
        sys.stderr.flush()
