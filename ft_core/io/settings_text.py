"""The short text of settings: their class and what differs from the defaults."""

from dataclasses import MISSING, fields
from enum import Enum

MOST_SHOWN = 8  # fields
LONGEST_VALUE = 40  # characters


def _default_of(field: object) -> object:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def value_text(value: object) -> str:
    """A value as in a call, cut after 40 characters."""
    text = repr(value.value if isinstance(value, Enum) else value)
    if "\n" in text:
        return f"<{type(value).__name__}>"  # a table
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def settings_text(settings: object) -> str:
    """`Name(field=value, ...)` with the first fields of a dataclass that differ from their defaults.

    It takes the place of the `__repr__` of classes with many fields.
    """
    changed = []
    for field in fields(settings):
        value, default = getattr(settings, field.name), _default_of(field)
        if value is default or (type(value) is type(default) and value == default):
            continue
        changed.append(f"{field.name}={value_text(value)}")
    more = len(changed) - MOST_SHOWN
    shown = changed[:MOST_SHOWN] + ([f"and {more} more"] if more > 0 else [])
    return f"{type(settings).__name__}({', '.join(shown)})"
