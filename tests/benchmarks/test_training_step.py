"""Losses of two tokenizers are compared exactly up to the first step whose codes differ."""

import math

import pytest
import torch

from benchmarks.training_step import agree, steps_with_equal_codes


class Measured:
    def __init__(self, losses, codes):
        self.losses, self.codes = losses, [torch.tensor(bits, dtype=torch.bool) for bits in codes]


SAME = [[1, 0, 1]] * 4
FLIPPED = [[1, 0, 1], [1, 0, 1], [1, 1, 1], [1, 0, 1]]


def test_steps_before_a_flipped_bit_are_counted():
    assert steps_with_equal_codes(Measured([], SAME).codes, Measured([], SAME).codes) == 4
    assert steps_with_equal_codes(Measured([], SAME).codes, Measured([], FLIPPED).codes) == 2


NOTE = "losses equal to 1e-05 compared over {} of 4 steps: a code bit differs in step {}; from there to 0.02"


@pytest.mark.parametrize(
    ("losses", "codes", "expected", "note"),
    [
        ([1, 2, 3, 4], SAME, True, ""),
        ([1, 2, 3, 4.001], SAME, False, ""),
        ([1, 2, 3.001, 4.01], FLIPPED, True, NOTE.format(2, 3)),
        ([1, 2, 3, 4.1], FLIPPED, False, NOTE.format(2, 3)),
        ([1, 2.001, 3, 4], FLIPPED, False, NOTE.format(2, 3)),
        ([1, 2, 3, math.nan], FLIPPED, False, NOTE.format(2, 3)),
        ([1.001, 2, 3, 4], [[0, 0, 1], *SAME[1:]], True, NOTE.format(0, 1)),
    ],
)
def test_losses_are_compared_exactly_up_to_a_flipped_bit(losses, codes, expected, note):
    correct, found, details = agree(Measured([1, 2, 3, 4], SAME), Measured(losses, codes), most=1e-5)
    assert (correct, found) == (expected, note)
    assert len(details["loss_differences"]) == 4
