"""Gaps, duplicates and irregular opening times of a download; the readers check the values.

Shapes: n candles; rows (n, 7) as in `part`.
"""

from dataclasses import dataclass, field

import numpy as np

from ..data.quality import SWAP_EVIDENT_SHARE, SWAP_SLACK
from .spans import Span, text_of

SHOWN = 5
LOW, HIGH, VOLUME, AMOUNT = 3, 2, 5, 6


@dataclass
class Findings:
    """One symbol's candles, sorted and without duplicates, and the findings.

    Attributes:
        rows (`np.ndarray` of shape `(n, 7)`): the last candle of each opening time.
        gaps (`list` of `(int, int, int)`): first and last missing opening time in milliseconds, and their number.
        repeated (`dict[int, int]`): number of additional equal candles by opening time.
        conflicting (`dict[int, int]`): number of additional different candles by opening time.
        uneven (`list[int]`): opening times that are not a whole number of steps after the previous candle.
    """

    symbol: str
    span: Span
    rows: np.ndarray
    gaps: list[tuple[int, int, int]] = field(default_factory=list)
    repeated: dict[int, int] = field(default_factory=dict)
    conflicting: dict[int, int] = field(default_factory=dict)
    uneven: list[int] = field(default_factory=list)

    @property
    def starts_late(self) -> bool:
        """Whether the source has no candle at the start of the span."""
        return bool(len(self.rows)) and self.rows[0, 0] - self.span.start >= self.span.step

    @property
    def asked(self) -> int:
        """Number of candles in a complete span."""
        return -((self.span.start - self.span.end) // self.span.step)

    @property
    def missing(self) -> int:
        """Number of candles missing between the first candle and the end of the span."""
        return sum(count for _, _, count in self.gaps)

    def lines(self) -> list[str]:
        """One line per kind of finding, with counts and the first times."""
        lines = []
        if self.gaps:
            shown = [
                (text_of(first) if count == 1 else f"{text_of(first)} to {text_of(last)}") + f" ({count:,})"
                for first, last, count in self.gaps
            ]
            gaps = f"{len(self.gaps):,} gap" + "s" * (len(self.gaps) > 1)
            lines.append(f"{gaps}, {self.missing:,} candles missing: {_some(shown)}")
        for kind, found in (("equal", self.repeated), ("DIFFERENT (the last is kept)", self.conflicting)):
            if found:
                shown = [text_of(time) + (f" ({count} times)" if count > 1 else "") for time, count in found.items()]
                count = sum(found.values())
                lines.append(f"{count:,} duplicate{'s' * (count > 1)}, {kind}: {_some(shown)}")
        if self.uneven:
            times = _some([text_of(t) for t in self.uneven])
            lines.append(f"{len(self.uneven):,} candles with misaligned opening times: {times}")
        return lines

    def to_dict(self) -> dict:
        """Plain values for JSON, with all times."""
        return {
            "symbol": self.symbol,
            "candles": len(self.rows),
            "first": text_of(self.rows[0, 0]),
            "last": text_of(self.rows[-1, 0]),
            "asked": self.asked,
            "starts_late": self.starts_late,
            "gaps": [{"first": text_of(a), "last": text_of(b), "missing": count} for a, b, count in self.gaps],
            "duplicates": {text_of(time): count for time, count in self.repeated.items()},
            "conflicting_duplicates": {text_of(time): count for time, count in self.conflicting.items()},
            "off_the_timeframe": [text_of(time) for time in self.uneven],
        }


def _some(shown: list[str]) -> str:
    return ", ".join(shown[:SHOWN]) + (f", ... and {len(shown) - SHOWN:,} more" if len(shown) > SHOWN else "")


def find(symbol: str, rows: np.ndarray, span: Span) -> Findings:
    """Sorts candles and finds gaps, duplicates and irregular opening times.

    Args:
        symbol: name of the symbol.
        rows: fetched candles, `(m, 7)`; keeps the last of equal times.
        span: the requested span.
    """
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    found = Findings(symbol, span, rows)
    if not len(rows):
        return found
    times = rows[:, 0].astype(np.int64)
    is_last = np.append(times[1:] != times[:-1], True)
    for place in np.flatnonzero(~is_last):
        equal = rows[place].tobytes() == rows[place + 1].tobytes()
        kind = found.repeated if equal else found.conflicting
        kind[int(times[place])] = kind.get(int(times[place]), 0) + 1
    found.rows, times = rows[is_last], times[is_last]
    steps = np.diff(times)
    found.uneven = times[1:][steps % span.step != 0].tolist()
    for place in np.flatnonzero(steps > span.step):
        _note_gap(found, int(times[place]), int(times[place + 1]))
    _note_gap(found, int(times[-1]), span.end)
    return found


def _note_gap(found: Findings, before: int, after: int) -> None:
    """Records the opening times missing between two, if any."""
    step = found.span.step
    count = (after - before - 1) // step
    if count > 0:
        found.gaps.append((before + step, before + count * step, count))


def is_amount(rows: np.ndarray) -> bool:
    """Whether the seventh column is the quote volume: then the mean price paid is inside most candles."""
    traded = rows[rows[:, VOLUME] > 0]
    if np.isnan(rows[:, AMOUNT]).any() or not len(traded):
        return False
    paid = traded[:, AMOUNT] / traded[:, VOLUME]
    inside = (traded[:, LOW] * (1 - SWAP_SLACK) <= paid) & (paid <= traded[:, HIGH] * (1 + SWAP_SLACK))
    return bool(inside.mean() >= SWAP_EVIDENT_SHARE)
