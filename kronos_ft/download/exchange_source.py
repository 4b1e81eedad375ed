"""An exchange as the source of a download."""

from collections.abc import Iterator, Sequence

import numpy as np

from ft_core.io.secrets import without_secrets

from .exchange import ExchangeCandles
from .exchange_pages import walk
from .part import COLUMNS, Page
from .spans import Span, span_of, text_of


class ExchangeSource:
    """Finished candles of several symbols, by the exchange's clock.

    Args:
        exchange (`str`): name of the exchange in ccxt.
        symbols (`list[str]`): in ccxt's notation, such as `BTC/USDT`.
        timeframe (`str`): a timeframe of the exchange.
        since (`int`): first opening time, milliseconds since 1970 UTC.
        until (`int`, *optional*): only earlier opening times; by default all candles finished at the start.
        api_url (`str`, *optional*): a testnet or mirror with the same API.

    Raises:
        ValueError: ccxt is not installed, or the exchange is unknown or has no candles.
    """

    def __init__(
        self,
        exchange: str,
        symbols: Sequence[str],
        timeframe: str,
        since: int,
        until: int | None = None,
        api_url: str | None = None,
    ):
        self.candles = ExchangeCandles(exchange, api_url)
        self.name = exchange
        self.since, self.until = since, until
        self.asked = {
            "exchange": exchange,
            "api_url": api_url and without_secrets(api_url),
            "symbols": list(symbols),
            "timeframe": timeframe,
            "since": text_of(since),
            "until": None if until is None else text_of(until),
        }
        self._is_checked = False

    def _check(self) -> int:
        step = self.candles.check(self.asked["symbols"], self.asked["timeframe"])
        self._is_checked = True
        return step

    def plan(self) -> dict:
        """Checks names and times. The span ends with the last candle finished now; a resume does not extend it.

        Raises:
            ValueError: an unknown symbol or timeframe, or a span without finished candles.
        """
        step = self._check()
        now, clock = self.candles.now()
        span = span_of(self.since, self.until, step, now, clock)
        return {"spans": {symbol: [span.start, span.end, span.step] for symbol in self.asked["symbols"]}}

    def pages(self, symbol: str, plan: dict, before: list[Page]) -> Iterator[tuple[Page, float]]:
        """Yields the remaining pages; see [`Source`]."""
        span = Span(*plan["spans"][symbol])
        cursor = before[-1].facts["next"] if before else span.start
        if cursor >= span.end:
            return
        if not self._is_checked:
            self._check()
        last = next((page.rows for page in reversed(before) if len(page.rows)), np.empty((0, COLUMNS)))
        timeframe = self.asked["timeframe"]
        pages = walk(
            lambda since: self.candles.page(symbol, timeframe, since),
            span,
            self.candles.page_size(symbol),
            cursor,
            last,
        )
        for rows, cursor in pages:
            yield Page({"symbol": symbol, "next": cursor}, rows), (cursor - span.start) / (span.end - span.start)

    def facts(self, pages: list[Page]) -> dict:
        """The version of ccxt."""
        import ccxt

        return {"ccxt": ccxt.__version__}
