"""Downloads candles into one file: begins or goes on, gathers page by page, checks, writes.

Everything that was fetched is in the part file before it is used; a download that was killed, or whose source failed,
goes on from there and ends in the same bytes.
"""

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np

from ft_core.io.console import note
from ft_core.io.progress_lines import LineProgress
from ft_core.io.retrying import MayPass

from ..data.candles import inspect_candles
from .findings import Findings, find
from .output import candle_frame, check_output, provenance_path, write_candles, write_provenance
from .part import COLUMNS, Page, PartFile, part_path
from .spans import Span, text_of


class Source(Protocol):
    """Where candles come from.

    Attributes:
        asked (`dict`): what decides the result, compared before a download goes on.
        name (`str`): for messages.
    """

    asked: dict
    name: str

    def plan(self) -> dict:
        """Looks at the source once, at the beginning: `spans` by symbol as `[start, end, step]`, and what else it
        needs to go on in the same way."""

    def pages(self, symbol: str, plan: dict, before: list[Page]) -> Iterator[tuple[Page, float]]:
        """What is left to fetch of a symbol, each page with the share of the symbol's span that is done then."""

    def facts(self, pages: list[Page]) -> dict:
        """What the provenance says of this kind of source."""


@dataclass
class Outcome:
    """What a download ended with.

    Attributes:
        lines (`list[str]`): for the user.
        has_gaps (`bool`): candles are missing.
        has_faults (`bool`): duplicates, candles off the timeframe, or rows that training would reject.
    """

    lines: list[str]
    has_gaps: bool
    has_faults: bool


def _changes(before: dict, now: dict) -> list[str]:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [f"{name}: {before.get(name)} -> {now.get(name)}" for name in names]


def _own_version() -> str:
    try:
        return importlib.metadata.version("kronos-ft")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return "not installed"


def _kept(pages: list[Page]) -> int:
    return sum(len(page.rows) for page in pages)


def _settings_of(
    part: PartFile, output: Path, source: Source, pages: list[Page], resume: bool, overwrite: bool
) -> dict:
    """The settings to work by, new or those of the part file, whose pages are put into `pages`.

    Raises:
        ValueError: a part file that may be neither used nor thrown away, or one of another download.
    """
    settings, kept = (None, []) if overwrite else part.read()
    if settings is not None:
        if not resume:
            raise ValueError(
                f"a download into {output} was interrupted ({_kept(kept):,} candles are kept); go on with --resume, "
                "or begin anew with --overwrite"
            )
        changes = _changes(settings["asked"], source.asked)
        if changes:
            raise ValueError(
                f"the download into {output} cannot go on with other settings ({'; '.join(changes)}); use the same, "
                "or begin anew with --overwrite"
            )
        pages += kept
        return settings
    plan = source.plan()
    settings = {"asked": source.asked, "plan": plan, "begun": datetime.now(UTC).isoformat(timespec="seconds")}
    part.begin(settings)
    return settings


