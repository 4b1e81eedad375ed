"""Files as people have them: delimiters, encodings, headers, compression, and those that are none."""

import os
import subprocess
import sys
import traceback
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

from kronos_ft.data import readers
from kronos_ft.data.candles import load_candles, load_usable
from kronos_ft.data.columns import match_columns, unit_factor
from kronos_ft.data.sources import simulate_candles
from tests.loopback_hub import LoopbackHub


@pytest.fixture(scope="module")
def frame():
    return simulate_candles(40, seed=1)


def same(series, frame):
    assert len(series) == 1
    np.testing.assert_allclose(series[0].values, frame[["open", "high", "low", "close", "volume", "amount"]].to_numpy())
    assert (series[0].timestamps == frame["timestamps"].to_numpy()).all()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(frame, tmp_path, delimiter):
    frame.to_csv(tmp_path / "c.csv", sep=delimiter, index=False)
    same(load_candles(tmp_path / "c.csv"), frame)


def test_spaces(frame, tmp_path):
    frame.assign(timestamps=frame.timestamps.dt.strftime("%Y-%m-%dT%H:%M")).to_csv(
        tmp_path / "c.txt", sep=" ", index=False
    )
    same(load_candles(tmp_path / "c.txt"), frame)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_encodings_and_chinese_headers(frame, tmp_path, encoding):
    names = {"timestamps": "日期", "open": "开盘", "close": "收盘", "high": "最高", "low": "最低"}
    table = frame.rename(columns={**names, "volume": "成交量", "amount": "成交额"})
    table.to_csv(tmp_path / "c.csv", index=False, encoding=encoding)
    same(load_candles(tmp_path / "c.csv"), frame)


def test_gzip_and_its_damage(frame, tmp_path):
    path = tmp_path / "c.csv.gz"
    frame.to_csv(path, index=False)
    same(load_candles(path), frame)
    assert load_candles(path)[0].symbol == "c"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="is a damaged gzip file"):
        load_candles(path)


def test_parquet(frame, tmp_path):
    frame.set_index("timestamps").to_parquet(tmp_path / "c.parquet")
    same(load_candles(tmp_path / "c.parquet"), frame)
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=r"bad.parquet is not a readable Parquet file"):
        load_candles(tmp_path / "bad.parquet")


def test_decimal_comma(frame, tmp_path):
    frame.to_csv(tmp_path / "c.csv", sep=";", decimal=",", index=False)
    same(load_candles(tmp_path / "c.csv"), frame)


def test_decimal_commas_with_three_digits_are_told_by_the_table(frame, tmp_path):
    """`0,986` can only be a decimal; the same column may hold `1,004`."""
    table = frame.assign(timestamps=(frame.timestamps + pd.Timedelta(20, "D")).dt.strftime("%d.%m.%Y %H:%M"))
    prices = ["open", "high", "low", "close"]
    table[prices] = (table[prices] / 100).map("{:.3f}".format)
    assert table[prices].map(lambda cell: cell.startswith("0.")).any(axis=None)
    table[prices] = table[prices].map(lambda cell: cell.replace(".", ","))
    table.assign(volume=54, amount=54).to_csv(tmp_path / "c.csv", sep=";", index=False)
    loaded = load_candles(tmp_path / "c.csv", policy="repair")[0]
    np.testing.assert_allclose(loaded.values[:, 3], frame.close / 100, atol=6e-4)


def test_an_undecidable_comma_is_refused(tmp_path):
    rows = "\n".join(f"2020-01-01 {hour:02d}:00;1,004;1,007;1,002;1,005" for hour in range(24))
    (tmp_path / "c.csv").write_text(f"time;open;high;low;close\n{rows}\n")
    with pytest.raises(
        ValueError, match="numbers like '1,004' are ambiguous: the comma may separate decimals or thousands"
    ):
        load_candles(tmp_path / "c.csv")


def test_lines_before_the_header(frame, tmp_path):
    text = frame.to_csv(index=False)
    for head in ("https://www.example.com\n", "\n\n"):
        (tmp_path / "c.csv").write_text(head + text)
        same(load_candles(tmp_path / "c.csv"), frame)
    broken = text.replace(text.splitlines()[3].split(",")[2], "oops", 1)
    (tmp_path / "c.csv").write_text("https://www.example.com\n" + broken)
    with pytest.raises(ValueError, match=r"not a number in 1 row \(line 5, e\.g\. high 'oops'\)"):
        load_candles(tmp_path / "c.csv")


def test_seventh_column_without_header_is_an_amount_only_if_it_fits(frame, tmp_path):
    table = frame.assign(timestamps=frame.timestamps.astype("datetime64[s]").astype("int64"))
    table.to_csv(tmp_path / "c.csv", index=False, header=False)
    same(load_candles(tmp_path / "c.csv"), frame)
    table.assign(amount=17).to_csv(tmp_path / "trades.csv", index=False, header=False)
    same(load_candles(tmp_path / "trades.csv"), frame.assign(amount=frame.volume * frame.iloc[:, 1:5].mean(axis=1)))


