"""An exchange's candles through ccxt: validated names, rate limits, retries, one-line errors.

Notable:
- ccxt's rate limiter paces the requests, but ignores waits that the exchange requests (Retry-After); this module
  respects them, and waits after failures.
- ccxt's candles have six columns. Binance also sends the quote volume, i.e. the amount, which this module reads before
  ccxt drops it.
- No API key is needed: candles are public.

Shapes: n candles; rows (n, 7) as in `part`.
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
USUAL_PAGE = 500  # candles, if ccxt does not know an exchange's limit
AMOUNT_AT = {"binance": 7, "binanceus": 7}  # place of the quote volume in a candle as the exchange sends it
BUSY = re.compile(r"EService:(Busy|Unavailable|Timeout|Throttled)|EGeneral:Internal error|Throttled")  # Kraken's
INSTALL = 'pip install "kronos-ft[data]"'

T = TypeVar("T")


def _nearest(name: str, names: Sequence[str], count: int = 3) -> list[str]:
    """The most similar names; ignores case and punctuation."""

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
    """A subclass of the exchange that records status and headers of the last answer, and keeps the amount."""
    place = AMOUNT_AT.get(kind.__name__)

    class Recording(kind):
        status: int | None = None
        answered: dict = {}  # noqa: RUF012 - replaced as a whole

        def on_rest_response(self, code: int, reason: str, url: str, method: str, headers: dict, *rest: object) -> str:
            self.status, self.answered = code, headers
            return super().on_rest_response(code, reason, url, method, headers, *rest)

        def parse_ohlcv(self, ohlcv: object, market: dict | None = None) -> list:
            row = super().parse_ohlcv(ohlcv, market)
            # for coin-margined contracts, this column is the volume
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
        name (`str`): name of the exchange in ccxt.
        api_url (`str`, *optional*): scheme and host to use instead of the exchange's: a testnet or a mirror.

    Raises:
        ValueError: ccxt is not installed, or the exchange is unknown or has no candles.
    """

    def __init__(self, name: str, api_url: str | None = None):
        kind = _kind_of(name)
        # respect proxy settings of the environment, as all downloads of this library
        options = {"enableRateLimit": True, "timeout": TIMEOUT, "requests_trust_env": True}
        self.api: ccxt.Exchange = _recording(kind)(options)
        self.name = name
        if self.api.has.get("fetchOHLCV") is not True:
            raise ValueError(f"exchange={name!r} has no candles; use another, e.g. binance")
        if api_url:
            self.api.urls["api"] = _other_host(self.api.urls["api"], check_url("api_url", api_url))
        self._waits: Sequence[float] = FIRST_WAITS

    def check(self, symbols: Sequence[str], timeframe: str) -> int:
        """Checks the timeframe, and the symbols against the exchange's markets.

        Returns:
            milliseconds between candles.

        Raises:
            ValueError: an unknown timeframe or symbol; the message lists available or similar ones.
            SourceFailure: the exchange cannot be reached.
        """
        offered = [one for one in self.api.timeframes or {} if re.fullmatch(r"\d+[smhdw]", one)]
        if offered and timeframe not in offered:
            raise ValueError(
                f"timeframe={timeframe!r} is not available on {self.name}; use one of {', '.join(offered)}"
            )
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
        """Loads only spot markets if no contract (`BTC/USDT:USDT`) is requested; contracts are on other hosts."""
        markets = self.api.options.get("fetchMarkets")
        types = markets.get("types") if isinstance(markets, dict) else None
        if isinstance(types, list) and "spot" in types and not any(":" in symbol for symbol in symbols):
            markets["types"] = ["spot"]

    def now(self) -> tuple[int, str]:
        """Milliseconds since 1970, and the name of the clock: the exchange's if possible."""
        if self.api.has.get("fetchTime") is True:
            return int(self._ask(self.api.fetch_time)), f"{self.name}'s clock"
        date = retrying.moment_of(self.api.answered.get("Date", ""))
        if date is not None:
            return int(date * 1000), f"{self.name}'s clock"
        return self.api.milliseconds(), "the clock of this machine"

    def page_size(self, symbol: str) -> int:
        """Maximum number of candles per request."""
        return int(self.api.feature_value(symbol, "fetchOHLCV", "limit") or USUAL_PAGE)

    def page(self, symbol: str, timeframe: str, since: int) -> np.ndarray:
        """Candles from a time on, sorted by time, `(n, 7)`; some exchanges return others as well.

        Raises:
            ValueError: the exchange refuses the request.
            SourceFailure: every attempt failed.
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
        """The [`SourceFailure`] of a temporary error (connection, overload, rate limit), else None."""
        import ccxt

        status = self.api.status
        limiting = (ccxt.RateLimitExceeded, ccxt.DDoSProtection)
        passing = (*limiting, ccxt.RequestTimeout, ccxt.OnMaintenance, ccxt.BadResponse)
        # some exchanges report that they are busy with status 200
        is_busy = status == 200 and (isinstance(error, ccxt.NetworkError) or BUSY.search(str(error)) is not None)
        if status is None and isinstance(error, ccxt.NetworkError):
            return SourceFailure(f"{self.name} {_connection_words(error)}")
        if status in TEMPORARY or isinstance(error, passing) or is_busy:
            asked = retrying.retry_after(self.api.answered.get("Retry-After", ""))
            return SourceFailure(f"{self.name} answered {'that it is busy' if is_busy else status}", asked)
        return None

    def _refusal(self, error: BaseException) -> str:
        status = self.api.status
        text = re.sub(r"<[^>]*>", " ", without_secrets(str(error)).removeprefix(f"{self.name} "))
        reason = " ".join(re.sub(r"^(GET|POST) \S+ ", "", text).split())[:200]
        if status in (403, 451):
            return f"{self.name} does not serve your location or network ({reason}); use another exchange, or api_url"
        return f"{self.name} refuses the request ({reason or type(error).__name__}); correct symbol, timeframe or since"


def _connection_words(error: BaseException) -> str:
    """A short description of a failed connection."""
    text = without_secrets(f"{error} {error.__cause__ or ''}")
    address = re.search(r"https?://[^/\s]+", text)
    host = f" at {address[0]}" if address else ""
    for mark, words in (
        ("NameResolution", "was not found: no network, or no such host"),
        ("refused", "refuses connections"),
        ("timed out", "did not answer in time"),
        ("RequestTimeout", "did not answer in time"),
    ):
        if mark in text or mark in type(error).__name__:
            return f"{host.strip()} {words}".strip()
    return f"{host.strip()} broke the connection".strip()
