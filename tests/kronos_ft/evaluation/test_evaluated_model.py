"""A predictor as a forecaster: what it is given, whatever the batch, and nothing from the origin on."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kronos_ft.data.candles import load_candles
from kronos_ft.data.timestamps import calendar_features
from kronos_ft.evaluation.models import EvaluatedModel, paired
from kronos_ft.evaluation.settings import OriginPlan
from kronos_ft.forecasting.context import origin_seed
from kronos_ft.forecasting.forecast import DirectQuantiles
from kronos_ft.forecasting.predictor import KronosPredictor
from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
from kronos_ft.scoring.targets import path_targets

ORIGINS = np.array([400, 424, 500, 636, 637])


class RecordingPredictor:
    """Keeps what it is asked for, and answers with paths that depend on context, stamps and seed of each series."""

    def __init__(self):
        self.calls = []

    def predict_paths(self, candles, stamps, future_stamps, horizon, num_paths, **options):
        self.calls.append((candles, stamps, future_stamps, options))
        forecasts = []
        for context, stamp, future, seed in zip(candles, stamps, future_stamps, options["seed"], strict=True):
            noise = np.random.default_rng(seed).normal(0, 0.01, (num_paths, horizon, 1)) * np.ones(6)
            level = context.mean() + stamp.sum() + future.sum()
            paths = context[-1, 3] * np.exp(noise) + level * 1e-9
            forecasts.append(SimpleNamespace(paths=paths, projected_share=0.25, spike_share=0.5))
        return forecasts


@pytest.fixture(scope="module")
def tiny_predictor():
    torch.manual_seed(0)
    model = Kronos(KronosConfig.from_size("tiny"))
    return KronosPredictor(model, KronosTokenizer(KronosTokenizerConfig.from_size("tiny")), device="cpu")


def changed_from(frame, origin):
    """The same candles with every bar at and after the origin another one."""
    other = frame.copy()
    growth = np.exp(np.random.default_rng(origin).normal(0, 0.1, len(frame) - origin).cumsum())
    for column in ("open", "high", "low", "close"):
        other.loc[origin:, column] *= growth
    other.loc[origin:, ["volume", "amount"]] *= 7.0
    return load_candles({"SIM": other})[0]


def test_the_predictor_is_given_the_bars_before_each_origin(series):
    predictor = RecordingPredictor()
    forecaster = EvaluatedModel("m", predictor, 50, 3, T=0.7, top_k=4, top_p=0.8, seed=5, overflow="trim")
    paths = forecaster.paths(series[0], ORIGINS, 6)
    assert paths.shape == (5, 3, 6, 5)
    ((candles, stamps, future, options),) = predictor.calls
    assert {name: options[name] for name in ("T", "top_k", "top_p", "overflow")} == {
        "T": 0.7,
        "top_k": 4,
        "top_p": 0.8,
        "overflow": "trim",
    }
    calendar = calendar_features(series[0].timestamps)
    for row, origin in enumerate(ORIGINS):
        np.testing.assert_array_equal(candles[row], series[0].values[origin - 50 : origin])
        np.testing.assert_array_equal(stamps[row], calendar[origin - 50 : origin])
        np.testing.assert_array_equal(future[row], calendar[origin : origin + 6])  # an hourly market without gaps
    assert len(set(options["seed"])) == len(ORIGINS)
    np.testing.assert_array_equal(forecaster.shares_at(series[0], ORIGINS), [[0.25, 0.5]] * len(ORIGINS))


@pytest.mark.parametrize("kind", ["recording", "tiny"])
def test_batches_and_company_change_no_path(series, tiny_predictor, kind):
    predictor = tiny_predictor if kind == "tiny" else RecordingPredictor()
    together = EvaluatedModel("m", predictor, 50, 4, seed=1).paths(series[0], ORIGINS, 5)
    for chosen in ([0], [3, 1], [4, 2]):
        apart = EvaluatedModel("m", predictor, 50, 4, seed=1).paths(series[0], ORIGINS[chosen], 5)
        np.testing.assert_allclose(apart, together[chosen], rtol=1e-5)
    other = EvaluatedModel("m", predictor, 50, 4, seed=2).paths(series[0], ORIGINS, 5)
    assert not np.allclose(other, together)


@pytest.mark.fault(17)
@pytest.mark.parametrize("kind", ["recording", "tiny"])
@pytest.mark.parametrize("origin", [424, 636])
def test_nothing_at_or_after_the_origin_reaches_the_forecast(candle_frame, tiny_predictor, kind, origin):
    predictor = tiny_predictor if kind == "tiny" else RecordingPredictor()
    before = load_candles({"SIM": candle_frame})[0]
    after = changed_from(candle_frame, origin)
    assert not np.isclose(before.values[origin:, 3], after.values[origin:, 3]).any()
    found = [EvaluatedModel("m", predictor, 50, 4).paths(one, np.array([origin]), 8) for one in (before, after)]
    np.testing.assert_array_equal(*found)
    later = [EvaluatedModel("m", predictor, 50, 4).paths(one, np.array([origin + 1]), 8) for one in (before, after)]
    assert not np.allclose(*later)


@pytest.mark.fault(17)
@pytest.mark.parametrize("kind", ["recording", "tiny"])
def test_bars_that_do_not_exist_yet_are_not_missed(series, tiny_predictor, kind):
    """Not even the times of later bars are needed: the series may end at the origin."""
    predictor = tiny_predictor if kind == "tiny" else RecordingPredictor()
    whole = series[0]
    ended = replace(whole, timestamps=whole.timestamps[:636], values=whole.values[:636])
    found = [EvaluatedModel("m", predictor, 50, 4).paths(one, np.array([636]), 8) for one in (whole, ended)]
    np.testing.assert_array_equal(*found)


def test_seeds_differ_by_run_symbol_and_time():
    times = np.array(["2024-01-01T00", "2024-01-01T01", "1960-01-01T00"], dtype="datetime64[ns]")
    seeds = {origin_seed(seed, symbol, time) for seed in (0, 1) for symbol in "AB" for time in times}
    assert len(seeds) == 12
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert origin_seed(3, "A", times[0]) == origin_seed(3, "A", times[0].astype("datetime64[s]"))


def test_impossible_settings(series):
    with pytest.raises(ValueError, match="num_paths=0 is too small; use 1 or more"):
        EvaluatedModel("m", None, num_paths=0)
    with pytest.raises(ValueError, match="lookback=1 is too small; use 2 or more"):
        EvaluatedModel("m", None, lookback=1)
    with pytest.raises(ValueError, match="origin 30 of SIM has fewer than lookback=50 bars before it"):
        EvaluatedModel("m", None, lookback=50).paths(series[0], np.array([100, 30]), 4)
    assert EvaluatedModel("m", None, 50, 2).paths(series[0], np.array([], dtype=int), 4).shape == (0, 2, 4, 5)


class RecordingHead(RecordingPredictor):
    """Adds quantiles of its own: of the close, of running high and low, of volatility and of mean volume."""

    found = SimpleNamespace(is_head=True)
    sampler = None

    def predict_paths(self, candles, stamps, future_stamps, horizon, num_paths, **options):
        forecasts = super().predict_paths(candles, stamps, future_stamps, horizon, num_paths, **options)
        levels = np.array([0.1, 0.5, 0.9])
        wide = 0.01 * np.sqrt(np.arange(1, horizon + 1))[:, None] * np.array([-1.0, 0.0, 1.0])
        for forecast, context in zip(forecasts, candles, strict=True):
            tables = {"close": wide, "high": wide + 0.02, "low": wide - 0.015}
            tables = {name: context[-1, 3] * np.exp(table) for name, table in tables.items()}
            tables |= {"volatility": np.exp(wide), "volume": context[:, 4].mean() * np.exp(2 * wide) + 0 * wide}
            forecast.direct = DirectQuantiles(levels, **tables)
        return forecasts


def test_a_heads_range_pairs_its_high_and_low_as_the_paths_do(series):
    head = EvaluatedModel("head", RecordingHead(), 50, 9)
    paths, found = head.paths(series[0], ORIGINS, 6), head.targets(series[0], ORIGINS, 6)
    assert set(found) == {"open", "high", "low", "close", "volatility", "range", "volume"}
    forecasts = head._forecast(series[0], ORIGINS, 6)
    for row in range(len(ORIGINS)):
        high, low = (forecasts[row].direct.samples(name, 9) for name in ("high", "low"))
        for h in range(6):
            highest, lowest = paths[row, :, : h + 1, 1].max(axis=1), paths[row, :, : h + 1, 2].min(axis=1)
            order = [(sum(highest < a), sum(lowest < b)) for a, b in zip(highest, lowest, strict=True)]
            expected = sorted(max(np.log(high[h, i] / low[h, j]), 0) for i, j in order)
            np.testing.assert_allclose(found["range"][row, :, h], expected, rtol=1e-9, atol=1e-12)
    own = path_targets(paths, series[0].values[ORIGINS - 1, 3])
    assert not np.allclose(found["range"], np.sort(own[..., 5], axis=1))


def test_a_heads_volume_is_related_to_the_lookback_of_the_evaluation(series):
    head, volume = EvaluatedModel("head", RecordingHead(), 50, 9), series[0].values[:, 4]
    for lookback in (50, 120):
        head.fit(series, OriginPlan(lookback=lookback, horizon=6))
        found = head.targets(series[0], ORIGINS, 6)["volume"]
        for row, origin in enumerate(ORIGINS):
            own, usual = volume[origin - 50 : origin].mean(), volume[origin - lookback : origin].mean()
            assert found[row, 4] == pytest.approx(np.full(6, np.log(own / usual)), abs=1e-9)
    values = series[0].values.copy()
    values[:450, 4] = 0.0
    silent = replace(series[0], values=values)
    assert "volume" not in head.targets(silent, ORIGINS[:2], 6)


def test_paired_samples_have_the_ranks_of_the_template():
    generator = np.random.default_rng(0)
    samples, template = np.sort(generator.normal(size=(2, 7, 3)), axis=1), generator.normal(size=(2, 7, 3))
    found = paired(samples, template)
    np.testing.assert_array_equal(np.argsort(found, axis=1), np.argsort(template, axis=1))
    np.testing.assert_array_equal(np.sort(found, axis=1), samples)
