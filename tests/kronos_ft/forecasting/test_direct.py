"""Direct forecasts: units, interpolation, coupled paths, and nothing of the future."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.data.timestamps import calendar_features
from kronos_ft.forecasting.direct import QuantilePredictor, couple, past_blocks
from kronos_ft.forecasting.forecast import DirectQuantiles, interpolate_quantiles
from kronos_ft.models.modeling_quantiles import KronosForQuantiles, KronosQuantilesConfig
from kronos_ft.windows.dataset import WindowDataset, WindowShape
from kronos_ft.windows.quantile_windows import (
    CONTEXT_FEATURES,
    QuantileWindowDataset,
    context_volatility,
    horizon_targets,
)

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])


@pytest.fixture(scope="module")
def head(networks):
    body, tokenizer = networks
    torch.manual_seed(0)
    config = KronosQuantilesConfig.on_body(body.config, horizon=6, lookback=60, num_features=len(CONTEXT_FEATURES))
    model = KronosForQuantiles.on_body(body, config)
    generator = torch.Generator().manual_seed(1)
    model.fit_cone(
        torch.randn(500, config.num_features, generator=generator),
        torch.randn(500, 6, 5, generator=generator) * torch.tensor([1, 1, 1, 0.3, 0.3]),
    )
    torch.nn.init.normal_(model.head.out.weight, std=0.05)
    return QuantilePredictor(model, tokenizer, "cpu")


@pytest.fixture(scope="module")
def context(market):
    values, times = market
    return values[100:160], calendar_features(times[100:160])


def test_quantiles_in_raw_units_are_the_standardised_ones(head, market, context):
    """Standardising the forecast median again gives what the model said."""
    past, stamps = context
    found = head.predict([past], [stamps])[0]
    said = head.standardised(past[None], stamps[None])[0]
    middle = head.model.config.quantile_levels.index(0.5)
    assert found.close.shape == (6, 13)
    assert (np.diff(found.close, axis=1) > 0).all()
    unit = context_volatility(past[None])[0] * np.sqrt(np.arange(1, 7))
    assert np.log(found.close[:, middle] / past[-1, 3]) / unit == pytest.approx(said[:, 0, middle], abs=1e-9)
    assert np.log(found.high[:, 0] / past[-1, 3]) / unit == pytest.approx(said[:, 1, 0], abs=1e-9)
    assert np.log(found.volatility[:, 3] / unit) == pytest.approx(said[:, 3, 3], abs=1e-9)
    assert np.log(found.volume[:, 3] / past[:, 4].mean()) == pytest.approx(said[:, 4, 3], abs=1e-9)
    # the same definition as of the targets
    truth = market[0][160:166]
    standard = horizon_targets(past[None], truth[None])[0]
    assert np.log(truth[:, 3] / past[-1, 3]) / unit == pytest.approx(standard[:, 0], rel=1e-5)


def test_a_forecast_reads_the_features_and_tokens_of_training(head):
    """At every hour of the day, the last windows of a split give the quantiles that training and validation see."""
    series = load_candles({"SIM": simulate_candles(400, seed=6)})
    windows = QuantileWindowDataset(WindowDataset(series, "train", WindowShape(60, 6, stride=1)), head.tokenizer)
    hours = set()
    for window in range(0, 48, 5):
        batch = windows.__getitems__([window])
        inputs = {"features": batch["features"], "s1_ids": batch["s1"], "s2_ids": batch["s2"], "stamp": batch["stamps"]}
        with torch.no_grad():
            seen = head.model(**inputs).quantiles[0].numpy()
        times = series[0].timestamps[window : window + 60]
        hours.add(str(times[-1])[11:13])
        found = head.standardised(series[0].values[window : window + 60][None], calendar_features(times)[None])[0]
        np.testing.assert_allclose(found, seen, rtol=1e-5, atol=1e-6)
    assert len(hours) > 5


def test_series_of_a_batch_do_not_affect_each_other(head, market):
    values, times = market
    stamps = calendar_features(times)
    pasts = [slice(first, first + 60) for first in (0, 50, 120)]
    together = head.predict([values[part] for part in pasts], [stamps[part] for part in pasts])
    alone = head.predict([values[pasts[1]]], [stamps[pasts[1]]])[0]
    assert together[1].close == pytest.approx(alone.close, rel=1e-6)
    assert not np.allclose(together[0].close, together[1].close)


def test_a_shorter_horizon_is_the_beginning(head, context):
    past, stamps = context
    assert np.array_equal(head.predict([past], [stamps], 2)[0].high, head.predict([past], [stamps])[0].high[:2])


@pytest.mark.parametrize(
    ("horizon", "change", "message"),
    [
        (7, {}, "horizon=7 is outside 1 to 6, which the quantile head was trained for; shorten it"),
        (0, {}, "horizon=0 is outside 1 to 6"),
        (6, {"constant": True}, "all prices of the context are 7"),
        (6, {"missing": True}, "close of bar 3 is nan"),
    ],
)
def test_what_cannot_be_forecast(head, context, horizon, change, message):
    past, stamps = context[0].copy(), context[1]
    if "constant" in change:
        past[:, :4] = 7
    if "missing" in change:
        past[3, 3] = np.nan
    with pytest.raises(ValueError, match=message):
        head.predict([past], [stamps], horizon)


def test_a_head_with_a_body_needs_its_tokenizer(head):
    with pytest.raises(ValueError, match="the quantile head has a body, which reads tokens; pass its tokenizer"):
        QuantilePredictor(head.model)


def test_interpolation_is_exact_for_a_normal_distribution():
    values = 3 + 2 * norm.ppf(LEVELS)
    wanted = np.array([0.001, 0.05, 0.3, 0.5, 0.9, 0.999])
    assert interpolate_quantiles(values, LEVELS, wanted) == pytest.approx(3 + 2 * norm.ppf(wanted))


def test_probability_above_a_price_is_that_of_the_distribution():
    mean, spread = np.log(50.0), 0.1
    close = np.exp(mean + spread * norm.ppf(LEVELS))[None]
    one = DirectQuantiles(LEVELS, close, close, close, close, close)
    for price in (20.0, 45.0, 50.0, 51.0, 90.0):
        expected = 1 - norm.cdf((np.log(price) - mean) / spread)
        assert one.probability_above(price) == pytest.approx([expected], abs=1e-9)


def test_coupled_paths_have_the_marginals_and_keep_their_ranks():
    generator = np.random.default_rng(0)
    past = np.exp(generator.normal(0, 0.01, (80, 6)).cumsum(axis=0))
    past[:, 1] = past[:, :4].max(axis=1) * 1.01
    past[:, 2] = past[:, :4].min(axis=1) * 0.99
    paths = past_blocks(past, 50, 8, generator)[..., :4]
    closes = np.exp(np.sort(generator.normal(0, 0.05, (8, 50)), axis=1)) * 3
    found = couple(paths, closes)
    assert np.sort(found[..., 3], axis=0) == pytest.approx(closes.T)
    order = np.argsort(paths[..., 3], axis=0, kind="stable")
    assert (np.diff(np.take_along_axis(found[..., 3], order, axis=0), axis=0) >= 0).all()
    opens, highs, lows, ends = np.moveaxis(found, -1, 0)
    assert (highs >= np.maximum(opens, ends) * (1 - 1e-12)).all()
    assert (lows <= np.minimum(opens, ends) * (1 + 1e-12)).all()
    # the gap between a close and the next open stays
    assert np.log(found[:, 1:, 0] / found[:, :-1, 3]) == pytest.approx(np.log(paths[:, 1:, 0] / paths[:, :-1, 3]))
    same = couple(paths, np.sort(paths[..., 3], axis=0).T)
    assert same == pytest.approx(paths)


def test_paths_of_the_head(head, context):
    past, stamps = context
    quantiles = head.predict([past], [stamps])[0]
    paths = head.paths(quantiles, past, 199, seed=5)
    assert paths.shape == (199, 6, 6)
    assert np.array_equal(paths, head.paths(quantiles, past, 199, seed=5))
    inner = quantiles.at("close", np.array([0.25, 0.5, 0.75]))
    found = np.quantile(paths[..., 3], [0.25, 0.5, 0.75], axis=0, method="weibull")
    assert pytest.approx(inner) == found.T
    assert (paths[..., 1] >= paths[..., [0, 3]].max(axis=-1) * (1 - 1e-12)).all()
    assert (paths[..., 4] >= 0).all()
