"""Which checkpoints are kept, by brute force, and that no interruption changes it."""

import math

import pytest
from hypothesis import given, strategies as st

from ft_core.checkpoints.retention import steps_to_keep
from tests.examples import examples

# few values, so that ties are frequent
VALUES = st.sampled_from([0.1, 0.2, 0.3, 0.3, -1.0, math.nan, math.inf, -math.inf])
HISTORIES = st.dictionaries(st.integers(1, 30), VALUES, min_size=1, max_size=12).map(
    lambda one: dict(sorted(one.items()))
)


def beats(metric, one, other, greater):
    """Whether one step ranks before another: a better value, or the same one earlier."""
    a, b = metric[one], metric[other]
    return (a > b if greater else a < b) or (a == b and one < other)


def kept_by_hand(steps, metric, keep_best, greater):
    """Steps with a value that fewer than `keep_best` others beat, and the last."""
    ranked = [step for step in steps if not math.isnan(metric.get(step, math.nan))]
    best = {step for step in ranked if sum(beats(metric, other, step, greater) for other in ranked) < keep_best}
    return best | {max(steps)}


@examples(200)
@given(HISTORIES, st.integers(1, 5), st.booleans(), st.sets(st.integers(1, 30)), st.randoms(use_true_random=False))
def test_the_best_are_kept_whatever_ties_nan_and_gaps(metric, keep_best, greater, unmeasured, random):
    steps = [*metric, *(unmeasured - set(metric))]
    random.shuffle(steps)
    kept = steps_to_keep(steps, metric, keep_best, greater)
    assert kept == kept_by_hand(steps, metric, keep_best, greater)
    assert len(kept) <= keep_best + 1
    assert steps_to_keep([], metric, keep_best, greater) == set()


def save_at(step, on_disk, history, values, keep_best, greater):
    """One evaluation and save: the folder as it is afterwards."""
    history[step] = values[step]
    return steps_to_keep([*on_disk, step], history, keep_best, greater)


@pytest.mark.fault(1)
@examples(200)
@given(HISTORIES, st.integers(1, 4), st.booleans(), st.data())
def test_a_run_killed_and_resumed_anywhere_keeps_what_an_uninterrupted_one_keeps(values, keep_best, greater, data):
    """A resumed run goes on from the newest checkpoint, or from an older one where that is damaged."""
    whole, history = set(), {}
    for step in values:
        whole = save_at(step, whole, history, values, keep_best, greater)
    assert whole == kept_by_hand(list(values), values, keep_best, greater)

    on_disk, history, left, kills = set(), {}, list(values), 4
    while left:
        step = left.pop(0)
        event = (
            data.draw(st.sampled_from(["saved", "saved", "killed before the removal", "killed"])) if kills else "saved"
        )
        if event == "killed before the removal":
            history[step] = values[step]
            on_disk |= {step}
        else:
            on_disk = save_at(step, on_disk, history, values, keep_best, greater)
        if event != "saved":
            kills -= 1
            damaged = data.draw(st.integers(0, len(on_disk) - 1))
            from_step = sorted(on_disk)[-1 - damaged]
            on_disk = {one for one in on_disk if one <= from_step}
            history = {one: value for one, value in history.items() if one <= from_step}
            left = [one for one in values if one > from_step]
    # a kill after the last save is mended by the next run, which finds nothing to train and saves nothing more
    assert steps_to_keep(list(on_disk), history, keep_best, greater) == whole
