"""Machine faults that end a run. The error message names the newest checkpoint and how to continue."""

import traceback
from pathlib import Path

from ..checkpoints.listing import find_newest_complete
from ..io.files import is_full_disk


def lost_worker(error: BaseException) -> str | None:
    """A message if an error means that a data-loading worker was killed; else None.

    Usually torch raises an error that names the worker. If the worker ends while it sends a batch, the connection to
    it breaks instead.
    """
    if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid"):
        detail = " ".join(str(error).split())
    elif isinstance(error, (ConnectionError, EOFError, FileNotFoundError)) and any(
        frame.name == "_try_get_data" for frame in traceback.extract_tb(error.__traceback__)
    ):
        detail = f"{type(error).__name__} while it handed over a batch"
    else:
        return None
    return f"a data-loading worker has ended ({detail[:120]}), perhaps because memory ran out"


def environment_fault(error: BaseException, run: Path) -> str | None:
    """A message for a full disk or a killed data-loading worker, with what is left of the run; None for others."""
    worker = lost_worker(error)
    if worker is None and (isinstance(error, ValueError) or not is_full_disk(error)):
        return None
    newest, _ = find_newest_complete(run)
    left = f"{newest.name} is complete" if newest else "there is no earlier checkpoint"
    if worker is not None:
        return f"{worker}; {left}: continue with --resume, if it happens again with --dataloader_num_workers 0"
    return f"the disk of {run} is full ({error}); {left}: free some space and continue with --resume"
