"""Downloads that fail, are killed and go on; and every kind of bad input in one line."""

import json
import signal
import sys
from pathlib import Path

import pytest

from kronos_ft.cli.main import main
from kronos_ft.data.candles import load_candles
from kronos_ft.download import retries as download_retries
from kronos_ft.download.part import PartFile, part_path
from tests.forked import Forked, program
from tests.loopback_exchange import LoopbackKraken, klines
from tests.pushable_hub import Fault

LIMIT = '{"code":-1003,"msg":"Too many requests."}'
PASSING = {
    "limited": (Fault(status=429, headers={"Retry-After": "17"}, text=LIMIT), 17.0),
    "banned for a while": (Fault(status=418, headers={"Retry-After": "90"}, text=LIMIT), 90.0),
    "overloaded": (Fault(status=503, text="<html>Service Unavailable</html>"), 1.0),
    "reset": (Fault(cut="answer"), 1.0),
    "cut in the middle": (Fault(cut="body"), 1.0),
    "a page of the network's own": (Fault(status=502, text="<html>Bad Gateway</html>"), 1.0),
}


@pytest.mark.parametrize("kind", PASSING)
def test_a_failure_that_passes(kind, download, binance, waits, tmp_path, capsys):
    fault, seconds = PASSING[kind]
    assert download(output="quiet.parquet") == 0
    binance.faults["startTime=157819"] = [fault]  # the second page
    assert download() == 0
    assert waits == [seconds]
    assert f"trying again in {seconds:.0f} s (1 of 7)" in capsys.readouterr().err
    assert (tmp_path / "btc.parquet").read_bytes() == (tmp_path / "quiet.parquet").read_bytes()


@pytest.mark.parametrize(
    "said", ["EService:Busy", "EService:Unavailable", "EService:Throttled: 1", "EGeneral:Internal error"]
)
def test_an_exchange_that_is_busy_in_an_answer_of_status_200(said, download, waits, capsys):
    with LoopbackKraken(klines(200)) as exchange:
        exchange.faults["OHLC"] = [Fault(status=200, text=json.dumps({"error": [said]}))]
        assert download("--api_url", exchange.url, exchange="kraken", symbol="BTC/USD") == 0
    assert waits == [1.0]
    assert "trying again in 1 s (1 of 7)" in capsys.readouterr().err


def test_an_exchange_that_refuses_in_an_answer_of_status_200(download, waits, line):
    with LoopbackKraken(klines(200)) as exchange:
        exchange.faults["OHLC"] = [Fault(status=200, text='{"error": ["EGeneral:Invalid arguments"]}')]
        assert download("--api_url", exchange.url, exchange="kraken", symbol="BTC/USD") == 2
    assert "kraken refuses the request" in line()
    assert waits == []


def test_waits_grow_and_end_and_what_was_fetched_is_kept(download, binance, waits, tmp_path, line):
    assert download(output="quiet.parquet") == 0
    asked = len(binance.asked("klines"))
    binance.faults["startTime=15785"] = [Fault(status=503) for _ in range(8)]  # the third page
    assert download() == 2
    assert waits == list(download_retries.WAITS)
    message = line()
    assert "binance answered 503, 8 times in a row; 200 candles are kept: pass --resume to continue" in message
    assert not (tmp_path / "btc.parquet").exists()
    binance.requests.clear()
    assert download("--resume") == 0
    assert len(binance.asked("klines")) == asked - 2
    assert (tmp_path / "btc.parquet").read_bytes() == (tmp_path / "quiet.parquet").read_bytes()
    assert not part_path(tmp_path / "btc.parquet").exists()


def test_an_exchange_that_asks_for_hours_is_left_alone(download, binance, waits, line):
    binance.faults["klines"] = [Fault(status=418, headers={"Retry-After": "7200"}, text=LIMIT)]
    assert download() == 2
    assert (
        "answered 418 and the server asks to wait 7200 s; nothing was fetched: check the network, or try again later"
        in line()
    )
    assert waits == []


def test_a_refusal_is_not_tried_again(download, binance, waits, line):
    text = '{"code":0,"msg":"Service unavailable from a restricted location"}'
    binance.faults["exchangeInfo"] = [Fault(status=451, text=text)]
    assert download() == 2
    message = line()
    assert "binance does not serve your location or network" in message
    assert "restricted location" in message
    assert waits == []