def test_an_empty_amount_and_a_zero_volume_beside_ticks(frame, tmp_path):
    derived = frame.assign(amount=frame.volume * frame.iloc[:, 1:5].mean(axis=1))
    same(load_candles(frame.assign(amount=np.nan)), derived)
    ticks = frame.drop(columns="amount").rename(columns={"volume": "tickvol"}).assign(vol=0)
    same(load_candles(ticks), derived)


@pytest.mark.fault(18)
def test_one_symbol_in_its_column_names_the_table(frame, tmp_path):
    """A file's name may tell of a client; the symbol is what a card and a report show."""
    table = frame.assign(symbol="ETHUSD")
    table.to_csv(tmp_path / "a client.csv", index=False)
    assert [one.symbol for one in load_candles(tmp_path / "a client.csv")] == ["ETHUSD"]
    assert [one.symbol for one in load_candles(table)] == ["ETHUSD"]
    assert [one.symbol for one in load_candles({"mine": table})] == ["mine"]
    assert [one.symbol for one in load_candles(tmp_path)] == ["a client"]  # of several files two might name one symbol
    table.loc[3, "symbol"] = None
    table.to_csv(tmp_path / "a client.csv", index=False)
    assert [one.symbol for one in load_candles(tmp_path / "a client.csv")] == ["a client"]


def test_rows_without_a_symbol_are_named(frame):
    table = frame.assign(symbol=["A", "B"] * 20)
    table.loc[[3, 9], "symbol"] = None
    with pytest.raises(ValueError, match=r"2 rows have no symbol \(row 3, 9\); fill in the symbol or remove the rows"):
        load_candles(table)


@pytest.mark.fault(18)
def test_a_row_with_too_many_cells_is_refused(frame, tmp_path):
    lines = frame.to_csv(index=False).splitlines()
    (tmp_path / "c.csv").write_text("\n".join([lines[0], *(line + ",1" for line in lines[1:])]))
    with pytest.raises(ValueError, match="cannot be read as a table"):
        load_candles(tmp_path / "c.csv")


def test_thousands_separators(frame, tmp_path):
    table = frame.assign(close=frame.close.map("{:,.6f}".format), open=(frame.open * 1000).map("{:,.3f}".format))
    table["high"] = table["high"] * 1000
    table.to_csv(tmp_path / "c.csv", index=False)
    loaded = load_candles(tmp_path / "c.csv")[0]
    np.testing.assert_allclose(loaded.values[:, 0], frame.open * 1000, rtol=1e-6)


def test_exchange_archive_without_header(frame, tmp_path):
    milliseconds = frame.timestamps.astype("datetime64[ms]").astype("int64")
    table = frame[["open", "high", "low", "close", "volume"]].copy()
    table.insert(0, "time", milliseconds)
    table["close_time"], table["amount"], table["n"], table["a"], table["b"], table["c"] = (
        milliseconds + 1, frame.amount, 5, 1.0, 2.0, 0,
    )  # fmt: skip
    table.to_csv(tmp_path / "BTCUSDT-1h.csv", index=False, header=False)
    same(load_candles(tmp_path / "BTCUSDT-1h.csv"), frame)


def test_metatrader_date_and_time_columns(frame, tmp_path):
    table = frame.drop(columns="timestamps")
    table.insert(0, "<TIME>", frame.timestamps.dt.strftime("%H:%M:%S"))
    table.insert(0, "<DATE>", frame.timestamps.dt.strftime("%Y.%m.%d"))
    table.columns = [name if name.startswith("<") else f"<{name.upper()}>" for name in table.columns]
    table.to_csv(tmp_path / "c.csv", sep="\t", index=False)
    same(load_candles(tmp_path / "c.csv"), frame)


def test_frames_dicts_datasets_and_symbol_columns(frame):
    same(load_candles(frame), frame)
    same(load_candles(frame.set_index("timestamps")), frame)
    same(load_candles(datasets.Dataset.from_pandas(frame)), frame)
    both = load_candles({"A": frame, "B": frame})
    assert [one.symbol for one in both] == ["A", "B"]
    mixed = frame.assign(ticker=["X", "Y"] * 20)
    assert [(one.symbol, len(one)) for one in load_candles(mixed)] == [("X", 20), ("Y", 20)]


def test_data_set_in_a_folder_of_files(frame, tmp_path):
    frame.to_csv(tmp_path / "ETH.CSV", index=False)
    frame.to_parquet(tmp_path / "BTC.parquet")
    (tmp_path / "notes.md").write_text("no candles")
    assert [one.symbol for one in load_candles(tmp_path)] == ["BTC", "ETH"]
    assert [one.symbol for one in load_candles(str(tmp_path / "*.CSV"))] == ["ETH"]


