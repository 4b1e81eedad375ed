"""Options of settings dataclasses, and tables of options that commands read instead of the dataclasses.

    python -m ft_core.cli.option_table kronos_ft mt5_ft

writes `options.json` of each package; a test compares the files with the dataclasses.
"""

import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import lru_cache
from importlib import import_module, resources
from pathlib import Path

from .learning_rates import LEARNING_RATE
from .nearest import TABLE_FILE
from .options import Option, Unconverted

REPORT_TO = "report_to"
_NAMES = {int: "int", float: "float", str: "str", Path: "path"}


def own_names(types: Sequence[type]) -> list[str]:
    """Names of the settings that this library declares, in order; the others come from transformers."""
    found: dict[str, None] = {}
    for kind in types:
        for base in kind.__mro__:
            if not base.__module__.startswith("transformers"):
                found |= dict.fromkeys(inspect.get_annotations(base))
    return list(found)


@lru_cache(maxsize=16)
def _actions(types: tuple[type, ...]) -> tuple:
    from transformers import HfArgumentParser  # a second or more

    return tuple(HfArgumentParser(types, add_help=False)._actions)


def _plain(value: object) -> object:
    """A default as JSON holds it."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = getattr(value, "value", value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


@lru_cache(maxsize=16)
def _options(types: tuple[type, ...]) -> tuple[Option, ...]:
    own, actions = set(own_names(types)), _actions(types)
    twins = {action.dest for action in actions if action.const is False}
    found = []
    for action in actions:
        if action.const is False:
            continue
        is_bool = getattr(action.type, "__name__", "") == "string_to_bool"
        kind = "bool" if is_bool else "str" if action.choices else _NAMES.get(action.type, "other")
        if action.dest == LEARNING_RATE:
            kind = "rate"
        found.append(
            Option(
                name=action.dest,
                kind=kind,
                help=(action.help or "").strip(),
                default=_plain(action.default),
                nargs="+" if action.dest == REPORT_TO else action.nargs,  # a text or a list of them
                const=action.const,
                choices=tuple(_plain(list(action.choices))) if action.choices else None,
                own=action.dest in own,
                has_twin=action.dest in twins,
                metavar=action.metavar,
            )
        )
    return tuple(found)


def options_of(types: Sequence[type]) -> tuple[Option, ...]:
    """The options of settings dataclasses, as `HfArgumentParser` reads them."""
    return _options(tuple(types))


def convert_others(types: Sequence[type], given: Mapping[str, object]) -> dict[str, object]:
    """Values whose [`Unconverted`] words are converted by the types of their fields."""
    converters = {action.dest: action.type for action in _actions(tuple(types))}
    found = dict(given)
    for name, value in given.items():
        if isinstance(value, Unconverted):
            found[name] = converters[name](value)
        elif isinstance(value, list) and any(isinstance(one, Unconverted) for one in value):
            found[name] = [converters[name](one) for one in value]
    return found


def read_table(package: str, command: str) -> tuple[Option, ...]:
    """The options of a command from the table of a package, without importing its dataclasses."""
    table = json.loads(resources.files(f"{package}.cli").joinpath(TABLE_FILE).read_text(encoding="utf-8"))
    shared = table["shared"]
    return tuple(
        Option(**{**values, "choices": tuple(values["choices"]) if values.get("choices") else None})
        for values in (shared[one] if isinstance(one, str) else one for one in table["commands"][command])
    )


def make_table(
    commands: Mapping[str, Sequence[type]], joint: Mapping[str, Sequence[str]] | None = None
) -> dict[str, object]:
    """The table of a package's commands; an option that several have alike is written once, under its name.

    Args:
        commands: settings dataclasses of each command.
        joint (*optional*): commands that take the settings of several others, and these.
    """
    default = {field.name: field.default for field in fields(Option)}
    written = {
        command: [
            {key: value for key, value in asdict(option).items() if key == "name" or value != default[key]}
            for option in options_of(types)
        ]
        for command, types in commands.items()
    }
    every = [json.dumps(option, sort_keys=True) for options in written.values() for option in options]
    shared: dict[str, dict] = {}
    for options in written.values():
        for option in options:
            if every.count(json.dumps(option, sort_keys=True)) > 1:
                shared.setdefault(option["name"], option)
    return {
        "shared": shared,
        "commands": {
            command: [one["name"] if shared.get(one["name"]) == one else one for one in options]
            for command, options in written.items()
        },
        "joint": {command: [*others] for command, others in (joint or {}).items()},
    }


def main(packages: Sequence[str]) -> None:
    """Writes the table of each package."""
    for package in packages:
        module = import_module(f"{package}.cli.tables")
        path = Path(module.__file__).with_name(TABLE_FILE)
        table = json.loads(json.dumps(make_table(module.COMMANDS, module.JOINT)))
        path.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
