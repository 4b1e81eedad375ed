"""What a trained model was trained on: fields, prefix and limits, kept as `task.json` beside its weights."""

import json
from pathlib import Path

from ft_core.files import write_json

from ..data.records import TaskFields

TASK_FILE = "task.json"


def write_task(
    folder: Path, fields: TaskFields, *, prefix: str, max_source_length: int, max_target_length: int
) -> None:
    """Writes the task of a model folder."""
    task = {"source_fields": fields.sources, "target_fields": fields.targets, "id": fields.id, "prefix": prefix}
    limits = {"max_source_length": max_source_length, "max_target_length": max_target_length}
    write_json(folder / TASK_FILE, task | limits)


def read_task(folder: str | Path) -> dict | None:
    """The task that a `final/` folder was trained on, or None for another model.

    Raises:
        ValueError: a file that is not JSON.
    """
    path = Path(folder) / TASK_FILE
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not readable JSON ({error}); restore it or save the model again") from error
