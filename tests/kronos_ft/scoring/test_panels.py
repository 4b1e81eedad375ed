"""RankIC and portfolios across symbols against statsmodels, scipy and a loop."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from kronos_ft.scoring.panels import mean_test, panel_scores, rank_correlation
from kronos_ft.scoring.scores import OriginTimes


def test_the_mean_has_the_newey_west_t_of_statsmodels():
    generator = np.random.default_rng(0)
    shocks = generator.normal(0.02, 0.2, 210)
    values = np.convolve(shocks, np.ones(4) / 4, "valid")
    found = mean_test(values, overlap=3)
    fit = sm.OLS(values, np.ones(len(values))).fit(cov_type="HAC", cov_kwds={"maxlags": found.lag}, use_t=True)
    assert found.lag == 6
    assert found.mean == pytest.approx(values.mean())
    assert found.t == pytest.approx(fit.tvalues[0])
    assert found.p_value == pytest.approx(fit.pvalues[0])
    assert mean_test(np.ones(20), 0).note == "the value is the same on all dates"
    few = mean_test(np.arange(6.0), 0)
    assert (few.mean, few.t) == (2.5, None)
    assert few.note == "6 dates with at least 5 symbols are too few; 8 are needed"


def test_rank_correlation_is_spearmans():
    generator = np.random.default_rng(1)
    a, b = generator.integers(0, 6, 30).astype(float), generator.normal(size=30)
    assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert rank_correlation(np.ones(30), b) is None


@pytest.fixture(scope="module")
def market():
    """Ten symbols on 60 dates, all origins of a symbol together; a forecast with some skill."""
    generator = np.random.default_rng(2)
    truth = generator.normal(0, 0.02, (10, 60))
    forecast = truth * 0.3 + generator.normal(0, 0.02, (10, 60))
    clock, symbols = np.tile(np.arange(60), 10), np.repeat(np.arange(10), 60)
    return forecast.ravel(), truth.ravel(), clock, symbols


def test_scores_are_those_of_a_loop_over_dates(market):
    forecast, truth, clock, symbols = market
    returns = np.expm1(truth)
    found = panel_scores(forecast, truth, returns, symbols, OriginTimes(6, clock, 10), horizon=12, cost=0.0015)
    ics, earned, everything, bought, held = [], [], [], [], set()
    for date in range(60):
        rows = np.flatnonzero(clock == date)
        ics.append(stats.spearmanr(forecast[rows], truth[rows]).statistic)
        if date % 2:  # forecasts of 12 bars every 6 overlap with the next date
            continue
        best = rows[np.argsort(forecast[rows])[-2:]]
        names = set(symbols[best].tolist())
        turnover = len(names - held) / 2
        sold = len(held - names) / 2
        earned.append(returns[best].mean() - 0.0015 * (turnover + sold))
        everything.append(returns[rows].mean())
        bought.append(turnover)
        held = names
    assert found["rank_ic"].mean == pytest.approx(np.mean(ics))
    assert found["rank_ic"].dates == 60
    assert found["rank_ic"].t > 3
    assert found["periods"] == 30
    assert found["size"] == 2
    assert found["portfolio_return"] == pytest.approx(np.mean(earned))
    assert found["universe_return"] == pytest.approx(np.mean(everything))
    assert found["excess"].mean == pytest.approx(np.mean(earned) - np.mean(everything))
    assert found["turnover"] == pytest.approx(np.mean(bought))
    dear = panel_scores(forecast, truth, returns, symbols, OriginTimes(6, clock, 10), 12, cost=0.01)
    assert dear["portfolio_return"] < found["portfolio_return"]
    assert dear["rank_ic"] == found["rank_ic"]


def test_a_forecast_without_differences_and_too_few_symbols(market):
    forecast, truth, clock, symbols = market
    flat = panel_scores(np.zeros(600), truth, truth, symbols, OriginTimes(6, clock, 10), 6, 0.0)
    assert flat["rank_ic"].note == "the forecast is the same for all symbols"
    assert (flat["portfolio_return"], flat["periods"]) == (None, 0)
    few = symbols < 4
    none = panel_scores(forecast[few], truth[few], truth[few], symbols[few], OriginTimes(6, clock[few], 4), 6, 0.0)
    assert none["rank_ic"].dates == 0
    assert none["rank_ic"].mean is None
    assert none["excess"].mean is None
