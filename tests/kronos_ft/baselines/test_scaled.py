"""Scaled reference distributions against loops over their definitions; nothing at or after the origin changes them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from kronos_ft.baselines.bar_shapes import with_marginals
from kronos_ft.baselines.scaled import ScaledCone, training_windows
from kronos_ft.baselines.volatility import Ewma, HarRv
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.evaluation.settings import OriginPlan
from kronos_ft.scoring.metrics import path_quantiles
from kronos_ft.scoring.targets import CLOSE, LEAST_VOLUME, TARGETS, VOLATILITY, VOLUME, path_targets, true_targets

PLAN = OriginPlan(lookback=45, horizon=6)
LOOKBACK, PATHS = 45, 19
KINDS = [ScaledCone, Ewma, HarRv]
ORIGINS = np.array([500, 511, 640])


@pytest.fixture(scope="module")
def both():
    return load_candles({"A": simulate_candles(900, seed=1), "B": simulate_candles(700, seed=2)})


def cut(one, end):
    return dataclasses.replace(one, timestamps=one.timestamps[:end], values=one.values[:end], table=None)


def fitted(kind, series, plan=PLAN):
    forecaster = kind(lookback=LOOKBACK, num_paths=PATHS)
    forecaster.fit(series, plan)
    return forecaster


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def forecaster(request, both):
    return fitted(request.param, [cut(both[0], 500), cut(both[1], 450)])


def test_the_cone_is_quantiles_of_standardised_returns_times_volatility(both):
    training = [cut(both[0], 500), cut(both[1], 450)]
    cone = fitted(ScaledCone, training)
    found = cone.targets(both[0], ORIGINS, 6)
    assert set(found) == set(TARGETS)
    returns = {one.symbol: np.diff(np.log(one.values[:, CLOSE])) for one in both}
    for position, target in enumerate(TARGETS):
        for h in (1, 6):
            ratios = []
            for one in training:
                for origin in range(LOOKBACK, len(one) - 6 + 1):
                    context = returns[one.symbol][origin - LOOKBACK : origin - 1]
                    truth = true_targets(one, np.array([origin]), 6, LOOKBACK)[0, h - 1, position]
                    scale = 1.0 if target == "volume" else np.sqrt(np.mean(context**2)) * h**0.5
                    ratios.append(truth / scale)
            ranked = np.sort(ratios)
            for row, origin in enumerate(ORIGINS):
                scale = np.sqrt(np.mean(returns["A"][origin - LOOKBACK : origin - 1] ** 2)) * h**0.5
                scale = 1.0 if target == "volume" else scale
                for k in range(1, PATHS + 1):
                    place = k / (PATHS + 1) * (len(ranked) + 1) - 1  # k-th smallest of n: the quantile k / (n + 1)
                    low = int(np.floor(place))
                    expected = ranked[low] + (place - low) * (ranked[low + 1] - ranked[low])
                    assert found[target][row, k - 1, h - 1] == pytest.approx(expected * scale, rel=1e-9)


def test_only_the_cone_forecasts_volume_and_only_from_symbols_that_have_it(both):
    training = [cut(both[0], 500), cut(both[1], 450)]
    silent = training[1].values.copy()
    silent[:, 4] = 0.0
    mixed = [training[0], dataclasses.replace(training[1], values=silent)]
    cones = [fitted(ScaledCone, mixed), fitted(ScaledCone, training[:1])]
    found = [cone.targets(both[0], ORIGINS, 6)["volume"] for cone in cones]
    np.testing.assert_array_equal(*found)
    scarce = training[0].values.copy()
    scarce[100::2, 4] = 0.0  # windows without trades in their first bar count as the least volume
    few = fitted(ScaledCone, [dataclasses.replace(training[0], values=scarce)]).targets(both[0], ORIGINS, 6)["volume"]
    assert few[0, 0, 0] == np.log(LEAST_VOLUME) < few[0, 0, 1]
    assert "volume" not in fitted(ScaledCone, mixed[1:]).targets(both[0], ORIGINS, 6)
    for kind in (Ewma, HarRv):
        assert set(fitted(kind, training).targets(both[0], ORIGINS, 6)) == set(TARGETS[:VOLUME])


def test_ewma_is_that_of_pandas_over_the_context(both):
    one = both[0]
    found = Ewma(lookback=LOOKBACK).features(one, ORIGINS)[:, 0]
    returns = pd.Series(np.log(one.values[:, CLOSE])).diff()
    for value, origin in zip(found, ORIGINS, strict=True):
        context = returns[origin - LOOKBACK + 1 : origin] ** 2
        assert value == pytest.approx(np.sqrt(context.ewm(alpha=0.06, adjust=True).mean().iloc[-1]), rel=1e-9)
    # the first context of a series has no bar before it
    first = returns[1:LOOKBACK] ** 2
    earliest = Ewma(lookback=LOOKBACK).features(one, np.array([LOOKBACK]))[0, 0]
    assert earliest == pytest.approx(np.sqrt(first.ewm(alpha=0.06, adjust=True).mean().iloc[-1]))


def test_har_is_the_least_squares_of_statsmodels_with_smearing(both):
    training = [cut(both[0], 500), cut(both[1], 450)]
    har = HarRv(lookback=LOOKBACK, num_paths=999)
    har.fit(training, PLAN)
    assert har.spans() == (2, 10, 44)
    assert HarRv(lookback=400).spans() == (18, 91, 399)
    h, rows, values = 4, [], []
    for one in training:
        returns = np.diff(np.log(one.values[:, CLOSE]), prepend=np.nan)
        for origin in range(LOOKBACK, len(one) - 6 + 1):
            past = [np.sqrt(np.mean(returns[origin - span : origin] ** 2)) for span in (2, 10, 44)]
            rows.append(np.log(np.maximum(past, 0.05 * past[-1])))
            values.append(np.log(max(np.sqrt(np.mean(returns[origin : origin + h] ** 2)), 0.05 * past[-1])))
    fit = sm.OLS(np.array(values), sm.add_constant(np.array(rows))).fit()
    np.testing.assert_allclose(har._weights[h], fit.params, rtol=1e-6)
    # the mean of the samples' variance is the smearing estimate, up to the outermost thousandth on each side
    returns = np.diff(np.log(both[0].values[:, CLOSE]), prepend=np.nan)
    x = [1.0, *[np.log(np.sqrt(np.mean(returns[500 - span : 500] ** 2))) for span in (2, 10, 44)]]
    smeared = np.exp(2 * np.dot(x, fit.params)) * h * np.mean(np.exp(2 * fit.resid))
    found = np.mean(har.targets(both[0], np.array([500]), 6)["volatility"][0, :, h - 1] ** 2)
    assert found == pytest.approx(smeared, rel=0.01)


def test_har_finds_persistent_volatility():
    """Log volatility is an autoregression: the regression must beat the context's volatility."""
    generator = np.random.default_rng(3)
    table = simulate_candles(6000, seed=4)
    log = np.zeros(6000)
    for bar in range(1, 6000):
        log[bar] = 0.97 * log[bar - 1] + 0.25 * generator.standard_normal()
    close = 100 * np.exp(np.cumsum(0.003 * np.exp(log) * generator.standard_normal(6000)))
    opened = np.concatenate(([100.0], close[:-1]))
    table = table.assign(open=opened, close=close, high=np.maximum(opened, close), low=np.minimum(opened, close))
    (one,) = load_candles({"A": table})
    plan = OriginPlan(lookback=200, horizon=12)
    origins = np.arange(4300, 5900, 12)
    truth = true_targets(one, origins, 12)[:, -1, VOLATILITY]
    errors = {}
    for kind in KINDS:
        forecaster = kind(lookback=200)
        forecaster.fit([cut(one, 4200)], plan)
        median = np.median(forecaster.targets(one, origins, 12)["volatility"][:, :, -1], axis=1)
        errors[kind] = np.mean(np.abs(np.log(median / truth)))
    assert errors[HarRv] < 0.95 * errors[Ewma] < 0.95 * errors[ScaledCone]


