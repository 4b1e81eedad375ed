"""Recognises the columns of a candle table by name, in English and Chinese, in any order."""

import re
from collections.abc import Iterable, Mapping

ColumnNames = str | Mapping[str, str]
PRICES = ("open", "high", "low", "close")
FEATURES = (*PRICES, "volume", "amount")

NAMED_UTC = ("timestamputc", "datetimeutc", "opentimeutc", "dateutc", "timeutc", "utctime", "gmttime")
# The first alias in the table wins. Names are compared in lower case, without spaces and punctuation.
ALIASES: dict[str, tuple[str, ...]] = {
    "time": (
        "timestamps", "timestamp", "datetime", "opentime", "date", "time", "ts", "begintime", "candlebegintime",
        "tradetime", "tradedate", "unix", "unixtimestamp", "t", "时间", "日期时间", "交易时间", "日期", "交易日期",
        "时间戳", "windowstart", *NAMED_UTC,
    ),
    "open": ("open", "openprice", "o", "开盘", "开盘价", "今开"),
    "high": ("high", "highprice", "max", "h", "最高", "最高价"),
    "low": ("low", "lowprice", "min", "l", "最低", "最低价"),
    "close": ("close", "closeprice", "last", "c", "收盘", "收盘价", "price"),
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


# A unit in brackets at the end of a name: `成交额(万元)`, `Close (USD)`. Only known units are dropped: the word in the
# brackets may change the meaning, as in `Close (adj)`.
_BRACKETS = re.compile(r"(.+?)\s*[(（\[【]([^()（）\[\]【】]+)[)）\]】]", re.DOTALL)
_SCALES = {
    "": 1, "千": 1e3, "万": 1e4, "百万": 1e6, "千万": 1e7, "亿": 1e8, "万亿": 1e12,
    "thousand": 1e3, "thousands": 1e3, "million": 1e6, "millions": 1e6, "mn": 1e6, "mln": 1e6, "billion": 1e9,
    "billions": 1e9, "bn": 1e9,
}  # fmt: skip
_MONEY = (
    r"元|人民币元?|[美港日欧]元|港币|英镑|(?:us|hk)?\$|[€£¥￥₩₹]|usd|eur|gbp|jpy|cny|cnh|rmb|hkd|twd|krw|inr|sgd|aud|nzd|cad|"
    r"chf|sek|nok|dkk|pln|czk|huf|try|zar|brl|mxn|rub|usdt|usdc|busd"
)
_COIN = "btc|eth|bnb|sol|xrp|doge|ltc|ada"  # money or quantity
_QUANTITY = "股|手|张|份|枚|个|吨|shares?|lots?|contracts|units|ticks|coins"
_PER = "股|张|份|枚|吨|千克|克|桶|盎司|share|oz|bbl|barrel|t|mt|kg|lb|coin"
_UNIT = re.compile(
    rf"(?:单位\s*[:：]?)?\s*(?P<before>{'|'.join(_SCALES)})\s*"
    rf"(?:(?P<money>{_MONEY})|(?P<coin>{_COIN})|(?P<quantity>{_QUANTITY}))?\s*(?P<per>/\s*(?:{_PER}))?\s*"
    rf"(?P<after>{'|'.join(_SCALES)})"
)


_NO_TICKER = r"[A-Z]{0,2}MA\d*|\d+[A-Z]|BUY|SELL|BID|ASK|AVG|SUM|CHG|PCT|RATIO|FROM|TO|UP|DOWN|TOTAL|DELTA|OSC|ADJ"
_VOLUME_OF = re.compile(rf"(?:[Vv]olume|VOLUME)[ _](?!(?:{_NO_TICKER})$)([A-Z0-9]{{2,10}})")


def plain_name(name: object) -> str:
    """Lower case without spaces and punctuation except `%`: `Open Time` and `<open_time>` become `opentime`."""
    return re.sub(r"[^\w%]+|_+", "", str(name).strip().lower())


def _split_unit(name: object) -> tuple[str, re.Match | None]:
    """A name without the known unit in brackets at its end, and the unit; the name itself and None without one."""
    parts = _BRACKETS.fullmatch(str(name).strip())
    unit = _UNIT.fullmatch(parts[2].strip().lower()) if parts else None
    if unit is None or (unit["before"] and unit["after"]):
        return str(name), None
    return parts[1], unit


def unit_factor(name: object) -> float:
    """What the numbers of a column are multiplied by, from the unit in its name: 1e4 for `成交额(万元)`; 1 without one.

    手 (lots) has the factor 1: the size of a lot depends on the market, and only relative volumes matter to the model.
    """
    _, unit = _split_unit(name)
    return 1.0 if unit is None else float(_SCALES[unit["before"]] * _SCALES[unit["after"]])


def _with_units(names: Iterable[object]) -> dict[str, dict[str, object]]:
    """By meaning, the columns named by an alias and a unit that fits: money for prices and amounts."""
    found: dict[str, dict[str, object]] = {one: {} for one in ALIASES}
    for name in names:
        bare, unit = _split_unit(name)
        alias = plain_name(bare)
        meaning = next((one for one in FEATURES if alias in ALIASES[one]), None)
        if unit is None or meaning is None:
            continue
        if meaning == "volume" and unit["money"]:
            meaning = "amount"  # `Volume (EUR)`
        if (meaning == "volume" or not unit["quantity"]) and (meaning in PRICES or not unit["per"]):
            found[meaning].setdefault(alias, name)
    return found


def _volumes_by_ticker(names: Iterable[object]) -> dict[str, object]:
    """`volume` and `amount` of columns such as `Volume ETH` and `Volume USDT`: the base and the quote of the pair.

    A currency is the quote. Of two others, as in ETH/BTC, the first is the base; at least one is a known coin, because
    the word may also be that of an indicator.
    """
    tickers = {name: match[1].lower() for name in names if (match := _VOLUME_OF.fullmatch(str(name).strip()))}
    money = [name for name, ticker in tickers.items() if re.fullmatch(_MONEY, ticker)]
    others = [name for name in tickers if name not in money]
    if not money and not any(re.fullmatch(_COIN, tickers[name]) for name in others):
        return {}
    found = {"volume": others[:1], "amount": (money + others[1:])[:1]}
    return {meaning: names[0] for meaning, names in found.items() if names}


def _check_units(found: Mapping[str, object]) -> None:
    """Raises ValueError for prices in different units."""
    matches = {name: unit for name in PRICES if (unit := _split_unit(found[name])[1]) is not None}
    units = {name: (unit["money"] or unit["coin"], unit["per"]) for name, unit in matches.items()}
    first = next(iter(units), None)
    differing = [name for name, unit in units.items() if unit != units[first]]
    if differing:
        raise ValueError(
            f"the prices have different units: {found[first]} and {found[differing[0]]}; name the columns of one unit, "
            f"e.g. --columns {differing[0]}=NAME"
        )


def parse_columns(given: ColumnNames | None) -> dict[str, str]:
    """The setting `columns`: `time=Datum,close=Schluss`, or a mapping of meanings to column names.

    Raises:
        ValueError: another form, or an unknown meaning.
    """
    if isinstance(given, Mapping):
        found = {str(meaning).strip(): str(name).strip() for meaning, name in given.items()}
    else:
        parts = [part.partition("=") for part in given.split(",")] if given else []
        if not all(equals and name.strip() for _, equals, name in parts):
            raise ValueError(f"columns={given!r} is not a list of MEANING=NAME; write e.g. time=Datum,close=Schluss")
        found = {meaning.strip(): name.strip() for meaning, _, name in parts}
    for meaning in found:
        if meaning not in ALIASES:
            raise ValueError(f"columns names {meaning!r}, which is no meaning; use {', '.join(ALIASES)}")
    return found


def match_columns(names: Iterable[object], given: Mapping[str, str] | None = None) -> dict[str, object]:
    """Maps meanings (`time`, `open`, ..., `amount`, `symbol`) to the table's own column names.

    Args:
        names (`Iterable`): the table's columns.
        given (`Mapping` of `str` to `str`, *optional*): column names by meaning, from [`parse_columns`]; the others are
            recognised.

    Raises:
        ValueError: if the time or one of the four prices is missing, or a given column; the message lists the table's
            columns.
    """
    names = list(names)
    by_plain: dict[str, object] = {}
    for name in names:
        by_plain.setdefault(plain_name(name), name)
    found: dict[str, object] = {}
    for meaning, with_unit in _with_units(names).items():
        known = with_unit | by_plain  # of equal names, the one without a unit
        named = next((known[alias] for alias in [*ALIASES[meaning], *with_unit] if alias in known), None)
        if named is not None:
            found[meaning] = named
    by_ticker = _volumes_by_ticker(names)
    if found.get("volume") in (None, *by_ticker.values()):  # an alias such as `volumebtc` does not know the pair
        found |= {meaning: name for meaning, name in by_ticker.items() if meaning == "volume" or meaning not in found}
    have = ", ".join(str(name)[:40] for name in list(by_plain.values())[:12]) or "none"
    exact = {str(name).strip(): name for name in names}
    for meaning, name in (given or {}).items():
        if name not in exact:
            raise ValueError(f"no column is named {name!r} (columns: {have}); correct columns={meaning}={name}")
        found[meaning] = exact[name]
    missing = [meaning for meaning in ("time", *PRICES) if meaning not in found]
    if missing:
        example = ",".join(f"{meaning}=NAME" for meaning in missing[:2])
        raise ValueError(
            f"no column found for {', '.join(missing)} (columns: {have}); name them, e.g. --columns {example}"
        )
    _check_units(found)
    return found


def match_all(names: Iterable[object], meaning: str) -> dict[str, object]:
    """All columns that may have a meaning, by plain name, in order of preference."""
    by_plain = {plain_name(name): name for name in names}
    return {alias: by_plain[alias] for alias in ALIASES[meaning] if alias in by_plain}
