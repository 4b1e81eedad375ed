"""`--learning_rate auto`: a learning rate that is found when the run starts. Imports nothing heavy."""

import argparse

AUTO = "auto"
LEARNING_RATE = "learning_rate"  # the setting that takes `auto`


class AutoRate(float):
    """A learning rate that is not found yet. Its value is the rate of the recipe, and it is printed as `auto`.

    The value gives the ratio of `muon_learning_rate` and `body_learning_rate` to the learning rate, which is kept.
    """

    def __format__(self, specification: str) -> str:
        return AUTO


def read_rate(word: str) -> float | str:
    """A learning rate of the command line: a number, or `auto`."""
    if word == AUTO:
        return AUTO
    try:
        return float(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid float value: {word!r:.100}; use a number or {AUTO}") from None
