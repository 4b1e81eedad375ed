"""Recognises the columns of a candle table by name, in English and Chinese, in any order."""

import re
from collections.abc import Iterable

PRICES = ("open", "high", "low", "close")
FEATURES = (*PRICES, "volume", "amount")

# The first alias in the table wins. Names are compared in lower case, without spaces and punctuation.
ALIASES: dict[str, tuple[str, ...]] = {
    "time": (
        "timestamps", "timestamp", "datetime", "opentime", "date", "time", "ts", "begintime", "candlebegintime",
        "tradetime", "tradedate", "unix", "unixtimestamp", "t", "时间", "日期时间", "交易时间", "日期", "交易日期",
        "时间戳",
    ),
    "open": ("open", "openprice", "o", "开盘", "开盘价", "今开"),
    "high": ("high", "highprice", "max", "h", "最高", "最高价"),
    "low": ("low", "lowprice", "min", "l", "最低", "最低价"),
    "close": ("close", "closeprice", "last", "c", "收盘", "收盘价"),
    "volume": ("volume", "vol", "basevolume", "volumebtc", "tickvolume", "tickvol", "v", "成交量"),
    "amount": (
        "amount", "amt", "quotevolume", "quoteassetvolume", "volumequote", "volumeusdt", "volumeusd", "turnover",
        "money", "value", "成交额", "成交金额",
    ),
    "symbol": ("symbol", "ticker", "instrument", "pair", "code", "tscode", "asset", "代码", "股票代码"),
}  # fmt: skip

# Binance archives of klines have no header.
BINANCE_KLINE = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count", "taker_volume",
    "taker_quote_volume", "ignore",
)  # fmt: skip


def plain_name(name: object) -> str:
    """Lower case without spaces and punctuation: `Open Time` and `<open_time>` become `opentime`."""
    return re.sub(r"[\W_]+", "", str(name).strip().lower())


def match_columns(names: Iterable[object]) -> dict[str, object]:
    """Maps meanings (`time`, `open`, ..., `amount`, `symbol`) to the table's own column names.

    Raises:
        ValueError: if the time or one of the four prices is missing; the message lists the table's columns.
    """
    by_plain: dict[str, object] = {}
    for name in names:
        by_plain.setdefault(plain_name(name), name)
    found = {
        meaning: next(by_plain[alias] for alias in aliases if alias in by_plain)
        for meaning, aliases in ALIASES.items()
        if any(alias in by_plain for alias in aliases)
    }
    missing = [meaning for meaning in ("time", *PRICES) if meaning not in found]
    if missing:
        have = ", ".join(str(name)[:40] for name in list(by_plain.values())[:12]) or "none"
        raise ValueError(
            f"no column found for {', '.join(missing)} (columns: {have}); rename the columns, e.g. to {missing[0]!r}"
        )
    return found


def match_all(names: Iterable[object], meaning: str) -> dict[str, object]:
    """All columns that may have a meaning, by plain name, in order of preference."""
    by_plain = {plain_name(name): name for name in names}
    return {alias: by_plain[alias] for alias in ALIASES[meaning] if alias in by_plain}
