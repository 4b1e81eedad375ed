"""Hints at the name that was probably meant, and at the commands that have an option which another one lacks."""

import difflib
import json
from collections.abc import Iterable
from functools import lru_cache
from importlib import resources

from .foreign_names import foreign_hint

NEAR = 0.7  # similarity above which a name is probably a misspelling of another one
PREFIX = 3  # letters of an abbreviation
TABLE_FILE = "options.json"  # of a package: the options of its commands with settings
MOST_COMMANDS = 4


def _plain(name: str) -> str:
    return name.lstrip("-").replace("-", "_").lower()


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that an unknown one abbreviates or misspells; None if none is really near.

    Args:
        name (`str`): the unknown name, with or without dashes at its start.
        known: the names that are taken, returned as they are written.
    """
    by_plain = {_plain(one): one for one in reversed([*known]) if _plain(one)}
    plain = _plain(name)
    longer = [one for one in by_plain if one.startswith(plain)] if len(plain) >= PREFIX else []
    found = sorted(longer, key=len)[:1] or difflib.get_close_matches(plain, by_plain, n=1, cutoff=NEAR)
    return by_plain[found[0]] if found else None


@lru_cache(maxsize=4)
def _table(package: str) -> dict[str, set[str]]:
    """The names of the settings of each command, joint ones first; empty for a program without a table."""
    try:
        text = resources.files(f"{package}.cli").joinpath(TABLE_FILE).read_text(encoding="utf-8")
    except (ImportError, OSError):
        return {}
    table = json.loads(text)
    single = {
        name: {one if isinstance(one, str) else one["name"] for one in options}
        for name, options in table["commands"].items()
    }
    return {name: set().union(*(single[one] for one in others)) for name, others in table["joint"].items()} | single


def commands_with(program: str, name: str) -> list[str]:
    """The commands of the same program that have a setting.

    Args:
        program (`str`): the program and the command that lacks it, such as `mt5-ft demo`.
        name (`str`): the setting, with or without dashes at its start.
    """
    program, _, command = program.partition(" ")
    table = _table(program.replace("-", "_")) if program else {}
    return [one for one, names in table.items() if _plain(name) in names and one != command and " " not in one]


def hint(name: str, known: Iterable[str], program: str, otherwise: str) -> str:
    """What to write instead of an unknown option or setting.

    Args:
        name (`str`): the unknown name.
        known: the names that are taken.
        program (`str`): the program and its command.
        otherwise (`str`): said if nothing is known of the name.
    """
    known = [*known]
    if foreign := foreign_hint(_plain(name), [one.lstrip("-") for one in known]):
        return foreign
    if near := nearest(name, known):
        return f"did you mean {near}?"
    commands = commands_with(program, name)[:MOST_COMMANDS]
    if commands:
        return f"{program.partition(' ')[0]} {', '.join(commands)} {'has' if len(commands) == 1 else 'have'} it"
    return otherwise