def _gather(part: PartFile, source: Source, plan: dict, pages: list[Page]) -> None:
    symbols = list(plan["spans"])
    progress = LineProgress("fetched candles")
    lengths = [-((start - end) // step) for start, end, step in plan["spans"].values()]
    for place, symbol in enumerate(symbols):
        before = [page for page in pages if page.facts["symbol"] == symbol]
        for page, share in source.pages(symbol, plan, before):
            part.append(page)
            pages.append(page)
            progress(sum(lengths[:place]) + int(share * lengths[place]), max(sum(lengths), 1))


def _findings(source: Source, plan: dict, pages: list[Page]) -> list[Findings]:
    found = []
    for symbol, bounds in plan["spans"].items():
        span = Span(*bounds)
        rows = [page.rows for page in pages if page.facts["symbol"] == symbol]
        rows = np.concatenate(rows) if rows else np.empty((0, COLUMNS))
        if not len(rows):
            others = f", and --overwrite, since {_kept(pages):,} candles of others are kept" if _kept(pages) else ""
            raise ValueError(
                f"{source.name} has no candles of {symbol} from {text_of(span.start)} to {text_of(span.end)}; pass "
                f"another since or until{others}"
            )
        found.append(find(symbol, rows, span))
    return found


def _rejections(output: Path) -> list[str]:
    """Why training would reject the file as it was written, by the readers that training uses."""
    reasons = []
    for series in inspect_candles(output):
        remedy = "; train with --policy drop or repair" if series.report.quality.defects else ""
        reasons += [f"{series.symbol}: {reason}{remedy}" for reason in series.report.rejections()]
    return reasons


def _outcome(output: Path, source: Source, found: list[Findings], reasons: list[str]) -> Outcome:
    lines = []
    for one in found:
        first, last = text_of(one.rows[0, 0]), text_of(one.rows[-1, 0])
        lines.append(f"{one.symbol}  {len(one.rows):,} candles of {source.asked['timeframe']}, {first} to {last} UTC")
        if one.starts_late:
            lines.append(f"  note      {source.name} gives none before {first}")
        lines += [f"  FOUND     {line}" for line in one.lines()]
    lines += [f"  REJECTED  {reason}" for reason in reasons]
    has_gaps = any(one.gaps for one in found)
    has_faults = bool(reasons) or any(one.repeated or one.conflicting or one.uneven for one in found)
    gaps = f"{sum(one.missing for one in found):,} candles missing" if has_gaps else "no gaps"
    twice = sum(sum(times.values()) for one in found for times in (one.repeated, one.conflicting))
    if any(one.starts_late for one in found):
        gaps = f"{sum(len(one.rows) for one in found):,} of {sum(one.asked for one in found):,} asked, {gaps}"
    lines.append(f"{gaps}, {f'{twice:,} duplicate' + 's' * (twice > 1) if twice else 'no duplicates'}")
    lines.append(f"candles     {output}")
    lines.append(f"source      {provenance_path(output)}")
    return Outcome(lines, has_gaps, has_faults)


def download(source: Source, output: Path, resume: bool = False, overwrite: bool = False) -> Outcome:
    """Downloads into a file, and writes beside it where the candles come from.

    Args:
        source ([`Source`]): the exchange or archive.
        output (`Path`): a .parquet or .csv file; written at the end, whole or not at all.
        resume (`bool`): go on with what an interrupted download has kept, if there is any.
        overwrite (`bool`): begin anew; a file of that name stays until the new one is whole.

    Raises:
        ValueError: a file that is there already, settings other than those of the interrupted download, or what the
            source says.
        MayPass: the source failed for a reason that may pass; what was fetched is kept.
    """
    check_output(output)
    if resume and overwrite:
        raise ValueError("--resume and --overwrite exclude each other; pass one of them")
    part = part_path(output)
    if output.exists() and not overwrite and not (resume and part.exists()):
        done = " and no interrupted download to go on with" if resume else ""
        raise ValueError(f"output={output} is there already{done}; pass --overwrite, or name another file")
    with PartFile(part) as file:
        pages: list[Page] = []
        try:
            settings = _settings_of(file, output, source, pages, resume, overwrite)
            if pages:
                note(f"going on after {_kept(pages):,} candles")
            _gather(file, source, settings["plan"], pages)
        except MayPass as failure:
            remedy = "nothing was fetched: check the network, or try again later"
            if pages:
                remedy = f"{_kept(pages):,} candles are kept: go on with --resume"
            raise MayPass(f"{failure}; {remedy}") from failure
        if not _kept(pages):
            file.remove()  # nothing to go on with
        found = _findings(source, settings["plan"], pages)
        frame = candle_frame(found)
        write_candles(output, frame, source.asked)
        reasons = _rejections(output)
        facts = {
            "asked": source.asked,
            "begun": settings["begun"],
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "kronos_ft": _own_version(),
            **source.facts(pages),
            "columns": list(frame.columns),
            "symbols": [one.to_dict() for one in found],
            "rejected": reasons,
        }
        write_provenance(output, facts)
        file.remove()
    return _outcome(output, source, found, reasons)