def test_killed_and_resumed_to_equal_bytes(download, binance, tmp_path):
    assert download(output="quiet.parquet") == 0
    binance.slow = 0.25
    binance.requests.clear()
    output = tmp_path / "btc.parquet"
    words = ["--exchange", "binance", "--api_url", binance.url, "--symbol", "BTC/USDT", "--timeframe", "1h"]
    words = ["data", "download", *words, "--since", "2020-01-01", "--output", output]
    process = Forked(tmp_path / "text", program, "kronos_ft", words)
    process.wait_until(lambda: len(binance.asked("klines")) >= 4)
    process.signal(signal.SIGKILL)
    assert process.end(60) == -signal.SIGKILL
    assert not output.exists()
    binance.slow = 0.0
    binance.clock += 5 * 3_600_000  # what was finished when the download began is what it ends with
    binance.requests.clear()
    assert download("--resume") == 0
    assert len(binance.asked("klines")) == 2
    assert output.read_bytes() == (tmp_path / "quiet.parquet").read_bytes()


@pytest.mark.parametrize("damage", ["cut", "flipped", "cut in the settings"])
def test_a_torn_part_file_costs_its_last_page(damage, download, binance, waits, tmp_path):
    assert download(output="quiet.parquet") == 0
    binance.faults["startTime=15785"] = [Fault(status=503) for _ in range(8)]
    assert download() == 2
    part = part_path(tmp_path / "btc.parquet")
    content = bytearray(part.read_bytes())
    if damage == "flipped":
        content[-100] ^= 1
    part.write_bytes(content[: {"cut": -1, "flipped": None, "cut in the settings": 40}[damage]])
    binance.requests.clear()
    assert download("--resume") == 0
    assert len(binance.asked("klines")) == (5 if damage == "cut in the settings" else 4)
    assert (tmp_path / "btc.parquet").read_bytes() == (tmp_path / "quiet.parquet").read_bytes()


def test_an_interrupted_download_is_neither_forgotten_nor_mixed(download, binance, waits, tmp_path, line):
    binance.faults["startTime=15785"] = [Fault(status=503) for _ in range(8)]
    assert download() == 2
    line()
    assert download() == 2
    assert (
        "was interrupted (200 candles are kept); pass --resume to continue it, or --overwrite to start again" in line()
    )
    assert download("--resume", "--until", "2020-01-10") == 2
    assert "cannot be resumed with other settings (until: None -> 2020-01-10 00:00)" in line()
    assert download("--resume", timeframe="4h") == 2
    assert "other settings (timeframe: 1h -> 4h)" in line()
    binance.requests.clear()
    assert download("--overwrite") == 0
    assert len(binance.asked("klines")) == 5


def test_a_span_without_candles_leaves_nothing_that_refuses_the_next(binance, download, hours, tmp_path, line):
    assert download("--until", "2019-01-05", since="2019-01-01") == 2
    assert line().endswith("2019-01-05 00:00; pass another since or until")
    assert list(tmp_path.glob(".*")) == []
    assert download() == 0
    binance.candles["ETHUSDT"] = hours[-20:]
    several = {"symbol": "BTC/USDT ETH/USDT", "output": "two.parquet"}
    assert download("--until", "2020-01-05", **several) == 2
    assert "pass another since or until, and --overwrite (96 candles of other symbols are kept)" in line()
    assert download("--overwrite", **several) == 0


def test_a_part_file_of_another_version_is_not_thrown_away(download, binance, waits, tmp_path, line):
    binance.faults["startTime=15785"] = [Fault(status=503) for _ in range(8)]
    assert download() == 2
    line()
    part = part_path(tmp_path / "btc.parquet")
    part.write_bytes(part.read_bytes().replace(b'"format": 1', b'"format": 2'))
    before = part.read_bytes()
    for words in ((), ("--resume",)):
        assert download(*words) == 2
        assert "has format 2 of another version of kronos-ft (this version reads 1)" in line()
        assert part.read_bytes() == before
    assert download("--overwrite") == 0


