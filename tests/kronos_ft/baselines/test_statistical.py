"""AutoETS and AutoTheta against statsforecast itself; skipped without it, except for the message."""

import dataclasses
import sys

import numpy as np
import pytest
from scipy import stats

from kronos_ft.baselines.statistical import Statistical
from kronos_ft.scoring.targets import path_targets

ORIGINS = np.array([240, 500])


@pytest.fixture(params=["AutoETS", "AutoTheta"])
def forecaster(request):
    pytest.importorskip("statsforecast")
    return Statistical(request.param, lookback=120, num_paths=9)


def test_quantiles_are_those_of_the_models_mean_and_interval(forecaster, series):
    from statsforecast import models

    found = forecaster.targets(series[0], ORIGINS, 6)["close"]
    for row, origin in enumerate(ORIGINS):
        closes = np.log(series[0].values[origin - 120 : origin, 3])
        raw = getattr(models, forecaster.name)(season_length=1).forecast(y=closes, h=6, level=[90])
        median = raw["mean"] - closes[-1]
        spread = (raw["hi-90"] - raw["lo-90"]) / (2 * 1.6448536)
        np.testing.assert_allclose(found[row, 4], median, rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(found[row, 8] - found[row, 4], stats.norm.ppf(0.9) * spread, rtol=1e-6)
    assert (np.diff(found, axis=1) > 0).all()


def test_paths_have_these_quantiles_and_valid_candles(forecaster, series):
    paths = forecaster.paths(series[0], ORIGINS, 6)
    closes = path_targets(paths, series[0].values[ORIGINS - 1, 3])[..., 3]
    np.testing.assert_allclose(np.sort(closes, axis=1), forecaster.targets(series[0], ORIGINS, 6)["close"])
    open_, high, low, close = np.moveaxis(paths, -1, 0)
    assert (low <= np.minimum(open_, close) * (1 + 1e-12)).all()
    assert (high * (1 + 1e-12) >= np.maximum(open_, close)).all()


@pytest.mark.fault(17)
def test_bars_from_the_origin_on_change_nothing(forecaster, series):
    one = series[0]
    found = forecaster.paths(one, ORIGINS[:1], 6)
    values = one.values.copy()
    values[ORIGINS[0] :] = np.nan
    np.testing.assert_array_equal(forecaster.paths(dataclasses.replace(one, values=values), ORIGINS[:1], 6), found)
    still = dataclasses.replace(one, values=np.full_like(one.values, 7.0))
    np.testing.assert_allclose(forecaster.paths(still, ORIGINS, 3), 7.0)


def test_without_the_package_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    with pytest.raises(ValueError, match=r"AutoTheta needs the package statsforecast; pip install 'kronos-ft\[statist"):
        Statistical("AutoTheta")
    with pytest.raises(ValueError, match="name='ARIMA' is not a model of statsforecast; use AutoETS or AutoTheta"):
        Statistical("ARIMA")
