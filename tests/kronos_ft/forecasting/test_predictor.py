"""The predictor: the published interface, paths, seeds, unequal lengths, no leakage, bad input."""

import numpy as np
import pandas as pd
import pytest
import torch
from transformers.utils import logging

from kronos_ft.data.columns import FEATURES
from kronos_ft.data.timestamps import calendar_features
from kronos_ft.forecasting import memory
from kronos_ft.forecasting.context import build_context
from kronos_ft.forecasting.feasible_candles import project_candles
from kronos_ft.forecasting.predictor import KronosPredictor
from kronos_ft.models.configuration_kronos import KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import KronosTokenizer

HORIZON = 6


@pytest.fixture
def frames(market):
    """A table, its times and the times to come."""
    values, times = market
    past = pd.DataFrame(values[:60], columns=list(FEATURES))
    return past, pd.Series(times[:60]), pd.Series(times[60 : 60 + HORIZON])


def paths_of(predictor, contexts, lengths=(40, 40), horizon=HORIZON, **options):
    options = {"num_paths": 5, "seed": 3, **options}
    return predictor.predict_paths(*contexts(list(lengths), horizon), horizon, **options)


def test_predict_has_the_published_shape(predictor, frames):
    past, times, future = frames
    found = predictor.predict(past, times, future, HORIZON, sample_count=2, verbose=False)
    assert list(found.columns) == list(FEATURES)
    assert found.index.tolist() == future.tolist()
    assert np.isfinite(found.to_numpy()).all()


def test_predict_takes_an_index_of_times_and_no_top_k(predictor, frames):
    past, times, future = frames
    one = predictor.predict(past, times, future, HORIZON, T=0, verbose=False)
    other = predictor.predict(
        past, pd.DatetimeIndex(times), pd.DatetimeIndex(future), HORIZON, T=0, top_k=None, top_p=None, verbose=False
    )
    assert np.array_equal(one.to_numpy(), other.to_numpy())


def test_missing_volume_and_amount_are_made_as_published(predictor, frames):
    past, times, future = frames
    prices = past[["open", "high", "low", "close"]]
    options = {"T": 0, "verbose": False}
    without = predictor.predict(prices, times, future, HORIZON, **options)
    zeros = predictor.predict(prices.assign(volume=0.0, amount=0.0), times, future, HORIZON, **options)
    assert np.array_equal(without, zeros)
    derived = past.assign(amount=past.volume * prices.mean(axis=1))
    no_amount = predictor.predict(past.drop(columns="amount"), times, future, HORIZON, **options)
    assert np.array_equal(no_amount, predictor.predict(derived, times, future, HORIZON, **options))


def test_predict_is_the_mean_of_the_raw_paths(predictor, frames, market):
    past, times, future = frames
    mean = predictor.predict(past, times, future, HORIZON, sample_count=4, seed=9, verbose=False)
    values, bars = market
    stamps = calendar_features(bars)
    inputs = ([values[:60]], [stamps[:60]], [stamps[60 : 60 + HORIZON]])
    paths = predictor.predict_paths(*inputs, HORIZON, 4, top_p=0.9, seed=9, project=False)[0].paths
    np.testing.assert_allclose(mean.to_numpy(), paths.mean(axis=0), rtol=1e-6)


def test_seeded_paths_repeat_and_do_not_depend_on_other_series_or_paths(predictor, contexts):
    two = paths_of(predictor, contexts)
    assert np.array_equal(two[0].paths, paths_of(predictor, contexts)[0].paths)
    more = paths_of(predictor, contexts, num_paths=8)
    for one, other in zip(two, more, strict=True):
        np.testing.assert_allclose(other.paths[:5], one.paths, rtol=1e-5)
    alone = paths_of(predictor, contexts, lengths=(40,))
    np.testing.assert_allclose(alone[0].paths, two[0].paths, rtol=1e-5)
    assert not np.allclose(two[0].paths, paths_of(predictor, contexts, seed=4)[0].paths)