def test_two_downloads_that_begin_at_once_do_not_empty_the_part_file(tmp_path, monkeypatch):
    path = tmp_path / ".x.part"
    with PartFile(path) as first:
        first.begin({"asked": {}})
        before = path.read_bytes()
        monkeypatch.setattr(Path, "exists", lambda self: False)  # as it was when the second looked
        with pytest.raises(ValueError, match="another download is writing"):
            PartFile(path)
        assert path.read_bytes() == before


def test_one_download_at_a_time(download, tmp_path, line):
    import fcntl

    with open(part_path(tmp_path / "btc.parquet"), "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert download() == 2
    assert "another download is writing" in line()


def test_an_output_stays_until_the_new_one_is_whole(download, binance, waits, tmp_path, line):
    assert download("--until", "2020-01-10") == 0
    before = (tmp_path / "btc.parquet").read_bytes()
    assert download() == 2
    assert "exists already; pass --overwrite, or another file" in line()
    assert download("--resume") == 2
    assert "exists already, and there is no interrupted download to resume" in line()
    binance.faults["startTime=15785"] = [Fault(status=503) for _ in range(8)]
    assert download("--overwrite") == 2
    assert (tmp_path / "btc.parquet").read_bytes() == before
    assert download("--resume") == 0
    assert len(load_candles(tmp_path / "btc.parquet")[0]) == 430


WRONG = {
    "an exchange": ({"exchange": "binanc"}, (), "exchange='binanc' is not known to ccxt", "did you mean binance"),
    "a symbol": ({"symbol": "BTC/USTD"}, (), "symbol='BTC/USTD' is not traded on binance", "did you mean BTC/USDT"),
    "a symbol of its own": ({"symbol": "BTCUSDT"}, (), "symbol='BTCUSDT' is not traded", "did you mean BTC/USDT"),
    "a symbol twice": ({"symbol": "BTC/USDT BTC/USDT"}, (), "BTC/USDT is given twice", "once"),
    "a timeframe": ({"timeframe": "7m"}, (), "timeframe='7m' is not available on binance; use one of 1s, 1m, 3m", "1w"),
    "a month": ({"timeframe": "1M"}, (), "timeframe='1M' is not available on binance", "1d"),
    "a time": ({"since": "soon"}, (), "since='soon' is not a time", "write it as 2018-01-01"),
    "the future": ({"since": "2031-01-01"}, (), "since=2031-01-01 00:00 is in the future (binance's clock:", "earlier"),
    "this hour": (
        {"since": "2020-01-18T22:00"},
        (),
        "no candle since 2020-01-18 22:00 is finished",
        "pass",
    ),
    "times swapped": ({}, ("--until", "2019-01-01"), "until=2019-01-01 00:00 is not after since=2020-01-01 00:00", ";"),
    "an ending": ({"output": "btc.xlsx"}, (), "must end in .parquet or .csv", "btc.parquet"),
    "a folder": ({"output": "no/btc.csv"}, (), "does not exist; create it, or use another folder", "output folder"),
    "an address": ({}, ("--api_url", "testnet"), "api_url='testnet' is not a URL", "https://HOST"),
    "both": ({}, ("--resume", "--overwrite"), "--resume and --overwrite exclude each other", "pass one"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_one_line(case, download, tmp_path, line):
    settings, words, problem, remedy = WRONG[case]
    assert download(*words, **settings) == 2
    message = line()
    assert problem in message
    assert remedy in message
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_without_ccxt(download, monkeypatch, line):
    monkeypatch.setitem(sys.modules, "ccxt", None)
    assert download() == 2
    assert line().endswith('need ccxt, which is not installed; pip install "kronos-ft[data]"')


def test_without_a_network(download, waits, line):
    assert download("--api_url", "http://127.0.0.1:9") == 2
    assert (
        "binance at http://127.0.0.1:9 refuses connections, 4 times in a row; nothing was fetched: check the network"
        in line()
    )
    assert waits == list(download_retries.FIRST_WAITS)


def test_exchange_or_archive(tmp_path, line):
    words = ["--symbol", "BTCUSDT", "--timeframe", "1h", "--since", "2020-01-01", "--output", str(tmp_path / "a.csv")]
    assert main(["data", "download", *words]) == 2
    assert "one of the arguments --exchange --archive is required" in line()
    assert main(["data", "download", *words, "--archive", str(tmp_path), "--api_url", "http://127.0.0.1"]) == 2
    assert "--api_url needs --exchange" in line()
