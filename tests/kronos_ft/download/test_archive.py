"""Downloads from archives of zip files, behind an address and in a folder."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from kronos_ft.cli.main import main
from kronos_ft.data.candles import load_candles
from kronos_ft.download.part import part_path
from tests.loopback_archive import LoopbackArchive, archive_files, checksum, packed, write_folder
from tests.loopback_exchange import klines
from tests.pushable_hub import Fault

FEBRUARY = "monthly/klines/BTCUSDT/4h/BTCUSDT-4h-2025-02.zip"


@pytest.fixture(scope="module")
def rows():
    """Four hours each, from 2024-11-01 to the end of 2025-03-04."""
    return klines(6 * (30 + 31 + 31 + 28 + 4), seed=2, step="4h", start="2024-11-01")


@pytest.fixture(scope="module")
def files(rows):
    """Months until February 2025, from 2025 in microseconds and one with a header; days of March."""
    return archive_files(rows, timeframe="4h", days=("2025-03",), header=("2025-01",))


@pytest.fixture
def archive(files):
    with LoopbackArchive(dict(files), "2025-03-05T09:00") as server:
        yield server


@pytest.fixture
def fetch(archive, tmp_path, waits):
    """A function that downloads BTCUSDT from the archive, or from a folder. Returns the exit code."""

    def run(*words, where=None, output="btc.parquet", symbol="BTCUSDT", since="2024-11-01", timeframe="4h"):
        source = ["--archive", str(where or archive.url), "--symbol", *symbol.split(), "--timeframe", timeframe]
        return main(["data", "download", *source, "--since", since, "--output", str(tmp_path / output), *words])

    return run


def test_months_then_days(fetch, archive, rows, tmp_path, capsys):
    assert fetch() == 0
    (series,) = load_candles(tmp_path / "btc.parquet")
    np.testing.assert_array_equal(
        series.values, np.array([[float(row[place]) for place in (1, 2, 3, 4, 5, 7)] for row in rows])
    )
    np.testing.assert_array_equal(series.timestamps.astype("datetime64[ms]").astype(int), [row[0] for row in rows])
    out = capsys.readouterr().out
    assert "744 candles of 4h, 2024-11-01 00:00 to 2025-03-04 20:00 UTC" in out
    assert "no gaps, no duplicates" in out
    assert main(["data", "check", str(tmp_path / "btc.parquet")]) == 0
    facts = json.loads((tmp_path / "btc.parquet.source.json").read_text())
    assert facts["asked"]["archive"] == archive.url
    assert len(facts["files"]) == 8
    assert all(file["verified"] for file in facts["files"])
    assert facts["files"][3]["sha256"] == hashlib.sha256(archive.files[FEBRUARY]).hexdigest()


def test_a_folder_flat_or_nested_gives_the_same(fetch, files, tmp_path):
    nested = write_folder(tmp_path / "nested", files)
    flat = write_folder(tmp_path / "flat", {path.split("/")[-1]: content for path, content in files.items()})
    assert fetch() == fetch(where=nested, output="nested.csv") == fetch(where=flat, output="flat.csv") == 0
    assert (tmp_path / "nested.csv").read_bytes() == (tmp_path / "flat.csv").read_bytes()
    web, folder = (load_candles(tmp_path / name)[0] for name in ("btc.parquet", "flat.csv"))
    np.testing.assert_array_equal(web.values, folder.values)


def test_a_part_of_the_span(fetch, archive, tmp_path):
    assert fetch("--until", "2025-01-10T10:00", since="2024-12-31T07:00") == 0
    (series,) = load_candles(tmp_path / "btc.parquet")
    assert str(series.timestamps[0]).startswith("2024-12-31T08:00")
    assert str(series.timestamps[-1]).startswith("2025-01-10T08:00")
    assert not archive.asked("2024-11")
    assert not archive.asked("2025-02")


def test_a_symbol_that_begins_later_is_not_searched_day_by_day(fetch, archive, capsys):
    assert fetch(since="2023-06-01") == 0
    assert f"{archive.url} has no candles before 2024-11-01 00:00" in capsys.readouterr().out
    assert not archive.asked("2023-06-01")


def test_first_months_of_days_alone_are_found(fetch, rows, tmp_path, capsys):
    days = archive_files(rows, timeframe="4h", days=("2024-11", "2024-12", "2025-03"))
    with LoopbackArchive(days, "2025-03-05T09:00") as server:
        assert fetch(where=server.url, since="2024-06-01") == 0
        assert server.asked("4h-2024-10-31")
        assert not server.asked("4h-2024-09-30")
    assert "744 candles of 4h, 2024-11-01 00:00 to 2025-03-04 20:00 UTC" in capsys.readouterr().out


def test_names_without_a_real_date_are_no_archives(fetch, files, tmp_path):
    folder = write_folder(tmp_path / "mine", files)
    for day in ("2025-13", "2025-02-30", "0000-01"):
        (folder / f"BTCUSDT-4h-{day}.zip").write_bytes(b"x")
    assert fetch(where=folder) == 0


def test_months_to_come_are_not_missing_in_a_folder(fetch, files, tmp_path, monkeypatch, capsys):
    folder = write_folder(tmp_path / "mine", files)
    now = int(np.datetime64("2025-03-04T23:59", "ms").astype(int))
    monkeypatch.setattr("kronos_ft.download.archive_store.FolderStore.now", lambda self: now)
    assert fetch("--until", "2030-01-01", where=folder) == 0
    assert "no archive for" not in capsys.readouterr().err


def test_a_missing_month_is_named(fetch, archive, tmp_path, capsys):
    del archive.files["monthly/klines/BTCUSDT/4h/BTCUSDT-4h-2024-12.zip"]
    assert fetch() == 1
    captured = capsys.readouterr()
    assert "BTCUSDT: no archive for 2024-12\n" in captured.err
    assert "1 gap, 186 candles missing: 2024-12-01 00:00 to 2024-12-31 20:00 (186)" in captured.out
    assert fetch("--overwrite", "--allow_gaps") == 0


def test_days_stand_in_for_a_missing_month(fetch, rows, tmp_path, capsys):
    patchy = archive_files(rows, timeframe="4h", days=("2024-12", "2025-03"), without=("2024-12-24",))
    with LoopbackArchive(patchy, "2025-03-05T09:00") as server:
        assert fetch(where=server.url) == 1
    captured = capsys.readouterr()
    assert "BTCUSDT: no archive for 2024-12-24\n" in captured.err
    assert "1 gap, 6 candles missing: 2024-12-24 00:00 to 2024-12-24 20:00 (6)" in captured.out


def test_days_that_are_not_there_yet_are_missing_only_if_asked_for(fetch, capsys):
    assert fetch("--until", "2025-03-05") == 0
    assert fetch("--until", "2025-03-06", output="more.parquet") == 1
    captured = capsys.readouterr()
    assert "no archive for 2025-03-05\n" in captured.err
    assert "1 gap, 2 candles missing: 2025-03-05 00:00 to 2025-03-05 04:00 (2)" in captured.out


def test_a_wrong_checksum(fetch, archive, tmp_path, line):
    good = archive.files[f"{FEBRUARY}.CHECKSUM"]
    archive.files[f"{FEBRUARY}.CHECKSUM"] = checksum("x", b"something else")
    assert fetch() == 2
    message = line()
    assert "BTCUSDT-4h-2025-02.zip differed from its .CHECKSUM file 3 times" in message
    assert "try again later with --resume" in message
    assert not (tmp_path / "btc.parquet").exists()
    archive.files[f"{FEBRUARY}.CHECKSUM"] = good
    archive.requests.clear()
    assert fetch("--resume") == 0
    assert not archive.asked("2025-01.zip")
    whole = (tmp_path / "btc.parquet").read_bytes()
    assert fetch("--overwrite") == 0
    assert (tmp_path / "btc.parquet").read_bytes() == whole


def test_a_wrong_checksum_in_a_folder(fetch, files, tmp_path, line):
    folder = write_folder(tmp_path / "zips", {**files, f"{FEBRUARY}.CHECKSUM": checksum("x", b"something else")})
    assert fetch(where=folder) == 2
    assert "differs from BTCUSDT-4h-2025-02.zip.CHECKSUM; download it again" in line()


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(cut="answer"), Fault(cut="body")])
def test_a_failure_that_passes(fault, fetch, archive, waits, tmp_path):
    assert fetch(output="quiet.parquet") == 0
    archive.requests.clear()
    archive.faults["2025-01.zip"] = [Fault(), fault]  # it is looked for, then read
    assert fetch() == 0
    assert waits == [1.0]
    assert (tmp_path / "btc.parquet").read_bytes() == (tmp_path / "quiet.parquet").read_bytes()


def test_a_limited_archive_is_asked_when_it_says(fetch, archive, waits, line):
    archive.faults["2025-01.zip"] = [Fault(), *[Fault(status=429, headers={"Retry-After": "33"}) for _ in range(8)]]
    assert fetch() == 2
    assert waits == [33.0] * 6 + [60.0]
    assert "answered 429, 8 times in a row; 366 candles are kept: pass --resume to continue" in line()


def broken(archive, content):
    archive.files[FEBRUARY] = content
    archive.files.pop(f"{FEBRUARY}.CHECKSUM", None)


def test_damaged_zips(fetch, archive, files, rows, line, monkeypatch, tmp_path, capsys):
    name = FEBRUARY.split("/")[-1]
    broken(archive, files[FEBRUARY][:-200])
    assert fetch() == 2
    message = line()
    assert f"{archive.url}: data file {name} is a damaged zip file" in message
    assert part_path(tmp_path / "btc.parquet").exists()
    broken(archive, packed(name, rows[:10]))
    assert fetch("--resume") == 2
    assert f"{name} contains a candle of 2024-11-01 00:00, outside the period in its name; download it again" in line()
    february = [row for row in rows if 1738368000000 <= row[0] < 1740787200000]
    broken(archive, packed(name, [*february[:9], [february[9][0], "", *february[9][2:]], *february[10:]]))
    assert fetch("--resume") == 1
    assert "REJECTED  btc: value missing or not a number in 1 row (row 561)" in capsys.readouterr().out
    monkeypatch.setenv("KRONOS_FT_MAX_UNPACKED", "1")
    broken(archive, packed(name, february[:1] * 20_000))
    assert fetch("--overwrite") == 2
    assert "unpacks to more than 1 MiB; if this is intended, set KRONOS_FT_MAX_UNPACKED" in line()


def test_without_checksums_it_is_said_so(fetch, archive, tmp_path):
    for name in list(archive.files):
        if name.endswith(".CHECKSUM"):
            del archive.files[name]
    assert fetch() == 0
    facts = json.loads((tmp_path / "btc.parquet.source.json").read_text())
    assert not any(file["verified"] for file in facts["files"])


def test_the_candle_file_does_not_tell_where_a_folder_lies(fetch, files, tmp_path):
    for place in ("here", "there"):
        folder = write_folder(tmp_path / place / "klines", files)
        assert fetch(where=folder, output=f"{place}.parquet") == 0
        written = (tmp_path / f"{place}.parquet").read_bytes()
        assert str(tmp_path).encode() not in written
        assert b'"archive": "klines"' in written
    assert written == (tmp_path / "here.parquet").read_bytes()


def test_credentials_of_an_address_are_not_printed(fetch, archive, waits, capfd):
    address = archive.url.replace("http://", "http://bob:hunter22@")
    archive.faults["2024-11"] = [Fault(status=503)]
    assert fetch(where=address, since="2024-10-01") == 0
    archive.faults["2024-11"] = [Fault(status=403)]
    assert fetch("--overwrite", where=address) == 2
    said = "".join(capfd.readouterr())
    assert "answered 503; trying again in 1 s" in said
    assert "has no candles before" in said
    assert "(status 403); correct the URL" in said
    assert "hunter22" not in said


def test_several_symbols(fetch, archive, rows, tmp_path):
    archive.files.update(archive_files(klines(168, seed=8, step="4h", start="2025-02-01"), "ETHUSDT", "4h"))
    assert fetch(symbol="BTCUSDT ETHUSDT") == 0
    assert {series.symbol: len(series) for series in load_candles(tmp_path / "btc.parquet")} == {
        "BTCUSDT": 744,
        "ETHUSDT": 168,
    }


def test_bad_input_is_one_line(fetch, archive, files, tmp_path, line):
    folder = write_folder(tmp_path / "zips", files)
    (tmp_path / "empty").mkdir()
    cases = [
        ({"symbol": "BTC/USDT"}, "symbol='BTC/USDT' cannot occur in archive names; write it as BTCUSDT"),
        ({"symbol": "BTCUSD"}, "has no archive of BTCUSD, 4h, from 2024-11-01 to 2025-03-05; correct symbol"),
        ({"symbol": "BTCUSD", "where": folder}, f"symbol='BTCUSD' is not in {folder}; did you mean BTCUSDT?"),
        ({"timeframe": "1h", "where": folder}, f"timeframe='1h' of BTCUSDT is not in {folder}; use one of 4h"),
        ({"timeframe": "1M"}, "timeframe='1M' is not valid (months have no fixed length); use a number and one"),
        ({"where": tmp_path / "none"}, "is not a folder; pass a folder of zip files, or a URL"),
        ({"where": tmp_path / "empty"}, "contains no file with a name like BTCUSDT-1h-2023-01.zip; correct the folder"),
        ({"where": "ftp://127.0.0.1"}, "archive='ftp://127.0.0.1' is not a URL; write it as https://HOST"),
        (
            {"since": "2031-01-01"},
            "since=2031-01-01 00:00 is in the future (the archive's clock: 2025-03-05 09:00",
        ),
        ({"where": "http://127.0.0.1:9"}, "http://127.0.0.1:9 broke the connection (ConnectError), 4 times in a row;"),
    ]
    for settings, message in cases:
        assert fetch(**settings) == 2
        assert message in line()
    write_folder(tmp_path / "zips" / "futures", files)
    assert fetch(where=folder) == 2
    assert "pass the folder of one of them" in line()
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_a_start_after_the_last_file_of_a_folder(fetch, files, tmp_path, line):
    days = write_folder(tmp_path / "days", files)
    months = write_folder(tmp_path / "months", {path: files[path] for path in files if path.startswith("monthly")})
    for folder, since, last in ((days, "2025-03-05", "2025-03-04"), (months, "2025-03-01", "2025-02-28")):
        for until in ([], ["--until", "2025-04-01"]):
            assert fetch(*until, since=since, where=folder) == 2
            assert (
                f"since={since} 00:00 is after the last archive of BTCUSDT, 4h, in {folder} ({last}); "
                "pass an earlier since"
            ) in line()
    assert fetch(since="2025-02-28", where=months) == 0
    assert len(load_candles(tmp_path / "btc.parquet")[0]) == 6


def test_a_folder_of_days_alone(fetch, rows, tmp_path):
    march = [row for row in rows if row[0] >= pd.Timestamp("2025-03-01").value // 10**6]
    folder = write_folder(tmp_path / "days", archive_files(march, timeframe="4h", days=("2025-03",)))
    assert fetch(where=folder) == 0
    assert len(load_candles(tmp_path / "btc.parquet")[0]) == 24
