"""A tiny predictor and contexts of a simulated market."""

import pytest
import torch

from kronos_ft.data.sources import simulate_candles
from kronos_ft.data.timestamps import calendar_features
from kronos_ft.forecasting.predictor import KronosPredictor
from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer


@pytest.fixture(scope="session")
def networks():
    torch.manual_seed(0)
    tokenizer = KronosTokenizer(KronosTokenizerConfig.from_size("tiny")).eval()
    with torch.no_grad():
        tokenizer.head.weight.mul_(5)  # or random weights decode every token to about the mean
    return Kronos(KronosConfig.from_size("tiny")).eval(), tokenizer


@pytest.fixture
def predictor(networks):
    return KronosPredictor(*networks, device="cpu")


@pytest.fixture(scope="session")
def market():
    """Raw candles `(400, 6)` and their times."""
    frame = simulate_candles(400, seed=11)
    return frame.drop(columns="timestamps").to_numpy(), frame["timestamps"].to_numpy().astype("datetime64[ns]")


@pytest.fixture(scope="session")
def contexts(market):
    """A function: candles, stamps and future stamps of series of these lengths that end at different bars."""

    def make(lengths, horizon):
        values, times = market
        stamps = calendar_features(times)
        ends = [300 - 7 * position for position in range(len(lengths))]
        return (
            [values[end - length : end] for end, length in zip(ends, lengths, strict=True)],
            [stamps[end - length : end] for end, length in zip(ends, lengths, strict=True)],
            [stamps[end : end + horizon] for end in ends],
        )

    return make
