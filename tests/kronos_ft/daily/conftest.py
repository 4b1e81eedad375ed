"""The command `kronos-ft forecast` with a small run, and logs of forecasts whose distribution is known."""

import numpy as np
import pandas as pd
import pytest

from kronos_ft.daily.quantile_log import COLUMNS, LEVEL_COLUMNS
from kronos_ft.data.candles import load_candles
from kronos_ft.forecasting.forecast import LEVELS

STEP = 0.01


@pytest.fixture(scope="session")
def walk():
    """Candles of a random walk with normal returns of 1 %, and the quantiles of the returns of 1 to 3 bars, exact."""
    from scipy.special import ndtri

    returns = np.random.default_rng(4).normal(0, STEP, 1500)
    close = 100 * np.exp(returns.cumsum())
    frame = pd.DataFrame({"timestamps": pd.date_range("2024-01-01", periods=1500, freq="h"), "close": close})
    frame["open"], frame["volume"] = frame.close.shift(1, fill_value=100.0), 1.0
    frame["high"], frame["low"] = frame[["open", "close"]].max(axis=1), frame[["open", "close"]].min(axis=1)
    exact = STEP * np.sqrt(np.arange(1, 4))[:, None] * ndtri(np.array(LEVELS))
    return frame, exact


@pytest.fixture(scope="session")
def make_log(walk):
    """A function: a log of forecasts of three bars from these origins, of quantiles that are `width` times as wide."""
    frame, exact = walk

    def make(origins, width=1.0, symbol="W", model="m" * 64):
        origins = np.repeat(np.fromiter(origins, np.int64), 3)
        table = pd.DataFrame({"symbol": symbol, "origin": frame.timestamps.to_numpy()[origins]})
        table["step"] = np.arange(len(origins)) % 3 + 1
        table["timestamps"] = table.origin + pd.to_timedelta(table.step, "h")
        table["last_close"] = frame.close.to_numpy()[origins]
        factors = np.exp(width * exact)[table.step - 1]
        table[list(LEVEL_COLUMNS)] = table.last_close.to_numpy()[:, None] * factors
        table["probability_up"], table["model"], table["created"] = 0.5, model, table.origin + pd.Timedelta(hours=1)
        return table[list(COLUMNS)]

    return make


@pytest.fixture(scope="session")
def walked(walk):
    return load_candles({"W": walk[0]})
