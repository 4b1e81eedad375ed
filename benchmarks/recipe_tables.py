"""The runs of `benchmarks.recipes` as tables: each recipe compared with its reference, paired by seed."""

import itertools
import math
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

from ft_core.io.files import write_text

PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"
REFERENCE = {"tokenizer": "baseline", "predictor": "baseline"}
CONFIDENCE = 0.95
LEARNT = 0.99  # of the starting score, which a run must get below before its end counts as a saving

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


def variation(run: Run) -> float:
    """Mean relative change between consecutive evaluations, over the second half of the run."""
    scores = [entry["score"] for entry in trained(run)]
    late = scores[len(scores) // 2 - 1 :] if len(scores) > 2 else scores
    return statistics.mean(abs(after / before - 1) for before, after in itertools.pairwise(late))


def _reaching(unit: str) -> Change:
    def change(reference: Run, run: Run) -> float | None:
        goal = best(reference)
        reached = reach(run, goal["score"])
        return None if reached is None else reached[unit] / goal[unit] - 1

    return change


def _of(figure: Callable[[Run], float | None]) -> Change:
    def change(reference: Run, run: Run) -> float | None:
        before, after = figure(reference), figure(run)
        return None if before is None or after is None else after / before - 1

    return change


def _test(name: str) -> Callable[[Run], float | None]:
    return lambda run: (run["test"] or {}).get(name)


def _left_out(_: Run, run: Run) -> float | None:
    """Planned passes saved by early stopping; None if the run did not improve."""
    start = next((entry["score"] for entry in run["history"] if entry["step"] == 0), math.inf)
    return run["epochs"] / run["planned_epochs"] - 1 if best(run)["score"] < LEARNT * start else None


_PROMISES = (
    Promise("optimizer steps to reach the baseline's best validation", -0.20, _reaching("step")),
    Promise("passes over the windows to reach it", None, _reaching("epoch")),
    Promise("best validation", -0.10, _of(lambda run: best(run)["score"])),
    Promise("change from evaluation to evaluation, second half", None, _of(variation)),
    Promise("passes left out by early stopping, of runs that learnt something", -0.20, _left_out),
)
PROMISES: dict[str, tuple[Promise, ...]] = {
    "tokenizer": (*_PROMISES, Promise("test split, recon_all", None, _of(_test("recon_all")))),
    "predictor": (*_PROMISES, Promise("test split, loss", None, _of(_test("loss")))),
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
    named = (key.split("/") for key in runs)
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


def write_page(runs: dict[str, Run], page: Path = PAGE) -> None:
    """Replaces the tables between the marks of the page."""
    text = page.read_text(encoding="utf-8")
    for stage, reference in REFERENCE.items():
        presets = {key.split("/")[1] for key in runs if key.startswith(f"{stage}/")} - {reference}
        lines = scores(runs, stage)
        for preset in ("optimized", "best"):
            lines += table(runs, stage, preset) if preset in presets else []
        begin, end = f"<!-- {stage} -->", f"<!-- end of {stage} -->"
        body = "\n".join(lines).rstrip()
        text = re.sub(f"{begin}.*?{end}", lambda _, b=begin, t=body, e=end: f"{b}\n{t}\n{e}", text, flags=re.DOTALL)
    write_text(page, text)
