"""Features and targets of the quantile head: by hand, without the future, and where they are not defined."""

import numpy as np
import pytest
import torch
from scipy.stats import linregress

from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import load_sample
from kronos_ft.data.timestamps import calendar_features
from kronos_ft.windows.augmentation import AugmentationArguments
from kronos_ft.windows.dataset import WindowDataset, WindowShape
from kronos_ft.windows.quantile_windows import (
    CONTEXT_FEATURES,
    QUANTILE_TARGETS,
    QuantileWindowDataset,
    context_features,
    context_volatility,
    horizon_targets,
)


@pytest.fixture(scope="session")
def dataset(train_windows, _tiny_model):
    return QuantileWindowDataset(train_windows, _tiny_model)


def test_an_item_is_the_lookback_and_what_came_after(dataset, train_windows):
    item = dataset[7]
    assert {name: tuple(value.shape) for name, value in item.items()} == {
        "s1": (20,),
        "s2": (20,),
        "stamps": (20, 5),
        "features": (len(CONTEXT_FEATURES),),
        "targets": (4, len(QUANTILE_TARGETS)),
        "window": (),
    }
    assert torch.equal(item["stamps"], train_windows[7]["stamps"][:20])
    batch = dataset.__getitems__([7, len(dataset) + 8])
    assert torch.equal(batch["features"][0], item["features"])
    assert batch["window"].tolist() == [7, 8]


def test_targets_by_hand(series):
    values = series[0].values
    past, future = values[100:120], values[120:124]
    found = horizon_targets(past[None], future[None])[0]
    closes = np.log(past[:, 3])
    unit = np.sqrt(np.mean(np.diff(closes) ** 2))
    assert context_volatility(past[None]) == pytest.approx([unit])
    for h in (1, 4):
        scale = unit * np.sqrt(h)
        moves = np.diff(np.log(np.concatenate((past[-1:, 3], future[:h, 3]))))
        expected = [
            (np.log(future[h - 1, 3]) - closes[-1]) / scale,
            (np.log(future[:h, 1].max()) - closes[-1]) / scale,
            (np.log(future[:h, 2].min()) - closes[-1]) / scale,
            np.log(np.sqrt(np.sum(moves**2)) / scale),
            np.log(future[:h, 4].mean() / past[:, 4].mean()),
        ]
        assert found[h - 1] == pytest.approx(expected, rel=1e-5)


def test_features_scale_with_nothing_but_volatility(series):
    """Price level and unit of volume change no feature; the volatility of the context only the first."""
    past = series[0].values[100:120]
    stamp = np.array([[30, 6, 2, 5, 3]])
    plain = dict(zip(CONTEXT_FEATURES, context_features(past[None], stamp)[0], strict=True))
    scaled = past * [1e-4, 1e-4, 1e-4, 1e-4, 1e6, 1e2]
    assert context_features(scaled[None], stamp)[0] == pytest.approx(list(plain.values()), abs=1e-4)
    wilder = past.copy()
    wilder[:, :4] = past[0, 3] * (past[:, :4] / past[0, 3]) ** 3
    tripled = dict(zip(CONTEXT_FEATURES, context_features(wilder[None], stamp)[0], strict=True))
    assert tripled.pop("log_volatility") - plain.pop("log_volatility") == pytest.approx(np.log(3), abs=1e-5)
    assert list(tripled.values()) == pytest.approx(list(plain.values()), abs=1e-4)
    assert plain["minute_sin"] == pytest.approx(np.sin(2 * np.pi * (6 * 60 + 30) / 1440), abs=1e-6)
    assert plain["weekday_cos"] == pytest.approx(np.cos(2 * np.pi * 2 / 7), abs=1e-6)


def test_the_time_of_day_is_that_of_every_minute(series):
    """Calendar features are int8, in which the minutes of a day do not fit."""
    past = np.repeat(series[0].values[:40][None], 24, axis=0)
    stamps = calendar_features(np.datetime64("2024-01-01T00:30", "ns") + np.arange(24) * np.timedelta64(1, "h"))
    found = context_features(past, stamps)
    angle = 2 * np.pi * (np.arange(24) + 0.5) / 24
    sine, cosine = (CONTEXT_FEATURES.index(f"minute_{name}") for name in ("sin", "cos"))
    np.testing.assert_allclose(found[:, sine], np.sin(angle), atol=1e-6)
    np.testing.assert_allclose(found[:, cosine], np.cos(angle), atol=1e-6)


def test_the_short_volatility_tells_the_next_one():
    """A check of signs on real candles, whose volatility clusters."""
    windows = WindowDataset(load_sample(), "validation", WindowShape(90, 24, stride=10))
    features, targets = QuantileWindowDataset(windows).outcomes(range(len(windows)))
    ratio = features[:, CONTEXT_FEATURES.index("volatility_ratio_6")].numpy()
    fit = linregress(ratio, targets[:, 3, QUANTILE_TARGETS.index("volatility")].numpy())
    assert fit.slope > 0
    assert fit.pvalue < 0.01


def test_bars_after_the_context_change_targets_and_nothing_else(candle_frame, tiny_model):
    def first_window(frame):
        series = load_candles({"SIM": frame})
        return QuantileWindowDataset(WindowDataset(series, "train", WindowShape(20, 4)), tiny_model)[0]

    changed = candle_frame.copy()
    changed.loc[20:, ["open", "high", "low", "close"]] *= 1.5
    changed.loc[20:, "volume"] *= 7
    before, after = first_window(candle_frame), first_window(changed)
    for name in ("s1", "s2", "stamps", "features"):
        assert torch.equal(before[name], after[name]), name
    assert (before["targets"] != after["targets"]).all()


def test_what_a_window_does_not_define_is_nan(series):
    past, future = series[0].values[100:120].copy(), series[0].values[120:124]
    past[:, 4] = 0
    no_volume = horizon_targets(past[None], future[None])[0]
    assert np.isnan(no_volume[:, 4]).all()
    assert np.isfinite(no_volume[:, :4]).all()
    past[:, :4] = 7.0
    constant = horizon_targets(past[None], future[None])[0]
    assert np.isnan(constant).all()
    assert np.isfinite(context_features(past[None], np.zeros((1, 5)))).all()


def test_windows_that_cannot_be_used(series, train_windows, tiny_model):
    augmented = WindowDataset(
        series, "train", WindowShape(20, 4), augmentation=AugmentationArguments(augment_noise=True)
    )
    with pytest.raises(ValueError, match="cannot be trained on augmented windows; turn augmentation off"):
        QuantileWindowDataset(augmented, tiny_model)
    with pytest.raises(ValueError, match="predict_window=0 leaves no bar to forecast; use 1 or more"):
        QuantileWindowDataset(WindowDataset(series, "train", WindowShape(20, 0)), tiny_model)
    bare = QuantileWindowDataset(train_windows)
    assert set(bare[0]) == {"features", "targets", "window"}
    assert bare.fingerprint() != train_windows.fingerprint()