def test_paths_have_the_quantiles_of_the_close(forecaster, both):
    samples = forecaster.targets(both[0], ORIGINS, 6)["close"]
    paths = forecaster.paths(both[0], ORIGINS, 6)
    closes = path_targets(paths, both[0].values[ORIGINS - 1, CLOSE])[..., CLOSE]
    np.testing.assert_allclose(np.sort(closes, axis=1), samples, rtol=1e-9, atol=1e-14)
    levels = np.arange(1, PATHS + 1) / (PATHS + 1)
    np.testing.assert_allclose(path_quantiles(closes, levels), samples.transpose(1, 0, 2), rtol=1e-9, atol=1e-14)
    open_, high, low, close = np.moveaxis(paths, -1, 0)
    slack = 1 + 1e-12
    assert (low <= np.minimum(open_, close) * slack).all()
    assert (high * slack >= np.maximum(open_, close)).all()


def test_paths_keep_ranks_gaps_and_wicks_of_the_template():
    generator = np.random.default_rng(0)
    shapes = np.sort(generator.normal(0, 0.01, (2, 30, 5, 4)), axis=-1)[..., [1, 3, 0, 2]]
    closes = np.sort(generator.normal(0, 0.05, (2, 30, 5)), axis=1)
    found = with_marginals(shapes, closes)
    before, after = (np.cumsum(one[..., CLOSE], axis=2) for one in (shapes, found))
    np.testing.assert_array_equal(np.argsort(before, axis=1), np.argsort(after, axis=1))
    np.testing.assert_allclose(np.sort(after, axis=1), closes)
    np.testing.assert_array_equal(found[..., 0], shapes[..., 0])
    wicks = [one[..., 1] - np.maximum(one[..., 0], one[..., 3]) for one in (shapes, found)]
    np.testing.assert_allclose(*wicks)


