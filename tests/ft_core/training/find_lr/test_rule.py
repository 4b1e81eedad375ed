"""Which rates are tried and which is chosen, on synthetic curves."""

import itertools
import math

import pytest

from ft_core.training.find_lr.rule import (
    best_rate,
    ceiling,
    changes,
    first_rates,
    has_diverged,
    ladder,
    next_rate,
    range_rates,
    smoothed,
)

BEFORE = [1.0, 1.2, 0.9, 1.1] * 10


@pytest.mark.parametrize(
    ("rate", "steps", "expected"),
    [(1e-3, 0, 1e-3), (2.9e-3, 0, 1e-3), (3e-3, 0, 3e-3), (9.9e-3, 0, 3e-3), (1e-3, 1, 3e-3), (1e-3, -1, 3e-4),
     (3e-5, 3, 1e-3), (0.5, 2, 3.0), (1e-6, -2, 1e-7)],
)  # fmt: skip
def test_rates_are_one_or_three_times_a_power_of_ten(rate, steps, expected):
    assert ladder(rate, steps) == expected


def test_rates_of_a_range_test_grow_by_one_factor():
    rates = range_rates(7)
    assert rates[0] == pytest.approx(1e-6)
    assert rates[-1] == pytest.approx(1.0)
    assert all(after / before == pytest.approx(10) for before, after in itertools.pairwise(rates))


def test_smoothing_keeps_a_constant_and_has_no_bias_at_the_start():
    assert smoothed([2.0] * 5) == pytest.approx([2.0] * 5)
    assert smoothed([1.0, 2.0])[1] == pytest.approx((0.7 * 0.3 * 1 + 0.3 * 2) / (1 - 0.7**2))


def test_differences_between_batches_do_not_move_the_ceiling():
    rates = range_rates(len(BEFORE))
    gain = [-rate if rate < 1e-2 else rate for rate in rates]  # far less than batches differ
    losses = [loss + one for loss, one in zip(BEFORE, gain, strict=True)]
    assert 1e-3 < ceiling(rates, losses, BEFORE) < 1e-2
    assert changes([1.1, float("nan")], BEFORE) == pytest.approx([0.1])


def test_a_range_test_ends_when_the_loss_rises_far_or_is_not_finite():
    assert not has_diverged([], BEFORE)
    assert not has_diverged([1.0, 1.2, 1.3], BEFORE)
    assert has_diverged([1.0, 1.2, 1.9], BEFORE)
    assert has_diverged([1.0, math.inf], BEFORE)
    assert has_diverged([math.nan], BEFORE)


def test_the_loss_of_a_tokenizer_may_be_negative():
    assert not has_diverged([-0.1, 0.1], [-0.1, 0.1] * 5)
    assert has_diverged([-0.1, 0.6], [-0.1, 0.1] * 5)


def test_neighbours_of_the_ceiling_are_tried_first():
    assert first_rates(2.7e-3) == [1e-2, 3e-3, 1e-3, 3e-4, 1e-4]
    assert first_rates(0.4) == [1.0, 0.3, 0.1, 0.03]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({1e-2: 3, 3e-3: 2, 1e-3: 1, 3e-4: 2}, None),  # a worse rate on either side
        ({1e-2: 3, 3e-3: 2, 1e-3: 1}, 3e-4),  # the best is the lowest
        ({1e-2: 1, 3e-3: 2, 1e-3: 3}, 3e-2),  # the best is the highest
        ({1e-2: math.inf, 3e-3: math.inf, 1e-3: math.inf}, 3e-4),  # all diverged
        ({1.0: 1, 0.3: 2}, None),  # no rate above 1
    ],
)
def test_the_search_goes_on_while_the_best_is_at_an_end(scores, expected):
    assert next_rate(scores, start=4) == expected


def test_a_second_minimum_is_found_among_the_first_rates():
    scores = {1e-2: 0.065, 3e-3: 0.067, 1e-3: 0.079, 3e-4: 0.088, 1e-4: 0.087}
    assert best_rate(scores, start=0.0925) == 1e-2


def test_the_search_ends_after_nine_rates():
    assert next_rate({ladder(1.0, -step): float(-step) for step in range(9)}, start=1) is None
    assert next_rate({ladder(1.0, -step): float(-step) for step in range(8)}, start=1) == 1e-4


def test_of_rates_that_gain_nearly_the_same_the_highest_is_chosen():
    scores = {1e-4: 1.8, 1e-3: 1.0, 3e-3: 1.04, 1e-2: 1.06}
    assert best_rate(scores, start=2.0) == 3e-3
    assert best_rate({**scores, 1e-2: math.inf}, start=2.0) == 3e-3


@pytest.mark.parametrize(
    ("score", "expected"),
    [(1.0, 3e-3), (1.19, 3e-3), (1.21, 1e-3), (math.inf, 1e-3)],
    ids=["as good", "81 % of the gain", "79 %", "diverged"],
)
def test_a_higher_rate_of_the_recipe_is_chosen_if_its_trial_is_nearly_the_best(score, expected):
    scores = {1e-4: 1.8, 1e-3: 1.0, 3e-3: score, 1e-2: 1.01}
    assert best_rate(scores, start=2.0, recipe=3e-3) == expected


def test_a_lower_rate_of_the_recipe_is_not_chosen():
    assert best_rate({3e-3: 1.01, 1e-2: 1.0, 3e-2: 1.3}, start=2.0, recipe=3e-3) == 1e-2


def test_a_rate_of_the_recipe_that_was_not_tried_is_not_chosen():
    scores = {1e-3: 1.8, 1e-2: 1.0, 3e-2: 1.01}
    assert best_rate(scores, start=2.0, recipe=2e-2) == 1e-2
    assert best_rate(scores, start=0.5, recipe=3e-2) == 1e-2  # no rate improves


def test_the_lowest_of_equals_is_chosen_when_no_rate_improves():
    assert best_rate({1e-3: 1.0, 1e-4: 1.0, 1e-2: 2.0}, start=0.5) == 1e-4
    assert best_rate({1e-3: 1.2, 1e-4: 1.1, 1e-2: 2.0}, start=1.0) == 1e-4
    assert best_rate({1e-3: math.inf, 1e-4: math.inf}, start=1.0) == 1e-4
