"""Shared by the tables of docs/recipes.md: promises, intervals over seeds, and the marks on the page."""

import math
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

from ft_core.io.files import write_text

PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"
CONFIDENCE = 0.95

Run = dict
Change = Callable[[Run, Run], float | None]


@dataclass(frozen=True)
class Promise:
    """A promised gain of a recipe.

    Attributes:
        text: what changes.
        goal: the promised relative change (an upper limit), or None if there is no promise.
        change: relative change compared with the reference of the same seed; None if undefined.
    """

    text: str
    goal: float | None
    change: Change


def trained(run: Run) -> list[dict[str, float]]:
    """Evaluations after the first step."""
    return [entry for entry in run["history"] if entry["step"] > 0]


def best(run: Run) -> dict[str, float]:
    """The evaluation with the lowest score."""
    return min(trained(run), key=lambda entry: entry["score"])


def reach(run: Run, score: float) -> dict[str, float] | None:
    """The first evaluation that reaches a score, or None."""
    return next((entry for entry in trained(run) if entry["score"] <= score), None)


def interval(changes: list[float]) -> tuple[float, float]:
    """Student's t interval of the mean change over seeds; unbounded for one seed."""
    if len(changes) < 2:
        return -math.inf, math.inf
    wide = stats.t.ppf((1 + CONFIDENCE) / 2, len(changes) - 1) * statistics.stdev(changes) / math.sqrt(len(changes))
    mean = statistics.mean(changes)
    return mean - wide, mean + wide


def verdict(promise: Promise, changes: list[float], seeds: int) -> str:
    """Whether the promise holds in the whole interval, in no part of it, or in a part."""
    if promise.goal is None:
        return ""
    if len(changes) < seeds:
        return "not held" if not changes else f"not held ({seeds - len(changes)} of {seeds} seeds never got there)"
    low, high = interval(changes)
    return "held" if high <= promise.goal else "not held" if low > promise.goal else "undecided"


def of_recipe(runs: dict[str, Run], stage: str, preset: str) -> dict[int, Run]:
    """Runs of a preset by seed."""
    named = (key.split("/") for key in runs if key.count("/") == 2)
    return {int(seed): runs[f"{stage}/{preset}/{seed}"] for at, name, seed in named if (at, name) == (stage, preset)}


def write_page(sections: dict[str, list[str]], page: Path = PAGE) -> None:
    """Replaces the lines between the marks of the page, by mark."""
    text = page.read_text(encoding="utf-8")
    for mark, lines in sections.items():
        begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
        body = "\n".join(lines).rstrip()
        text = re.sub(f"{begin}.*?{end}", lambda _, b=begin, t=body, e=end: f"{b}\n{t}\n{e}", text, flags=re.DOTALL)
    write_text(page, text)
