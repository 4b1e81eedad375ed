"""Settings from a preset, a YAML file and the command line, in that order of precedence, into dataclasses.

Every source is turned into command-line words and parsed once by `HfArgumentParser`, so that types, choices and
messages are the same wherever a value comes from.
"""

import argparse
import copy
import dataclasses
import difflib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import yaml
from transformers import HfArgumentParser

MOST_YAML_BYTES = 2**20


class _Parser(HfArgumentParser):
    """A parser that raises one line instead of printing the usage of a hundred options, and helps with its own first.

    Args:
        types: the dataclasses.
        preset: values that the chosen preset sets, for the help.
        kwargs: as for `argparse.ArgumentParser`.
    """

    def __init__(self, types: Sequence[type], preset: Mapping[str, object] | None = None, **kwargs: object):
        super().__init__(types, **kwargs)
        self._own, self._preset = own_names(types), preset or {}

    def format_help(self) -> str:
        formatter = self._get_formatter()
        formatter.add_usage(f"{self.prog} [--config FILE.yaml] [--NAME VALUE ...]", [], [])
        own = [action for name in ("config", *self._own) for action in self._actions if action.dest == name]
        inherited = [action for action in self._actions if action not in own and action.dest != "help"]
        for title, actions in (("settings", own), ("settings of transformers' TrainingArguments", inherited)):
            formatter.start_section(title)
            # the twins --no_NAME would tell the opposite of what their text says
            formatter.add_arguments([self._told(action) for action in actions if action.const is not False])
            formatter.end_section()
        return formatter.format_help()

    def _told(self, action: argparse.Action) -> argparse.Action:
        """The option as the help shows it: one spelling, and the value that it has where no file or option sets it."""
        told = copy.copy(action)
        told.option_strings = action.option_strings[:1]
        told.metavar = action.metavar or (
            None
            if action.choices
            else "true|false"
            if action.nargs == "?"
            else "NAME"
            if action.type is str
            else "VALUE"
        )
        text = (action.help or "").strip()
        by_preset = action.dest in self._preset
        value = self._preset.get(action.dest, action.default)
        if value is None or value == "" or value == [] or ("default" in text.lower() and not by_preset):
            return told
        source = f"preset {self._preset['preset']}" if by_preset else "default"
        if action.dest == "preset":
            source = "default" if value == action.default else "here"
        told.help = f"{text} ({source}: {_as_text(value)})"
        return told

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see --help")


def _as_text(value: object) -> str:
    """A setting's value as one writes it, in a help text."""
    listed = value if isinstance(value, list | tuple) else [value]
    texts = (str(getattr(each, "value", each)) for each in listed)
    return " ".join(text.lower() if text in ("True", "False") else text for text in texts).replace("%", "%%")


def field_names(types: Sequence[type]) -> list[str]:
    """Names of all settings that the dataclasses take."""
    return [field.name for kind in types for field in dataclasses.fields(kind) if field.init]


def own_names(types: Sequence[type]) -> list[str]:
    """Names of the settings that this library declares, in order; the others come from transformers."""
    found: dict[str, None] = {}
    for kind in types:
        for base in kind.__mro__:
            if not base.__module__.startswith("transformers"):
                found |= dict.fromkeys(inspect.get_annotations(base))
    return list(found)


