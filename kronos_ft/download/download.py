"""Downloads candles into one file: start or resume, fetch pages, check, write.

Every page is written to the part file before it is used. A killed or failed download resumes from there and produces
the same bytes.
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
    """A source of candles.

    Attributes:
        asked (`dict`): settings that determine the result; a resumed download must have the same.
        name (`str`): for messages.
    """

    asked: dict
    name: str

    def plan(self) -> dict:
        """Plans the download once, at the start: `spans` by symbol as `[start, end, step]`, and what a resume needs."""

    def pages(self, symbol: str, plan: dict, before: list[Page]) -> Iterator[tuple[Page, float]]:
        """Yields the remaining pages of a symbol, each with the share of its span that is then complete."""

    def facts(self, pages: list[Page]) -> dict:
        """Facts about the source for the provenance file."""


@dataclass
class Outcome:
    """The result of a download.

    Attributes:
        lines (`list[str]`): text for the user.
        has_gaps (`bool`): candles are missing.
        has_faults (`bool`): duplicates, candles with misaligned opening times, or rows that training would reject.
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
    """Returns new settings, or those of the part file, and then adds its pages to `pages`.

    Raises:
        ValueError: a part file exists without `resume` or `overwrite`, or belongs to another download.
    """
    settings, kept = (None, []) if overwrite else part.read()
    if settings is not None:
        if not resume:
            raise ValueError(
                f"a download into {output} was interrupted ({_kept(kept):,} candles are kept); pass --resume to "
                "continue it, or --overwrite to start again"
            )
        changes = _changes(settings["asked"], source.asked)
        if changes:
            raise ValueError(
                f"the download into {output} cannot be resumed with other settings ({'; '.join(changes)}); use the "
                "same settings, or pass --overwrite to start again"
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
            others = f", and --overwrite ({_kept(pages):,} candles of other symbols are kept)" if _kept(pages) else ""
            raise ValueError(
                f"{source.name} has no candles of {symbol} from {text_of(span.start)} to {text_of(span.end)}; pass "
                f"another since or until{others}"
            )
        found.append(find(symbol, rows, span))
    return found


def _rejections(output: Path) -> list[str]:
    """Reasons why training would reject the written file, found by the readers of training."""
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
            lines.append(f"  note      {source.name} has no candles before {first}")
        lines += [f"  FOUND     {line}" for line in one.lines()]
    lines += [f"  REJECTED  {reason}" for reason in reasons]
    has_gaps = any(one.gaps for one in found)
    has_faults = bool(reasons) or any(one.repeated or one.conflicting or one.uneven for one in found)
    gaps = f"{sum(one.missing for one in found):,} candles missing" if has_gaps else "no gaps"
    twice = sum(sum(times.values()) for one in found for times in (one.repeated, one.conflicting))
    if any(one.starts_late for one in found):
        gaps = f"{sum(len(one.rows) for one in found):,} of {sum(one.asked for one in found):,} requested, {gaps}"
    lines.append(f"{gaps}, {f'{twice:,} duplicate' + 's' * (twice > 1) if twice else 'no duplicates'}")
    lines.append(f"candles     {output}")
    lines.append(f"source      {provenance_path(output)}")
    return Outcome(lines, has_gaps, has_faults)


def download(source: Source, output: Path, resume: bool = False, overwrite: bool = False) -> Outcome:
    """Downloads candles into a file, and writes a provenance file next to it.

    Args:
        source ([`Source`]): the exchange or archive.
        output (`Path`): a .parquet or .csv file; written atomically at the end.
        resume (`bool`): continue an interrupted download, if there is one.
        overwrite (`bool`): start again; an existing file stays until the new one is complete.

    Raises:
        ValueError: the file exists already, settings differ from the interrupted download, or an error of the source.
        MayPass: the source failed temporarily; the fetched candles are kept.
    """
    check_output(output)
    if resume and overwrite:
        raise ValueError("--resume and --overwrite exclude each other; pass one of them")
    part = part_path(output)
    if output.exists() and not overwrite and not (resume and part.exists()):
        done = ", and there is no interrupted download to resume" if resume else ""
        raise ValueError(f"output={output} exists already{done}; pass --overwrite, or another file")
    with PartFile(part) as file:
        pages: list[Page] = []
        try:
            settings = _settings_of(file, output, source, pages, resume, overwrite)
            if pages:
                note(f"resuming after {_kept(pages):,} candles")
            _gather(file, source, settings["plan"], pages)
        except MayPass as failure:
            remedy = "nothing was fetched: check the network, or try again later"
            if pages:
                remedy = f"{_kept(pages):,} candles are kept: pass --resume to continue"
            raise MayPass(f"{failure}; {remedy}") from failure
        if not _kept(pages):
            file.remove()  # nothing to resume
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
