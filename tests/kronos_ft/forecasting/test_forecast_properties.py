"""What every forecast is, whatever the network, the market and the settings; and that it knows no future."""

import dataclasses
import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st

from kronos_ft.baselines.bootstrap import VolatilityCone
from kronos_ft.baselines.naive import Drift, Persistence, SeasonalNaive
from kronos_ft.data.candles import load_candles
from kronos_ft.data.columns import FEATURES
from kronos_ft.data.sources import simulate_candles
from kronos_ft.data.timestamps import calendar_features
from kronos_ft.evaluation.models import EvaluatedModel
from kronos_ft.forecasting.forecast import Forecast
from kronos_ft.forecasting.predictor import KronosPredictor
from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
from kronos_ft.scoring.calibration import calibrate
from kronos_ft.scoring.targets import TARGETS

MAX_CONTEXT = 24
TIMES = pd.date_range("2024-02-27", periods=80, freq="7h").to_numpy().astype("datetime64[ns]")
STAMPS = calendar_features(TIMES)


@pytest.fixture(scope="module")
def predictors():
    """Networks of random weights; of the last ones every bar goes to the ends of what can be decoded."""
    found = []
    for seed, gain in ((0, 1), (1, 5), (2, 500)):
        torch.manual_seed(seed)
        tokenizer = KronosTokenizer(KronosTokenizerConfig.from_size("tiny"))
        with torch.no_grad():
            tokenizer.head.weight.mul_(gain)
        found.append(KronosPredictor(Kronos(KronosConfig.from_size("tiny")), tokenizer, "cpu", max_context=MAX_CONTEXT))
    return found


