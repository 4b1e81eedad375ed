"""Downloads through the real ccxt from exchanges on this machine: what comes out, and what is said of it."""

import hashlib
import json
from importlib.metadata import version

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from kronos_ft.cli.main import main
from kronos_ft.data.candles import load_candles
from tests.loopback_exchange import LoopbackBinance, LoopbackKraken, klines

HOUR = 3_600_000


def expected(rows):
    """Open, high, low, close, volume and quote volume as the exchange sent them."""
    return np.array([[float(row[place]) for place in (1, 2, 3, 4, 5, 7)] for row in rows])


def test_five_pages_without_the_unfinished_candle(download, binance, hours, tmp_path, capsys):
    assert download() == 0
    (series,) = load_candles(tmp_path / "btc.parquet")
    assert len(series) == 430
    np.testing.assert_array_equal(series.values, expected(hours[:-1]))
    assert str(series.timestamps[0]) == "2020-01-01T00:00:00.000000000"
    assert len(binance.asked("klines")) == 5
    out = capsys.readouterr().out
    assert "430 candles of 1h, 2020-01-01 00:00 to 2020-01-18 21:00 UTC" in out
    assert "no gaps, no duplicates" in out
    assert main(["data", "check", str(tmp_path / "btc.parquet")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "btc.parquet",
        "btc.parquet.source.json",
    ]


def test_csv_holds_the_same(download, tmp_path):
    assert download(output="btc.csv") == download() == 0
    (text,), (table,) = load_candles(tmp_path / "btc.csv"), load_candles(tmp_path / "btc.parquet")
    np.testing.assert_array_equal(text.values, table.values)
    np.testing.assert_array_equal(text.timestamps, table.timestamps)
    # a zone given for other files does not move these
    (moved,) = load_candles(tmp_path / "btc.csv", timezone="Asia/Shanghai")
    np.testing.assert_array_equal(moved.timestamps, table.timestamps)


def test_where_it_comes_from(download, binance, tmp_path):
    assert download("--until", "2020-01-11") == 0
    facts = json.loads((tmp_path / "btc.parquet.source.json").read_text())
    assert facts["sha256"] == hashlib.sha256((tmp_path / "btc.parquet").read_bytes()).hexdigest()
    assert facts["ccxt"] == version("ccxt")
    assert facts["asked"]["exchange"] == "binance"
    assert (facts["asked"]["since"], facts["asked"]["until"]) == ("2020-01-01 00:00", "2020-01-11 00:00")
    assert facts["symbols"][0]["last"] == "2020-01-10 23:00"
    assert pd.Timestamp(facts["begun"]) <= pd.Timestamp(facts["finished"])
    metadata = pq.read_schema(tmp_path / "btc.parquet").metadata
    assert json.loads(metadata[b"kronos_ft.source"]) == facts["asked"]


def test_the_exchange_says_what_is_finished(download, binance, tmp_path):
    binance.clock += HOUR  # half an hour into the candle after the last that it has
    assert download() == 0
    assert len(load_candles(tmp_path / "btc.parquet")[0]) == 431
    binance.clock -= HOUR + HOUR // 2 + 1  # a millisecond before the end of the last but one
    assert download(output="early.parquet") == 0
    assert len(load_candles(tmp_path / "early.parquet")[0]) == 429


def test_several_symbols_in_one_file(binance, download, tmp_path):
    binance.candles["ETHUSDT"] = klines(431, seed=5)
    assert download(symbol="BTC/USDT ETH/USDT") == 0
    found = {series.symbol: series for series in load_candles(tmp_path / "btc.parquet")}
    assert sorted(found) == ["BTC/USDT", "ETH/USDT"]
    np.testing.assert_array_equal(found["ETH/USDT"].values, expected(binance.candles["ETHUSDT"][:-1]))


def test_a_symbol_that_begins_later(binance, download, tmp_path, capsys):
    assert download(since="2019-06-01") == 0
    assert "binance has no candles before 2020-01-01 00:00" in capsys.readouterr().out
    assert len(load_candles(tmp_path / "btc.parquet")[0]) == 430


def test_gaps_are_named_and_counted(binance, download, tmp_path, hours, capsys):
    binance.candles["BTCUSDT"] = hours[:100] + hours[101:150] + hours[275:]  # one candle; more than a page
    assert download() == 1
    out = capsys.readouterr().out
    assert "2 gaps, 126 candles missing: 2020-01-05 04:00 (1), 2020-01-07 06:00 to 2020-01-12 10:00 (125)" in out
    assert "126 candles missing, no duplicates" in out
    assert len(load_candles(tmp_path / "btc.parquet")[0]) == 430 - 126
    gaps = json.loads((tmp_path / "btc.parquet.source.json").read_text())["symbols"][0]["gaps"]
    assert gaps[1] == {"first": "2020-01-07 06:00", "last": "2020-01-12 10:00", "missing": 125}
    assert download("--allow_gaps", "--overwrite") == 0


def test_candles_that_never_came_at_the_end(binance, download, capsys, hours):
    binance.candles["BTCUSDT"] = hours[:400]
    assert download() == 1
    assert "1 gap, 30 candles missing: 2020-01-17 16:00 to 2020-01-18 21:00 (30)" in capsys.readouterr().out


def test_duplicates_are_named_and_the_last_kept(binance, download, tmp_path, hours, capsys):
    other = [*hours[20][:5], "123.0", *hours[20][6:7], "12300.0", *hours[20][8:]]
    binance.candles["BTCUSDT"] = [*hours[:11], hours[10], *hours[11:21], other, *hours[21:]]
    assert download("--allow_gaps") == 1
    out = capsys.readouterr().out
    assert "1 duplicate, equal: 2020-01-01 10:00" in out
    assert "1 duplicate, DIFFERENT (the last is kept): 2020-01-01 20:00" in out
    assert "no gaps, 2 duplicates" in out
    (series,) = load_candles(tmp_path / "btc.parquet")
    assert len(series) == 430
    assert series.values[20, 4] == 123.0


def test_candles_that_training_would_reject_are_said_to_be(binance, download, tmp_path, hours, capsys):
    broken = [list(row) for row in hours]
    broken[7][3] = broken[7][2]  # low at the high: above open and close
    binance.candles["BTCUSDT"] = broken
    assert download() == 1
    out = capsys.readouterr().out
    assert "REJECTED  btc: low or high contradicts open and close in 1 row (row 7); train with --policy drop" in out
    assert main(["data", "check", str(tmp_path / "btc.parquet")]) == 1


def test_an_amount_that_is_none_is_left_out(binance, download, tmp_path, hours):
    binance.candles["BTCUSDT"] = [[*row[:7], "0", *row[8:]] for row in hours]
    assert download() == 0
    assert "amount" not in pq.read_schema(tmp_path / "btc.parquet").names
    (series,) = load_candles(tmp_path / "btc.parquet")
    assert "no amount column: amount derived as volume x mean price" in series.report.quality.remarks


def test_pages_as_large_as_the_exchange_says(download, tmp_path):
    rows = klines(3501)
    with LoopbackBinance({"BTCUSDT": rows}) as exchange:
        assert download("--api_url", exchange.url) == 0
        assert len(exchange.asked("limit=1000")) == len(exchange.asked("klines")) == 4
    (series,) = load_candles(tmp_path / "btc.parquet")
    np.testing.assert_array_equal(series.values, expected(rows[:-1]))


def test_kraken_gives_its_newest_candles_whatever_is_asked(download, tmp_path, capsys):
    hours = klines(800)
    with LoopbackKraken(hours) as exchange:
        assert download("--api_url", exchange.url, exchange="kraken", symbol="BTC/USD") == 0
    out = capsys.readouterr().out
    assert "719 candles of 1h, 2020-01-04 08:00 to 2020-02-03 06:00 UTC" in out
    assert "kraken has no candles before 2020-01-04 08:00" in out
    assert "719 of 799 requested, no gaps, no duplicates" in out
    (facts,) = json.loads((tmp_path / "btc.parquet.source.json").read_text())["symbols"]
    assert (facts["starts_late"], facts["asked"], facts["candles"]) == (True, 799, 719)
    (series,) = load_candles(tmp_path / "btc.parquet")
    np.testing.assert_array_equal(series.values[:, :5], expected(hours[-720:-1])[:, :5])


def test_help_lists_the_actions(capsys):
    assert main(["data", "--help"]) == 0
    out = capsys.readouterr().out
    assert "check " in out
    assert "download " in out
    for action in ("check", "download"):
        with pytest.raises(SystemExit) as done:
            main(["data", action, "--help"])
        assert done.value.code == 0
    assert main(["data", "chek"]) == 2
    assert "did you mean check?" in capsys.readouterr().err
