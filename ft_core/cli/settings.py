"""Settings from a preset, a YAML file and the command line, in that order of precedence, into dataclasses.

Commands read a table of options, so that `--help` and a misspelt or malformed setting are answered before torch and
transformers are imported.
"""

import argparse
import copy
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from ..io.formats import read_yaml
from .learning_rates import AUTO, LEARNING_RATE, AutoRate, WidthRate
from .nearest import hint
from .options import KINDS, Option, Unconverted

TIME_BUDGET, MAX_STEPS = "time_budget", "max_steps"


class SettingsParser(argparse.ArgumentParser):
    """A parser of options that raises one line instead of printing the usage of a hundred of them.

    Only what the command line sets is in its result.

    Args:
        options: what it takes.
        preset: values that the chosen preset sets, for the help.
        kwargs: as for `argparse.ArgumentParser`.
    """

    def __init__(self, options: Sequence[Option], preset: Mapping[str, object] | None = None, **kwargs: object):
        super().__init__(allow_abbrev=False, argument_default=argparse.SUPPRESS, **kwargs)
        self._options, self._preset = list(options), preset or {}
        for option in options:
            more = {"const": option.const} if option.nargs == "?" else {}
            self.add_argument(
                *option.flags(),
                dest=option.name,
                type=KINDS[option.kind],
                nargs=option.nargs,
                choices=option.choices,
                help=option.help,
                **more,
            )
            if option.has_twin:
                self.add_argument(*option.flags("no_"), dest=option.name, action="store_const", const=False)
        self.add_argument(
            "--config", metavar="FILE.yaml", help="YAML file with settings; the command line overrides it."
        )

    def format_help(self) -> str:
        formatter = self._get_formatter()
        formatter.add_usage(f"{self.prog} [--config FILE.yaml] [--NAME VALUE ...]", [], [])
        shown = {action.dest: action for action in reversed(self._actions)}
        own = [shown["config"], *(self._shown(shown[one.name], one) for one in self._options if one.own)]
        inherited = [self._shown(shown[one.name], one) for one in self._options if not one.own]
        for title, actions in (("settings", own), ("settings of transformers' TrainingArguments", inherited)):
            formatter.start_section(title)
            formatter.add_arguments(actions)
            formatter.end_section()
        return formatter.format_help()

    def _shown(self, action: argparse.Action, option: Option) -> argparse.Action:
        """The option as help shows it: one spelling, and the value that it has where no file or option sets it."""
        shown = copy.copy(action)
        shown.option_strings = action.option_strings[:1]
        placeholder = "true|false" if option.kind == "bool" and option.nargs == "?" else None
        placeholder = placeholder or ("NAME" if option.kind == "str" else "VALUE")
        shown.metavar = option.metavar or (None if option.choices else placeholder)
        text = option.help.strip()
        by_preset = option.name in self._preset
        value = self._preset.get(option.name, option.default)
        if value is None or value == "" or value == [] or ("default" in text.lower() and not by_preset):
            return shown
        source = f"preset {self._preset['preset']}" if by_preset else "default"
        if option.name == "preset":
            source = "default" if value == option.default else "here"
        shown.help = f"{text} ({source}: {value.description() if isinstance(value, WidthRate) else _as_text(value)})"
        return shown

    def parse(self, argv: Sequence[str]) -> dict[str, object]:
        """The settings that a command line gives, by name.

        Raises:
            ValueError: an unknown name (with the nearest), a value of the wrong type, or a word without a name.
        """
        for word in argv:  # before anything complains of what the misspelt setting should have set
            if word.startswith("--") and len(word) > 2 and word.split("=")[0] not in self._option_string_actions:
                name = word[2:].split("=")[0].replace("-", "_")
                known = [*(option.name for option in self._options), "config"]
                raise ValueError(f"--{name} is not a setting; {nearest_name(name, known, self.prog)}")
        found, rest = self.parse_known_args(argv)
        for word in rest:
            raise ValueError(f"{word!r} is not expected here; write settings as --name value")
        return vars(found)

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see --help")


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else [value]


def _as_text(value: object) -> str:
    """A setting's value as written on the command line, for help texts."""
    texts = (str(getattr(each, "value", each)) for each in _listed(value))
    return " ".join(text.lower() if text in ("True", "False") else text for text in texts).replace("%", "%%")


def field_names(types: Sequence[type]) -> list[str]:
    """Names of all settings that the dataclasses take."""
    return [field.name for kind in types for field in dataclasses.fields(kind) if field.init]


def nearest_name(name: str, known: Sequence[str], program: str = "") -> str:
    """A hint at our name for a setting of other scripts, a near name, or commands of the program that have it."""
    return hint(name, known, program, "see --help for all names")


def _from_file(path: str | None) -> dict[str, object]:
    """The settings of a `--config` file; none without one."""
    return read_yaml(Path(path), "config file")[0] if path else {}


def read_config(argv: Sequence[str]) -> tuple[str | None, dict[str, object]]:
    """The file that `--config` of a command line names, and its settings; None and no settings without one.

    Raises:
        ValueError: no value, or a file that cannot be read.
    """
    path = _take(argv, "config")
    return path, _from_file(path)


