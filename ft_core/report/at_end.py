"""The report that a run writes of itself when it has ended."""

from importlib import import_module
from pathlib import Path

from transformers.utils import logging

from .wording import default_language

logger = logging.get_logger(__name__)


def report_at_end(run: Path, views: str) -> None:
    """Writes the report of a run that has just ended; one that cannot be written never fails the run.

    Args:
        run: its folder.
        views: the module that knows its kind of run, as `VIEWS`; it imports trainers, which write reports.
    """
    try:
        from .write import write_report

        write_report(run, import_module(views).VIEWS, default_language())
    except Exception as error:  # whatever it is, the run itself is whole
        words = " ".join(str(error).split())
        logger.warning(f"no report of {run} was written ({type(error).__name__}: {words}); the run is whole")
