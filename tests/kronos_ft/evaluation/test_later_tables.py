"""A table whose rows from the origin on are others, in values, defects and times: nothing before the origin tells."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from kronos_ft.baselines.bootstrap import VolatilityCone
from kronos_ft.baselines.naive import Drift, Persistence, SeasonalNaive, season_bars
from kronos_ft.data.candles import inspect_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.forecasting.context import inferred_times

ROWS = 700
PRICES = ["open", "high", "low", "close"]
BASELINES = [Persistence(), Drift(lookback=60), SeasonalNaive(), VolatilityCone(lookback=60, num_paths=3)]
OFFICE = [
    day + pd.Timedelta(hours=hour) for day in pd.bdate_range("2020-01-01 09:00", periods=ROWS // 8) for hour in range(8)
]
HOURS = pd.date_range("2020-01-01", periods=len(OFFICE), freq="h")
CLOCKS = {
    "continuous": HOURS,
    "session": pd.DatetimeIndex(OFFICE),
    "sparse": HOURS + pd.to_timedelta(np.arange(len(OFFICE)) // 9, "d"),
    "minutes": pd.date_range("2020-01-01", periods=len(OFFICE), freq="min"),
}
MARKET = simulate_candles(len(OFFICE), seed=12)


def spoilt(table, rng, rows):
    """Wicks, wrong candles and swapped volumes in some of the rows."""
    for row in rng.choice(rows, min(len(rows), 25), replace=False):
        kind = rng.integers(4)
        if kind <= 1:
            table.loc[row, "high"] *= rng.uniform(1.05, 3)
        elif kind == 2:
            table.loc[row, "low"] = table.loc[row, "high"] * 1.01
        else:
            table.loc[[row], ["volume", "amount"]] = table.loc[[row], ["amount", "volume"]].to_numpy(copy=True)
    return table


@pytest.mark.fault(17)
@settings(max_examples=40)
@given(
    st.integers(0, 2**32),
    st.integers(300, len(OFFICE) - 1),
    st.sampled_from(["continuous", "session"]),
    st.sampled_from(list(CLOCKS)),
    st.sampled_from(["repair", "drop"]),
)
def test_contexts_times_and_baselines_do_not_know_the_rest_of_the_file(seed, first, clock, later_clock, policy):
    rng = np.random.default_rng(seed)
    table = spoilt(MARKET.assign(timestamps=CLOCKS[clock]), rng, np.arange(len(MARKET)))
    time = table.timestamps[first].to_datetime64()
    changed = table.copy()
    clock_later = CLOCKS[later_clock][: len(table) - first]
    changed.loc[first:, "timestamps"] = clock_later + (table.timestamps[first] - clock_later[0])
    changed.loc[first:, PRICES] *= np.exp(rng.normal(0, 0.3, (len(table) - first, 1)))
    changed.loc[first:, ["volume", "amount"]] *= 10 ** rng.uniform(-3, 3, (len(table) - first, 2))
    changed = spoilt(changed, rng, np.arange(first, len(table)))
    found = []
    for one in (table, changed, table[:first]):
        (series,) = inspect_candles({"S": one}, policy)
        origin = int(np.searchsorted(series.timestamps, time))
        origins = np.array([origin])
        found.append(
            [
                series.values[:origin],
                inferred_times(series, origin, 30),
                season_bars(series, origin),
                *[baseline.paths(series, origins, 12) for baseline in BASELINES],
            ]
        )
    for again in found[1:]:
        for known, same in zip(found[0], again, strict=True):
            np.testing.assert_array_equal(known, same)
