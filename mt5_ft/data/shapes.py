"""Which fields of a file are source and target, where none are named: conversations, instructions, usual names.

Notable:
- Named fields (`source_fields`, `target_fields`) always win, and so do the fields of the task, if any row has one.
- `conversations.source` and `conversations.target` are read from turns: all before the last answer, and this answer.
- Two candidates for one side are refused with their names: a guess could train on the wrong text.
"""

from collections.abc import Mapping, Sequence

from .jsonl import quoted

TURNS = ("conversations", "messages")
ROLE_NAMES, TEXT_NAMES = ("from", "role"), ("value", "content")
ANSWERS = ("gpt", "assistant", "model", "bot", "chatgpt")
SOURCE, TARGET = "source", "target"
# the names that data sets of summaries on the Hub use
SOURCE_NAMES = ("text", "document", "article", "dialogue", "content", "source", "input")
TARGET_NAMES = ("summary", "highlights", "abstract", "target", "output")
INSTRUCTION, INPUT, OUTPUT = "instruction", "input", "output"


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


def find_fields(
    rows: Sequence[Mapping], need_target: bool = True
) -> tuple[tuple[str, ...], tuple[str, ...], str] | None:
    """Source and target fields that rows have, and a line that says so; None if they fit no known shape.

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
