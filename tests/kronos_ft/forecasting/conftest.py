"""A predictor of random weights and contexts of a simulated market."""

import pytest

from kronos_ft.data.sources import simulate_candles
from kronos_ft.data.timestamps import calendar_features
from kronos_ft.forecasting.predictor import KronosPredictor


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
