"""Two exchanges on this machine that speak to ccxt as Binance and as Kraken do, with candles made up beforehand."""

import pandas as pd

from kronos_ft.data.sources import simulate_candles
from tests.market_server import MarketServer


def klines(bars, seed=0, step="1h", start="2020-01-01"):
    """Candles as Binance sends them: times in milliseconds, everything else as text."""
    frame = simulate_candles(bars, seed, step, start)
    length = pd.Timedelta(step).value // 10**6
    rows = []
    for row in frame.itertuples():
        first = row.timestamps.value // 10**6
        prices = [f"{value:.8f}" for value in (row.open, row.high, row.low, row.close, row.volume)]
        rest = [first + length - 1, f"{row.amount:.8f}", 100, f"{row.volume / 2:.8f}", f"{row.amount / 2:.8f}", "0"]
        rows.append([first, *prices, *rest])
    return rows


def _symbol(name):
    quote = "USDT" if name.endswith("USDT") else "BTC"
    base = name.removesuffix(quote)
    return {
        **{"symbol": name, "status": "TRADING", "baseAsset": base, "quoteAsset": quote},
        **{"baseAssetPrecision": 8, "quotePrecision": 8, "quoteAssetPrecision": 8, "orderTypes": ["LIMIT"]},
        **{"isSpotTradingAllowed": True, "isMarginTradingAllowed": False, "permissions": ["SPOT"], "filters": []},
    }


class LoopbackBinance(MarketServer):
    """Binance's spot market: `candles` by its own names, at most `limit` a page whatever is asked.

    The clock stands half a step after the last candle of `candles` opened.
    """

    def __init__(self, candles, limit=1000, step=3_600_000):
        super().__init__(max(rows[-1][0] for rows in candles.values()) + step // 2)
        self.candles, self.limit = candles, limit

    def answer(self, path, query):
        match path.removeprefix("/api/v3/"):
            case "ping":
                return {}
            case "time":
                return {"serverTime": self.clock}
            case "exchangeInfo":
                names = [*self.candles, "LTCUSDT", "ETHBTC"]
                return {"timezone": "UTC", "serverTime": self.clock, "symbols": [_symbol(name) for name in names]}
            case "klines":
                rows = self.candles.get(query["symbol"])
                if rows is None:
                    return 400, {"code": -1121, "msg": "Invalid symbol."}
                after = [row for row in rows if row[0] >= int(query.get("startTime", 0))]
                return after[: min(self.limit, int(query.get("limit", 500)))]
        return None


class LoopbackKraken(MarketServer):
    """Kraken: the newest 720 candles whatever is asked, no quote volume, the unfinished one last."""

    def __init__(self, rows, step=3_600_000):
        super().__init__(rows[-1][0] + step // 2)
        self.rows = rows

    def answer(self, path, query):
        match path.removeprefix("/0/public/"):
            case "Time":
                return {"error": [], "result": {"unixtime": self.clock // 1000}}
            case "Assets":
                asset = {"aclass": "currency", "decimals": 8, "display_decimals": 5, "status": "enabled"}
                return {
                    "error": [],
                    "result": {"XXBT": {**asset, "altname": "XBT"}, "ZUSD": {**asset, "altname": "USD"}},
                }
            case "AssetPairs":
                pair = {"altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD", "status": "online"}
                precision = {"pair_decimals": 1, "lot_decimals": 8, "fees": [], "fees_maker": [], "leverage_buy": []}
                return {"error": [], "result": {"XXBTZUSD": {**pair, **precision}}}
            case "OHLC":
                since = int(query.get("since", 0))
                rows = [row for row in self.rows if row[0] // 1000 > since][-720:]
                sent = [[row[0] // 1000, *row[1:5], "0.0", row[5], row[8]] for row in rows]
                return {"error": [], "result": {"XXBTZUSD": sent, "last": self.rows[-2][0] // 1000}}
        return None
