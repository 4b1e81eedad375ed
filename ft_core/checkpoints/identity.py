"""The id of a run, which stands in its record and in the manifest of each of its checkpoints. Imports nothing heavy.

A run that replaces another has another id: no checkpoint of the replaced run is ever resumed.
"""

import uuid
from pathlib import Path
from typing import NotRequired, TypedDict

from ..io.formats import read_json

RUN_FILE = "run.json"
RESTORE = "restore it or start over with --overwrite"
MANIFEST_ID = "run"  # in a manifest; `id` in the record of the run


class _Identified(TypedDict):
    id: NotRequired[str | None]
    status: NotRequired[str]


def new_id() -> str:
    """An id for a new run; the random numbers of training are not touched."""
    return uuid.uuid4().hex


def identity_of(run: Path) -> _Identified:
    """Id and status in the record of a run; records of earlier versions have no id.

    Raises:
        ValueError: the record is missing or cannot be read.
    """
    return read_json(run / RUN_FILE, RESTORE, _Identified)


def recorded_id(run: Path) -> str | None:
    """The id of a recorded run; None for a run of an earlier version.

    Raises:
        ValueError: as [`identity_of`].
    """
    return identity_of(run).get("id")
