"""The search space, from YAML: a list of choices, or a range with `low`, `high` and optional `log` or `step`.

learning_rate: {low: 1e-5, high: 1e-3, log: true}
weight_decay: [0.0, 0.05, 0.1]
augment_noise: [true, false]
per_device_train_batch_size: {low: 16, high: 64, step: 16}
"""

import argparse
import difflib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import optuna

from ..cli.option_table import options_of
from ..cli.options import KINDS
from ..cli.settings import nearest_name
from ..io.formats import read_yaml

RANGE_KEYS = ("low", "high", "log", "step")
MERGE_KEY = "<<"  # of YAML: the names of the mapping that follows count as written here
MOST_POINTS = 10_000
Value = bool | int | float | str


@dataclass(frozen=True)
class Dimension:
    """One setting of the space: `choices`, or a range from `low` to `high`, both included.

    Attributes:
        name (`str`): of the setting.
        place (`str`): `FILE:LINE`, for messages.
    """

    name: str
    place: str
    choices: tuple[Value, ...] = ()
    low: float | int = 0
    high: float | int = 0
    log: bool = False
    step: float | int | None = None

    @property
    def extremes(self) -> tuple[Value, ...]:
        """Values whose use tells whether the setting takes them: all choices, or both ends."""
        return self.choices or (self.low, self.high)

    def values(self) -> tuple[float | int, ...]:
        """All values of a range with a step, each as one would write it: 0.3, where sums give 0.30000000000000004."""
        steps = round((self.high - self.low) / self.step)
        if isinstance(self.low, int):
            return tuple(self.low + number * self.step for number in range(steps + 1))
        low, step = Decimal(repr(self.low)), Decimal(repr(self.step))  # exact sums of what was written
        return tuple(min(float(low + number * step), self.high) for number in range(steps + 1))

    def suggest(self, trial: optuna.Trial) -> Value:
        """The value of a trial; proposed when it has none yet."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if isinstance(self.low, int):
            return trial.suggest_int(self.name, self.low, self.high, step=self.step or 1, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    def __str__(self) -> str:
        if self.choices:
            return f"{self.name} {' | '.join(str(choice) for choice in self.choices)}"
        how = " log" if self.log else f" by {self.step:g}" if self.step else ""
        return f"{self.name} {self.low:g} to {self.high:g}{how}"

    def written(self) -> object:
        """As in YAML, for the record."""
        if self.choices:
            return list(self.choices)
        found = {"low": self.low, "high": self.high}
        return found | ({"log": True} if self.log else {}) | ({"step": self.step} if self.step else {})


def read_space(path: Path, types: Sequence[type], fixed: Mapping[str, str]) -> tuple[Dimension, ...]:
    """The space of a YAML file, each value of its setting's type.

    Args:
        path: the file.
        types: the dataclasses of a run.
        fixed: settings that a search may not change, each with the reason and the remedy.

    Raises:
        ValueError: one line with file, line and setting: an unknown setting, a value that is none of its type, a range
            that is none, a setting that would make trials incomparable.
    """
    if not path.is_file():
        fault = "is a folder" if path.is_dir() else "does not exist"
        raise ValueError(f"space={path} {fault}; pass a YAML file of settings to search over")
    values, lines = read_yaml(path, "space file")
    if not values:
        raise ValueError(f"space={path} is empty; write e.g. `learning_rate: {{low: 1e-5, high: 1e-3, log: true}}`")
    single = [option for option in options_of(types) if option.nargs != "+"]
    parsers = {option.name: float if option.kind == "rate" else KINDS.get(option.kind, str) for option in single}
    found = []
    for name, written in values.items():
        place = f"{path}:{lines.get(name) or lines.get(MERGE_KEY, 1)}"
        if name in fixed:
            raise ValueError(f"{place}: {name} cannot be searched over: {fixed[name]}")
        if name not in parsers:
            raise ValueError(
                f"{place}: {name!r:.100} is not a setting to search over; {nearest_name(name, list(parsers))}"
            )
        found.append(_dimension(name, place, written, parsers[name]))
    return tuple(found)


def _dimension(name: str, place: str, written: object, parse: Callable[[str], object]) -> Dimension:
    if isinstance(written, list):
        choices = tuple(_parsed(f"{place}: {name}", value, parse) for value in written)
        if not choices:
            raise ValueError(f"{place}: {name} is an empty list; write at least one value")
        if len({(type(choice), choice) for choice in choices}) < len(choices):
            raise ValueError(f"{place}: {name} lists a value twice; keep one of them")
        return Dimension(name, place, choices)
    if isinstance(written, dict):
        return _range(name, place, written, parse)
    raise ValueError(
        f"{place}: {name}={written!r:.100} is neither a list nor a range; write e.g. [1, 2] or {{low: 1, high: 2}}, "
        "and pass settings that are the same in all trials on the command line"
    )


def _range(name: str, place: str, written: dict, parse: Callable[[str], object]) -> Dimension:
    for key in written:
        if key not in RANGE_KEYS:
            close = difflib.get_close_matches(str(key), RANGE_KEYS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"use {', '.join(RANGE_KEYS)}"
            raise ValueError(f"{place}: {name} has {key!r:.100}, which is not a key of a range; {hint}")
    if "low" not in written or "high" not in written:
        raise ValueError(f"{place}: {name} is a range without low or high; write both")
    if parse not in (int, float):
        raise ValueError(f"{place}: {name} is not a number and cannot have a range; write a list of choices")
    low, high = (_parsed(f"{place}: {name}.{key}", written[key], parse) for key in ("low", "high"))
    step = _parsed(f"{place}: {name}.step", written["step"], parse) if "step" in written else None
    log = written.get("log", False)
    if not isinstance(log, bool):
        raise ValueError(f"{place}: {name}.log={log!r} is neither true nor false; write one of them")
    if not low < high:
        raise ValueError(f"{place}: {name} has low={low} and high={high}; low must be below high")
    if log and low <= 0:
        raise ValueError(f"{place}: {name} has log and low={low}; a logarithmic range starts above 0")
    if log and step is not None:
        raise ValueError(f"{place}: {name} has log and step; choose one")
    if step is not None:
        steps = (high - low) / step if step > 0 else math.nan
        if not abs(steps - round(steps if steps == steps else 0)) < 1e-9:
            raise ValueError(
                f"{place}: {name} has step={step}, which does not divide the range from {low} to {high}; correct it"
            )
    return Dimension(name, place, (), low, high, log, step)


def _parsed(place: str, value: object, parse: Callable[[str], object]) -> Value:
    """A value of the setting's type; raises ValueError that says where and why not."""
    if value is None or isinstance(value, list | dict):
        raise ValueError(f"{place}={value!r:.100} is not a single value; write numbers, words, true or false")
    try:
        parsed = parse(str(value).lower() if isinstance(value, bool) else str(value))
    except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
        kind = getattr(parse, "__name__", "")
        why = (
            f"is not of type {kind}"
            if kind in ("int", "float")
            else f"is refused ({' '.join(str(error).split()):.200})"
        )
        raise ValueError(f"{place}={value!r:.100} {why}; correct it") from error
    if isinstance(parsed, float) and not math.isfinite(parsed):
        raise ValueError(f"{place}={value!r} is not finite; correct it")
    return parsed


def grid_points(space: Sequence[Dimension]) -> list[dict[str, Value]]:
    """Every combination of choices, the last setting changing fastest; a range with a step counts as its values.

    Raises:
        ValueError: a range without a step, or a grid too large to be meant.
    """
    sides = []
    for dimension in space:
        if dimension.choices:
            sides.append(dimension.choices)
        elif dimension.step is not None:
            sides.append(dimension.values())
        else:
            raise ValueError(
                f"{dimension.place}: {dimension.name} is a range without step, and a grid needs choices; write a list, "
                "or use --method tpe"
            )
    number = math.prod(len(side) for side in sides)
    if number > MOST_POINTS:
        raise ValueError(f"the grid has {number:,} points, more than {MOST_POINTS:,}; use --method tpe or fewer values")
    names = [dimension.name for dimension in space]
    return [dict(zip(names, point, strict=True)) for point in itertools.product(*sides)]