def test_one_seed_a_series(predictor, contexts):
    together = paths_of(predictor, contexts, seed=[10, 20])
    swapped = predictor.predict_paths(
        *(list(reversed(part)) for part in contexts([40, 40], HORIZON)), HORIZON, 5, seed=[20, 10]
    )
    for one, other in zip(together, reversed(swapped), strict=True):
        np.testing.assert_allclose(one.paths, other.paths, rtol=1e-5)
    with pytest.raises(ValueError, match="seed has 1 numbers for 2 series"):
        paths_of(predictor, contexts, seed=[10])


def test_small_batches_give_the_same_paths(predictor, contexts, monkeypatch):
    whole = paths_of(predictor, contexts, lengths=(40, 30, 40))
    monkeypatch.setattr("kronos_ft.forecasting.predictor.BATCH_ROWS", 5)
    steps = []
    split = paths_of(
        predictor, contexts, lengths=(40, 30, 40), progress=lambda done, total: steps.append((done, total))
    )
    for one, other in zip(whole, split, strict=True):
        np.testing.assert_allclose(one.paths, other.paths, rtol=1e-5)
    assert steps[-1] == (3 * HORIZON, 3 * HORIZON)
    assert [done for done, _ in steps] == list(range(1, 3 * HORIZON + 1))


def test_unseeded_series_are_drawn_together_or_refused(predictor, contexts, monkeypatch):
    room = memory.forecast_bytes(predictor.model, predictor.tokenizer, 9, HORIZON, 40) / memory.USABLE
    monkeypatch.setattr(memory, "free_bytes", lambda device: room)
    with pytest.raises(
        ValueError, match=r"2 series x num_paths=5 exceed the 9 paths that fit into memory; pass a seed"
    ):
        paths_of(predictor, contexts, seed=None)
    assert len(paths_of(predictor, contexts)) == 2


@pytest.mark.parametrize("device", ["foo", "cuda:77"])
def test_devices_that_are_not_there(networks, device):
    with pytest.raises(ValueError, match=f"device='{device}' cannot be used"):
        KronosPredictor(*networks, device=device)


def test_recomputed_windows_are_counted_in_the_memory(networks):
    model, tokenizer = networks
    assert memory.forecast_bytes(model, tokenizer, 10, 20, 60, recomputes=True) > memory.forecast_bytes(
        model, tokenizer, 10, 20, 60
    )


def test_a_generator_is_the_only_source_of_randomness(predictor, contexts):
    found = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        generator = torch.Generator().manual_seed(5)
        found.append(paths_of(predictor, contexts, seed=None, generator=generator)[0].paths)
    assert np.array_equal(*found)


@pytest.mark.parametrize("overflow", ["exact", "roll", "reprefill", "trim"])
def test_context_and_horizon_past_max_context(networks, contexts, overflow):
    predictor = KronosPredictor(*networks, device="cpu", max_context=24)
    found = paths_of(predictor, contexts, lengths=(40, 22, 10), horizon=12, overflow=overflow)
    assert all(np.isfinite(one.paths).all() and one.paths.shape == (5, 12, 6) for one in found)


def test_forecasts_are_candles_that_can_exist(predictor, contexts):
    found = paths_of(predictor, contexts, num_paths=30)[0]
    raw = paths_of(predictor, contexts, num_paths=30, project=False)[0]
    open_, high, low, close, volume, amount = np.moveaxis(found.paths, -1, 0)
    assert (low <= np.minimum(open_, close)).all()
    assert (high >= np.maximum(open_, close)).all()
    assert (volume >= 0).all()
    assert (amount >= 0).all()
    assert found.projected_share == raw.projected_share > 0
    assert np.array_equal(project_candles(raw.paths)[0], found.paths)


def test_the_published_form_says_which_bars_cannot_exist_and_mends_them_on_request(predictor, frames, caplog):
    past, times, future = frames
    logging.enable_propagation()
    with caplog.at_level("WARNING"):
        raw = predictor.predict(past, times, future, HORIZON, T=0)
        mended = predictor.predict(past, times, future, HORIZON, T=0, project=True)
        predictor.predict(past, times, future, HORIZON, T=0, verbose=False)
    logging.disable_propagation()
    touched = project_candles(raw.to_numpy())[1]
    assert touched.any()
    assert not project_candles(mended.to_numpy())[1].any()
    said = [record.message for record in caplog.records if "forecast bars are not valid candles" in record.message]
    assert len(said) == 1
    assert said[0].startswith(f"{touched.sum()} of {HORIZON} forecast bars")


