"""An archive of candles on this machine, laid out as data.binance.vision, in memory or as a folder."""

import hashlib
import io
import zipfile

import pandas as pd

from tests.market_server import MarketServer

HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


def packed(name, rows, unit=1, header=False):
    """A zip of one CSV file with klines; `unit` 1000 writes times in microseconds."""
    lines = [HEADER] if header else []
    for row in rows:
        close = row[6] * unit + (unit - 1)
        lines.append(",".join(map(str, [row[0] * unit, *row[1:6], close, *row[7:]])))
    content = io.BytesIO()
    entry = zipfile.ZipInfo(name.replace(".zip", ".csv"), (2020, 1, 1, 0, 0, 0))
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(entry, "\n".join(lines) + "\n", zipfile.ZIP_DEFLATED)
    return content.getvalue()


def checksum(name, content):
    return f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode()


def archive_files(rows, symbol="BTCUSDT", timeframe="1h", days=(), without=(), header=(), micro_from="2025-01"):
    """Files by path: a zip and its checksum for each month of the rows, days for the months in `days`.

    Args:
        without: months and days that have no file.
        header: months whose file names its columns.
        micro_from: the first month in microseconds.
    """
    files = {}
    by_day = {}
    for row in rows:
        by_day.setdefault(str(pd.Timestamp(row[0], unit="ms"))[:10], []).append(row)
    parts = {}
    for day, some in by_day.items():
        parts.setdefault(day if day[:7] in days else day[:7], []).extend(some)
    for part, some in parts.items():
        if part in without:
            continue
        name = f"{symbol}-{timeframe}-{part}.zip"
        content = packed(name, some, 1000 if part >= micro_from else 1, part[:7] in header)
        path = f"{'daily' if len(part) == 10 else 'monthly'}/klines/{symbol}/{timeframe}/{name}"
        files[path] = content
        files[f"{path}.CHECKSUM"] = checksum(name, content)
    return files


def write_folder(folder, files):
    """The files of an archive as a folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


class LoopbackArchive(MarketServer):
    """Serves files by path under /data/spot."""

    def __init__(self, files, clock):
        super().__init__(pd.Timestamp(clock, tz="UTC").value // 10**6)
        self.files = files

    def answer(self, path, query):
        return self.files.get(path.removeprefix("/data/spot/"))
