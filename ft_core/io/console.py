"""Console output: `echo` writes to standard output, `note` to standard error, both on the main process only.

They are records of the logger `ft_core.console`, so that standard logging settings apply.
"""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .notebook import in_notebook
from .secrets import without_secrets

logger = logging.getLogger("ft_core.console")
# control characters but tab and line feed, and those that reorder the text around them
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """A text of an unknown source with its control characters escaped, so that they do nothing in a terminal."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def printable_values(value: object) -> object:
    """As [`printable`], for all texts in nested lists and dictionaries."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(name): printable_values(item) for name, item in value.items()}
    return [printable_values(item) for item in value] if isinstance(value, list) else value


def is_main_process() -> bool:
    """Whether this is the first process of a launch, also before the launch has set up its process group."""
    state = sys.modules.get("accelerate.state")
    if state is not None and state.PartialState._shared_state:
        return state.PartialState().is_main_process
    return int(os.environ.get("RANK") or 0) == 0


class _Streams(logging.Handler):
    """Writes to the current streams, which tests and notebooks replace."""

    def emit(self, record: logging.LogRecord) -> None:
        # a notebook shows standard error as errors, on red
        stream = sys.stdout if record.levelno < logging.WARNING or in_notebook() else sys.stderr
        print(without_secrets(record.getMessage()), file=stream, flush=True)


class _Receiver(logging.Handler):
    def __init__(self, receive: Callable[[str], object]):
        super().__init__()
        self._receive = receive

    def emit(self, record: logging.LogRecord) -> None:
        self._receive(record.getMessage())


logger.setLevel(logging.INFO)
logger.propagate = False
logger.addFilter(lambda record: is_main_process())
logger.addHandler(_Streams())


def echo(line: str) -> None:
    """Writes a line to standard output."""
    logger.info("%s", line)


def note(line: str) -> None:
    """Writes a progress line to standard error."""
    logger.warning("%s", line)


def shows_notes() -> bool:
    """Whether notes are written now; progress bars depend on it."""
    return logger.isEnabledFor(logging.WARNING)


@contextmanager
def lines_to(receive: Callable[[str], object]) -> Iterator[None]:
    """Within it, lines go to a function instead of the terminal."""
    before, logger.handlers = logger.handlers, [_Receiver(receive)]
    try:
        yield
    finally:
        logger.handlers = before


@contextmanager
def quiet(notes: bool = True) -> Iterator[None]:
    """Within it, no line is written; notes are, with `notes=False`."""
    before = logger.level
    logger.setLevel(logging.CRITICAL if notes else logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