@pytest.mark.fault(21)
def test_prices_stay_positive(predictor, contexts):
    values, stamps, future = contexts([40], HORIZON)
    wild = [values[0] * np.where(np.arange(40) % 2, 1.0, 0.01)[:, None]]
    found = predictor.predict_paths(wild, stamps, future, HORIZON, 40, seed=0)[0]
    assert (found.paths[..., :4] > 0).all()


@pytest.mark.fault(17)
def test_nothing_at_or_after_the_origin_reaches_the_forecast(predictor, market):
    values, times = market
    frame = pd.DataFrame(values, columns=list(FEATURES)).assign(timestamps=times)
    changed = frame.copy()
    changed.loc[60:, list(FEATURES)] *= 3.0
    found = [
        predictor.predict(
            one.iloc[:60], one.timestamps[:60], one.timestamps[60:66], HORIZON, sample_count=2, seed=1, verbose=False
        )
        for one in (frame, changed)
    ]
    assert np.array_equal(*found)


def test_models_are_used_in_evaluation_mode(networks, contexts):
    model, tokenizer = networks
    predictor = KronosPredictor(model.train(), tokenizer.train(), device="cpu")
    assert not predictor.model.training
    assert not predictor.tokenizer.training


def test_a_forecast_leaves_the_model_trainable(networks, contexts):
    predictor = KronosPredictor(*networks, device="cpu")
    paths_of(predictor, contexts)
    tokens = torch.zeros(1, 4, dtype=torch.long)
    output = predictor.model(tokens, tokens, s1_targets=tokens)
    (output.s1_logits.sum() + output.s2_logits.sum()).backward()
    predictor.model.zero_grad()


def test_bits_of_tokenizer_and_model_must_agree(networks):
    other = KronosTokenizer(KronosTokenizerConfig.from_size("base"))
    with pytest.raises(ValueError, match="the model has s1_bits=5, but the tokenizer has s1_bits=10"):
        KronosPredictor(networks[0], other, device="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizon": 0}, "horizon=0 must be a whole number of bars"),
        ({"horizon": -3}, "horizon=-3 must be a whole number of bars"),
        ({"num_paths": 0}, "num_paths=0 is below 1"),
        ({"T": -1.0}, r"T=-1.0 must be 0 \(greedy\) or more"),
        ({"overflow": "never"}, "overflow='never' is not known"),
    ],
)
def test_settings_out_of_range(predictor, contexts, change, message):
    values = contexts([40], HORIZON)
    options = {"horizon": HORIZON, **change}
    with pytest.raises(ValueError, match=message):
        predictor.predict_paths(*values, options.pop("horizon"), **options)


def test_contexts_that_cannot_be_used(predictor, contexts):
    values, stamps, future = contexts([40], HORIZON)
    with pytest.raises(ValueError, match="a context of 1 bars is too short"):
        predictor.predict_paths([values[0][:1]], [stamps[0][:1]], future, HORIZON)
    broken = values[0].copy()
    broken[7, 3] = np.nan
    with pytest.raises(ValueError, match="close of bar 7 is nan"):
        predictor.predict_paths([broken], stamps, future, HORIZON)
    for published, unit, kind in ((True, 1e18, "float32"), (False, 1e160, "float64")):
        wei = values[0] * [1, 1, 1, 1, unit, unit]
        with pytest.raises(ValueError, match=rf"volume reaches .*: its variance overflows {kind}; use a"):
            predictor.predict_paths([wei], stamps, future, HORIZON, published_scale=published)
    with pytest.raises(ValueError, match="all prices of the context are 5"):
        predictor.predict_paths([np.full((40, 6), 5.0)], stamps, future, HORIZON)
    with pytest.raises(ValueError, match="40 bars and horizon=6 have 39 and 6 stamps"):
        predictor.predict_paths(values, [stamps[0][1:]], future, HORIZON)
    with pytest.raises(ValueError, match="series 1: a context of 1 bars"):
        predictor.predict_paths([values[0], values[0][:1]], [stamps[0], stamps[0][:1]], [future[0]] * 2, HORIZON)


