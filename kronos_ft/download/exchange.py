"""An exchange's candles through ccxt: names checked, requests limited and tried again, errors in one line.

Notable:
- ccxt's own limiter paces the requests; it is told nothing about waits that the exchange asks for, so these are kept
  here, with those after failures.
- ccxt's candles have six columns. Binance also sends the quote volume, which is the amount; it is taken from the answer
  before ccxt drops it.
- No key is used and none is asked for: candles are public.

Shapes: n candles; rows (n, 7) as in `download_part`.
"""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ft_core.io import retrying
from ft_core.io.secrets import without_secrets

from .part import COLUMNS
from .retries import FIRST_WAITS, TEMPORARY, WAITS, SourceFailure, ask_again, check_url
from .spans import step_of

if TYPE_CHECKING:
    import ccxt

TIMEOUT = 30_000  # milliseconds
USUAL_PAGE = 500  # candles, where ccxt does not know an exchange's limit
AMOUNT_AT = {"binance": 7, "binanceus": 7}  # place of the quote volume in a candle as the exchange sends it
BUSY = re.compile(r"EService:(Busy|Unavailable|Timeout|Throttled)|EGeneral:Internal error|Throttled")  # Kraken's
INSTALL = 'pip install "kronos-ft[data]"'

T = TypeVar("T")


def _nearest(name: str, names: Sequence[str], count: int = 3) -> list[str]:
    """Names that are probably meant: those that differ in capitals and marks first."""

    def bare(text: str) -> str:
        return re.sub(r"\W", "", text).lower()

    by_bare: dict[str, list[str]] = {}
    for one in names:
        by_bare.setdefault(bare(one), []).append(one)
    found = difflib.get_close_matches(bare(name), by_bare, n=count, cutoff=0.6)
    return [one for key in found for one in by_bare[key]][:count]


def _kind_of(name: str) -> type:
    try:
        import ccxt
    except ImportError:
        raise ValueError(f"downloads from exchanges need ccxt, which is not installed; {INSTALL}") from None
    if name not in ccxt.exchanges:
        close = _nearest(name, ccxt.exchanges)
        hint = f"did you mean {' or '.join(close)}?" if close else f"use one of ccxt's {len(ccxt.exchanges)} names"
        raise ValueError(f"exchange={name!r} is not known to ccxt {ccxt.__version__}; {hint}")
    return getattr(ccxt, name)


def _recording(kind: type) -> type:
    """The exchange's class, which also notes status and headers of the last answer, and keeps the amount."""
    place = AMOUNT_AT.get(kind.__name__)

    class Recording(kind):
        status: int | None = None
        answered: dict = {}  # noqa: RUF012 - replaced as a whole

        def on_rest_response(self, code: int, reason: str, url: str, method: str, headers: dict, *rest: object) -> str:
            self.status, self.answered = code, headers
            return super().on_rest_response(code, reason, url, method, headers, *rest)

        def parse_ohlcv(self, ohlcv: object, market: dict | None = None) -> list:
            row = super().parse_ohlcv(ohlcv, market)
            # of coin-margined contracts that place holds the volume
            if place is not None and isinstance(ohlcv, list) and not (market or {}).get("inverse"):
                row.append(self.safe_number(ohlcv, place))
            return row

    return Recording


def _other_host(addresses: object, url: str) -> object:
    if isinstance(addresses, dict):
        return {key: _other_host(value, url) for key, value in addresses.items()}
    return re.sub(r"^https?://[^/]+", url, addresses) if isinstance(addresses, str) else addresses


