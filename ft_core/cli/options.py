"""Options: a misspelt name is rejected, with the nearest known name."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .learning_rates import read_rate
from .nearest import hint
from .program import OneLineParser

TRUE, FALSE = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")


def _bool(word: str) -> bool:
    if word.lower() in TRUE + FALSE:
        return word.lower() in TRUE
    raise argparse.ArgumentTypeError(f"invalid value {word!r}: use true or false")


class Unconverted(str):
    """A word that the type of its dataclass field converts."""


KINDS: dict[str, Callable[[str], object]] = {
    "str": str,
    "int": int,
    "float": float,
    "rate": read_rate,
    "bool": _bool,
    "path": Path,
    "other": Unconverted,
}


@dataclass(frozen=True)
class Option:
    """A setting as the command line takes it.

    Attributes:
        name (`str`): name of the field.
        kind (`str`): of its value: str, int, float, rate (a number or auto), bool or path; `other` is left to the
            dataclass's own type.
        help (`str`): one text, with the unit.
        default: plain value that the dataclass sets.
        nargs (`str`, *optional*): `+` for a list, `?` where the value may be left out, which sets `const`.
        const: see `nargs`.
        choices (`tuple`, *optional*): the values that are allowed.
        own (`bool`): declared by this library and not by transformers.
        has_twin (`bool`): whether `--no_NAME` sets it to false.
        metavar (`str`, *optional*): what help shows in place of a value.
    """

    name: str
    kind: str = "str"
    help: str = ""
    default: object = None
    nargs: str | None = None
    const: object = None
    choices: tuple[object, ...] | None = None
    own: bool = True
    has_twin: bool = False
    metavar: str | None = None

    def flags(self, prefix: str = "") -> list[str]:
        """Spellings on the command line: `--a_b` and `--a-b`."""
        name = f"--{prefix}{self.name}"
        return list(dict.fromkeys((name, name[:2] + name[2:].replace("_", "-"))))

    def convert(self, value: object, source: str) -> object:
        """Converts a value of a preset or a YAML file to the type of the option.

        Raises:
            ValueError: a value of another type, a list where one value is taken, or none of the choices.
        """
        listed = isinstance(value, list | tuple)
        if isinstance(value, dict):
            raise ValueError(f"{source} sets {self.name} to a mapping; write it on one line as a JSON string")
        if listed and any(isinstance(item, list | tuple | dict) for item in value):
            raise ValueError(f"{source} sets {self.name} to a list of lists; write a list of plain values")
        if listed and self.nargs != "+" and len(value) != 1:
            raise ValueError(
                f"{source} sets {self.name} to {len(value)} values; write one: {value[-1]!r:.100} is not expected here"
            )
        found = [self._one(item, source) for item in (value if listed else [value])]
        return found if self.nargs == "+" else found[0]

    def _one(self, value: object, source: str) -> object:
        word = str(value).lower() if isinstance(value, bool) else str(value)
        try:
            found = KINDS[self.kind](word)
        except argparse.ArgumentTypeError as error:
            raise ValueError(f"{source}: argument --{self.name}: {error}") from None
        except ValueError:
            raise ValueError(f"{source}: argument --{self.name}: invalid {self.kind} value: {word!r:.100}") from None
        if self.choices is not None and found not in self.choices:
            known = ", ".join(map(str, self.choices))
            raise ValueError(f"{source}: argument --{self.name}: invalid choice: {word!r:.100} (choose from {known})")
        return found


class ExactParser(OneLineParser):
    """A parser that takes no abbreviations and names the option that was probably meant.

    Args:
        kwargs: as for `argparse.ArgumentParser`.
    """

    def __init__(self, **kwargs: object):
        super().__init__(**kwargs, allow_abbrev=False)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """As the parent's.

        Raises:
            ValueError: an unknown option, with the nearest known one; a word too many, a missing or a bad value.
        """
        for word in sys.argv[1:] if args is None else args:
            name = word.split("=")[0]
            if len(name) > 2 and name.startswith("--") and name not in self._option_string_actions:
                known = [one for one in self._option_string_actions if one.startswith("--")]
                raise ValueError(f"{name} is not an option; {hint(name, known, self.prog, 'see --help')}")
        return super().parse_args(args, namespace)
