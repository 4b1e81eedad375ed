"""Zip archives of candles in a folder or at a URL, verified by `.CHECKSUM` files if there are any.

URLs have the layout of data.binance.vision: `BASE/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2023-01.zip` and
`BASE/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2023-01-31.zip`. In a folder, the files may be at any depth; only their names
matter.
"""

import calendar
import contextlib
import hashlib
import re
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from huggingface_hub.utils import httpx

from ft_core.io import retrying
from ft_core.io.compressed import unpacked_limit
from ft_core.io.console import note
from ft_core.io.secrets import without_secrets

from .retries import FIRST_WAITS, TEMPORARY, WAITS, SourceFailure, ask_again, check_url

TIMEOUT = httpx.Timeout(60.0, connect=15.0)  # seconds without a byte
SPOT = "/data/spot"  # default path if the URL is only a host
NAME = re.compile(r"(?P<symbol>.+)-(?P<timeframe>\d+(?:[smhdw]|mo))-(?P<day>\d{4}-(?:0[1-9]|1[0-2])(?:-\d{2})?)\.zip")
CHECKSUM_TRIES = 3


@dataclass
class Zip:
    """An archive's bytes.

    Attributes:
        sha256 (`str`): hash of the bytes.
        is_verified (`bool`): whether a checksum file confirmed it.
    """

    name: str
    content: bytes
    sha256: str
    is_verified: bool


class Store(Protocol):
    """A collection of archives."""

    name: str
    is_listed: bool

    def has(self, name: str) -> bool:
        """Whether an archive exists."""

    def read(self, name: str) -> Zip:
        """Reads and verifies an archive."""

    def last_day(self, symbol: str, timeframe: str) -> date:
        """The last day that an archive can cover."""

    def now(self) -> int:
        """Milliseconds since 1970 by the clock of the store."""


def _expected_sum(text: str) -> str | None:
    match = re.match(r"\s*([0-9a-fA-F]{64})\b", text)
    return match[1].lower() if match else None


def _is_date(day: str) -> bool:
    try:
        date.fromisoformat(day if len(day) == 10 else f"{day}-01")
    except ValueError:  # the 30th of February, or the year 0
        return False
    return True


class FolderStore:
    """Archives in a folder, at any depth.

    Args:
        folder (`Path`): listed once, on creation.

    Raises:
        ValueError: not a folder, no archives in it, or two archives with the same name.
    """

    is_listed = True

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise ValueError(f"archive={folder} is not a folder; pass a folder of zip files, or a URL with https://")
        self.name = str(folder)
        self.files: dict[str, Path] = {}
        for path in sorted(folder.rglob("*.zip")):
            match = NAME.fullmatch(path.name)
            if match is None or not _is_date(match["day"]):
                continue
            if path.name in self.files:
                raise ValueError(
                    f"archive={folder} contains {self.files[path.name]} and {path}, with the same name; pass the "
                    "folder of one of them"
                )
            self.files[path.name] = path
        if not self.files:
            raise ValueError(
                f"archive={folder} contains no file with a name like BTCUSDT-1h-2023-01.zip; correct the folder"
            )

    def has(self, name: str) -> bool:
        return name in self.files

    def read(self, name: str) -> Zip:
        path = self.files[name]
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        beside = path.with_name(f"{name}.CHECKSUM")
        expected = _expected_sum(beside.read_text(encoding="utf-8", errors="replace")) if beside.exists() else None
        if expected not in (None, sha256):
            raise ValueError(f"the SHA-256 of {path} differs from {beside.name}; download it again")
        return Zip(name, content, sha256, expected is not None)

    def kept(self) -> set[tuple[str, str]]:
        """The symbols and timeframes in the folder."""
        return {(match["symbol"], match["timeframe"]) for match in map(NAME.fullmatch, self.files)}

    def last_day(self, symbol: str, timeframe: str) -> date:
        prefix = f"{symbol}-{timeframe}-"
        last = max(NAME.fullmatch(name)["day"] for name in self.files if name.startswith(prefix))
        if len(last) == 10:
            return date.fromisoformat(last)
        first = date.fromisoformat(f"{last}-01")
        return first.replace(day=calendar.monthrange(first.year, first.month)[1])

    def now(self) -> int:
        return int(time.time() * 1000)


