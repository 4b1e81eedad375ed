"""Defects put in at random are found and named, each policy leaves candles that can exist, whatever the numbers."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from kronos_ft.data.candles import inspect_candles, load_candles
from kronos_ft.data.columns import FEATURES
from kronos_ft.data.quality import DEFECTS, clean, contradictions
from kronos_ft.data.sources import simulate_candles
from tests.examples import examples

ROWS = 120
PRICES = ("open", "high", "low", "close")
MARKET = simulate_candles(ROWS, seed=8).astype({"timestamps": str})


def assert_candles(times, values):
    """What every model and forecast may rely on."""
    _, high, low, _, volume, amount = values.T
    assert (np.diff(times) > np.timedelta64(0)).all()
    assert np.isfinite(values).all()
    assert (values[:, :4] > 0).all()
    assert not contradictions(values).any()
    assert (volume >= 0).all()
    assert (amount >= 0).all()
    assert (high >= low * (1 - 1e-6)).all()


def put_in(table, row, kind, column, number):
    """One defect of a kind into a row; a conflicting duplicate goes to the end."""
    body = table.loc[row, ["open", "close"]]
    if kind == "not_a_number":
        table.loc[row, column] = np.nan
    elif kind == "infinite":
        table.loc[row, column] = np.inf if number > 0 else -np.inf
    elif kind == "price_not_positive":
        table.loc[row, PRICES[number % 4]] = -abs(float(number))
    elif kind == "negative_volume":
        table.loc[row, FEATURES[4 + number % 2]] = -abs(float(number)) - 0.5
    elif kind == "contradiction":
        name, wrong = ("high", body.min() * 0.99) if number % 2 else ("low", body.max() * 1.01)
        table.loc[row, name] = wrong
    elif kind == "unreadable_time":
        table.loc[row, "timestamps"] = ["soon", "", "2020-13-45", None][number % 4]
    else:
        assert kind == "conflicting_duplicate"
        other = table.loc[row].copy()
        other["volume"] += 1 + abs(number)
        table.loc[len(table)] = other


KINDS = [kind for kind in DEFECTS if kind not in ("swapped_volume", "isolated_wick")]  # take rows before
INSERTED = st.dictionaries(
    st.integers(0, ROWS - 1),
    st.tuples(st.sampled_from(KINDS), st.sampled_from(FEATURES), st.integers(-9, 9)),
    min_size=1,
    max_size=12,
)


def broken(inserted):
    """The market with defects, and the rows that each kind must name."""
    table, rows = MARKET.copy(), {}
    for row, (kind, column, number) in sorted(inserted.items()):
        rows.setdefault(kind, []).append(row)
        if kind == "conflicting_duplicate":
            rows[kind].append(len(table))
        put_in(table, row, kind, column, number)
    return table, {kind: sorted(found) for kind, found in rows.items()}


@settings(max_examples=40)
@given(INSERTED)
def test_every_defect_is_found_and_named_and_nothing_else(inserted):
    table, rows = broken(inserted)
    found = inspect_candles(table)[0].report.quality.defects
    assert {kind: one.count for kind, one in found.items()} == {kind: len(which) for kind, which in rows.items()}
    assert {kind: one.rows for kind, one in found.items()} == {kind: which[:5] for kind, which in rows.items()}
    with pytest.raises(ValueError, match="set the policy to drop or repair") as error:
        load_candles(table)
    for kind, which in rows.items():
        assert f"{DEFECTS[kind][0]} in {len(which)} row" in str(error.value)
        assert ", ".join(map(str, which[:5])) in str(error.value)


@settings(max_examples=40)
@given(INSERTED)
def test_drop_leaves_the_good_rows_and_repair_invents_nothing(inserted):
    table, rows = broken(inserted)
    bad = {row for which in rows.values() for row in which}
    good = MARKET.drop(index=[row for row in bad if row < ROWS])
    dropped, repaired = (load_candles(table, policy=policy)[0] for policy in ("drop", "repair"))
    np.testing.assert_array_equal(dropped.values, good[list(FEATURES)])
    assert dropped.timestamps.tolist() == pd.to_datetime(good.timestamps).to_numpy("datetime64[ns]").tolist()
    for one in (dropped, repaired):
        assert_candles(one.timestamps, one.values)
    place = np.searchsorted(pd.to_datetime(MARKET.timestamps).to_numpy("datetime64[ns]"), repaired.timestamps)
    whole = ~np.isin(place, list(bad))
    np.testing.assert_array_equal(repaired.values[whole], MARKET[list(FEATURES)].to_numpy()[place[whole]])
    given_ = table[list(PRICES)].to_numpy(float)
    for row, values in zip(place[~whole], repaired.values[~whole, :4], strict=True):
        assert np.isin(values, given_[[row, *range(ROWS, len(table))]]).all()


NUMBERS = st.floats(width=64) | st.sampled_from([0.0, -1.0, 1.0, 100.0, 101.0, 1e-300, 1e300, 1.7e308])


@examples(150)
@given(
    st.integers(1, 8).flatmap(lambda bars: arrays(np.float64, (bars, 6), elements=NUMBERS)),
    st.lists(st.integers(0, 5), min_size=8, max_size=8),
    st.sampled_from(["drop", "repair", "error"]),
    st.booleans(),
)
def test_any_numbers_come_out_as_candles(values, hours, policy, has_amount):
    times = np.array(hours[: len(values)], dtype=np.int64)
    readable = np.ones(len(values), dtype=bool)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy's would reach the person
        table, report = clean(
            times, values.copy(), np.arange(len(values)), readable=readable, has_amount=has_amount, policy=policy
        )
    assert_candles(table.times.astype("datetime64[ns]"), table.values)
    assert report.rows_kept == len(table.times) <= len(values)
    assert set(table.rows) <= set(range(len(values)))


@settings(max_examples=30)
@given(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=30, unique=True))
def test_volume_and_amount_that_changed_places_are_found_and_put_back(rows):
    table = MARKET.copy()
    table.loc[rows, ["volume", "amount"]] = table.loc[rows, ["amount", "volume"]].to_numpy()
    assume(len(rows) < ROWS)
    found = inspect_candles(table)[0].report.quality.defects
    assert {kind: (one.count, one.rows) for kind, one in found.items()} == {
        "swapped_volume": (len(rows), sorted(rows)[:5])
    }
    np.testing.assert_array_equal(load_candles(table, policy="repair")[0].values, MARKET[list(FEATURES)])
