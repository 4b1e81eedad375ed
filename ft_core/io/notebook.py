"""Notebooks: whether this process is the kernel of one, and progress bars in it. Imports nothing heavy."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers.utils.notebook import NotebookProgressBar, NotebookTrainingTracker


def in_notebook() -> bool:
    """Whether this process is a Jupyter kernel, whose cells show HTML and figures."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and "IPKernelApp" in shell.config


@contextmanager
def without_text_bars() -> Iterator[None]:
    """Hides the bars of `datasets` where they would be lines of text: in a notebook without the package ipywidgets."""
    import datasets

    hides = in_notebook() and find_spec("ipywidgets") is None and not datasets.utils.are_progress_bars_disabled()
    if hides:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if hides:
            datasets.enable_progress_bars()


def notebook_bar(total: int, prefix: str = "") -> "NotebookProgressBar":
    """A progress bar below the current cell: HTML, without the package ipywidgets."""
    from transformers.utils.notebook import NotebookProgressBar

    return NotebookProgressBar(total, prefix)


def notebook_table(total: int) -> "NotebookTrainingTracker":
    """A progress bar with a table below it, to which `write_line` adds a row."""
    from transformers.utils.notebook import NotebookTrainingTracker

    return NotebookTrainingTracker(total)
