"""Learning rates that are settled when the run starts: `auto`, and those of a preset. Imports nothing heavy."""

import argparse

AUTO = "auto"
LEARNING_RATE = "learning_rate"  # the setting that takes `auto`
REFERENCE_WIDTH = 32  # of the models that the presets' rates were searched with


class AutoRate(float):
    """A learning rate that is not found yet. Its value is the rate of the recipe, and it is printed as `auto`.

    The value gives the ratio of `muon_learning_rate` and `body_learning_rate` to the learning rate, which is kept.
    """

    def __format__(self, specification: str) -> str:
        return AUTO


class WidthRate(float):
    """A preset's learning rate for a model of width `REFERENCE_WIDTH`; [`~WidthRate.at`] scales it to another one."""

    def description(self) -> str:
        """The rate with the width that it is for."""
        return f"{self:g} at width {REFERENCE_WIDTH}"

    def at(self, width: int) -> float:
        """The rate of a model of this width (`d_model`), to three digits: `rate * REFERENCE_WIDTH / width`.

        As for the matrices of hidden layers in maximal update parametrization (https://arxiv.org/abs/2203.03466).
        """
        return float(f"{self * REFERENCE_WIDTH / width:.3g}")


def read_rate(word: str) -> float | str:
    """A learning rate of the command line: a number, or `auto`."""
    if word == AUTO:
        return AUTO
    try:
        return float(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid float value: {word!r:.100}; use a number or {AUTO}") from None
