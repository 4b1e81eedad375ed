"""Shared code of the benchmarks: alternating runs, rows of the table, description of the machine."""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from ft_core.io.files import write_json
from ft_core.runs.record_schema import git_state, now, versions

RESULTS = Path(__file__).parent / "results"


@dataclass
class Row:
    """One line of the table.

    Attributes:
        work, reference: the measured work, and the reference.
        goal: ratio to reach, or maximum share if `at_most`; None without a goal.
        ratio: median of the reference divided by ours; None if not measured.
        correct: whether the results agree as required; None without a comparison.
        note: why it was not measured, or what `correct` compares.
        unit: unit of `reference_value` and `our_value`.
    """

    work: str
    reference: str
    goal: float | None
    ratio: float | None = None
    correct: bool | None = None
    note: str = ""
    unit: str = "s"
    reference_value: float | None = None
    our_value: float | None = None
    at_most: bool = False
    details: dict = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """WRONG, not measured, met, missed, or undecided if the median pair and the medians disagree."""
        if self.correct is False:
            return "WRONG"
        if self.ratio is None:
            return "not measured"
        if self.goal is None:
            return "-"
        found = {self._reaches(ratio) for ratio in (self.ratio, self.details.get("pairs", {}).get("median")) if ratio}
        return "undecided" if len(found) > 1 else "met" if True in found else "missed"

    def _reaches(self, ratio: float) -> bool:
        return ratio <= self.goal if self.at_most else ratio >= self.goal

    @property
    def pairs(self) -> str:
        """Smallest and largest ratio of two adjacent runs, if there were several."""
        pairs = self.details.get("pairs", {})
        return f"{pairs['min']:.2f}-{pairs['max']:.2f}" if pairs.get("max", 0) > pairs.get("min", 0) else "-"


def alternate(rivals: dict[str, Callable[[int], object]], repeats: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of each candidate, run alternately in changing order; `repeat` is passed to each."""
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for repeat in range(-warm_up, repeats):
        for name in list(rivals)[:: 1 if repeat % 2 else -1]:
            started = time.perf_counter()
            rivals[name](repeat)
            if repeat >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio_figures(reference: list[float], ours: list[float]) -> dict[str, float | dict]:
    """Fields of a [`Row`]: the ratio of medians and the spread of the pairs."""
    pairs = [a / b for a, b in zip(reference, ours, strict=True)]
    return {
        "ratio": statistics.median(reference) / statistics.median(ours),
        "reference_value": statistics.median(reference),
        "our_value": statistics.median(ours),
        "details": {"pairs": {"min": min(pairs), "median": statistics.median(pairs), "max": max(pairs)}},
    }


def machine() -> dict[str, object]:
    """Description of the machine."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        flags = next(line.split(":", 1)[1].split() for line in lines if line.startswith("flags"))
    except (OSError, StopIteration):
        flags = []
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "native_bf16": any(flag in flags for flag in ("avx512_bf16", "amx_bf16")),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_when_written": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        **versions(),
    }


def write_rows(path: Path, rows: list[Row]) -> None:
    """Rows and machine as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = [{**asdict(row), "verdict": row.verdict} for row in rows]
    state = git_state(Path(__file__).parent)
    write_json(path, {"written": now(), "git": state, "rows": listed, "machine": machine()})


def print_rows(rows: list[Row]) -> None:
    """Prints the table: work, reference, ours, ratio, smallest and largest ratio of a pair, goal, verdict."""
    print(f"{'work':<78} {'reference':>10} {'ours':>10} {'ratio':>7} {'pairs':>12} {'goal':>8}  verdict, beside")
    for row in rows:
        values = [_figure(row.reference_value, row.unit), _figure(row.our_value, row.unit)]
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        goal = "-" if row.goal is None else f"{'<= ' if row.at_most else ''}{row.goal:g}"
        note = f" ({row.note})" if row.note else ""
        figures = f"{values[0]:>10} {values[1]:>10} {ratio:>7} {row.pairs:>12} {goal:>8}"
        print(f"{row.work:<78} {figures}  {row.verdict}, {row.reference}{note}")


def command(description: str, name: str, rows: Callable[[], list[Row]]) -> int:
    """The command line of a benchmark without settings: measures, writes `NAME.json`, prints; returns the exit code."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS / f"{name}.json")
    options = parser.parse_args()
    found = rows()
    write_rows(options.output, found)
    print_rows(found)
    return 1 if any(row.correct is False for row in found) else 0


def as_markdown(rows: list[Row]) -> str:
    """The table for a page."""
    lines = [
        "| work | reference | reference's | ours | ratio | pairs | goal | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        goal = "-" if row.goal is None else f"{'at most ' if row.at_most else ''}{row.goal:g}"
        note = f" ({row.note})" if row.note else ""
        values = [_figure(row.reference_value, row.unit), _figure(row.our_value, row.unit)]
        cells = (row.work, row.reference, *values, ratio, row.pairs, goal, row.verdict + note)
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)


def _figure(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.3g} {unit}"
