"""Steps of equally many target tokens: every record once, a budget kept, the same for the same seed and epoch."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from mt5_ft.data.token_batches import LEAST_BATCHES, RECORDS_PER_STEP, StepBatches, StepRecords, by_both_lengths
from tests.examples import examples


def lognormal(count, seed=0):
    random = np.random.default_rng(seed)
    source = np.clip(np.exp(random.normal(5.0, 0.6, count)), 8, 512).astype(int)
    target = np.clip(np.exp(random.normal(4.3, 0.5, count)), 4, 256).astype(int)
    return source, target


def epoch_of(order, epoch=0):
    """Steps of an epoch: for each process its micro-batches."""
    order.set_epoch(epoch)
    found = list(order)
    assert len(found) == len(order) == order.steps * order.processes
    return [found[first : first + order.processes] for first in range(0, len(found), order.processes)]


lengths = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 40)), min_size=4, max_size=150)


@examples(100)
@given(lengths, st.integers(1, 400), st.integers(0, 300), st.integers(1, 4), st.integers(0, 9), st.integers(0, 3))
def test_each_record_once_within_the_budget(pairs, budget, per_step, processes, seed, epoch):
    sources, targets = zip(*pairs, strict=True)
    order = StepBatches(sources, targets, seed, budget, per_step, processes)
    steps = epoch_of(order, epoch)
    rows = [row for step in steps for mine in step for batch in mine for row in batch]
    singles = all(len(batch) == 1 for step in steps for mine in step for batch in mine)
    extra = len(rows) - len(pairs)
    assert sorted(set(rows)) == list(range(len(pairs)))
    assert extra == 0 or (singles and extra < processes)
    for step in steps:
        assert len({len(mine) for mine in step}) == 1, "each process has as many micro-batches"
        for mine in step:
            assert mine
            for batch in mine:
                assert batch
                assert len(batch) == 1 or order.padded_tokens(batch) <= budget
    again = StepBatches(sources, targets, seed, budget, per_step, processes)
    assert epoch_of(again, epoch) == steps
    assert len(epoch_of(again, epoch + 1)) == len(steps)
    largest = max(order.padded_tokens(batch) for step in steps for mine in step for batch in mine)
    assert order.padded_tokens(steps[0][0][0]) == largest


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(("budget", "per_step"), [(1024, 0), (2048, 0), (2048, 4000), (4096, 2500), (8192, 4000)])
def test_steps_are_equal_and_little_is_padded(budget, per_step, processes):
    sources, targets = lognormal(4000)
    order = StepBatches(sources, targets, 0, budget, per_step, processes)
    wanted = per_step or RECORDS_PER_STEP * targets.mean()
    steps = epoch_of(order)
    tokens = np.array([sum(targets[list(batch)].sum() for mine in step for batch in mine) for step in steps])
    assert tokens.mean() == pytest.approx(wanted, rel=0.02)
    # several processes do not split their batches any further to make steps more equal
    assert tokens.std() / tokens.mean() < (0.06 if processes == 1 else 0.13)
    assert min(sum(len(mine) for mine in step) for step in steps) >= LEAST_BATCHES
    padded = sum(order.padded_tokens(batch) for step in steps for mine in step for batch in mine)
    assert padded / (sources.sum() + targets.sum()) < 1.12


def test_processes_do_not_split_their_batches_for_the_sake_of_equality():
    sources, targets = lognormal(4000)
    for budget, per_step in ((2048, 0), (4096, 2500), (8192, 16000)):
        order = StepBatches(sources, targets, 0, budget, per_step, 2)
        padded = [order.padded_tokens(batch) for step in epoch_of(order) for mine in step for batch in mine]
        assert np.mean(padded) > 0.47 * budget


def test_epochs_and_seeds_differ_and_steps_hold_short_and_long():
    sources, targets = lognormal(2000)
    orders = [StepBatches(sources, targets, seed, 2048, 2500) for seed in (0, 1)]
    found = [epoch_of(orders[0], 0), epoch_of(orders[0], 1), epoch_of(orders[1], 0)]
    assert found[0] != found[1]
    assert found[0] != found[2]
    sets = [{frozenset(batch) for step in steps for mine in step for batch in mine} for steps in found]
    assert len(sets[0] & sets[1]) < len(sets[0]) / 20, "records meet others in the next epoch"
    means = [np.mean([targets[list(batch)].mean() for mine in step for batch in mine]) for step in found[0]]
    by_batch = [targets[list(batch)].mean() for step in found[0] for mine in step for batch in mine]
    assert np.std(means) < 0.6 * np.std(by_batch)


def test_neighbours_are_alike_in_both_lengths():
    sources, targets = lognormal(2000)
    order = by_both_lengths(sources, targets, np.arange(2000), 8)
    assert sorted(order) == list(range(2000))
    for tokens in (sources, targets):
        inside = tokens[order].reshape(-1, 8)
        assert (inside.max(axis=1) - inside.min(axis=1)).mean() < tokens.std()


def test_what_does_not_fit_is_refused_or_left_alone():
    with pytest.raises(ValueError, match="1 records are too few for 2 processes; add records"):
        StepBatches([4], [3], 0, 100, processes=2)
    (step,) = epoch_of(StepBatches([500], [300], 0, 100))
    assert step == [((0,),)]


def test_records_come_by_the_step():
    records = StepRecords([{"row": number} for number in range(5)])
    assert len(records) == 5
    assert records[((4, 1), (0,))] == [[{"row": 4}, {"row": 1}], [{"row": 0}]]
