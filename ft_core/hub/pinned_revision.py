"""Pins the commit of a Hub model: a run records it, and a resumed run uses the same commit.

A branch can move; the starting weights of a run must not change.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from accelerate.utils import broadcast_object_list

from ..runs.folder import RUN_FILE
from ..runs.processes import process_group
from ..runs.record import read_record
from .origin import HubOrigin

T = TypeVar("T")


def recorded_commit(run: Path, model: str | None, asked: str | None, prefix: str = "") -> str | None:
    """The recorded commit of a model that is requested again; None if it is unknown or another model.

    Args:
        run (`Path`): its folder.
        model (`str`, *optional*): name of the model, as asked for.
        asked (`str`, *optional*): the revision asked for.
        prefix (`str`): of the recorded names, such as `tokenizer_`.

    Raises:
        ValueError: a record that cannot be read.
    """
    if not (run / RUN_FILE).is_file():
        return None
    known = read_record(run).get("model")
    if not isinstance(known, dict) or not known.get(f"{prefix}repository"):
        return None
    if known.get(prefix.rstrip("_") or "model") != model or known.get(f"{prefix}revision_asked") != asked:
        return None
    return known.get(f"{prefix}revision")


def pin(
    settings: T, name: str | None, find: Callable[[str | None], HubOrigin | None], run: Path | None, prefix: str = ""
) -> T:
    """A copy of model settings whose revision is the hash of a commit, the same in all processes of a run.

    `PREFIXrevision` becomes the commit, `PREFIXrevision_asked` keeps what was asked for, and `PREFIXrepository` names
    the repository; they stay None for a folder that is not of the Hub.

    Args:
        settings: has those fields.
        name (`str`, *optional*): the model as the settings name it.
        find: gives the origin of a model at a revision.
        run (`Path`, *optional*): a run that is resumed, whose recorded commit is taken.
        prefix (`str`): of the fields, such as `tokenizer_`.

    Raises:
        ValueError: no such model or revision.
    """
    asked = getattr(settings, f"{prefix}revision")
    known = recorded_commit(run, name, asked, prefix) if run is not None else None
    origin = find(known or asked)
    if process_group().num_processes > 1:  # a branch may have moved on between two of them
        origin = broadcast_object_list([origin])[0]
    pinned = copy.copy(settings)
    setattr(pinned, f"{prefix}revision_asked", asked)
    setattr(pinned, f"{prefix}revision", origin.commit if origin else asked)
    setattr(pinned, f"{prefix}repository", origin.repository if origin else None)
    return pinned
