"""Naive forecasters against their definitions; nothing at or after the origin changes them."""

import dataclasses
import sys

import numpy as np
import pandas as pd
import pytest

from kronos_ft.baselines.bootstrap import VolatilityCone
from kronos_ft.baselines.garch import Garch, fit_garch, follow_variance
from kronos_ft.baselines.naive import Drift, Persistence, SeasonalNaive, season_bars
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.scoring.targets import path_targets

ALL = [
    Persistence(),
    Drift(lookback=50),
    SeasonalNaive(),
    VolatilityCone(lookback=60, num_paths=8, block=5),
    Garch(lookback=200, num_paths=8, refit_every=20),
]
ORIGINS = np.array([240, 251, 500, 893])


def of_market(table):
    return load_candles({"SIM": table})[0]


@pytest.mark.fault(17)
@pytest.mark.parametrize("forecaster", ALL, ids=lambda forecaster: forecaster.name)
def test_bars_from_the_origin_on_change_nothing(forecaster, series):
    one = series[0]
    found = forecaster.paths(one, ORIGINS, 30)
    for row, origin in enumerate(ORIGINS):
        for junk in (np.nan, 1e9):
            values = one.values.copy()
            values[origin:] = junk
            changed = dataclasses.replace(one, values=values)
            np.testing.assert_array_equal(forecaster.paths(changed, ORIGINS[[row]], 30)[0], found[row])
        values = one.values.copy()
        values[origin - 1] *= 1.01
        assert not np.array_equal(
            forecaster.paths(dataclasses.replace(one, values=values), ORIGINS[[row]], 30)[0], found[row]
        )


@pytest.mark.fault(21)
@pytest.mark.parametrize("forecaster", ALL, ids=lambda forecaster: forecaster.name)
@pytest.mark.fault(21)
def test_candles_can_exist_and_the_future_can_be_forecast(forecaster, series):
    paths = forecaster.paths(series[0], np.array([300, len(series[0])]), 30)
    has_volume = isinstance(forecaster, SeasonalNaive)
    assert paths.shape == (2, getattr(forecaster, "num_paths", 1), 30, 4 + has_volume)
    open_, high, low, close = np.moveaxis(paths, -1, 0)[:4]
    slack = 1 + 1e-12
    assert (low <= np.minimum(open_, close) * slack).all()
    assert (high * slack >= np.maximum(open_, close)).all()
    assert (paths > 0).all()
    assert forecaster.paths(series[0], np.array([], dtype=int), 3).shape[0] == 0
    assert forecaster.paths(series[0], np.array([300]), 1).shape[2] == 1


@pytest.mark.parametrize("forecaster", ALL[:-1], ids=lambda forecaster: forecaster.name)
def test_constant_prices_are_forecast_to_stay(forecaster, series):
    still = dataclasses.replace(series[0], values=np.full_like(series[0].values, 7.0))
    np.testing.assert_allclose(forecaster.paths(still, ORIGINS, 5), 7.0)
    np.testing.assert_allclose(ALL[-1].paths(still, ORIGINS, 5), 7.0)


def test_persistence_and_drift_by_definition(series):
    close = series[0].values[:, 3]
    assert (Persistence().paths(series[0], ORIGINS, 4) == close[ORIGINS - 1][:, None, None, None]).all()
    np.testing.assert_array_equal(
        Persistence().targets(series[0], ORIGINS, 4)["volume"], np.zeros((len(ORIGINS), 1, 4))
    )
    found = Drift(lookback=50).paths(series[0], ORIGINS, 4)
    for row, origin in enumerate(ORIGINS):
        growth = (close[origin - 1] / close[origin - 51]) ** (1 / 50)
        np.testing.assert_allclose(found[row, 0, :, 3], close[origin - 1] * growth ** np.arange(1, 5))
        np.testing.assert_allclose(found[row, 0, :, 0], close[origin - 1] * growth ** np.arange(4))


def test_seasonal_naive_repeats_the_changes_of_a_day_ago(series):
    """Hourly bars around the clock: a season is 24 bars; a horizon of 30 begins the day again."""
    assert season_bars(series[0], 900) == 24
    found = SeasonalNaive().paths(series[0], ORIGINS, 30)
    values = series[0].values
    for row, origin in enumerate(ORIGINS):
        close = values[origin - 1, 3]
        for h in range(30):
            source = origin - 24 + h % 24
            np.testing.assert_allclose(found[row, 0, h, :4], close * values[source, :4] / values[source - 1, 3])
            assert found[row, 0, h, 4] == values[source, 4]
            close *= values[source, 3] / values[source - 1, 3]


