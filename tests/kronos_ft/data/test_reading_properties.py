"""Candles come through any file as they were: whatever the columns are called, how numbers and times are written."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, settings, strategies as st

from kronos_ft.data.candles import fingerprint, load_candles
from kronos_ft.data.columns import ALIASES, FEATURES, match_columns, plain_name
from kronos_ft.data.timestamps import parse_times

MEANINGS = ("time", *FEATURES)
FEW = settings(max_examples=40)
SOME = settings(max_examples=25)  # each writes and reads a file


@st.composite
def markets(draw):
    """A possible table: bars that move, of any price level, digits and step, a few of them missing."""
    bars = draw(st.integers(5, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    level, digits = draw(st.sampled_from([(3e-5, 9), (0.7, 5), (104.0, 2), (31_000.0, 1), (4e6, 0)]))
    close = level * np.exp(rng.normal(0, 0.01, bars).cumsum())
    opened = np.concatenate(([level], close[:-1]))
    reach = np.exp(np.abs(rng.normal(0, 0.01, (2, bars))))
    # the last digit of the high differs in every row, so that no two rows are equal and the close is not constant
    prices = np.stack((opened, np.maximum(opened, close) * reach[0], np.minimum(opened, close) / reach[1], close))
    prices = np.round(prices, digits)
    prices[3, 0] += 10.0**-digits
    prices[1, 0] += 10.0**-digits
    volume = np.round(rng.lognormal(3, 1, bars), draw(st.integers(0, 6))) + 1
    step = draw(st.sampled_from(["1min", "5min", "1h", "1D"]))
    times = pd.date_range(draw(st.datetimes(pd.Timestamp("1999-01-01"), pd.Timestamp("2040-01-01"))), periods=bars + 3)
    times = pd.date_range(times[0].floor("min"), periods=bars + 3, freq=step)
    kept = np.sort(rng.choice(bars + 3, bars, replace=False)) if draw(st.booleans()) else np.arange(bars)
    table = {"time": times[kept], **dict(zip(("open", "high", "low", "close"), prices, strict=True))}
    return pd.DataFrame({**table, "volume": volume, "amount": volume * prices.mean(axis=0)})


def same(series, table):
    assert len(series) == 1
    np.testing.assert_array_equal(series[0].values, table[list(FEATURES)].to_numpy())
    assert series[0].timestamps.tolist() == table["time"].astype("datetime64[ns]").to_numpy().tolist()


@st.composite
def headers(draw):
    """A name for each meaning: any alias, in any case, with any marks around and between."""
    names = {}
    for meaning in MEANINGS:
        alias = draw(st.sampled_from(ALIASES[meaning]))
        cased = draw(st.sampled_from([str, str.upper, str.title]))(alias)
        names[meaning] = draw(st.sampled_from(["{}", " {}", "<{}>", "{}_", "[{}]"])).format(cased)
    return names


@FEW
@given(headers(), st.permutations(MEANINGS), st.lists(st.sampled_from(["x", "trades", "change %", ""]), unique=True))
def test_columns_are_found_in_any_order_by_any_alias(names, order, others):
    have = [names[meaning] for meaning in order]
    for position, other in enumerate(others):
        have.insert(position * 3, other)
    assert match_columns(have) == names
    assert len({plain_name(name) for name in names.values()}) == len(names)


@SOME
@given(
    markets(),
    headers(),
    st.permutations(MEANINGS),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "gb18030"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", ".gz"]),
)
def test_a_csv_gives_back_every_bit(table, names, order, delimiter, encoding, ending, zipped):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"BTC.csv{zipped}"
        written = table[list(order)].rename(columns=names)
        written.to_csv(path, index=False, sep=delimiter, encoding=encoding, lineterminator=ending)
        same(load_candles(path), table)
        assert fingerprint(load_candles(path)) == fingerprint(load_candles({"BTC": table}))


@SOME
@given(markets(), st.permutations(MEANINGS), st.booleans(), st.sampled_from(["ns", "us", "ms", "s"]))
def test_a_parquet_file_gives_back_every_bit(table, order, as_index, unit):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "BTC.parquet"
        written = table[list(order)].assign(time=table["time"].dt.as_unit(unit))
        (written.set_index("time") if as_index else written).to_parquet(path)
        same(load_candles(path), table)


@FEW
@given(markets(), st.data())
def test_shuffled_and_repeated_rows_are_put_right(table, data):
    rows = data.draw(st.lists(st.integers(0, len(table) - 1), max_size=6))
    order = data.draw(st.permutations([*range(len(table)), *rows]))
    loaded = load_candles(table.iloc[order])
    same(loaded, table)
    report = loaded[0].report.quality
    assert report.exact_duplicates == len(rows)
    assert report.was_sorted == (sorted(order) == list(order))
    assert not report.defects


ZONES = ("UTC", "Asia/Shanghai", "America/New_York", "Asia/Kolkata", "Pacific/Auckland")
TEXTS = ("%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y.%m.%d %H:%M", "%Y-%m-%dT%H:%M:%S.000", "%d %b %Y %H:%M")
DIGITS = ("%Y%m%d%H%M", "%Y%m%d%H%M%S")
EPOCHS = {"seconds": 10**9, "milliseconds": 10**6, "microseconds": 10**3, "nanoseconds": 1}


def written_times(times, form, zone):
    """UTC times as a source in `zone` would write them, and whether what is written says its zone."""
    local = times.tz_convert(zone)
    if form in EPOCHS:
        return pd.Series(times.as_unit("ns").asi8 // EPOCHS[form])
    if form == "offset":
        return pd.Series(local.strftime("%Y-%m-%d %H:%M:%S%z"))
    if form == "aware":
        return pd.Series(local)
    if form == "naive":
        return pd.Series(local.tz_localize(None))
    text = pd.Series(local.strftime(form))
    return text.astype("int64") if form in DIGITS else text


@FEW
@given(
    st.datetimes(pd.Timestamp("1990-01-01"), pd.Timestamp("2060-01-01")),
    st.sampled_from([*TEXTS, *DIGITS, *EPOCHS, "offset", "aware", "naive"]),
    st.sampled_from(ZONES),
    st.integers(1, 400),
)
def test_times_of_any_notation_and_zone_are_the_same_moments(start, form, zone, minutes):
    times = pd.date_range(pd.Timestamp(start).floor("min"), periods=8, freq=f"{minutes}min", tz="UTC")
    parsed = parse_times(written_times(times, form, zone), zone)
    # an hour that the clock repeats cannot be told from its twin, nor can it be guessed
    local = times.tz_convert(zone).tz_localize(None)
    twice = local.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").isna()
    told = ~twice | (form in EPOCHS) | (form in ("offset", "aware"))
    assert parsed[told].tolist() == times[told].tolist()
    assert parsed[~told].isna().all()


def thousands(value, digits, mark, point):
    return f"{value:,.{digits}f}".replace(",", "#").replace(".", point).replace("#", mark)


@FEW
@given(
    markets(),
    st.sampled_from([(",", "."), ("", "."), (".", ","), ("", ",")]),
    st.lists(st.sampled_from(["{}", " {} ", "+{}"]), min_size=6, max_size=6),
)
def test_numbers_with_separators_are_the_same_numbers(table, marks, forms):
    """Nine decimals tell a decimal comma from one of thousands; fewer may not, and are refused (see test_readers)."""
    columns = {
        name: [form.format(thousands(value, 9, *marks)) for value in table[name]]
        for name, form in zip(FEATURES, forms, strict=True)
    }
    loaded = load_candles(table.assign(**columns), policy="repair")[0]
    # pandas reads the last bit of a number with a plus sign otherwise
    np.testing.assert_allclose(loaded.values, table[list(FEATURES)], rtol=1e-15, atol=1e-9)


@FEW
@given(markets(), st.sampled_from([repr, "{:.17e}".format, "{:.17E}".format]), st.sampled_from([str, "string", object]))
def test_numbers_as_text_are_the_same_numbers(table, write, kind):
    columns = {name: pd.Series([write(float(value)) for value in table[name]], dtype=kind) for name in FEATURES}
    same(load_candles(table.assign(**columns)), table)
