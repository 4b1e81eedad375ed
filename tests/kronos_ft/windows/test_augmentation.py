"""Augmentation: one switch a kind, clean targets, draws keyed by seed, epoch and window."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from kronos_ft.data.candles import load_candles
from kronos_ft.windows.augmentation import AugmentationArguments
from kronos_ft.windows.dataset import WindowDataset, WindowShape, keep_batch
from kronos_ft.windows.order import EpochSampler

SHAPE = WindowShape(lookback=20, horizon=4)
ALL = {"augment_noise": True, "augment_feature_dropout": True, "augment_time_shift": True, "augment_scale": True}


def windows(series, seed=1, **switches):
    return WindowDataset(series, "train", SHAPE, augmentation=AugmentationArguments(**switches), seed=seed)


def test_off_by_default(series, train_windows):
    plain = windows(series)
    assert torch.equal(plain[3]["candles"], train_windows[3]["candles"])


def test_noise_has_its_strength(series):
    batch = windows(series, augment_noise=True, noise_std=0.02).__getitems__(range(300))
    inside = batch["target"].abs() < 4.8
    difference = (batch["candles"] - batch["target"])[inside]
    assert difference.std().item() == pytest.approx(0.02, rel=0.03)
    assert difference.mean().item() == pytest.approx(0.0, abs=1e-3)


def test_scale_is_one_factor_a_window(series):
    batch = windows(series, augment_scale=True).__getitems__(range(50))
    for candles, target in zip(batch["candles"], batch["target"], strict=True):
        usable = (target.abs() > 0.1) & (candles.abs() < 5) & (target.abs() < 4.7)
        factors = (candles / target)[usable]
        assert 0.95 <= factors.min() <= factors.max() <= 1.05
        torch.testing.assert_close(factors.min(), factors.max(), rtol=1e-4, atol=0)


def test_feature_dropout_blanks_whole_features(series):
    batch = windows(series, augment_feature_dropout=True, feature_dropout_p=0.3).__getitems__(range(400))
    blank = (batch["candles"] == 0).all(dim=1)
    assert torch.equal(batch["candles"][~blank[:, None].expand_as(batch["candles"])],
                       batch["target"][~blank[:, None].expand_as(batch["target"])])  # fmt: skip
    assert blank.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert not blank.all(dim=1).any()


def test_time_shift_moves_input_and_target_together_within_split_and_stretch(candle_frame):
    """Every window of several epochs is a clean window of the same split and the same stretch between gaps."""
    series = load_candles({"S": candle_frame.drop(index=[200, 201, 400])})
    shifted, plain = windows(series, augment_time_shift=True), WindowDataset(series, "train", SHAPE)
    clean = plain.__getitems__(range(len(plain)))["target"]
    stretch = np.cumsum(series[0].missing_before() > 0)[plain._starts]
    assert len(set(stretch)) == 3
    found = set()
    for epoch in range(3):
        batch = shifted.__getitems__(range(epoch * len(plain), (epoch + 1) * len(plain)))
        assert torch.equal(batch["candles"], batch["target"])
        for index in range(len(plain)):
            near = [
                move
                for move in range(-2, 3)
                if 0 <= index + move < len(plain)
                and stretch[index + move] == stretch[index]
                and torch.equal(batch["target"][index], clean[index + move])
            ]
            assert len(near) == 1, index
            found |= set(near)
    assert found == {-2, -1, 0, 1, 2}


def test_target_is_clean_and_input_stays_clipped(series, train_windows):
    switches = {**ALL, "augment_time_shift": False, "noise_std": 1.0}
    batch = windows(series, **switches).__getitems__(range(200))
    assert torch.equal(batch["target"], train_windows.__getitems__(range(200))["target"])
    assert batch["candles"].abs().max() <= 5


def test_draws_are_keyed_by_seed_epoch_and_window(series):
    augmented = windows(series, **ALL)
    n = len(augmented)
    one = augmented[5]["candles"]
    assert torch.equal(one, augmented.__getitems__([9, 5, 200])["candles"][1])
    assert torch.equal(one, windows(series, **ALL)[5]["candles"])
    assert not torch.equal(one, augmented[5 + n]["candles"])
    assert not torch.equal(one, windows(series, seed=2, **ALL)[5]["candles"])


@pytest.mark.fault(14)
def test_number_of_workers_changes_nothing(series):
    augmented = windows(series, **ALL)
    batches = []
    for workers in (0, 2):
        sampler = EpochSampler(len(augmented), seed=4)
        sampler.set_epoch(2)
        loader = DataLoader(augmented, batch_size=64, sampler=sampler, num_workers=workers, collate_fn=keep_batch)
        batches.append(torch.cat([batch["candles"] for batch in loader]))
    assert torch.equal(*batches)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noise_std": -1}, "noise_std=-1 is negative"),
        ({"feature_dropout_p": 1.0}, r"feature_dropout_p=1.0 is outside \[0, 1\)"),
        ({"max_time_shift": -2}, "max_time_shift=-2 is negative"),
        ({"scale_min": 1.1}, "scale_min=1.1 and scale_max=1.05 do not satisfy"),
    ],
)
def test_strengths_out_of_range(values, message):
    with pytest.raises(ValueError, match=message):
        AugmentationArguments(**values)


def test_windows_given_are_not_changed(series):
    augmented = windows(series, **ALL)
    values = series[0].values.copy()
    augmented.__getitems__(range(100))
    np.testing.assert_array_equal(series[0].values, values)
