"""Regimes: against brute force, with borders from validation alone."""

import numpy as np

from kronos_ft.scoring.regimes import REGIMES, context_volatility, fit_regimes


def test_volatility_of_contexts_equals_brute_force(series):
    origins = np.array([20, 21, 333, 900])
    found = context_volatility(series[0], origins, 20)
    for value, origin in zip(found, origins, strict=True):
        closes = np.log(series[0].values[origin - 20 : origin, 3])
        np.testing.assert_allclose(value, np.sqrt(np.mean(np.diff(closes) ** 2)), rtol=1e-9)


def test_borders_are_the_terciles_of_each_symbol():
    calm, wild, short = np.linspace(1, 2, 60), np.linspace(10, 40, 90), np.array([5.0, 6.0])
    regimes = fit_regimes({"calm": calm, "wild": wild, "short": short})
    for symbol, values in (("calm", calm), ("wild", wild)):
        counts = np.bincount(regimes.assign(symbol, values), minlength=len(REGIMES))
        assert np.ptp(counts) <= 1
    assert regimes.pooled == ["short"]
    assert regimes.borders["short"] == tuple(np.quantile(np.concatenate((calm, wild, short)), (1 / 3, 2 / 3)))


def test_borders_are_pooled_from_what_is_known_alone():
    volatility = {"long": np.linspace(1, 2, 60), "short": np.array([5.0, 6.0]), "early": np.array([])}
    known = [np.ones(62, bool), np.arange(62) >= 50, np.zeros(62, bool)]
    regimes = fit_regimes(volatility, known)
    pooled = np.concatenate((volatility["long"][50:], volatility["short"]))
    assert regimes.borders["short"] == tuple(np.quantile(pooled, (1 / 3, 2 / 3)))
    assert regimes.borders["long"] == fit_regimes(volatility).borders["long"]
    assert regimes.assign("early", np.array([1.0, 9.0])).tolist() == [-1, -1]


def test_without_validation_there_are_no_regimes():
    assert fit_regimes({"A": np.array([])}) is None
