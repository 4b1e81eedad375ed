"""Records in batches of like length: every one once an epoch, by (seed, epoch) alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mt5_ft.data.epoch_order import RecordOrder


@pytest.mark.fault(14)
@settings(max_examples=60)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=120), st.integers(1, 9), st.integers(0, 9), st.integers(0, 5))
def test_every_record_once_by_seed_and_epoch_alone(lengths, batch, seed, epoch):
    found = []
    for noise in (0, 1):
        torch.manual_seed(noise)  # what a run has drawn before does not matter
        order = RecordOrder(len(lengths), seed, lengths, batch)
        order.set_epoch(epoch)
        state = torch.get_rng_state()
        found.append(list(order))
        assert torch.equal(torch.get_rng_state(), state)
    assert found[0] == found[1] == list(order)
    assert sorted(found[0]) == list(range(len(lengths)))
    assert lengths[found[0][0]] == max(lengths)


def test_epochs_and_seeds_differ_and_batches_are_alike():
    lengths = [1 + (7 * number) % 60 for number in range(400)]
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        order = RecordOrder(len(lengths), seed, lengths, 8)
        order.set_epoch(epoch)
        orders.append(list(order))
    assert len({tuple(order) for order in orders}) == 3
    batches = torch.tensor(lengths)[orders[0]].float().view(-1, 8)[1:]  # the first begins with the longest of all
    assert batches.std(dim=1).mean() < torch.tensor(lengths).float().std() / 5
