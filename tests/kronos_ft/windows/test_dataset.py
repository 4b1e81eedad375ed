"""Windows: against brute force, without leaks, inside their split, in reproducible order."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st

from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.windows.augmentation import AugmentationArguments
from kronos_ft.windows.dataset import WindowDataset, WindowShape, normalise, scale_of
from kronos_ft.windows.order import EpochSampler
from kronos_ft.windows.splits import split_bounds

SHAPE = WindowShape(lookback=20, horizon=4)


def by_hand(series, start, shape):
    """One window, bar by bar, in plain Python."""
    rows = series.values[start : start + shape.length]
    result = np.empty_like(rows)
    for feature in range(6):
        past = rows[: shape.lookback, feature]
        mean = sum(past) / len(past)
        deviation = (sum((value - mean) ** 2 for value in past) / len(past)) ** 0.5
        epsilon = 1e-5 * min(1.0, abs(mean))
        result[:, feature] = [min(max((value - mean) / (deviation + epsilon), -5), 5) for value in rows[:, feature]]
    return result


def test_batches_equal_brute_force(series, train_windows):
    indices = [0, 5, 17, len(train_windows) - 1]
    batch = train_windows.__getitems__(indices)
    assert batch["candles"].shape == (4, 25, 6)
    assert batch["candles"].dtype == torch.float32
    for row, index in enumerate(indices):
        np.testing.assert_allclose(batch["target"][row], by_hand(series[0], index, SHAPE), rtol=1e-5, atol=1e-6)
        one = train_windows[index]
        assert all(torch.equal(one[name], batch[name][row]) for name in batch)
    first = series[0].timestamps[5].astype("datetime64[s]").item()
    assert batch["stamps"][1, 0].tolist() == [first.minute, first.hour, first.weekday(), first.day, first.month]


def test_the_default_window_is_101_bars():
    assert WindowShape().length == 101


@pytest.mark.fault(17)
def test_nothing_at_or_after_the_origin_reaches_the_input(candle_frame):
    """Changes every bar from the origin on and compares the lookback part of each window that ends before it."""
    origin = 300
    changed = candle_frame.copy()
    changed.loc[origin:, ["open", "high", "low", "close"]] *= 3.0
    changed.loc[origin:, ["volume", "amount"]] *= 7.0
    before, after = (WindowDataset(load_candles({"SIM": table}), "train", SHAPE) for table in (candle_frame, changed))
    start = origin - SHAPE.lookback
    for index in range(start - SHAPE.horizon - 1, start + 1):
        known = min(SHAPE.length, origin - index)
        assert known >= SHAPE.lookback
        torch.testing.assert_close(before[index]["candles"][:known], after[index]["candles"][:known], rtol=0, atol=0)
    assert not torch.equal(before[start]["candles"], after[start]["candles"])


def test_splits_follow_each_other_and_share_no_bar(series):
    bounds = split_bounds(series[0], embargo=7)
    assert bounds == {"train": (0, 630), "validation": (637, 765), "test": (772, 900)}
    for name, (first, end) in bounds.items():
        windows = WindowDataset(series, name, SHAPE, embargo=7)
        assert windows._starts.min() == first
        assert windows._starts.max() + SHAPE.length == end


def test_split_by_dates(series):
    times = series[0].timestamps
    dates = (str(times[500])[:10], str(times[700])[:10])
    bounds = split_bounds(series[0], dates=dates)
    border = np.datetime64(dates[0], "ns")
    assert times[bounds["train"][1] - 1] < border <= times[bounds["validation"][0]]


def test_no_window_spans_a_gap_in_a_continuous_market(candle_frame):
    series = load_candles({"SIM": candle_frame.drop(index=[200, 201, 202])})
    windows = WindowDataset(series, "train", SHAPE)
    steps = np.diff(series[0].timestamps).astype("int64")
    for start in windows._starts:
        assert (steps[start : start + SHAPE.length - 1] == steps[0]).all()
    assert windows.windows_across_gaps == 0
    allowing = WindowDataset(series, "train", WindowShape(20, 4, max_gap=3))
    assert len(allowing) - len(windows) == allowing.windows_across_gaps == SHAPE.length - 1
    assert len(WindowDataset(series, "train", WindowShape(20, 4, max_gap=2))) == len(windows)


def test_session_gaps_are_allowed_and_counted(candle_frame):
    table = candle_frame.assign(timestamps=candle_frame.timestamps + np.arange(900) // 50 * np.timedelta64(20, "h"))
    series = load_candles({"S": table})
    assert series[0].report.market == "session"
    windows = WindowDataset(series, "train", SHAPE)
    assert len(windows) == 630 - SHAPE.length + 1
    assert 0 < windows.windows_across_gaps < len(windows)


def test_a_session_market_spans_weekends_but_not_an_outage():
    daily = simulate_candles(1500, step="1D")
    table = daily[daily.timestamps.dt.dayofweek < 5].drop(index=range(600, 660), errors="ignore")
    series = load_candles({"S": table})
    assert series[0].report.market == "session"
    windows = WindowDataset(series, "train", SHAPE)
    longest = max(np.diff(series[0].timestamps[start : start + 25]).max() for start in windows._starts)
    assert longest == np.timedelta64(3, "D")
    assert windows.windows_across_gaps == len(windows)


@pytest.mark.fault(17)
def test_gaps_of_later_splits_do_not_decide_what_training_spans():
    """An outage of 90 days is long beside weekends, but not beside the many that follow later on."""
    daily = simulate_candles(1500, step="1D")
    table = daily[daily.timestamps.dt.dayofweek < 5].drop(index=range(600, 690), errors="ignore").reset_index(drop=True)
    later = table.copy()
    outages = np.maximum(np.arange(len(table)) - round(0.7 * len(table)), 0) // 20
    later["timestamps"] += pd.to_timedelta(outages * 80, unit="D")
    starts = []
    for one in (table, later):
        series = load_candles({"S": one})
        assert series[0].report.market == "session"
        starts.append(WindowDataset(series, "train", SHAPE)._starts)
    np.testing.assert_array_equal(*starts)
    assert len(starts[0]) < round(0.7 * len(table)) - SHAPE.length + 1


def test_a_table_without_training_bars_takes_all_gaps():
    daily = simulate_candles(700, step="1D")
    series = load_candles({"S": daily[daily.timestamps.dt.dayofweek < 5]})
    windows = WindowDataset(series, "test", SHAPE, ratios=(0, 0, 1))
    assert len(windows) == len(series[0]) - SHAPE.length + 1


def test_symbols_without_a_window_are_named():
    tables = {"A": simulate_candles(300, seed=1), "B": simulate_candles(30, seed=2)}
    assert WindowDataset(load_candles(tables), "train", SHAPE).symbols_without_windows == ["B"]


def test_symbols_are_split_and_windowed_apart():
    tables = {"A": simulate_candles(300, seed=1), "B": simulate_candles(500, seed=2)}
    together = WindowDataset(load_candles(tables), "validation", SHAPE)
    apart = [WindowDataset(load_candles({name: table}), "validation", SHAPE) for name, table in tables.items()]
    assert together.windows_per_symbol == [len(one) for one in apart]
    everything = torch.cat([one.__getitems__(range(len(one)))["target"] for one in apart])
    assert torch.equal(together.__getitems__(range(len(together)))["target"], everything)


@pytest.mark.parametrize("price", [1e-5, 1e-3, 1.0, 3e4])
def test_cheap_assets_are_not_squashed(price):
    """The published epsilon of 1e-5 would shrink an asset priced near it to nothing."""
    frame = simulate_candles(200, seed=5)
    scaled = frame.assign(**{name: frame[name] * price / 100 for name in ("open", "high", "low", "close")})
    window = load_candles(scaled)[0].values[None, :101]
    values, _, _ = normalise(window, 90, 5.0)
    assert values[0, :90, 3].std() == pytest.approx(1.0, abs=0.01)


@pytest.mark.fault(19)
def test_a_flat_lookback_gives_finite_values():
    window = np.ones((1, 25, 6))
    window[:, 20:, 4] = 3.0
    window[:, :20, 5] = 0.0
    values, _, _ = normalise(window, 20, 5.0)
    assert np.isfinite(values).all()
    assert values[0, 20:, 4].tolist() == [5.0] * 5
    assert (values[0, :, :4] == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(26, 200), st.integers(1, 30), st.integers(2, 20), st.integers(0, 5))
def test_window_counts_by_arithmetic(bars, stride, lookback, horizon):
    shape = WindowShape(lookback, horizon, stride)
    series = load_candles({"S": simulate_candles(bars)})
    windows = WindowDataset(series, "train", shape, ratios=(1.0, 0.0, 0.0))
    assert len(windows) == (bars - shape.length) // stride + 1


def test_order_is_a_permutation_of_its_own_for_each_epoch(train_windows):
    sampler = EpochSampler(50, seed=3)
    orders = {}
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        orders[epoch] = list(sampler)
        assert sorted(orders[epoch]) == list(range(epoch * 50, epoch * 50 + 50))
    assert [index % 50 for index in orders[0]] != [index % 50 for index in orders[1]]
    full = EpochSampler(50, seed=3, effective_batch=8)
    assert len(full) == 48
    assert list(full) == orders[0][:48]
    with pytest.raises(
        ValueError, match=r"an optimizer step needs 64 windows .* but there are only 50 training windows"
    ):
        EpochSampler(50, seed=3, effective_batch=64)
    again = EpochSampler(50, seed=3)
    again.set_epoch(1)
    assert list(again) == orders[1]
    n = len(train_windows)
    assert torch.equal(train_windows[3]["candles"], train_windows[3 + 2 * n]["candles"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "valid"}, "split='valid' is not known; use one of train, validation, test"),
        (
            {"split": "test", "ratios": (0.8, 0.2, 0.0)},
            r"the test split has 0 bars, too few for a window of 25 \(lookback 20",
        ),
        ({"split": "train", "ratios": (0.5, 0.4, 0.2)}, "must be three shares with sum 1"),
        ({"split": "train", "ratios": (float("nan"), 0.5, 0.5)}, "must be three shares with sum 1"),
        ({"split": "train", "dates": ("2021-01-01", "2020-01-01")}, "must be two increasing dates"),
        ({"split": "train", "dates": ("soon", "later")}, "cannot be read"),
        ({"split": "train", "embargo": -1}, "embargo=-1 is negative"),
        (
            {"split": "validation", "augmentation": AugmentationArguments(augment_noise=True)},
            "only the train split can be augmented",
        ),
    ],
)
@pytest.mark.fault(20)
def test_windows_that_cannot_be_cut(series, arguments, message):
    with pytest.raises(ValueError, match=message):
        WindowDataset(series, arguments.pop("split"), SHAPE, **arguments)


@pytest.mark.fault(20)
def test_gaps_that_leave_no_window(candle_frame):
    series = load_candles({"S": candle_frame.drop(index=range(0, 900, 21))})
    with pytest.raises(ValueError, match="no window of 25 bars fits between the gaps of the train split"):
        WindowDataset(series, "train", SHAPE)


@pytest.mark.parametrize(
    "values", [{"lookback": 1}, {"horizon": -1}, {"stride": 0}, {"max_gap": -1}, {"clip": 0}, {"clip": float("nan")}]
)
def test_shapes_that_make_no_window(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        WindowShape(**values)


@pytest.mark.parametrize(
    ("mean", "std", "epsilon"),
    [(30_000.0, 200.0, 1e-5), (0.5, 0.3, 1e-5), (0.0, 0.0, 1e-5), (2e-5, 1e-7, 2e-10), (0.0, 1e-6, 1e-9)],
)
def test_the_scale_is_the_published_one_except_for_tiny_prices(mean, std, epsilon):
    found = scale_of(np.array([mean]), np.array([std]))
    assert found[0] - std == pytest.approx(epsilon, rel=1e-6, abs=1e-16)
