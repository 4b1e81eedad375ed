"""Zip archives as the source of a download."""

import difflib
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ft_core.io.console import note
from ft_core.io.progress_lines import LineProgress

from ..data.columns import FEATURES, match_columns
from ..data.readers import read_file
from ..data.timestamps import parse_times
from .archive_plan import ArchivePlan, day_in, end_of, plan_archives, start_of
from .archive_store import FolderStore, Zip, open_store
from .part import COLUMNS, Page
from .spans import Span, span_of, step_of, text_of

SHOWN = 8


def _rows_of(archive: Zip, where: str) -> np.ndarray:
    """Reads the candles of an archive, `(n, 7)`, with the usual readers.

    Raises:
        ValueError: damaged, too large after decompression, not a table of candles, or times outside the named period.
    """
    with tempfile.TemporaryDirectory() as folder:  # the readers take files; the name has matched a strict pattern
        path = Path(folder) / archive.name
        path.write_bytes(archive.content)
        try:
            frame = read_file(path).frame
            columns = match_columns(frame.columns)
            times = parse_times(frame[columns["time"]])
        except ValueError as error:
            reason = str(error).replace(f"{path}", archive.name)
            raise ValueError(f"{where}: {reason if archive.name in reason else f'{archive.name}: {reason}'}") from None
    if times.isna().any():
        raise ValueError(f"{where}/{archive.name}: {int(times.isna().sum())} times cannot be read; download it again")
    rows = np.full((len(frame), COLUMNS), np.nan)
    rows[:, 0] = times.astype("int64").to_numpy() // 10**6
    for place, name in enumerate(FEATURES, 1):
        if name in columns:
            try:
                rows[:, place] = frame[columns[name]].to_numpy(dtype=np.float64, na_value=np.nan)
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"{where}/{archive.name}: {name} is not a number ({error}); download it again"
                ) from None
    day = day_in(archive.name)
    outside = (rows[:, 0] < start_of(day)) | (rows[:, 0] >= end_of(day))
    if outside.any():
        raise ValueError(
            f"{where}/{archive.name} contains a candle of {text_of(rows[outside][0, 0])}, outside the period in its "
            "name; download it again"
        )
    return rows


class ArchiveSource:
    """Candles of several symbols from zip archives; see [`archive_store`] for their layout.

    Args:
        archive (`str`): a folder or a URL.
        symbols (`list[str]`): as in the file names, such as `BTCUSDT`.
        timeframe (`str`): as in the file names.
        since (`int`): first opening time, milliseconds since 1970 UTC.
        until (`int`, *optional*): only earlier opening times; by default until the last archive.

    Raises:
        ValueError: no folder with archives, an invalid URL, or an invalid symbol or timeframe.
    """

    def __init__(
        self,
        archive: str,
        symbols: Sequence[str],
        timeframe: str,
        since: int,
        until: int | None = None,
    ):
        for symbol in symbols:
            if not re.fullmatch(r"[\w-]+", symbol):
                bare = re.sub(r"\W", "", symbol.split(":")[0])
                raise ValueError(f"symbol={symbol!r} cannot occur in archive names; write it as {bare}")
        self.step = step_of(timeframe)
        self.store = open_store(archive)
        self.name = self.store.name
        self.since, self.until = since, until
        self.asked = {
            "archive": str(Path(archive).expanduser().resolve()) if isinstance(self.store, FolderStore) else self.name,
            "symbols": list(symbols),
            "timeframe": timeframe,
            "since": text_of(since),
            "until": None if until is None else text_of(until),
        }

    def _check_names(self) -> None:
        """Checks symbols and timeframe against a folder's files; a server cannot be listed."""
        if not isinstance(self.store, FolderStore):
            return
        timeframe = self.asked["timeframe"]
        kept = self.store.kept()
        names = sorted({symbol for symbol, _ in kept})
        for symbol in self.asked["symbols"]:
            if symbol not in names:
                close = difflib.get_close_matches(symbol, names, n=3, cutoff=0.5)
                hint = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(names[:SHOWN])}"
                raise ValueError(f"symbol={symbol!r} is not in {self.name}; {hint}")
            if (symbol, timeframe) not in kept:
                have = ", ".join(sorted(frame for one, frame in kept if one == symbol))
                raise ValueError(f"timeframe={timeframe!r} of {symbol} is not in {self.name}; use one of {have}")

    def plan(self) -> dict:
        """Finds the archives of every symbol; see [`Source`].

        Raises:
            ValueError: an unknown symbol or timeframe, no archive, or a span without finished candles.
        """
        self._check_names()
        timeframe = self.asked["timeframe"]
        span = span_of(self.since, self.until, self.step, self.store.now(), "the archive's clock")
        spans, files, missing = {}, {}, {}
        for symbol in self.asked["symbols"]:
            look = LineProgress(f"{symbol}: months searched")
            found: ArchivePlan = plan_archives(self.store, symbol, timeframe, self.since, self.until, look)
            spans[symbol] = [span.start, min(span.end, found.end), self.step]
            files[symbol], missing[symbol] = found.names, found.missing
            if found.missing:
                more = f", ... and {len(found.missing) - SHOWN} more" if len(found.missing) > SHOWN else ""
                note(f"{symbol}: no archive for {', '.join(found.missing[:SHOWN])}{more}")
        return {"spans": spans, "files": files, "missing": missing}

    def pages(self, symbol: str, plan: dict, before: list[Page]) -> Iterator[tuple[Page, float]]:
        """Yields one page per archive, except those in `before`; see [`Source`]."""
        span = Span(*plan["spans"][symbol])
        names = plan["files"][symbol]
        done = {page.facts["file"] for page in before}
        for number, name in enumerate(names, 1):
            if name in done:
                continue
            if isinstance(self.store, FolderStore) and not self.store.has(name):
                raise ValueError(f"{name} is no longer in {self.name}; restore it, or start again with --overwrite")
            archive = self.store.read(name)
            rows = _rows_of(archive, self.name)
            rows = rows[(rows[:, 0] >= span.start) & (rows[:, 0] < span.end)]
            facts = {"symbol": symbol, "file": name, "sha256": archive.sha256, "verified": archive.is_verified}
            yield Page(facts, rows), number / len(names)

    def facts(self, pages: list[Page]) -> dict:
        """The archives read, and whether a checksum file verified each."""
        names = ("symbol", "file", "sha256", "verified")
        return {"files": [{name: page.facts[name] for name in names} for page in pages]}
