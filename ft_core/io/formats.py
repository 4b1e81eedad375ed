"""Typed readers of JSON, JSON Lines and YAML from outside, with limits on size, depth and numbers.

Notable:
- Every file that another program or person may have written is read here: run folders, model folders, locks, settings,
  the answers of the Hub. A wrong type is the same one-line error as a wrong value: file, field, expected type, remedy.
- The limits are far above what this library writes. They bound time and memory of hostile files: a YAML file of 1 KB
  can describe gigabytes by repeated aliases, and a JSON file of 1 MB brackets too deep for any recursive function.
- A key that occurs twice is refused where people write the file: the parsers would silently keep the last value.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import yaml

MOST_BYTES = 64 * 2**20
MOST_YAML_BYTES = 2**20
MOST_DEPTH = 64
MOST_DIGITS = 300  # of an integer; longer ones do not fit into a float
MOST_YAML_NODES = 100_000  # after aliases are replaced by what they stand for
MOST_SCALAR = 100_000  # characters of a value in YAML


def is_number(value: object) -> bool:
    """Whether a value is a finite number; JSON may hold NaN, and Python counts True as 1."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class _TwiceNamed(ValueError):
    """A key that occurs twice in an object."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceNamed(f"is ambiguous: key {next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"has an integer of {len(digits):,} digits, more than {MOST_DIGITS}")
    return int(digits)


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [
            one
            for each in level
            if isinstance(each, dict | list)
            for one in (each.values() if isinstance(each, dict) else each)
            if isinstance(one, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"is nested more than {MOST_DEPTH} levels deep")


def convert(value: object, kind: object) -> object:
    """A value as one of a type; fields that the type does not have are left out.

    Args:
        value: of dictionaries, lists, texts and numbers.
        kind: as [`msgspec.convert`] takes it.

    Raises:
        ValueError: it is of another type; the message names the field.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ValueError(_wrong_type(str(error))) from error


def _wrong_type(message: str) -> str:
    """A message of msgspec in the words of this library."""
    problem, _, place = message.replace("`", "").partition(" - at ")
    in_key, field = place.startswith("key in "), place.removeprefix("key in ").removeprefix("$").removeprefix(".")
    within = f" of {field}" if field else ""
    if "missing required field" in problem:
        return f"lacks the field {problem.rpartition(' ')[2]}{within}"
    what = f"an invalid {'key' if in_key else 'value'}{within}" if in_key or field else "invalid content"
    return f"has {what}: {problem[:1].lower()}{problem[1:]}"


def parse_json(text: str | bytes, kind: object = object, *, unique: bool = False) -> object:
    """A JSON text as a value of a type.

    Args:
        text (`str` or `bytes`): UTF-8. NaN and Infinity are allowed, as Python writes them.
        kind (*optional*): the expected type, as [`msgspec.convert`] takes it: `dict`, a `TypedDict`, a `Struct`, ...
        unique (`bool`): refuse a key that occurs twice in an object; otherwise the last value counts.

    Raises:
        ValueError: not UTF-8, not JSON, too deep, an integer too long, a key twice, or another type. The message is one
            line that continues the name of the source, such as `has an invalid value of pid: expected int, got str`.
    """
    try:
        value = json.loads(text, parse_int=_integer, object_pairs_hook=_unique if unique else None)
        _check_depth(value)
        return value if kind is object else convert(value, kind)
    except RecursionError:
        raise ValueError(f"is nested more than {MOST_DEPTH} levels deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start + 1})") from error


def _content(path: Path, most: int, remedy: str) -> bytes:
    try:
        size = path.stat().st_size
        if size > most:
            raise ValueError(f"{path} has {size:,} bytes, more than {most:,}; {remedy}")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist; {remedy}") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror or error}); {remedy}") from error


def read_json(
    path: Path, remedy: str, kind: object = object, *, unique: bool = False, most_bytes: int = MOST_BYTES
) -> object:
    """The content of a JSON file as a value of a type.

    Args:
        path (`Path`): the file.
        remedy (`str`): what to do about a file that cannot be used; ends the message.
        kind, unique: as for [`parse_json`].
        most_bytes (`int`): maximum size.

    Raises:
        ValueError: missing, unreadable, too large, or as [`parse_json`].
    """
    content = _content(path, most_bytes, remedy)
    try:
        return parse_json(content, kind, unique=unique)
    except ValueError as error:
        raise ValueError(f"{path} {error}; {remedy}") from error


