"""Where windows begin, and what they may know, against brute force: random gaps, splits, embargoes and strides."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.windows.augmentation import AugmentationArguments
from kronos_ft.windows.dataset import WindowDataset, WindowShape, normalise
from kronos_ft.windows.splits import SPLITS, split_bounds

BARS = 160
FRAME = simulate_candles(BARS + 40, seed=6)
MOST = settings(max_examples=60)


# few enough for a market that trades around the clock
GAPS = st.dictionaries(st.integers(1, BARS - 1), st.integers(1, 4), max_size=4)


def market_of(gaps):
    """A series with bars missing right before some bars, and how many there are."""
    missing = np.zeros(BARS, dtype=np.int64)
    missing[list(gaps)] = list(gaps.values())
    hours = np.arange(BARS) + missing.cumsum()
    times = (FRAME.timestamps[0].to_datetime64() + hours * np.timedelta64(1, "h")).astype("datetime64[ns]")
    one = load_candles({"SIM": FRAME[:BARS].assign(timestamps=times)})[0]
    assert one.missing_before().tolist() == missing.tolist()
    return one, missing


SHAPES = st.builds(
    WindowShape, st.integers(2, 20), st.integers(0, 8), st.integers(1, 12), max_gap=st.none() | st.integers(0, 6)
)
RATIOS = st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(1, 10)).map(
    lambda parts: tuple(part / sum(parts) for part in parts)
)


def starts_by_hand(first, end, missing, shape):
    """Every stride-th bar since the split or the last break, whose window holds no break and stays in the split."""
    found, since = [], first
    for start in range(first, end):
        if start > first and missing[start] > (shape.max_gap or 0):
            since = start
        inside = range(start + 1, start + shape.length)
        whole = start + shape.length <= end and all(missing[bar] <= (shape.max_gap or 0) for bar in inside)
        if whole and (start - since) % shape.stride == 0:
            found.append(start)
    return found


@pytest.mark.fault(17)
@MOST
@given(GAPS, SHAPES, RATIOS, st.integers(0, 40))
def test_windows_begin_where_brute_force_says_and_never_cross_a_split(gaps, shape, ratios, embargo):
    one, missing = market_of(gaps)
    bounds = split_bounds(one, ratios, embargo=embargo)
    borders = [0, round(BARS * ratios[0]), round(BARS * (ratios[0] + ratios[1])), BARS]
    for position, split in enumerate(SPLITS):
        held = list(range(borders[position] + (embargo if position else 0), borders[position + 1]))
        first, end = bounds[split]
        assert list(range(first, end)) == held
        expected = starts_by_hand(first, end, missing, shape)
        if not expected:
            with pytest.raises(ValueError, match=f"the {split} split"):
                WindowDataset([one], split, shape, ratios=ratios, embargo=embargo)
            continue
        windows = WindowDataset([one], split, shape, ratios=ratios, embargo=embargo)
        assert windows._starts.tolist() == expected
        assert set(windows._starts) <= set(held)
        assert set(windows._starts + shape.length - 1) <= set(held)
        over = [any(missing[bar] for bar in range(start + 1, start + shape.length)) for start in expected]
        assert windows.windows_across_gaps == sum(over)


@MOST
@given(GAPS, st.lists(st.integers(0, 9 * 24), min_size=2, max_size=2, unique=True).map(sorted))
def test_splits_by_date_hold_every_bar_once_on_its_side(gaps, hours):
    one, _ = market_of(gaps)
    dates = [str((one.timestamps[0] + np.timedelta64(hour, "h")).astype("datetime64[s]")) for hour in hours]
    bounds = split_bounds(one, dates=dates)
    sides = [sum(time >= np.datetime64(date) for date in dates) for time in one.timestamps]
    for position, split in enumerate(SPLITS):
        assert list(range(*bounds[split])) == [bar for bar, side in enumerate(sides) if side == position]


SERIES = load_candles({"SIM": FRAME})[0]
WINDOWS = {shape: WindowDataset([SERIES], "train", shape) for shape in (WindowShape(12, 4), WindowShape(5, 0))}


def replaced(one, bars, factor, shift):
    values = one.values.copy()
    values[bars] = values[bars] * factor + shift
    return dataclasses.replace(one, values=values)


@pytest.mark.fault(17)
@MOST
@given(
    st.sampled_from(list(WINDOWS)),
    st.integers(0, 138),
    st.floats(0.01, 100),
    st.floats(0, 1e4),
)
def test_what_comes_after_a_bar_is_in_no_window_before_it(shape, origin, factor, shift):
    """Every bar before the origin, in every window whose lookback ends there or earlier, has the bits it had."""
    windows = WINDOWS[shape]
    changed = WindowDataset([replaced(SERIES, slice(origin, None), factor, shift)], "train", shape)
    before, after = (one.__getitems__(range(len(one))) for one in (windows, changed))
    for index, start in enumerate(windows._starts):
        known = min(origin - start, shape.length)
        if known >= shape.lookback:
            assert torch.equal(before["target"][index, :known], after["target"][index, :known])
        if start >= origin + 1 or known < shape.lookback:
            continue
        assert torch.equal(before["stamps"][index], after["stamps"][index])


@MOST
@given(st.sampled_from(list(WINDOWS)), st.integers(1, 139), st.floats(0.01, 100))
def test_what_came_before_a_window_is_not_in_it(shape, first, factor):
    changed = WindowDataset([replaced(SERIES, slice(0, first), factor, 0)], "train", shape)
    later = np.flatnonzero(changed._starts >= first)
    before, after = (one.__getitems__(later)["target"] for one in (WINDOWS[shape], changed))
    assert torch.equal(before, after)


RAW = st.tuples(st.integers(0, 2**32), st.integers(2, 30), st.integers(0, 10), st.floats(-8, 9)).map(
    lambda drawn: (
        10 ** drawn[3] * np.exp(np.random.default_rng(drawn[0]).normal(0, 0.02, (3, drawn[1] + drawn[2] + 1, 6))),
        drawn[1],
    )
)


@pytest.mark.fault(17)
@MOST
@given(RAW, st.sampled_from([np.nan, np.inf, 0.0, -1e30, 1e30]))
def test_statistics_are_of_the_lookback_alone(drawn, junk):
    raw, lookback = drawn
    values, mean, scale = normalise(raw, lookback, 5.0)
    other = raw.copy()
    other[:, lookback:] = junk
    for found, again in zip((values[:, :lookback], mean, scale), normalise(other, lookback, 5.0), strict=True):
        np.testing.assert_array_equal(found, again[:, :lookback])


@MOST
@given(RAW, st.floats(0.5, 10))
def test_normalising_is_undone_by_its_mean_and_scale(drawn, clip):
    raw, lookback = drawn
    values, mean, scale = normalise(raw, lookback, clip)
    assert values.dtype == np.float32
    assert np.abs(values).max() <= np.float32(clip)
    inside = np.abs((raw - mean) / scale) < clip * (1 - 1e-6)
    # float32 holds a normalised value to 2^-24 of itself
    np.testing.assert_allclose((values * scale + mean)[inside], raw[inside], rtol=0, atol=clip * scale.max() * 2**-23)
    np.testing.assert_array_equal(np.sign(values[~inside]), np.sign((raw - mean)[~inside]))
    past = raw[:, :lookback]
    whole = normalise(raw, lookback, 1e9)[0][:, :lookback].astype(np.float64)
    np.testing.assert_allclose(whole.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(whole.std(axis=1), past.std(axis=1) / scale[:, 0], rtol=1e-4)


@pytest.mark.fault(17)
@settings(max_examples=15)
@given(GAPS, st.integers(0, 2**31), st.integers(1, 30), st.integers(0, 3))
def test_a_shifted_window_is_a_window_of_its_split_and_its_stretch(gaps, seed, shift, epoch):
    one, missing = market_of(gaps)
    shape = WindowShape(8, 2, stride=3)
    augmentation = AugmentationArguments(augment_time_shift=True, max_time_shift=shift)
    windows = WindowDataset([one], "train", shape, augmentation=augmentation, seed=seed)
    end = windows.bounds["SIM"][1]
    allowed = starts_by_hand(0, end, missing, WindowShape(8, 2))
    bars = np.array(allowed)[:, None] + np.arange(shape.length)
    possible = {
        row.tobytes(): start for row, start in zip(normalise(one.values[bars], 8, 5.0)[0], allowed, strict=True)
    }
    batch = windows.__getitems__(np.arange(len(windows)) + epoch * len(windows))
    for start, target in zip(windows._starts, batch["target"].numpy(), strict=True):
        found = possible[target.tobytes()]
        assert abs(found - start) <= shift
        between = missing[min(found, start) + 1 : max(found, start) + 1]
        assert not between.any()