class ExchangeCandles:
    """Candles of one exchange.

    Args:
        name (`str`): ccxt's name of it.
        api_url (`str`, *optional*): scheme and host to ask instead of the exchange's own: a testnet or a mirror.

    Raises:
        ValueError: ccxt is not installed, the exchange unknown, or without candles.
    """

    def __init__(self, name: str, api_url: str | None = None):
        kind = _kind_of(name)
        # environment proxies are used as by every other download of this library
        options = {"enableRateLimit": True, "timeout": TIMEOUT, "requests_trust_env": True}
        self.api: ccxt.Exchange = _recording(kind)(options)
        self.name = name
        if self.api.has.get("fetchOHLCV") is not True:
            raise ValueError(f"exchange={name!r} offers no candles; name another, e.g. binance")
        if api_url:
            self.api.urls["api"] = _other_host(self.api.urls["api"], check_url("api_url", api_url))
        self._waits: Sequence[float] = FIRST_WAITS

    def check(self, symbols: Sequence[str], timeframe: str) -> int:
        """Checks the timeframe, then the symbols by the exchange's list of markets.

        Returns:
            milliseconds between candles.

        Raises:
            ValueError: not offered; the message lists what is, or the nearest names.
            SourceFailure: the exchange cannot be reached.
        """
        offered = [one for one in self.api.timeframes or {} if re.fullmatch(r"\d+[smhdw]", one)]
        if offered and timeframe not in offered:
            raise ValueError(f"timeframe={timeframe!r} is not offered by {self.name}; use one of {', '.join(offered)}")
        step = step_of(timeframe)
        self._only_spot(symbols)
        markets = self._ask(self.api.load_markets)
        for symbol in symbols:
            if symbol not in markets:
                close = _nearest(symbol, list(markets))
                hint = f"did you mean {' or '.join(close)}?" if close else "write it as BTC/USDT"
                raise ValueError(f"symbol={symbol!r} is not traded on {self.name}; {hint}")
        self._waits = WAITS
        return step

    def _only_spot(self, symbols: Sequence[str]) -> None:
        """Leaves out the lists of contracts, of other hosts, where no contract (`BTC/USDT:USDT`) is asked for."""
        markets = self.api.options.get("fetchMarkets")
        types = markets.get("types") if isinstance(markets, dict) else None
        if isinstance(types, list) and "spot" in types and not any(":" in symbol for symbol in symbols):
            markets["types"] = ["spot"]

    def now(self) -> tuple[int, str]:
        """Milliseconds since 1970 by the exchange's clock, and whose clock it was."""
        if self.api.has.get("fetchTime") is True:
            return int(self._ask(self.api.fetch_time)), f"{self.name}'s clock"
        date = retrying.moment_of(self.api.answered.get("Date", ""))
        if date is not None:
            return int(date * 1000), f"{self.name}'s clock"
        return self.api.milliseconds(), "the clock of this machine"

    def page_size(self, symbol: str) -> int:
        """Candles that one request may bring."""
        return int(self.api.feature_value(symbol, "fetchOHLCV", "limit") or USUAL_PAGE)

    def page(self, symbol: str, timeframe: str, since: int) -> np.ndarray:
        """Candles from a time on, in time order, `(n, 7)`; some exchanges send others than were asked for.

        Raises:
            ValueError: the exchange refuses.
            SourceFailure: it failed at every try.
        """
        size = self.page_size(symbol)
        rows = self._ask(lambda: self.api.fetch_ohlcv(symbol, timeframe, since, size))
        table = np.full((len(rows), COLUMNS), np.nan)
        for place, row in enumerate(rows):
            table[place, : len(row)] = [np.nan if value is None else value for value in row]
        return table[np.argsort(table[:, 0], kind="stable")]

    def _ask(self, action: Callable[[], T]) -> T:
        import ccxt

        def once() -> T:
            self.api.status, self.api.answered = None, {}
            return action()

        try:
            return ask_again(once, self._failure, self._waits)
        except ccxt.BaseError as error:
            raise ValueError(self._refusal(error)) from error

    def _failure(self, error: BaseException) -> SourceFailure | None:
        """What an error means if it may pass: a broken connection, an overloaded or a limiting server."""
        import ccxt

        status = self.api.status
        limiting = (ccxt.RateLimitExceeded, ccxt.DDoSProtection)
        passing = (*limiting, ccxt.RequestTimeout, ccxt.OnMaintenance, ccxt.BadResponse)
        # some say in an answer of status 200 that they are busy
        is_busy = status == 200 and (isinstance(error, ccxt.NetworkError) or BUSY.search(str(error)) is not None)
        if status is None and isinstance(error, ccxt.NetworkError):
            return SourceFailure(f"{self.name} {_connection_words(error)}")
        if status in TEMPORARY or isinstance(error, passing) or is_busy:
            asked = retrying.retry_after(self.api.answered.get("Retry-After", ""))
            return SourceFailure(f"{self.name} answered {'that it is busy' if is_busy else status}", asked)
        return None

    def _refusal(self, error: BaseException) -> str:
        status = self.api.status
        words = re.sub(r"<[^>]*>", " ", without_secrets(str(error)).removeprefix(f"{self.name} "))
        said = " ".join(re.sub(r"^(GET|POST) \S+ ", "", words).split())[:200]
        if status in (403, 451):
            return f"{self.name} does not serve this place or network ({said}); use another exchange, or api_url"
        return f"{self.name} refuses the request ({said or type(error).__name__}); correct symbol, timeframe or since"


def _connection_words(error: BaseException) -> str:
    """What a failed connection says, without its pages of detail."""
    text = without_secrets(f"{error} {error.__cause__ or ''}")
    address = re.search(r"https?://[^/\s]+", text)
    host = f" at {address[0]}" if address else ""
    for mark, words in (
        ("NameResolution", "is not found: no network, or no such host"),
        ("refused", "refuses connections"),
        ("timed out", "did not answer in time"),
        ("RequestTimeout", "did not answer in time"),
    ):
        if mark in text or mark in type(error).__name__:
            return f"{host.strip()} {words}".strip()
    return f"{host.strip()} broke the connection".strip()
