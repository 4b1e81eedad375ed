"""Targets against their formulas bar by bar."""

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest

from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.scoring.targets import (
    LEAST_VOLUME,
    RANGE,
    TARGETS,
    VOLATILITY,
    VOLUME,
    check_origins,
    naive_scale,
    path_targets,
    true_targets,
)
from kronos_ft.windows import quantile_windows


def test_paths_against_the_formula_bar_by_bar():
    generator = np.random.default_rng(0)
    paths, last = generator.uniform(50, 150, (3, 4, 5, 6)), generator.uniform(50, 150, 3)
    usual = np.array([40.0, 90.0, 0.0])
    found = path_targets(paths, last, usual)
    assert found.shape == (3, 4, 5, len(TARGETS))
    for n in range(3):
        for p in range(4):
            close, squares, highs, lows, volumes = last[n], 0.0, [], [], []
            for h in range(5):
                squares += math.log(paths[n, p, h, 3] / close) ** 2
                close = paths[n, p, h, 3]
                for values, column in ((highs, 1), (lows, 2), (volumes, 4)):
                    values.append(paths[n, p, h, column])
                expected = [math.log(price / last[n]) for price in paths[n, p, h, :4]]
                expected += [math.sqrt(squares), math.log(max(highs) / min(lows))]
                expected.append(math.log(math.fsum(volumes) / (h + 1) / usual[n]) if usual[n] else math.nan)
                np.testing.assert_allclose(found[n, p, h], expected, rtol=1e-12)
    without = path_targets(paths[..., :4], last, usual)
    np.testing.assert_array_equal(without[..., :VOLUME], found[..., :VOLUME])
    assert np.isnan(without[..., VOLUME]).all()
    assert np.isnan(path_targets(paths, last)[..., VOLUME]).all()


def test_a_forecast_without_trades_is_the_least_volume():
    paths = np.ones((1, 1, 3, 5))
    paths[0, 0, :, 4] = 0.0, 0.0, 6.0
    found = path_targets(paths, np.ones(1), np.array([4.0]))[0, 0, :, VOLUME]
    np.testing.assert_allclose(found, np.log([LEAST_VOLUME, LEAST_VOLUME, 0.5]))
    assert LEAST_VOLUME == quantile_windows.LEAST_RATIO


def test_true_volume_is_a_ratio_to_the_lookback_and_undefined_without_trades(series):
    values = series[0].values.copy()
    values[300:340, 4] = 0.0
    one = dataclasses.replace(series[0], values=values)
    origins = np.array([50, 299, 300, 335, 340, 345])
    found = true_targets(one, origins, 4, lookback=30)[..., VOLUME]
    for row, origin in enumerate(origins):
        for h in range(1, 5):
            usual, volume = values[origin - 30 : origin, 4].mean(), values[origin : origin + h, 4].mean()
            if usual > 0 and volume > 0:
                assert found[row, h - 1] == pytest.approx(math.log(volume / usual))
            else:
                assert np.isnan(found[row, h - 1])
    assert np.isnan(found).sum(axis=1).tolist() == [0, 0, 4, 4, 4, 0]
    assert np.isnan(true_targets(one, origins, 4)[..., VOLUME]).all()
    with pytest.raises(ValueError, match="origin 29 of SIM needs 30 bars before it"):
        true_targets(one, np.array([29]), 4, lookback=30)


def test_truth_is_the_target_of_the_bars_that_came(series):
    one = series[0]
    origins = np.array([1, 40, len(one) - 6])
    found = true_targets(one, origins, 6)
    for row, origin in enumerate(origins):
        expected = path_targets(one.values[None, None, origin : origin + 6, :4], one.values[[origin - 1], 3])
        np.testing.assert_array_equal(found[row], expected[0, 0])
        highest, lowest = (extreme(one.values[origin : origin + 6, at]) for extreme, at in ((max, 1), (min, 2)))
        assert found[row, -1, RANGE] == pytest.approx(math.log(highest / lowest))


def test_horizon_one_and_no_origins(series):
    one = true_targets(series[0], np.array([7]), 1)
    assert one[0, 0, VOLATILITY] == abs(one[0, 0, 3])
    assert one[0, 0, RANGE] == pytest.approx(one[0, 0, 1] - one[0, 0, 2])
    assert true_targets(series[0], np.array([], dtype=int), 3).shape == (0, 3, 7)


