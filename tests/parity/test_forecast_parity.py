"""Forecasts against the published predictor: the same numbers, greedy and drawn, inside the window and beyond."""

import numpy as np
import pandas as pd
import pytest
import torch

from kronos_ft.data.sources import simulate_candles
from kronos_ft.forecasting.predictor import KronosPredictor
from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer

pytestmark = pytest.mark.parity
COLUMNS = ["open", "high", "low", "close", "volume", "amount"]


def networks_of(published, tokenizer_size, size):
    torch.manual_seed(2)
    tokenizer_config, config = KronosTokenizerConfig.from_size(tokenizer_size), KronosConfig.from_size(size)
    theirs = (
        published.Kronos(**{key: getattr(config, key) for key in config.published_keys()}).eval(),
        published.KronosTokenizer(
            **{key: getattr(tokenizer_config, key) for key in tokenizer_config.published_keys()}
        ).eval(),
    )
    ours = Kronos(config), KronosTokenizer(tokenizer_config)
    for one, other in zip(ours, theirs, strict=True):
        one.load_state_dict(other.state_dict())
    return theirs, ours


def both(published, sizes, max_context, lookback, horizon, batch=1, price=100.0, **options):
    theirs, ours = networks_of(published, *sizes)
    frame = simulate_candles(lookback + horizon + 10 * batch, seed=6)
    frame[["open", "high", "low", "close", "amount"]] *= price / 100.0
    frames = [frame.iloc[10 * i : 10 * i + lookback + horizon].reset_index(drop=True) for i in range(batch)]
    inputs = (
        [one.loc[: lookback - 1, COLUMNS] for one in frames],
        [one.timestamps[:lookback] for one in frames],
        [one.timestamps[lookback:] for one in frames],
    )
    found = []
    for predictor in (
        published.KronosPredictor(*theirs, device="cpu", max_context=max_context),
        KronosPredictor(*ours, device="cpu", max_context=max_context),
    ):
        torch.manual_seed(8)
        found.append(predictor.predict_batch(*inputs, horizon, verbose=False, **options))
    return found


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 0.9}, {"top_k": 12, "T": 0.7}], ids=str)
@pytest.mark.parametrize("max_context", [512, 66, 50, 40], ids=lambda bars: f"max_context={bars}")
def test_the_published_numbers(published, options, max_context):
    theirs, ours = both(published, ("tiny", "tiny"), max_context, 60, 12, batch=2, sample_count=3, **options)
    for one, other in zip(theirs, ours, strict=True):
        pd.testing.assert_frame_equal(other, one, check_dtype=False, rtol=1e-4, atol=0)


def test_the_published_numbers_at_the_published_size(published):
    theirs, ours = both(published, ("2k", "mini"), 512, 90, 5, sample_count=2, top_k=1)
    pd.testing.assert_frame_equal(ours[0], theirs[0], check_dtype=False, rtol=1e-4, atol=0)


@pytest.mark.parametrize("price", [0.1, 1e-3])
def test_the_published_numbers_of_low_prices(published, price):
    theirs, ours = both(published, ("tiny", "tiny"), 64, 50, 6, batch=3, price=price, top_k=1)
    for one, other in zip(theirs, ours, strict=True):
        pd.testing.assert_frame_equal(other, one, check_dtype=False, rtol=1e-4, atol=0)


def test_predict_of_one_series(published):
    theirs, ours = networks_of(published, "tiny", "tiny")
    frame = simulate_candles(50, seed=1)
    arguments = (frame.loc[:39, ["open", "high", "low", "close"]], frame.timestamps[:40], frame.timestamps[40:])
    expected = published.KronosPredictor(*theirs, device="cpu").predict(*arguments, 10, top_k=1, verbose=False)
    found = KronosPredictor(*ours, device="cpu").predict(*arguments, 10, top_k=1, verbose=False)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-4, atol=1e-9)
    assert np.array_equal(found.index, expected.index)
