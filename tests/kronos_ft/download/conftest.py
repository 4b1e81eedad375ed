"""Downloads from servers on this machine, without waiting between tries."""

import pytest

from kronos_ft.cli.main import main
from kronos_ft.download import retries as download_retries
from tests.loopback_exchange import LoopbackBinance, klines


@pytest.fixture
def waits(monkeypatch):
    """The seconds that a download would have waited after failures; what ccxt waits before each request is left out."""
    from ccxt.base.exchange import Exchange

    passed = []
    monkeypatch.setattr(download_retries, "wait", passed.append)
    monkeypatch.setattr(Exchange, "throttle", lambda self, cost=None: None)
    return passed


@pytest.fixture(scope="session")
def hours():
    """431 hours from 2020-01-01 as Binance sends them; the last is unfinished."""
    return klines(431)


@pytest.fixture
def binance(hours):
    with LoopbackBinance({"BTCUSDT": hours}, limit=100) as exchange:
        yield exchange


@pytest.fixture
def download(binance, tmp_path, waits):
    """A function that downloads BTC/USDT hours from the exchange; further words override. Returns the exit code."""

    def run(*words, output="btc.parquet", exchange="binance", symbol="BTC/USDT", since="2020-01-01", timeframe="1h"):
        address = [] if "--api_url" in words else ["--api_url", binance.url]
        where = ["--exchange", exchange, *address, "--symbol", *symbol.split(), "--timeframe", timeframe]
        return main(["data", "download", *where, "--since", since, "--output", str(tmp_path / output), *words])

    return run


@pytest.fixture
def line(capsys):
    """A function that returns what was last said on standard error in one line of the program."""

    def last():
        lines = capsys.readouterr().err.strip().splitlines()
        assert lines[-1].startswith("kronos-ft: ")
        assert sum(one.startswith("kronos-ft: ") for one in lines) == 1
        return lines[-1]

    return last