def test_the_scale_of_an_asset_does_not_matter():
    paths, last = np.random.default_rng(1).uniform(1, 2, (2, 3, 4, 4)), np.array([1.0, 2.0])
    np.testing.assert_allclose(path_targets(paths * 6e4, last * 6e4), path_targets(paths, last), atol=1e-12)


def test_naive_scale_uses_the_training_split_alone(series):
    one, horizon = series[0], 3
    found = naive_scale(one, (10, 60), horizon, lookback=20)
    high, low, volume = np.log(one.values[:, 1]), np.log(one.values[:, 2]), one.values[:, 4]
    close = np.log(one.values[:, 3])
    origins = range(10 + horizon + 1, 60 - horizon + 1)
    for h in range(horizon):
        moves = [abs(close[o + h] - close[o - 1]) for o in origins]
        after = [math.hypot(*np.diff(close[o - 1 : o + h + 1])) for o in origins]
        before = [math.hypot(*np.diff(close[o - h - 2 : o])) for o in origins]
        ranges = [
            abs(np.ptp([high[o : o + h + 1].max(), low[o : o + h + 1].min()]) - (high[past].max() - low[past].min()))
            for o in origins
            for past in [slice(o - h - 1, o)]
        ]
        ratios = [abs(math.log(volume[o : o + h + 1].mean() / volume[o - 20 : o].mean())) for o in origins if o >= 30]
        assert found[h, RANGE] == pytest.approx(np.mean(ranges))
        assert found[h, VOLUME] == pytest.approx(np.mean(ratios))
        assert found[h, 3] == pytest.approx(np.mean(moves))
        assert found[h, 4] == pytest.approx(np.mean([abs(a - b) for a, b in zip(after, before, strict=True)]))


@pytest.mark.parametrize("bars", [1, 9, 7 * 32])
def test_blocks_of_origins_leave_the_naive_scale_as_it_is(series, monkeypatch, bars):
    whole = naive_scale(series[0], (10, 200), 7)
    monkeypatch.setattr("kronos_ft.scoring.targets.BLOCK_BARS", bars)
    np.testing.assert_allclose(naive_scale(series[0], (10, 200), 7), whole, rtol=1e-12)


def test_without_volume_in_training_its_naive_scale_is_undefined(series):
    values = series[0].values.copy()
    values[:, 4] = 0.0
    still = dataclasses.replace(series[0], values=values)
    assert np.isnan(naive_scale(still, (10, 60), 3, lookback=20)[:, VOLUME]).all()
    assert np.isnan(naive_scale(series[0], (10, 60), 3)[:, VOLUME]).all()
    assert np.isfinite(naive_scale(still, (10, 60), 3, lookback=20)[:, :VOLUME]).all()


def test_the_naive_scale_of_many_bars_takes_little_memory():
    one = load_candles({"A": simulate_candles(20_000, seed=1)})[0]
    tracemalloc.start()
    naive_scale(one, (0, len(one)), 60)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6  # all origins at once take 20,000 x 60 bars x 2 x 7 targets x 8 bytes, near 130 MB


def test_wrong_input_is_named(series):
    one = series[0]
    with pytest.raises(ValueError, match="horizon=0 is below 1"):
        true_targets(one, np.array([5]), 0)
    with pytest.raises(ValueError, match="origin 0 of SIM needs 1 bars before it and 2 after, but there are 900 bars"):
        true_targets(one, np.array([5, 0]), 2)
    with pytest.raises(ValueError, match=r"origin 899 of SIM .* use origins 1 to 898"):
        true_targets(one, np.array([899]), 2)
    with pytest.raises(ValueError, match="must be a 1-dimensional array of bar indices"):
        check_origins(one, np.array([0.5]))
    with pytest.raises(ValueError, match="paths has 1 prices that are not positive"):
        path_targets(np.array([[[[1.0, 1.0, -1.0, 1.0]]]]), np.ones(1))
    with pytest.raises(ValueError, match=r"paths has 2 volumes that are negative or not finite \(the first is -1\)"):
        path_targets(np.array([[[[1.0] * 4 + [-1.0], [1.0] * 4 + [np.nan]]]]), np.ones(1), np.ones(1))
    with pytest.raises(ValueError, match="last_close of shape"):
        path_targets(np.ones((2, 1, 1, 4)), np.ones(1))
    with pytest.raises(ValueError, match="horizon=0 is below 1"):
        path_targets(np.ones((2, 1, 0, 4)), np.ones(2))
    with pytest.raises(ValueError, match="a training split of 2 x horizon"):
        naive_scale(one, (0, 10), 5)
