"""The task of a trained model: fields, prefix and limits, stored as `task.json` next to its weights."""

from pathlib import Path

from ft_core.io.files import write_json
from ft_core.io.formats import read_json

from ..data.records import TaskFields

TASK_FILE = "task.json"
FORMS = {"source_fields": list, "target_fields": list, "id": str, "prefix": str} | {
    "max_source_length": int,
    "max_target_length": int,
}
FORM_NAMES = {list: "list of field names", str: "text", int: "whole number"}


def write_task(
    folder: Path, fields: TaskFields, *, prefix: str, max_source_length: int, max_target_length: int
) -> None:
    """Writes the task of a model folder."""
    task = {"source_fields": fields.sources, "target_fields": fields.targets, "id": fields.id, "prefix": prefix}
    limits = {"max_source_length": max_source_length, "max_target_length": max_target_length}
    write_json(folder / TASK_FILE, task | limits)


def read_task(folder: str | Path) -> dict | None:
    """The task of a `final/` folder, or None for another model.

    Raises:
        ValueError: the file is not JSON, or not a task.
    """
    path = Path(folder) / TASK_FILE
    if not path.is_file():
        return None
    task = read_json(path, "restore it or save the model again")
    for name, form in FORMS.items():
        value = task.get(name) if isinstance(task, dict) else None
        parts = value if form is list and isinstance(value, list) else [value]
        kind = str if form is list else form
        if not parts or not all(isinstance(part, kind) and not isinstance(part, bool) for part in parts):
            raise ValueError(
                f"{path} has {name}={value!r:.100}, which is not a {FORM_NAMES[form]}; restore it or save the model "
                "again"
            )
    return task
