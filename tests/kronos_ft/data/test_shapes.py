"""Files as vendors and libraries write them: each in `shapes/` holds the same ten candles, made for this test."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronos_ft.cli.main import main
from kronos_ft.data.candles import load_candles

SHAPES = Path(__file__).parent / "shapes"
GERMAN = "time=Datum,open=Eröffnung,high=Hoch,low=Tief,close=Schluss,volume=Stück"
SYMBOLS = {  # those without a symbol column have the name of their file
    **{"akshare.csv": "600001", "tushare.csv": "600001.SH", "baostock.csv": "sh.600001"},
    "tickers.csv": "ETH/USDT",
    **dict.fromkeys(("alpaca.json", "polygon.json", "polygon_flat.csv", "yfinance.csv"), "ABC"),
}
EXPECTED = load_candles(SHAPES / "tradingview.csv")[0]


@pytest.mark.parametrize("path", sorted(SHAPES.glob("*")), ids=lambda path: path.name)
def test_each_shape_holds_the_same_candles(path):
    series, *others = load_candles(path, columns=GERMAN if path.name == "german.csv" else None)
    assert [one.symbol for one in others] == (["XYZ"] if path.name == "yfinance_two.csv" else [])
    assert series.symbol == SYMBOLS.get(path.name, "ABC" if others else path.stem)
    np.testing.assert_array_equal(series.timestamps, EXPECTED.timestamps)
    np.testing.assert_array_equal(series.values[:, :4], EXPECTED.values[:, :4])
    if path.name != "coingecko.json":  # which has no volume
        np.testing.assert_array_equal(series.values[:, 4], EXPECTED.values[:, 4])


def test_a_unit_in_the_name_scales_the_numbers():
    (found,), (akshare,) = (load_candles(SHAPES / name) for name in ("units.csv", "akshare.csv"))
    assert found.report.columns["amount"] == "成交额(万元)"
    np.testing.assert_allclose(found.values[:, 5], akshare.values[:, 5], rtol=1e-12)
    assert found.report.quality.remarks == [
        "the numbers of 成交额(万元) are multiplied by 10,000, the unit in its name"
    ]


def test_volumes_by_ticker():
    """As CryptoDataDownload names them: the base of the pair, then its quote."""
    frame = pd.read_csv(SHAPES / "tickers.csv")
    (found,) = load_candles(frame)
    assert (found.report.columns["volume"], found.report.columns["amount"]) == ("Volume ETH", "Volume USDT")
    assert found.report.unused == ["unix", "tradecount"]
    (found,) = load_candles(frame.rename(columns={"Volume USDT": "Volume BTC"}))
    assert (found.report.columns["volume"], found.report.columns["amount"]) == ("Volume ETH", "Volume BTC")
    (found,) = load_candles(frame.drop(columns="Volume ETH"))
    assert "volume" not in found.report.columns
    names = {"Volume ETH": "tick_volume", "Volume USDT": "Volume MA"}
    (found,) = load_candles(frame.rename(columns=names))
    assert (found.report.columns["volume"], found.report.columns.get("amount")) == ("tick_volume", None)
    for one, other in (("Volume BUY", "Volume SELL"), ("Volume 24H", "Volume EMA"), ("Volume XX", "Volume YY")):
        (found,) = load_candles(frame.rename(columns={"Volume ETH": one, "Volume USDT": other}))
        assert not {"volume", "amount"} & found.report.columns.keys()


@pytest.mark.parametrize("name", ["Date (UTC)", "Gmt time", "UTC time"])
def test_a_time_column_in_utc(name):
    frame = pd.read_csv(SHAPES / "tradingview.csv").rename(columns={"time": name})
    (found,) = load_candles(frame)
    np.testing.assert_array_equal(found.timestamps, EXPECTED.timestamps)
    assert not [one for one in found.report.quality.remarks if name in one]
    (local,) = load_candles(frame, timezone="Asia/Shanghai")
    remark = f"the column {name} is named as UTC, but times without an offset are read as Asia/Shanghai"
    assert remark in local.report.quality.remarks


@pytest.mark.parametrize("suffix", [".xlsx", ".feather", ".parquet", ".jsonl"])
def test_tables_that_pandas_writes(tmp_path, suffix):
    path, frame = tmp_path / f"tradingview{suffix}", pd.read_csv(SHAPES / "tradingview.csv")
    if suffix == ".xlsx":
        pytest.importorskip("openpyxl")
        frame.to_excel(path, index=False, startrow=2)  # an empty row and a remark before it
    elif suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        getattr(frame, f"to_{suffix[1:]}")(path)
    (found,) = load_candles(path)
    np.testing.assert_array_equal(found.values, EXPECTED.values)
    np.testing.assert_array_equal(found.timestamps, EXPECTED.timestamps)


def test_columns_of_two_levels_become_symbols():
    frame = pd.read_csv(SHAPES / "yfinance_two.csv", header=[0, 1], index_col=0, skiprows=[2], parse_dates=True)
    for table in (frame, frame.swaplevel(axis=1)):
        abc, xyz = load_candles(table)
        assert (abc.symbol, xyz.symbol) == ("ABC", "XYZ")
        np.testing.assert_array_equal(abc.values[:, :5], EXPECTED.values[:, :5])
        np.testing.assert_allclose(xyz.values[:, :5], 2 * EXPECTED.values[:, :5])


def test_codes_keep_their_zeros(tmp_path):
    text = (SHAPES / "akshare.csv").read_text(encoding="utf-8").replace("600001", "000001")
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    assert load_candles(tmp_path / "a.csv")[0].symbol == "000001"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "a.json is neither JSON nor JSON lines"),
        ("a.json", "{}", "a.json contains no list of candles"),
        ("a.json", '{"prices": [[1, 2]]}', "no column found for time, open, high, low, close"),
        ("a.json", json.dumps([{"t": 1, "price": 2}]), "no column found for open, high, low"),
        ("a.xlsx", "not a workbook", "a.xlsx is not a readable Excel file"),
        ("a.feather", "not a table", "a.feather is not a readable Feather file"),
    ],
)
def test_files_without_candles_are_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_candles(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("Datum", "columns='Datum' is not a list of MEANING=NAME; write e.g. time=Datum,close=Schluss"),
        ("date=Datum", "columns names 'date', which is no meaning; use time, open"),
        ("time=Tag", "no column is named 'Tag' (columns: Datum, "),
        (None, "name them, e.g. --columns time=NAME"),
    ],
)
def test_columns_that_do_not_fit_are_one_line(columns, message, capsys):
    words = ["data", "check", str(SHAPES / "german.csv"), *(("--columns", columns) if columns else ())]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_columns_on_the_command_line(capsys):
    words = ["data", "check", str(SHAPES / "german.csv"), "--columns", GERMAN, "--lookback_window", "2"]
    assert main([*words, "--predict_window", "2"]) == 0
    printed = capsys.readouterr().out
    assert "close <- Schluss" in printed
    assert "WARNING   for training, the validation split has 0 bars after an embargo of 5" in printed