def scaled(values, level, size):
    """The same market around another price, with moves of another size."""
    prices = (values[:, :4] - values[0, 3]) / values[:, 3].std() * size + level
    return np.concatenate((prices, values[:, 4:]), axis=1)


@pytest.mark.parametrize(("level", "size"), [(1e9, 1e-3), (3e-28, 1e-29), (1e-28, 1e-30), (1e5, 1e-3), (1.0, 1e-4)])
def test_small_moves_are_forecast_like_large_ones(predictor, contexts, level, size):
    """In float32 a price of 1e9 has steps of 64: moves of 1e-3 would be forecast as moves of +320 to +512."""
    values, stamps, future = contexts([40], HORIZON)
    small, large = scaled(values[0], level, size), scaled(values[0], 100, 1)
    found, expected = (build_context(one, stamps[0], future[0], HORIZON, clip=5).bars for one in (small, large))
    np.testing.assert_allclose(found, expected, rtol=0.12, atol=1e-3)
    paths = predictor.predict_paths([small], stamps, future, HORIZON, 3, seed=1, project=False)[0].paths
    assert np.abs(paths[..., :4] - level).max() < 10 * size


@pytest.mark.parametrize(
    ("level", "size", "message"),
    [
        (1.0, 1e-7, r"by 1\.1e-07 around 1, less than the model's tokens can resolve .*multiply the prices by 1,000"),
        (1e9, 1e-6, r"around 1e\+09, less than the precision of float64 allows; subtract a constant"),
    ],
)
def test_moves_that_cannot_be_resolved_are_refused(predictor, contexts, level, size, message):
    values, stamps, future = contexts([40], HORIZON)
    with pytest.raises(ValueError, match=message):
        predictor.predict_paths([scaled(values[0], level, size)], stamps, future, HORIZON)


def test_the_published_interface_warns_of_moves_below_its_rounding(predictor, frames, caplog):
    past, times, future = frames
    prices = list(past.columns[:4])
    moved = past.assign(**{name: 1e9 + past[name] * 1e-3 for name in prices})
    with caplog.at_level("WARNING"):
        predictor.predict(moved, times, future, HORIZON, verbose=False)
    assert (
        "less than the precision of float32 allows; subtract a constant from the prices, or use predict_paths"
        in caplog.text
    )


def test_tables_that_cannot_be_used(predictor, frames):
    past, times, future = frames
    predict = predictor.predict
    with pytest.raises(ValueError, match="df is a list"):
        predict([1, 2], times, future, HORIZON)
    with pytest.raises(ValueError, match="df has no column close"):
        predict(past.drop(columns="close"), times, future, HORIZON)
    with pytest.raises(ValueError, match="df has a missing value: volume in row 5"):
        predict(past.assign(volume=past.volume.where(past.index != 5)), times, future, HORIZON)
    with pytest.raises(ValueError, match="x_timestamp has 59 times for 60 rows"):
        predict(past, times[1:], future, HORIZON)
    with pytest.raises(ValueError, match="y_timestamp has 6 times for pred_len=7"):
        predict(past, times, future, 7)
    with pytest.raises(ValueError, match="not after the last bar of the past"):
        predict(past, times, times[-HORIZON:], HORIZON)
    with pytest.raises(ValueError, match="y_timestamp_list must be a list with one entry per series"):
        predictor.predict_batch([past], [times], [], HORIZON)


def test_too_many_paths_for_the_memory(predictor, contexts, monkeypatch):
    room = memory.forecast_bytes(predictor.model, predictor.tokenizer, 20, HORIZON, 40) / memory.USABLE
    monkeypatch.setattr(memory, "free_bytes", lambda device: room)
    assert len(paths_of(predictor, contexts, lengths=(40,), num_paths=20)) == 1
    with pytest.raises(ValueError, match=r"num_paths=4000 over 6 bars need about .* GiB, but .*; use at most 20 paths"):
        paths_of(predictor, contexts, lengths=(40,), num_paths=4000)