@pytest.mark.fault(17)
def test_bars_from_the_origin_on_change_nothing(forecaster, both):
    one = both[0]
    paths, samples = forecaster.paths(one, ORIGINS, 6), forecaster.targets(one, ORIGINS, 6)
    for row, origin in enumerate(ORIGINS):
        values = one.values.copy()
        values[origin:] = np.nan
        changed = dataclasses.replace(one, values=values)
        np.testing.assert_array_equal(forecaster.paths(changed, ORIGINS[[row]], 6)[0], paths[row])
        for target, found in forecaster.targets(changed, ORIGINS[[row]], 6).items():
            np.testing.assert_array_equal(found[0], samples[target][row])
        values = one.values.copy()
        values[origin - 1] *= 1.05
        shaken = forecaster.targets(dataclasses.replace(one, values=values), ORIGINS[[row]], 6)["close"]
        assert np.ptp(shaken[0, :, -1]) > 1.2 * np.ptp(samples["close"][row, :, -1])


def test_windows_across_a_long_gap_are_left_out(both):
    one = cut(both[0], 300)
    whole = training_windows(one, LOOKBACK, PLAN)
    assert whole.tolist() == list(range(45, 295))
    late = one.timestamps.copy()
    late[200:] += np.timedelta64(5, "h")
    kept = training_windows(dataclasses.replace(one, timestamps=late), LOOKBACK, PLAN)
    # bar 200 may be the first bar of a context or the first after a horizon, but not within a window
    assert sorted(set(whole) - set(kept)) == list(range(195, 245))


def test_contexts_and_symbols_out_of_the_ordinary(forecaster, both):
    still = dataclasses.replace(both[0], symbol="C", values=np.full_like(both[0].values, 7.0))
    np.testing.assert_allclose(forecaster.paths(still, ORIGINS, 6), 7.0)
    assert (forecaster.targets(still, ORIGINS, 6)["volatility"] == 0).all()
    other = dataclasses.replace(both[0], symbol="C")
    assert forecaster.paths(other, ORIGINS, 2).shape == (3, PATHS, 2, 4)
    assert forecaster.paths(both[0], np.array([], dtype=int), 3).shape == (0, PATHS, 3, 4)


def test_what_cannot_be_fitted_or_forecast_is_named(both):
    cone = ScaledCone(lookback=LOOKBACK, num_paths=PATHS)
    with pytest.raises(ValueError, match="scaled cone is not fitted; call fit with the training split first"):
        cone.paths(both[0], ORIGINS, 6)
    with pytest.raises(ValueError, match=r"has 99 windows of 45 \+ 6 bars without a long gap; scaled cone needs 100"):
        cone.fit([cut(both[0], 149)], PLAN)
    flat = dataclasses.replace(both[0], values=np.full_like(both[0].values, 7.0))
    with pytest.raises(ValueError, match="the prices of the training split do not change"):
        cone.fit([flat], PLAN)
    cone.fit([cut(both[0], 150)], PLAN)
    with pytest.raises(ValueError, match="horizon=7 is beyond the 6 bars that scaled cone was fitted for"):
        cone.paths(both[0], ORIGINS, 7)
    with pytest.raises(ValueError, match="origin 44 of A needs 45 bars before"):
        cone.targets(both[0], np.array([44]), 3)
    with pytest.raises(ValueError, match="lookback=1 has no return; use 2 or more bars"):
        ScaledCone(lookback=1)
    with pytest.raises(ValueError, match=r"decay=1.0 is outside \(0, 1\)"):
        Ewma(decay=1.0)