def test_two_tables_of_one_symbol(frame, tmp_path):
    frame.to_csv(tmp_path / "BTC.csv", index=False)
    frame.to_parquet(tmp_path / "BTC.parquet")
    with pytest.raises(ValueError, match="symbol BTC occurs in two tables"):
        load_candles(tmp_path)


def test_dates_and_times_in_digits(frame, tmp_path):
    table = frame.drop(columns="timestamps")
    table.insert(0, "<TIME>", frame.timestamps.dt.strftime("%H%M%S"))
    table.insert(0, "<DATE>", frame.timestamps.dt.strftime("%Y%m%d"))
    table.to_csv(tmp_path / "c.txt", index=False)
    same(load_candles(tmp_path / "c.txt"), frame)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "c.csv is empty; pass a file with a header line and candles"),
        ("\n\n", "c.csv is empty"),
        ("time,open,high,low,close\n", "c.csv has only a header line; pass a file with candles"),
        ("time,open,high,close\n1,2,3,4\n", r"no column found for low \(columns: time, open, high, close\)"),
        ("a,b,c,d,e\n1,2,3,4,5\n", "no column found for time, open, high, low"),
        (
            "1,2,3,4,5,6,7,8\n1,2,3,4,5,6,7,8\n",
            "has 8 columns and no header line; add a header line with the column names",
        ),
        ("time,open,high,low,close\n1,2,3,4,5\n1,2,3,4,5,6,7\n", r"cannot be read as a table \(.*line 3, saw 7\)"),
    ],
)
@pytest.mark.fault(18)
def test_files_that_hold_no_candles(tmp_path, content, message):
    (tmp_path / "c.csv").write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        load_candles(tmp_path / "c.csv")
    assert "\n" not in str(error.value)


def test_places_that_hold_no_candles(tmp_path):
    for source, message in (
        (tmp_path / "none.csv", "none.csv does not exist; correct the path"),
        (str(tmp_path / "*.csv"), "matches no file; correct the pattern"),
        (tmp_path, "contains no .csv"),
        ("no_such_owner/no_such_data", "is not a file and could not be loaded as a data set"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            load_candles(source)
        assert "".join(traceback.format_exception(error.value)).count("Traceback") == 1
    (tmp_path / "c.yaml").write_text("{}")
    with pytest.raises(ValueError, match="has an unknown suffix; use one of"):
        load_candles(tmp_path / "c.yaml")


def test_names_are_matched_by_meaning_not_order():
    found = match_columns(["Volume USDT", "Close", "unix", "symbol", "Low", "High", "Open", "Volume BTC"])
    assert found == {
        "time": "unix", "open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume BTC",
        "amount": "Volume USDT", "symbol": "symbol",
    }  # fmt: skip


def test_units_in_brackets_are_dropped_if_they_fit():
    prices = ["Open (HKD)", "最高价（hkd）", "Low [HKD]", "收盘(单位：HKD)"]
    found = match_columns(["date", *prices, "Volume (EUR)", "成交量(手)", "close (%)"])
    assert found == {
        "time": "date", "open": prices[0], "high": prices[1], "low": prices[2], "close": prices[3],
        "volume": "成交量(手)", "amount": "Volume (EUR)",
    }  # fmt: skip
    assert match_columns(["date", "Close (USD)", "open", "high", "low", "close"])["close"] == "close"
    assert match_columns(["date", "open", "high", "low", "Price", "Close (USD)"])["close"] == "Close (USD)"
    assert match_columns(["date", *prices, "tickvol", "Volume (lots)"])["volume"] == "Volume (lots)"
    for other in ("最高价（元）", "High (HKD/t)"):
        with pytest.raises(
            ValueError, match=r"the prices have different units: Open .* and .*; name the columns of one"
        ):
            match_columns(["date", "Open (HKD)", other, "low", "收盘(HKD)"])
    for name in ("close (%)", "close (adj)", "close (shares)"):
        with pytest.raises(ValueError, match="no column found for close"):
            match_columns(["date", "open", "high", "low", name])


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        *(("成交额(元)", 1), ("成交额(千元)", 1e3), ("成交额（万元）", 1e4), ("成交额(亿)", 1e8), ("成交额(千克)", 1)),
        *(("成交量(手)", 1), ("成交量(万手)", 1e4), ("成交量(万股)", 1e4), ("[volume]", 1), ("Volume (%)", 1)),
        *(("Turnover (USD million)", 1e6), ("Volume (thousand shares)", 1e3), ("volume", 1), (4, 1)),
    ],
)
def test_factor_of_a_unit(name, factor):
    assert unit_factor(name) == factor


