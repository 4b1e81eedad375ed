"""From what was named to what is pushed: the model folder of a run, its record, and the base of its adapters."""

from pathlib import Path

from ..checkpoints.retention import checkpoint_step
from ..checkpoints.weights import CONFIGS
from ..runs.folder import BEST_MODEL, FINAL_MODEL, RUN_FILE
from .origin import is_hub_name


def find_folder(path: Path, kept: str) -> tuple[Path, Path | None]:
    """The model folder of a model folder or run folder, and the run that it is of, where there is one.

    Args:
        path: what was named.
        kept: name of the folder in which a finished run keeps its model.

    Raises:
        ValueError: no such folder, a run that kept no model, or a folder without a configuration.
    """
    if not path.is_dir():
        raise ValueError(f"{path} is {'a file' if path.exists() else 'not there'}; name a model folder or a run folder")
    if (path / kept).is_dir():
        return path / kept, path
    if (path / RUN_FILE).is_file():
        raise ValueError(
            f"the run in {path} has no {kept}/, so it did not finish; go on with --resume, or push a checkpoint"
        )
    if not any((path / name).is_file() for name in CONFIGS):
        raise ValueError(f"{path} is no model folder (no {' and no '.join(CONFIGS)}) and no run folder; name one")
    above = path.resolve().parent
    of_run = path.resolve().name in (BEST_MODEL, FINAL_MODEL) or checkpoint_step(path) is not None
    return path, above if of_run and (above / RUN_FILE).is_file() else None


def check_base(folder: Path, base: str, merge: str) -> str:
    """The Hub model that a folder's adapters belong to.

    Args:
        folder: holds the adapters.
        base: the model that they belong to.
        merge: how they are merged into a model of their own.

    Raises:
        ValueError: it is a folder of this machine, which nobody else has.
    """
    if not is_hub_name(base):
        raise ValueError(f"{folder} holds adapters to the local model {base}, which nobody else has; {merge}")
    return base