class WebStore:
    """Archives at a URL.

    Args:
        url (`str`): the folder with `monthly/` and `daily/`; for a host without a path, `/data/spot` is added.

    Raises:
        ValueError: an invalid URL.
    """

    is_listed = False

    def __init__(self, url: str):
        url = check_url("archive", url)
        self.name = without_secrets(url)
        self.base = url + ("" if urlsplit(url).path.strip("/") else SPOT)
        self._client = httpx.Client(timeout=TIMEOUT, follow_redirects=True)
        self._waits = FIRST_WAITS
        self._date = ""

    def _url(self, name: str) -> str:
        match = NAME.fullmatch(name)
        kind = "monthly" if len(match["day"]) == 7 else "daily"
        return f"{self.base}/{kind}/klines/{match['symbol']}/{match['timeframe']}/{name}"

    def has(self, name: str) -> bool:
        return self._ask("HEAD", self._url(name)) is not None

    def read(self, name: str) -> Zip:
        url = self._url(name)
        shown = without_secrets(url)
        for _ in range(CHECKSUM_TRIES):
            content = self._ask("GET", url)
            if content is None:
                raise ValueError(f"{shown} no longer exists; start again with --overwrite")
            sums = self._ask("GET", f"{url}.CHECKSUM")
            expected = None if sums is None else _expected_sum(sums.decode("utf-8", errors="replace"))
            sha256 = hashlib.sha256(content).hexdigest()
            if expected in (None, sha256):
                return Zip(name, content, sha256, expected is not None)
            note(f"the SHA-256 of {name} differs from its .CHECKSUM file; downloading both again")
        raise ValueError(
            f"the SHA-256 of {shown} differed from its .CHECKSUM file {CHECKSUM_TRIES} times; the earlier candles are "
            "kept: try again later with --resume"
        )

    def last_day(self, symbol: str, timeframe: str) -> date:
        return datetime.fromtimestamp(self.now() / 1000, UTC).date()

    def now(self) -> int:
        if not self._date:
            with contextlib.suppress(ValueError):  # a refusal also has a Date header
                self._ask("HEAD", f"{self.base}/monthly/klines/")
        moment = retrying.moment_of(self._date)
        return int((time.time() if moment is None else moment) * 1000)

    def _ask(self, method: str, url: str) -> bytes | None:
        """The content of a URL, or None if it does not exist.

        Raises:
            ValueError: the server refuses, or sends more than the limit.
            SourceFailure: every attempt failed.
        """
        limit, shown = unpacked_limit(), without_secrets(url)

        def once() -> bytes | None:
            try:
                with self._client.stream(method, url) as answer:
                    self._date = answer.headers.get("date", "")
                    status = answer.status_code
                    if status in TEMPORARY:
                        asked = retrying.retry_after(answer.headers.get("retry-after", ""))
                        raise SourceFailure(f"{self.name} answered {status}", asked)
                    if status == 404:
                        return None
                    if status >= 400:
                        raise ValueError(f"the server refuses {shown} (status {status}); correct the URL")
                    content = bytearray()
                    for piece in answer.iter_bytes():
                        content += piece
                        if len(content) > limit:
                            raise ValueError(
                                f"{shown} is larger than {limit / 2**20:,.0f} MiB, the limit for an archive; correct "
                                "the URL"
                            )
                    return bytes(content)
            except httpx.TransportError as error:
                kind = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "broke the connection"
                raise SourceFailure(f"{self.name} {kind} ({type(error).__name__})") from error

        def failure(error: BaseException) -> SourceFailure | None:
            return error if isinstance(error, SourceFailure) else None

        found = ask_again(once, failure, self._waits)
        self._waits = WAITS
        return found


def open_store(archive: str) -> FolderStore | WebStore:
    """Opens the store of `--archive`: a URL or a folder."""
    return WebStore(archive) if "://" in archive else FolderStore(Path(archive).expanduser())
