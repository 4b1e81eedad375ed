"""Even weighting of symbols: exact shares, other windows each epoch, nothing but (seed, epoch) decides."""

from collections import Counter

import pytest
import torch

from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.windows.augmentation import AugmentationArguments
from kronos_ft.windows.dataset import WindowDataset, WindowShape
from kronos_ft.windows.order import EpochSampler

COUNTS = (90, 0, 7, 23)


def even(epoch, effective_batch=1, seed=3):
    sampler = EpochSampler(120, seed, effective_batch, COUNTS, "even")
    sampler.set_epoch(epoch)
    return list(sampler)


def symbol(index):
    window = index % 120
    return next(name for name, end in (("A", 90), ("B", 97), ("C", 120)) if window < end)


def test_each_symbol_has_as_many_windows_of_an_epoch():
    for epoch in range(3):
        assert Counter(map(symbol, even(epoch))) == {"A": 40, "B": 40, "C": 40}


def test_what_does_not_divide_goes_round():
    found = []
    for epoch in range(3):
        sampler = EpochSampler(100, 3, 1, (80, 8, 12), "even")
        sampler.set_epoch(epoch)
        windows = [index % 100 for index in sampler]
        found.append((sum(w < 80 for w in windows), sum(80 <= w < 88 for w in windows), sum(w >= 88 for w in windows)))
    assert sorted(found) == [(33, 33, 34), (33, 34, 33), (34, 33, 33)]


def test_windows_of_a_short_symbol_repeat_evenly_and_those_of_a_long_one_change():
    first, second = even(0), even(1)
    repeats = Counter(index % 120 for index in first if symbol(index) == "B")
    assert set(repeats) == set(range(90, 97))
    assert set(repeats.values()) == {5, 6}
    of_a = [{index % 120 for index in order if symbol(index) == "A"} for order in (first, second)]
    assert [len(windows) for windows in of_a] == [40, 40]
    assert of_a[0] != of_a[1]


def test_no_index_comes_twice_so_that_repeats_are_augmented_otherwise():
    seen = [index for epoch in range(4) for index in even(epoch)]
    assert len(set(seen)) == len(seen)


@pytest.mark.fault(14)
def test_seed_and_epoch_alone_decide():
    assert even(2) == even(2)
    assert even(2) != even(2, seed=4)
    assert even(2, effective_batch=16) == even(2)[:112]


def test_by_length_every_window_comes_once():
    sampler = EpochSampler(120, 3, 1, COUNTS, "length")
    assert sorted(sampler) == list(range(120))
    assert list(sampler) == list(EpochSampler(120, 3))


def test_an_unknown_weighting():
    with pytest.raises(ValueError, match="symbol_weighting='equal' is not known; use one of length, even"):
        EpochSampler(120, 3, 1, COUNTS, "equal")


def test_repeats_are_augmented_each_in_its_own_way():
    tables = {"A": simulate_candles(400, seed=1), "B": simulate_candles(60, seed=2)}
    windows = WindowDataset(
        load_candles(tables),
        "train",
        WindowShape(20, 4),
        augmentation=AugmentationArguments(augment_noise=True),
    )
    order = EpochSampler(len(windows), 0, 1, windows.windows_per_symbol, "even")
    last = len(windows) - 1
    repeats = [index for index in order if index % len(windows) == last]
    assert len(repeats) > 1
    noisy = windows.__getitems__(repeats)["candles"]
    assert not torch.equal(noisy[0], noisy[1])
