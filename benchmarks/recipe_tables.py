"""The runs of `benchmarks.recipes` as tables: each recipe compared with its reference, paired by seed."""

import math
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

from ft_core.io.files import write_text

PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"
REFERENCE = {"mt5": "original"}
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


def _of(figure: Callable[[Run], float | None]) -> Change:
    def change(reference: Run, run: Run) -> float | None:
        before, after = figure(reference), figure(run)
        return None if before is None or after is None else after / before - 1

    return change


def _lost(name: str) -> Change:
    return lambda reference, run: 1 - run[name] / reference[name] if reference[name] else 0.0


PROMISES: dict[str, tuple[Promise, ...]] = {
    "mt5": (
        Promise("time from the first step to the last", -0.50, _of(lambda run: run["seconds"])),
        Promise("disk at the peak", -0.32, _of(lambda run: run["disk_at_peak"])),
        Promise("disk at the end", -0.32, _of(lambda run: run["disk_at_end"])),
        Promise("share of ROUGE-L lost, all validation records", 0.05, _lost("rougeL")),
        Promise("best validation loss", 0.05, _of(lambda run: best(run)["score"])),
    ),
}


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


def _percent(value: float) -> str:
    return f"{100 * value:+.1f} %"


def table(runs: dict[str, Run], stage: str, preset: str) -> list[str]:
    """Markdown table: a preset compared with the stage's reference, over their common seeds."""
    ours, reference = of_recipe(runs, stage, preset), of_recipe(runs, stage, REFERENCE[stage])
    seeds = sorted(set(ours) & set(reference))
    if not seeds:
        return []
    lines = [
        f"**{stage}: `{preset}` beside `{REFERENCE[stage]}`**, seeds {', '.join(map(str, seeds))}",
        "",
        "| | promised | change, mean | 95 % interval | |",
        "|---|---:|---:|---:|---|",
    ]
    for promise in PROMISES[stage]:
        found = [promise.change(reference[seed], ours[seed]) for seed in seeds]
        changes = [change for change in found if change is not None]
        if not changes and promise.goal is None:
            continue
        low, high = interval(changes) if changes else (-math.inf, math.inf)
        mean = _percent(statistics.mean(changes)) if changes else "never"
        spread = f"{_percent(low)} to {_percent(high)}" if math.isfinite(low) else "-"
        goal = "-" if promise.goal is None else _percent(promise.goal)
        lines.append(f"| {promise.text} | {goal} | {mean} | {spread} | {verdict(promise, changes, len(seeds))} |")
    return [*lines, ""]


def scores(runs: dict[str, Run], stage: str) -> list[str]:
    """Lines of Markdown: best validation score of every recipe, with its spread over seeds."""
    presets = sorted({key.split("/")[1] for key in runs if key.startswith(f"{stage}/")})
    if not presets:
        return ["Not measured yet."]
    lines = ["| recipe | seeds | best validation, mean | standard deviation | steps done |", "|---|---|---:|---:|---:|"]
    for preset in presets:
        found = of_recipe(runs, stage, preset)
        values = [best(run)["score"] for run in found.values()]
        spread = f"{statistics.stdev(values):.4f}" if len(values) > 1 else "-"
        steps = statistics.mean(run["steps"] for run in found.values())
        named = ", ".join(str(seed) for seed in sorted(found))
        lines.append(f"| `{preset}` | {named} | {statistics.mean(values):.4f} | {spread} | {steps:.0f} |")
    return [*lines, ""]


def sections(runs: dict[str, Run]) -> dict[str, list[str]]:
    """Lines between the marks of the page, by mark."""
    presets = {key.split("/")[1] for key in runs if key.startswith("mt5/")} - {REFERENCE["mt5"]}
    lines = scores(runs, "mt5")
    for preset in ("optimized", "fast", "best"):
        lines += table(runs, "mt5", preset) if preset in presets else []
    return {"mt5": lines}


def write_page(runs: dict[str, Run], page: Path = PAGE) -> None:
    """Replaces the tables between the marks of the page."""
    from benchmarks.kronos_recipe_tables import sections as kronos_sections

    text = page.read_text(encoding="utf-8")
    for mark, lines in {**kronos_sections(runs), **sections(runs)}.items():
        begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
        body = "\n".join(lines).rstrip()
        text = re.sub(f"{begin}.*?{end}", lambda _, b=begin, t=body, e=end: f"{b}\n{t}\n{e}", text, flags=re.DOTALL)
    write_text(page, text)
