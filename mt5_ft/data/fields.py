"""The fields of a task, and which fields of a file they are: those named, conversations, instructions, usual names.

Notable:
- Named fields (`source_fields`, `target_fields`) always win, and so do the fields of the task, if any row has one.
- `conversations.source` and `conversations.target` are read from turns: all before the last answer, and this answer.
- Two candidates for one side are refused with their names: a guess could train on the wrong text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ft_core.cli.nearest import nearest

from .jsonl import quoted

TURNS = ("conversations", "messages")
ROLE_NAMES, TEXT_NAMES = ("from", "role"), ("value", "content")
ANSWERS = ("gpt", "assistant", "model", "bot", "chatgpt")
SIDES = SOURCE, TARGET = "source", "target"
# the names that data sets of summaries on the Hub use
SOURCE_NAMES = ("text", "document", "article", "dialogue", "content", "source", "input")
TARGET_NAMES = ("summary", "highlights", "abstract", "target", "output")
INSTRUCTION, INPUT, OUTPUT = "instruction", "input", "output"
DEFAULT_ID = "id"
NO_ID = "none"  # as the name of the id field: records are numbered
MISSING = object()


@dataclass(frozen=True)
class TaskFields:
    """The source and target fields of a task.

    Args:
        sources (`tuple[str, ...]`): fields of the source text, joined by newlines in this order.
        targets (`tuple[str, ...]`): fields of the target text; several fields are joined under headings.
        id (`str`): field that identifies a row; `none` numbers the rows. In a file without the field `id`, the line
            number is the id.

    Raises:
        ValueError: no field, a plain string, or a field named twice.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    id: str = DEFAULT_ID

    def __post_init__(self) -> None:
        for name in ("sources", "targets"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ValueError(f"{name}={value!r} is a string; pass a tuple of field names, ({value!r},)")
            if not value:
                raise ValueError(f"{name}={value!r} is empty; name at least one field")
        names = [*self.sources, *self.targets, self.id]
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise ValueError(f"field {twice[0]!r} is named twice; use each field only once, as id, source or target")


EMOTION_SUMMARY = TaskFields(
    sources=("case_description", "consultation_process"), targets=("experience_and_reflection",)
)
FIVE_ASPECTS = TaskFields(
    sources=("case_description", "consultation_process", "experience_and_reflection"),
    targets=("causes", "symptoms", "treatment_process", "characteristics_of_illness", "treatment_effect"),
)
TASKS = {"emotion_summary": EMOTION_SUMMARY, "five_aspects": FIVE_ASPECTS}


def named_fields(
    task: str, sources: Sequence[str] | None, targets: Sequence[str] | None, id_field: str | None = None
) -> TaskFields:
    """The fields of a task, or the given source and target fields; `id_field` replaces the field `id`.

    Raises:
        ValueError: an unknown task, or only one of sources and targets.
    """
    if bool(sources) != bool(targets):
        raise ValueError("source_fields and target_fields belong together; set both or neither")
    if not sources and task not in TASKS:
        raise ValueError(f"task={task!r} is not known; use one of {', '.join(TASKS)}, or name the fields")
    fields = TaskFields(tuple(sources), tuple(targets)) if sources else TASKS[task]
    return replace(fields, id=id_field) if id_field else fields


def _turn(value: object) -> tuple[str, str] | None:
    """Role and text of a turn, or None."""
    if not isinstance(value, Mapping):
        return None
    role = next((value[name] for name in ROLE_NAMES if isinstance(value.get(name), str)), None)
    text = next((value[name] for name in TEXT_NAMES if isinstance(value.get(name), str)), None)
    return None if role is None or text is None else (role.lower(), text)


def text_of_turns(turns: object, side: str) -> list[str] | None:
    """The source or the target of a conversation, as lines.

    Args:
        turns: list of objects with `from` and `value`, or `role` and `content`.
        side (`str`): `source` for all turns before the last answer, or all turns without an answer; `target` for the
            last answer.

    Returns:
        `list[str]`, or None if there is no such text, or a turn that cannot be read.
    """
    if side not in (SOURCE, TARGET) or not isinstance(turns, Sequence) or isinstance(turns, str):
        return None
    read = [_turn(one) for one in turns]
    if not read or None in read:
        return None
    last = next((place for place in reversed(range(len(read))) if read[place][0] in ANSWERS), None)
    if side == TARGET:
        return None if last is None else [read[last][1]]
    return [text for _, text in read[:last]] or None


def lookup(row: dict, name: str) -> object:
    """The value of a field, `MISSING` if there is none.

    `a.b` is also the field `b` of an object `a`, and the source or the target of a list `a` of turns
    ([`text_of_turns`]).
    """
    if name in row:
        return row[name]
    value: object = row
    for part in name.split("."):
        if isinstance(value, list):
            turns = text_of_turns(value, part)
            return MISSING if turns is None else turns
        if not isinstance(value, dict) or part not in value:
            return MISSING
        value = value[part]
    return value


def find_fields(
    rows: Sequence[Mapping], need_target: bool = True
) -> tuple[tuple[str, ...], tuple[str, ...], str] | None:
    """The source and target fields of rows, and a line for the user that names them; None for an unknown shape.

    Args:
        rows (`Sequence[Mapping]`): rows of a file.
        need_target (`bool`): False for rows to summarise, which may lack a target.

    Raises:
        ValueError: two fields that could be the source, or the target.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    sources: dict[str, tuple[str, ...]] = {}
    targets: dict[str, tuple[str, ...]] = {}
    kinds = set()
    for name in TURNS:
        if name in names and any(text_of_turns(row.get(name), SOURCE) for row in rows):
            sources[name], targets[name] = (f"{name}.{SOURCE}",), (f"{name}.{TARGET}",)
            kinds.add("conversations (all turns before the last answer; the last answer)")
    is_instruction = INSTRUCTION in names and (OUTPUT in names or not need_target)
    if is_instruction:
        sources[INSTRUCTION] = (INSTRUCTION, INPUT) if INPUT in names else (INSTRUCTION,)
        kinds.add("instructions")
    taken = {INSTRUCTION, INPUT, OUTPUT} if is_instruction else set()
    if is_instruction and OUTPUT in names:
        targets[OUTPUT] = (OUTPUT,)
    if not kinds:  # columns beside conversations or instructions, such as the whole prompt, are no second source
        sources |= {name: (name,) for name in SOURCE_NAMES if name in names and name not in taken}
    targets |= {name: (name,) for name in TARGET_NAMES if name in names and name not in taken}
    if not sources or (need_target and not targets):
        return None
    for side, found in (("source", sources), ("target", targets)):
        if len(found) > 1 and (need_target or side == "source"):
            raise ValueError(f"{quoted(found)} could each be the {side}; name one with --{side}_fields")
    source = next(iter(sources.values()))
    target = next(iter(targets.values())) if len(targets) == 1 else (TARGET,)
    kind = f" of {kinds.pop()}" if kinds else ""
    line = (
        f"fields{kind}: source <- {', '.join(source)}; target <- {', '.join(target)} (--source_fields and "
        "--target_fields override them)"
    )
    return source, target, line


def _fitting_fields(path: Path, rows: list[dict], fields: TaskFields, need_target: bool) -> tuple[TaskFields, str]:
    """The fields of a task. If no row has them: the fields found in the rows, and a line for the user that names them.

    Raises:
        ValueError: two fields that could be the source, or the target.
    """
    names = (*fields.sources, *fields.targets)
    is_task = any((fields.sources, fields.targets) == (task.sources, task.targets) for task in TASKS.values())
    if not is_task or any(lookup(row, name) is not MISSING for row in rows for name in names):
        return fields, ""
    try:
        found = find_fields(rows, need_target)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if found is None:
        return fields, ""
    sources, targets, remark = found
    return replace(fields, sources=sources, targets=targets), remark


@dataclass(frozen=True)
class Settled:
    """The fields of a file, a line for the user if they were found in the rows, and whether any row has an id."""

    fields: TaskFields
    remark: str
    has_id: bool


class Witnesses:
    """The rows that decide the fields of a file: the first row, and the first with each field that could be read.

    Attributes:
        rows (`list[dict]`): these rows.
        names (`dict[str, None]`): the fields of all rows.
    """

    def __init__(self, path: Path, fields: TaskFields, need_target: bool):
        self.path, self.fields, self.need_target = path, fields, need_target
        self.rows: list[dict] = []
        self.names: dict[str, None] = {}
        named = {*fields.sources, *fields.targets, fields.id}
        self.missing = {*named, *TURNS, INSTRUCTION, INPUT, OUTPUT, *SOURCE_NAMES, *TARGET_NAMES}
        inner = {name for name in named if "." in name} | {f"{turns}.{side}" for turns in TURNS for side in SIDES}
        self.missing_inner = {name: name.split(".")[0] for name in inner}

    def add(self, row: object) -> bool:
        """Whether a row is a witness."""
        if not isinstance(row, dict):
            return False
        if not self.names.keys() >= row.keys():
            self.names |= dict.fromkeys(row)
        inner = self.missing_inner.items()
        found = [name for name, top in inner if top in row and lookup({top: row[top]}, name) is not MISSING]
        if self.rows and not found and self.missing.isdisjoint(row):
            return False
        self.rows.append(row)
        self.missing.difference_update(row)
        for name in found:
            del self.missing_inner[name]
        return True

    def settled(self) -> Settled | None:
        """What [`settle`] returns; None if it raises."""
        try:
            return self.settle()
        except ValueError:
            return None

    def settle(self) -> Settled:
        """The fields to read.

        Raises:
            ValueError: two fields that could be the source, or the target; or fields that no row has.
        """
        fields, remark = _fitting_fields(self.path, self.rows, self.fields, self.need_target)
        self._check_names(fields)
        has_id = fields.id != NO_ID and any(lookup(row, fields.id) is not MISSING for row in self.rows)
        return Settled(fields, remark, has_id)

    def _check_names(self, fields: TaskFields) -> None:
        wanted = {"sources": fields.sources, "targets": fields.targets if self.need_target else ()}
        wanted["id"] = () if fields.id in (DEFAULT_ID, NO_ID) else (fields.id,)
        for role, names in wanted.items():
            unknown = [name for name in names if all(lookup(row, name) is MISSING for row in self.rows)]
            if self.rows and unknown:
                near = nearest(unknown[0], self.names)
                meant = f"did you mean {quoted([near])}? " if near else ""
                setting = "id_field" if role == "id" else f"{role[:-1]}_fields"
                have = (
                    f"set {setting} to existing fields: {quoted(self.names)}"
                    if self.names
                    else "its rows have no fields"
                )
                raise ValueError(f"{self.path}: no row of the file has {role} {quoted(unknown)}; {meant}{have}")