def test_seasons_follow_from_the_step():
    daily = simulate_candles(700, step="1D")
    assert season_bars(of_market(daily), 100) == 7
    weekdays = of_market(daily[daily.timestamps.dt.dayofweek < 5])
    assert season_bars(weekdays, 100) == 5
    assert season_bars(of_market(simulate_candles(60, step="7D")), 50) == 52
    assert season_bars(of_market(simulate_candles(300, step="15min")), 50) == 96
    table = simulate_candles(40 * 78)
    offsets = pd.to_timedelta(np.arange(78) * 5, unit="min")
    days = pd.bdate_range("2024-01-01 14:30", periods=40)
    session = of_market(table.assign(timestamps=[day + offset for day in days for offset in offsets]))
    assert season_bars(session, 400) == 78


def test_the_cone_is_as_wide_as_the_past_and_goes_nowhere(series):
    forecaster = VolatilityCone(lookback=400, num_paths=4000, block=12)
    one, origin, horizon = series[0], 800, 24
    targets = path_targets(forecaster.paths(one, np.array([origin]), horizon), one.values[[origin - 1], 3])[0]
    returns = np.diff(np.log(one.values[origin - 401 : origin, 3]))
    assert targets[:, -1, 3].mean() == pytest.approx(0, abs=3 * returns.std() * horizon**0.5 / 4000**0.5)
    # blocks that wrap around keep each bar equally likely and correlations inside a block
    centred = returns - returns.mean()
    within = [np.mean(centred * np.roll(centred, -lag)) for lag in range(12)]
    block = 12 * within[0] + 2 * sum((12 - lag) * within[lag] for lag in range(1, 12))
    assert targets[:, -1, 3].var() == pytest.approx(2 * block, rel=0.1)
    assert targets[:, 0, 4].mean() == pytest.approx(np.abs(centred).mean(), rel=0.05)


def test_draws_depend_on_seed_and_origin_alone(series):
    cone = VolatilityCone(lookback=60, num_paths=8)
    together = cone.paths(series[0], ORIGINS, 6)
    np.testing.assert_array_equal(together[2:], cone.paths(series[0], ORIGINS[2:], 6))
    assert not np.array_equal(together, dataclasses.replace(cone, seed=1).paths(series[0], ORIGINS, 6))


def test_garch_finds_its_parameters_and_follows_volatility():
    generator = np.random.default_rng(0)
    omega, alpha, beta = 2e-6, 0.1, 0.85
    returns, variance = np.empty(20_000), omega / (1 - alpha - beta)
    variances = np.empty(20_001)
    for bar in range(20_000):
        variances[bar] = variance
        returns[bar] = np.sqrt(variance) * generator.standard_normal()
        variance = omega + alpha * returns[bar] ** 2 + beta * variance
    variances[-1] = variance
    found = fit_garch(returns)
    assert found[1:] == pytest.approx((alpha, beta), abs=0.03)
    assert found[0] == pytest.approx(omega, rel=0.3)
    followed = follow_variance(returns, omega, alpha, beta)
    np.testing.assert_allclose(followed[-500:], variances[-500:], rtol=1e-6)


def test_garch_widens_after_a_shock(series):
    one, garch = series[0], Garch(lookback=300, num_paths=500, refit_every=50)
    shaken = one.values.copy()
    shaken[820:] *= 1.08
    calm, wild = (
        path_targets(garch.paths(dataclasses.replace(one, values=values), np.array([822]), 3), values[[821], 3])
        for values in (one.values, shaken)
    )
    assert wild[0, :, 0, 3].std() > 1.5 * calm[0, :, 0, 3].std()


def test_garch_without_its_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "arch", None)
    with pytest.raises(ValueError, match=r"needs the package arch; pip install 'kronos-ft\[garch\]'"):
        Garch()


def test_wrong_input_is_named(series):
    with pytest.raises(ValueError, match="origin 50 of SIM needs 51 bars before"):
        Drift(lookback=50).paths(series[0], np.array([50]), 3)
    with pytest.raises(ValueError, match="origin 24 of SIM needs 25 bars before"):
        SeasonalNaive().paths(series[0], np.array([24, 90]), 3)
    with pytest.raises(ValueError, match="horizon=0 is below 1"):
        Persistence().paths(series[0], np.array([5]), 0)
    with pytest.raises(ValueError, match="block=0 must be a whole number, 1 or more"):
        VolatilityCone(block=0)
    with pytest.raises(ValueError, match="season=-1 must be"):
        SeasonalNaive(season=-1)