def read_record_file(path: Path, remedy: str, kind: object) -> dict:
    """The JSON object in a file whose known fields are of a type; other fields, of later versions, are kept.

    Raises:
        ValueError: as [`read_json`].
    """
    values = read_json(path, remedy, dict)
    try:
        convert(values, kind)
    except ValueError as error:
        raise ValueError(f"{path} {error}; {remedy}") from error
    return values


def json_lines(path: Path, remedy: str, kind: object = dict) -> Iterator[tuple[int, object]]:
    """Line numbers and values of a JSON Lines file; blank lines are skipped.

    Raises:
        ValueError: as [`read_json`], with the number of the line.
    """
    for number, line in enumerate(_content(path, MOST_BYTES, remedy).splitlines(), start=1):
        if line.strip():
            try:
                yield number, parse_json(line, kind)
            except ValueError as error:
                raise ValueError(f"{path}:{number} {error}; {remedy}") from error


class _Loader(yaml.SafeLoader):
    """The safe loader, with bounded aliases and without repeated keys."""

    def __init__(self, stream: str):
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, int] = {}  # nodes below each node, aliases replaced, by its identity

    def compose_node(self, parent: yaml.Node, index: object) -> yaml.Node:
        self._depth += 1
        is_alias, mark = self.check_event(yaml.AliasEvent), self.peek_event().start_mark
        if self._depth > MOST_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested more than {MOST_DEPTH} levels deep", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if id(node) not in self._sizes:
            if is_alias:
                raise yaml.MarkedYAMLError(problem="an alias within its own anchor", problem_mark=mark)
            if isinstance(node, yaml.MappingNode):
                below = [one for pair in node.value for one in pair]
                _refuse_repeated_keys(node)
            else:
                below = node.value if isinstance(node, yaml.SequenceNode) else []
            self._sizes[id(node)] = 1 + sum(self._sizes[id(one)] for one in below)
        if self._sizes[id(node)] > MOST_YAML_NODES:
            problem = f"more than {MOST_YAML_NODES:,} values once its aliases are replaced"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
        if isinstance(node, yaml.ScalarNode) and len(node.value) > MOST_SCALAR:
            problem = f"a value of {len(node.value):,} characters, more than {MOST_SCALAR:,}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MOST_DIGITS:
            problem = f"an integer of {len(node.value):,} digits, more than {MOST_DIGITS}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _refuse_repeated_keys(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if before := lines.get(key.value):
                problem = f"{key.value} is set on line {before} already; keep one of them"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            lines[key.value] = key.start_mark.line + 1


def read_yaml(path: Path, what: str) -> tuple[dict[str, object], dict[str, int]]:
    """The settings of a YAML file, and the line of each name.

    Args:
        path (`Path`): the file.
        what (`str`): names it in messages, such as `config file`.

    Raises:
        ValueError: missing, unreadable, too large or too deep, not YAML, a name twice, or not a mapping of names.
    """
    content = _content(path, MOST_YAML_BYTES, f"pass a YAML file of settings as {what}")
    try:
        loader = _Loader(content.decode("utf-8-sig"))
        node = loader.get_single_node()
        values = None if node is None else loader.construct_document(node)
    except RecursionError as error:
        raise ValueError(f"{what} {path} is nested too deeply; write `name: value` lines") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, a date that does not exist
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else f"{what} {path}"
        problem = getattr(error, "problem", None) or " ".join(str(error).split())[:200]
        raise ValueError(f"{place} is not valid YAML ({problem}); correct it") from error
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise ValueError(f"{what} {path} holds a {type(values).__name__}; write `name: value` lines")
    for name in values:
        if not isinstance(name, str):
            raise ValueError(f"{what} {path} sets {name!r}, which is not a name; write `name: value` lines")
    return values, {key.value: key.start_mark.line + 1 for key, _ in node.value}