def read_argv(argv: Sequence[str]) -> dict[str, object]:
    """Settings of a command line by name, those of `--config FILE.yaml` below them, without knowing their types.

    A setting of the command line is a list of words, empty for a flag without a value.

    Raises:
        ValueError: a word that is no setting, or a YAML file that cannot be read.
    """
    found: dict[str, object] = {}
    name = None
    for word in argv:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            name = name.replace("-", "_")
            found[name] = [value] if "=" in word else []
        elif name is None:
            raise ValueError(f"{word!r} is not expected here; write settings as --name value")
        else:
            found[name].append(word)
    config = found.pop("config", None)
    if config is not None and len(config) != 1:
        raise ValueError("--config needs one value; see --help")
    return _from_file(config[0] if config else None) | found


def _converted(options: Sequence[Option], values: Mapping[str, object], source: str) -> dict[str, object]:
    """Typed values of named ones; `[]` stands for an option without a value.

    Raises:
        ValueError: an unknown name, with the nearest known one; a value of the wrong type.
    """
    known = {option.name: option for option in options}
    found = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{source} sets {name!r}, which is not a setting; {nearest_name(str(name), list(known))}")
        if value is None:
            continue
        if value == [] and known[name].nargs == "?":
            value = known[name].const
        elif value == []:
            raise ValueError(f"--{name} needs a value; see --help")
        found[name] = known[name].convert(value, source)
    return found


def read_options(
    options: Sequence[Option],
    argv: Sequence[str],
    *,
    values: Mapping[str, object] | None = None,
    presets: Mapping[str, Mapping[str, object]] | None = None,
    default_preset: str = "",
    program: str,
) -> dict[str, object]:
    """The settings that preset, YAML file and command line give, by name and typed; see [`parse_settings`].

    `--help` prints the options and exits.
    """
    chosen, argv = _take(argv, "config"), list(argv)
    from_file = _from_file(chosen)
    preset_asked = _take(argv, "preset") or (values or {}).get("preset") or from_file.get("preset")
    preset: dict[str, object] = {}
    if presets is not None:
        name = preset_asked or default_preset
        name = name[0] if isinstance(name, list) and len(name) == 1 else name
        if not isinstance(name, str) or name not in presets:
            raise ValueError(f"preset={name!r:.100} is not known; use one of {', '.join(presets)}")
        preset = {**presets[name], "preset": name}
    elif preset_asked is not None:
        raise ValueError("--preset is not a setting of this command; see --help for all names")
    parser = SettingsParser(options, preset, prog=program, formatter_class=argparse.HelpFormatter)
    given = parser.parse(argv)
    given.pop("config", None)
    found = _converted(options, preset, f"preset {preset.get('preset')}")
    found |= _converted(options, from_file, f"config file {chosen}")
    found |= _converted(options, values or {}, program)
    found |= given
    named = {**from_file, **(values or {}), **given}
    explicit = {name for name, value in named.items() if value is not None}
    if found.get(TIME_BUDGET) and MAX_STEPS not in explicit:
        found.pop(MAX_STEPS, None)  # the preset's; the budget chooses the steps
    if found.get(LEARNING_RATE) == AUTO and LEARNING_RATE in preset:
        found[LEARNING_RATE] = AutoRate(preset[LEARNING_RATE])
    elif isinstance(preset.get(LEARNING_RATE), WidthRate) and LEARNING_RATE not in explicit:
        found[LEARNING_RATE] = preset[LEARNING_RATE]
    return found


def _take(argv: Sequence[str], name: str) -> str | None:
    """The value of an option, before the others are parsed.

    Raises:
        ValueError: it has none.
    """
    found = None
    for place, word in enumerate(argv):
        if word == f"--{name}":
            if place + 1 == len(argv) or argv[place + 1].startswith("--"):
                raise ValueError(f"--{name} needs a value; see --help")
            found = argv[place + 1]
        elif word.startswith(f"--{name}="):
            found = word.partition("=")[2]
    return found


def build_settings(types: Sequence[type], given: Mapping[str, object]) -> tuple:
    """One instance of each dataclass from typed values; a name goes to each dataclass that has it.

    Raises:
        ValueError: a value that a dataclass refuses.
    """
    if any(isinstance(one, Unconverted) for value in given.values() for one in _listed(value)):
        from .option_table import convert_others

        given = convert_others(types, given)
    return tuple(kind(**{name: given[name] for name in field_names([kind]) if name in given}) for kind in types)


def parse_settings(
    types: Sequence[type],
    argv: Sequence[str] | None = None,
    *,
    values: Mapping[str, object] | None = None,
    presets: Mapping[str, Mapping[str, object]] | None = None,
    default_preset: str = "",
    program: str,
) -> tuple:
    """Parses the command line into one instance of each dataclass; with presets one of them has a field `preset`.

    `--config FILE.yaml` may set any field; the command line overrides it; both override the preset.

    Args:
        types: the dataclasses.
        argv: the command line without the program's name; `sys.argv` when not given.
        values (*optional*): further settings by name, above the YAML file and below the command line.
        presets: named values; None for a command that has none.
        default_preset: the preset when none is named.
        program: name for the help text.

    Raises:
        ValueError: unknown name (with the nearest), unknown preset, a value of the wrong type, or a value that a
            dataclass refuses.
    """
    from .option_table import options_of

    given = read_options(
        options_of(types),
        sys.argv[1:] if argv is None else argv,
        values=values,
        presets=presets,
        default_preset=default_preset,
        program=program,
    )
    return build_settings(types, given)
