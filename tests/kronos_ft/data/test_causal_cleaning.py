"""What `repair` and `drop` leave of the bars before a time is decided by these bars alone, whatever comes later."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from kronos_ft.data.candles import inspect_candles
from kronos_ft.data.quality import (
    WICK_HISTORY,
    WICK_NEIGHBOURHOOD,
    WICK_RANGES,
    WICK_SHARE_OF_PRICE,
    isolated_wicks,
    swapped_volume,
)
from kronos_ft.data.sources import simulate_candles
from tests.examples import examples

ROWS = 400
PRICES = ["open", "high", "low", "close"]
MARKETS = [simulate_candles(ROWS, seed=seed) for seed in range(4)]


def with_wicks(table, rng, rows, count, least=1.03):
    """Highs and lows far from their bars, in some of the rows."""
    for row in rng.choice(rows, min(count, len(rows)), replace=False):
        factor = rng.uniform(least, 4)
        table.loc[row, "high"] *= factor if rng.random() < 0.6 else 1
        table.loc[row, "low"] /= factor if rng.random() < 0.6 else 1


def swap(table, rows):
    table.loc[rows, ["volume", "amount"]] = table.loc[rows, ["amount", "volume"]].to_numpy(copy=True)


def with_defects(table, rng, rows, count):
    """Defects of single rows, in some of them."""
    for row in rng.choice(rows, min(count, len(rows)), replace=False):
        column = rng.choice([*PRICES, "volume", "amount"])
        kind = rng.integers(6)
        if kind == 0:
            table.loc[row, column] = rng.choice([np.nan, np.inf, -1.0, 0.0, 1e300])
        elif kind == 1:
            table.loc[row, "high"] = table.loc[row, "low"] * 0.99
        elif kind == 2:
            swap(table, [row])
        elif kind == 3:
            table.loc[row, "volume"] = -1.0
        elif kind == 4:
            table.loc[row, PRICES] = table.loc[row, "close"]
        else:
            table.loc[row, "timestamps"] = table.timestamps[max(row - 1, rows[0])]


def table_of(rng, market):
    """A market with wicks (from none to too many), defects, and stretches that are swapped or hardly move."""
    table = market.copy()
    rows = np.arange(ROWS)
    with_wicks(table, rng, rows, rng.integers(0, 30))
    with_defects(table, rng, rows, rng.integers(0, 10))
    if rng.random() < 0.4:
        begin, end = np.sort(rng.integers(0, ROWS, 2))
        swap(table, np.arange(begin, end))
    if rng.random() < 0.3:
        begin, end = np.sort(rng.integers(0, ROWS, 2))
        table.loc[begin:end, PRICES] = table.loc[begin:end, ["close"] * 4].to_numpy()
    return table


def another_end(table, rng, first):
    """The table with other bars from a row on: another level, range and unit, new wicks and defects, other times."""
    later = MARKETS[rng.integers(len(MARKETS))].loc[first:].copy()
    later["timestamps"] = table.timestamps[first:].max() + pd.to_timedelta(np.arange(len(later)), unit="h")
    middle = later[PRICES].mean(axis=1).to_numpy()[:, None]
    wider = 10 ** rng.uniform(-3, 1.5)
    later[PRICES] = (middle * (later[PRICES].to_numpy() / middle) ** wider) * 10 ** rng.uniform(-2, 2)
    later["volume"] *= 10 ** rng.uniform(-3, 3)
    later["amount"] *= rng.choice([1.0, 0.1, 1000.0])
    if rng.random() < 0.3:
        later = later.rename(columns={"volume": "amount", "amount": "volume"})[table.columns]
    rows = later.index.to_numpy()
    with_wicks(later, rng, rows, rng.integers(0, 40))
    with_defects(later, rng, rows, rng.integers(0, 20))
    later = later.loc[rng.random(len(later)) < rng.uniform(0.3, 1)]
    parts = [table.loc[table.index < first], later]
    return pd.concat(parts[:: rng.choice([1, -1])])  # in any order; of rows of one time the last one counts


def cleaned_before(table, policy, time):
    (one,) = inspect_candles(table, policy)
    known = one.timestamps < time
    return one.timestamps[known], one.values[known]


@pytest.mark.fault(17)
@examples(150)
@given(st.integers(0, 2**32), st.integers(1, ROWS - 1), st.sampled_from(["repair", "drop"]))
def test_later_bars_change_nothing_before_them(seed, first, policy):
    rng = np.random.default_rng(seed)
    table = table_of(rng, MARKETS[seed % len(MARKETS)])
    first = int(np.flatnonzero(table.timestamps >= table.timestamps[first])[0])  # a duplicate belongs to its time
    time = table.timestamps[first].to_datetime64()
    expected = cleaned_before(table, policy, time)
    for changed in (another_end(table, rng, first), table.loc[table.index < first]):
        for found, known in zip(cleaned_before(changed, policy, time), expected, strict=True):
            np.testing.assert_array_equal(found, known)


@pytest.mark.fault(17)
@pytest.mark.parametrize("policy", ["repair", "drop"])
def test_the_range_of_later_bars_and_the_count_of_later_wicks_mend_nothing_earlier(policy):
    table = simulate_candles(600, seed=3)
    table.loc[range(110, 211, 20), "high"] *= 1.3
    time = table.timestamps[211].to_datetime64()
    expected = cleaned_before(table, policy, time)
    middle = table.loc[211:, PRICES].mean(axis=1).to_numpy()[:, None]
    wider, more, fewer = table.copy(), table.copy(), table.copy()
    wider.loc[211:, PRICES] = middle + 30 * (table.loc[211:, PRICES] - middle).clip(-2, 2)
    more.loc[range(220, 500, 7), "high"] *= 1.3
    fewer = fewer.loc[:211]
    for changed in (wider, more, fewer):
        for found, known in zip(cleaned_before(changed, policy, time), expected, strict=True):
            np.testing.assert_array_equal(found, known)


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_wicks_are_those_of_the_definition(seed):
    """Bar by bar, with nothing but the bars before at hand."""
    rng = np.random.default_rng(seed)
    table = MARKETS[seed % len(MARKETS)].copy()
    with_wicks(table, rng, np.arange(ROWS), 40, least=1.01)
    still = rng.choice(ROWS, 60)
    table.loc[still, PRICES] = table.loc[still, ["close"] * 4].to_numpy()
    values = table[[*PRICES, "volume", "amount"]].to_numpy()
    expected = []
    for bar in range(WICK_HISTORY, ROWS):
        ranges = np.log(values[:bar, 1]) - np.log(values[:bar, 2])
        typical = max(np.median(ranges[-WICK_NEIGHBOURHOOD:]), np.median(ranges[ranges > 0]))
        near = [values[bar, 0], values[bar, 3], values[bar - 1, 3]]
        reach = max(np.log(values[bar, 1] / max(near)), np.log(min(near) / values[bar, 2]))
        expected += [bar] if reach > max(WICK_SHARE_OF_PRICE, WICK_RANGES * typical) else []
    assert np.flatnonzero(isolated_wicks(values)).tolist() == expected


@pytest.mark.fault(17)
def test_a_unit_seen_later_does_not_swap_earlier_rows():
    """Volume in lots of 100 and amount in thousands look swapped at prices around 3.16."""
    values = MARKETS[0][[*PRICES, "volume", "amount"]].to_numpy(copy=True)
    values[:, :4] *= 0.033
    values[:, 5] = values[:, 4] * values[:, 3]
    lots = values.copy()
    lots[:, 5] *= 0.1
    assert not swapped_volume(lots).any()
    mixed = np.concatenate((lots[:100], *[values[100:]] * 4))
    assert not swapped_volume(mixed).any()
    values[20:60, 4:] = values[20:60, :3:-1]
    mixed = np.concatenate((values[:100], *[lots[100:]] * 4))
    assert np.flatnonzero(swapped_volume(mixed)[:100]).tolist() == list(range(20, 60))