@st.composite
def contexts(draw):
    """Bars of a market: any price level and volatility, with or without volume, some of them flat."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    bars = draw(st.integers(2, 40))
    level, noise = 10 ** draw(st.floats(-9, 7)), 10 ** draw(st.floats(-5, -0.5))
    close = level * np.exp((noise * rng.normal(size=bars)).cumsum())
    opened = np.concatenate((close[:1] * np.exp(noise), close[:-1]))
    reach = np.exp(noise * np.abs(rng.normal(size=(2, bars))))
    reach[:, rng.random(bars) < draw(st.sampled_from([0, 0.5, 1]))] = 1
    volume = draw(st.sampled_from([0.0, 1e-6, 1.0, 1e6])) * rng.lognormal(0, 2, bars)
    assume(close.std() > 2e-6 * level)  # smaller moves are refused, see test_predictor.py
    table = (opened, np.maximum(opened, close) * reach[0], np.minimum(opened, close) / reach[1], close, volume)
    return np.column_stack((*table, volume * close))


SAMPLING = st.fixed_dictionaries(
    {
        "T": st.sampled_from([0.0, 0.5, 1.0, 3.0]),
        "top_k": st.sampled_from([0, 1, 5]),
        "top_p": st.sampled_from([0.1, 0.9, 1.0]),
        "overflow": st.sampled_from(["exact", "roll", "reprefill", "trim"]),
        "seed": st.integers(0, 2**31),
    }
)


@pytest.mark.fault(21)
@pytest.mark.fault(19)
@settings(max_examples=60)
@given(st.integers(0, 2), st.lists(contexts(), min_size=1, max_size=2), st.integers(1, 8), st.integers(1, 4), SAMPLING)
def test_every_path_is_made_of_candles_that_can_exist(predictors, which, candles, horizon, num_paths, options):
    stamps = [STAMPS[: len(one)] for one in candles]
    future = [STAMPS[len(one) : len(one) + horizon] for one in candles]
    given_ = [one.copy() for one in candles]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = predictors[which].predict_paths(candles, stamps, future, horizon, num_paths, **options)
    assert len(found) == len(candles)
    for forecast in found:
        assert forecast.paths.shape == (num_paths, horizon, 6)
        assert forecast.paths.dtype == np.float64
        assert np.isfinite(forecast.paths).all()
        opened, high, low, close, volume, amount = np.moveaxis(forecast.paths, -1, 0)
        assert (high >= np.maximum(opened, close)).all()
        assert (low <= np.minimum(opened, close)).all()
        assert (low > 0).all()
        assert (volume >= 0).all()
        assert (amount >= 0).all()
        assert 0 <= forecast.projected_share <= 1
        assert 0 <= forecast.spike_share <= 1
        # a mean of candles is one, and so is a quantile of each price
        for table in (forecast.mean(), *forecast.quantile_tables([0.05, 0.5, 1.0]).values()):
            assert (table.high >= table[["open", "close"]].max(axis=1) * (1 - 1e-12)).all()
            assert (table.low <= table[["open", "close"]].min(axis=1) * (1 + 1e-12)).all()
    assert all(np.array_equal(before, after) for before, after in zip(given_, candles, strict=True))


@pytest.mark.fault(21)
@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 5), st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_bands_are_ordered_inside_each_other_and_within_the_paths(seed, num_paths, horizon, levels):
    paths = np.random.default_rng(seed).normal(100, 10, (num_paths, horizon, 6))
    forecast = Forecast(paths, 0.0, 0.0)
    tables = [table.to_numpy() for _, table in sorted(forecast.quantile_tables(levels).items())]
    slack = 1e-9  # a quantile between two equal values is a weighted mean of them
    for lower, upper in itertools.pairwise(tables):
        assert (lower <= upper + slack).all()
    assert (np.stack(tables) >= paths.min(axis=0) - slack).all()
    assert (np.stack(tables) <= paths.max(axis=0) + slack).all()
    narrow, wide = forecast.band(0.5), forecast.band(0.9)
    assert (wide[0] <= narrow[0] + slack).all(axis=None)
    assert (narrow[1] <= wide[1] + slack).all(axis=None)
    times = TIMES[:horizon]
    table = forecast.to_frame(times)
    assert len(table) == num_paths * horizon
    for path, rows in table.groupby("path"):
        assert rows.timestamps.tolist() == pd.Series(times).tolist()
        np.testing.assert_array_equal(rows[list(FEATURES)], paths[path])


@pytest.fixture(scope="module")
def forecasters(predictors):
    cone = VolatilityCone(lookback=20, num_paths=6, seed=2)
    return [EvaluatedModel("m", predictors[1], 20, 3), Persistence(), Drift(lookback=20), SeasonalNaive(), cone]


MARKET = load_candles({"SIM": simulate_candles(200, seed=12)})[0]
HORIZON = 4


@pytest.mark.fault(17)
@pytest.mark.fault(21)
@settings(max_examples=40)
@given(st.integers(0, 4), st.integers(60, 196), st.integers(0, 2**32), st.sampled_from(["prices", "junk", "gone"]))
def test_a_forecast_from_any_origin_does_not_know_what_follows(forecasters, which, origin, seed, change):
    """Later bars of other prices, of no number at all, or that do not exist yet: the same bits."""
    forecaster = forecasters[which]
    values, times = MARKET.values.copy(), MARKET.timestamps
    if change == "prices":
        values[origin:, :4] *= np.exp(np.random.default_rng(seed).normal(0, 0.3, (len(values) - origin, 1)))
        values[origin:, 4:] *= 9.0
    elif change == "junk":
        values[origin:] = np.nan
    else:
        values, times = values[:origin], times[:origin]
    other = dataclasses.replace(MARKET, values=values, timestamps=times)
    before, after = (forecaster.paths(one, np.array([origin]), HORIZON) for one in (MARKET, other))
    np.testing.assert_array_equal(before, after)
    assert before.shape[0] == 1
    assert before.shape[2] == HORIZON
    assert before.shape[3] in (4, 5)  # with volume where it is forecast
    opened, high, low, close = np.moveaxis(before[..., :4], -1, 0)
    assert (high >= np.maximum(opened, close) * (1 - 1e-12)).all()
    assert (low <= np.minimum(opened, close) * (1 + 1e-12)).all()
    assert (low > 0).all()


def outcomes(rng, origins):
    truth = np.abs(rng.normal(size=(origins, 3, len(TARGETS))))
    return truth, truth[:, None] + rng.normal(size=(origins, 8, 3, len(TARGETS)))


@pytest.mark.fault(17)
@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 70), st.integers(0, 30), st.integers(0, 2**10))
def test_calibration_knows_nothing_of_the_test_split_or_of_what_is_not_over(seed, own, others, drawn):
    """Offsets stay when any truth of the test split changes, and when validation that ends after its start does."""
    rng = np.random.default_rng(seed)
    truth, paths = outcomes(rng, own + others)
    test = outcomes(rng, 6)
    rows = [slice(0, own), slice(own, own + others)]
    known = np.random.default_rng(drawn).random(own + others) < 0.5
    known[:own] |= True  # a symbol's own validation is over before its test
    arguments = (paths, rows, *test, [slice(0, 6), slice(6, 6)], [known, known])
    before = calibrate(truth, *arguments)
    later = truth.copy()
    later[~known] += 1e3
    other_test = (test[0] * 7 + 1, test[1])
    after = calibrate(later, paths, rows, *other_test, *arguments[4:])
    for target, found in before["targets"].items():
        assert found["offsets"] == after["targets"][target]["offsets"]
        for level, band in found["levels"].items():
            assert band["after"]["width"] == after["targets"][target]["levels"][level]["after"]["width"]