def nearest_name(name: str, known: Sequence[str]) -> str:
    """A hint at the known name closest to a misspelt one, or where to find them all."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else "see --help for all names"


def read_yaml(path: Path) -> dict:
    """Settings of a YAML file, by the safe loader.

    Raises:
        ValueError: missing, unreadable or huge file, bad YAML, or something other than a mapping of names.
    """
    if path.is_file() and path.stat().st_size > MOST_YAML_BYTES:
        size = f"{path.stat().st_size:,} bytes, more than {MOST_YAML_BYTES:,}"
        raise ValueError(f"config file {path} has {size}; pass a file of settings")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"config file {path} cannot be read ({error.strerror}); correct the path") from error
    except RecursionError as error:
        raise ValueError(f"config file {path} is nested too deep; write `name: value` lines") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, a date or a number that is none
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ValueError(f"{place} is not valid YAML ({getattr(error, 'problem', error)}); correct it") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"config file {path} holds a {type(values).__name__}; write `name: value` lines")
    for name in values:
        if not isinstance(name, str):
            raise ValueError(f"config file {path} sets {name!r}, which is no name; write `name: value` lines")
    return values


def as_words(values: Mapping[str, object], known: Sequence[str], source: str) -> list[str]:
    """Command-line words for named values.

    Raises:
        ValueError: an unknown name; the message has the nearest known one.
    """
    words = []
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{source} sets {name!r}, which is not a setting; {nearest_name(str(name), known)}")
        if isinstance(value, list | tuple):
            if any(
                isinstance(item, list | tuple | dict) for item in value
            ):  # written out, aliases would fill the memory
                raise ValueError(f"{source} gives {name} a list of lists; write a list of plain values")
            words += [f"--{name}", *(str(item) for item in value)]
        elif isinstance(value, dict):
            raise ValueError(f"{source} gives {name} a mapping; write it on one line as a JSON string")
        elif value is not None:
            words.append(f"--{name}={str(value).lower() if isinstance(value, bool) else value}")
    return words


def read_words(words: Sequence[str]) -> dict[str, object]:
    """Settings of a command line by name, those of `--config FILE.yaml` below them.

    Raises:
        ValueError: a word that is no setting, or a YAML file that cannot be read.
    """
    found: dict[str, object] = {}
    name = None
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            name = name.replace("-", "_")
            found[name] = [value] if "=" in word else []
        elif name is None:
            raise ValueError(f"{word!r} is not expected here; settings are written --name value")
        else:
            found[name].append(word)
    config = found.pop("config", None)
    if config is not None and len(config) != 1:
        raise ValueError("--config needs one value; see --help")
    return (read_yaml(Path(config[0])) if config else {}) | found


def value_parsers(types: Sequence[type]) -> dict[str, Callable[[str], object]]:
    """What makes the value of each setting out of a word, by the setting's type; those that take a list are left out.

    Such a function raises ValueError, TypeError or `argparse.ArgumentTypeError` for a word that is no such value.
    """
    actions = _Parser(types, prog="", add_help=False)._option_string_actions
    names = field_names(types)
    single = {name: action for name in names if (action := actions[f"--{name}"]).nargs in (None, "?")}
    return {name: action.type or str for name, action in single.items()}


def _preset_values(
    chosen: str | None,
    from_file: dict,
    presets: Mapping[str, Mapping[str, object]] | None,
    default_preset: str,
) -> dict[str, object]:
    """What the preset sets that the command line or the file names, and its name; takes that from the file's values."""
    if presets is None:
        if chosen is not None:
            raise ValueError("--preset is not a setting of this command; see --help for all names")
        return {}
    preset = chosen or from_file.get("preset", default_preset)
    from_file.pop("preset", None)
    if preset not in presets:
        raise ValueError(f"preset={preset!r} is not known; use one of {', '.join(presets)}")
    return {**presets[preset], "preset": preset}


def parse_settings(
    types: Sequence[type],
    words: Sequence[str] | None = None,
    *,
    presets: Mapping[str, Mapping[str, object]] | None = None,
    default_preset: str = "",
    program: str,
) -> tuple:
    """Parses the command line into one instance of each dataclass; with presets one of them has a field `preset`.

    `--config FILE.yaml` may set any field; the command line overrides it; both override the preset.

    Args:
        types: the dataclasses.
        words: the command line without the program's name; `sys.argv` when not given.
        presets: named values; None for a command that has none.
        default_preset: the preset when none is named.
        program: name for the help text.

    Raises:
        ValueError: unknown name (with the nearest), unknown preset, a value of the wrong type, or a value that a
            dataclass refuses.
    """
    words = list(sys.argv[1:] if words is None else words)
    known = field_names(types)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config")
    first.add_argument("--preset")
    try:
        chosen, words = first.parse_known_args(words)
    except SystemExit as error:
        raise ValueError("--config and --preset need a value each; see --help") from error
    from_file = read_yaml(Path(chosen.config)) if chosen.config else {}
    preset = _preset_values(chosen.preset, from_file, presets, default_preset)

    parser = _Parser(types, preset, prog=program, allow_abbrev=False, formatter_class=argparse.HelpFormatter)
    parser.add_argument("--config", metavar="FILE.yaml", help="YAML file of settings; the command line overrides it.")
    sources = [
        *as_words(preset, known, f"preset {preset.get('preset')}"),
        *as_words(from_file, known, f"config file {chosen.config}"),
    ]
    for word in words:  # before any dataclass complains of what the misspelt setting should have set
        if word.startswith("--") and word.split("=")[0] not in parser._option_string_actions:
            name = word[2:].split("=")[0].replace("-", "_")
            raise ValueError(f"--{name} is not a setting; {nearest_name(name, [*known, 'config'])}")
    *parsed, _, rest = parser.parse_args_into_dataclasses(
        [*sources, *words], return_remaining_strings=True, look_for_args_file=False
    )
    for word in rest:
        raise ValueError(f"{word!r} is not expected here; settings are written --name value")
    return tuple(parsed)