def test_two_columns_of_one_name_are_refused(frame):
    table = frame.copy()
    table.insert(2, "close", table.close, allow_duplicates=True)
    with pytest.raises(ValueError, match="two columns are named close; rename or remove one of them"):
        load_candles(table)


def test_a_data_set_on_the_hub(frame, tmp_path):
    """By name, through the real client, in a new process whose Hub is on this machine."""
    repos = {"some/candles": {"train.csv": frame.to_csv(index=False).encode()}}
    code = "from kronos_ft import load_candles; print([(s.symbol, len(s)) for s in load_candles('some/candles')])"
    with LoopbackHub(repos) as url:
        environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
        environment.pop("HF_HUB_OFFLINE", None)
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[('candles', 40)]"


def test_utf16_that_is_cut_off(frame, tmp_path):
    path = tmp_path / "c.csv"
    path.write_bytes(frame.to_csv(index=False).encode("utf-16") + b"\n")
    with pytest.raises(ValueError, match=r"c.csv is UTF-16 text that is cut off or damaged at byte [\d,]+ .*as UTF-8"):
        load_candles(path)


def test_a_line_too_long_for_a_table(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text(f"time,open,high,low,close,{'x' * 200_000}\n2020-01-01,1,1,1,1,1\n")
    with pytest.raises(ValueError, match=r"c\.csv: line 1 has more than 100,000 characters"):
        load_candles(path)


def test_a_damaged_lzma_archive(frame, tmp_path):
    path = tmp_path / "c.csv.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("c.csv", frame.to_csv(index=False))
    same(load_candles(path), frame)
    content = bytearray(path.read_bytes())
    content[60:1000] = bytes(940)
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="is a damaged zip file"):
        load_candles(path)


@pytest.mark.parametrize("cell", [["BTC"], {"name": "BTC"}])
def test_symbols_that_are_no_text(cell, frame, tmp_path):
    path = tmp_path / "c.parquet"
    frame.assign(symbol=[cell] * len(frame)).to_parquet(path)
    with pytest.raises(
        ValueError, match=r"symbol in row 0 is a (ndarray|dict); the column of symbols must contain text"
    ):
        load_candles(path)


class TestPartitions:
    """Folders `symbol=NAME` hold the files of one symbol each."""

    @pytest.fixture
    def panel(self, tmp_path, frame):
        for name, part in (("BTC%2FUSDT", "a"), ("BTC%2FUSDT", "b"), ("ETH", "year=2024/a")):
            folder = (tmp_path / f"symbol={name}" / part).parent
            folder.mkdir(parents=True, exist_ok=True)
            half = frame[:20] if part == "a" else frame[20:]
            half.to_parquet(folder / f"{Path(part).name}.parquet")
        (tmp_path / "symbol=ETH" / "_metadata.parquet").write_text("not a table")
        return tmp_path

    def test_each_symbol_is_one_table(self, panel, frame):
        found = {one.symbol: one for one in load_candles(str(panel))}
        assert sorted(found) == ["BTC/USDT", "ETH"]
        np.testing.assert_array_equal(found["BTC/USDT"].values, load_candles({"x": frame})[0].values)
        assert len(found["ETH"]) == len(frame) - 20
        (one,) = load_candles(str(panel / "symbol=ETH"))
        np.testing.assert_array_equal(one.values, found["ETH"].values)

    def test_it_is_read_as_pyarrow_writes_it(self, tmp_path, frame):
        both = pd.concat([frame.assign(symbol=name) for name in ("A", "B")])
        both.to_parquet(tmp_path / "panel", partition_cols=["symbol"])
        assert [one.symbol for one in load_candles(str(tmp_path / "panel"))] == ["A", "B"]

    def test_one_symbol_is_read_at_a_time(self, panel, monkeypatch):
        read, given = [], []
        whole = readers.read_file
        monkeypatch.setattr(readers, "read_file", lambda path, names=None: read.append(path.name) or whole(path, names))
        for table in readers.read_tables(str(panel)):
            given.append((table.symbol, len(read)))
        assert given == [("BTC/USDT", 3), ("ETH", 5)]

    def test_an_empty_partition_is_named(self, panel):
        (panel / "symbol=XRP").mkdir()
        with pytest.raises(ValueError, match=r"symbol=XRP contains no .* file; remove it, or add its files"):
            load_candles(str(panel))
        usable, refused = load_usable(str(panel))
        assert [one.symbol for one in usable] == ["BTC/USDT", "ETH"]
        assert "symbol=XRP" in refused[0]

    def test_files_beside_partitions_are_not_overlooked(self, panel, frame):
        frame.to_csv(panel / "SOL.csv", index=False)
        with pytest.raises(ValueError, match=r"has SOL.csv beside symbol=BTC%2FUSDT; put the files of a symbol into"):
            load_candles(str(panel))
