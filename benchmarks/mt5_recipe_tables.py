"""The runs of `benchmarks.mt5_recipes` as tables of docs/recipes.md."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path

from benchmarks.comparison import RESULTS
from benchmarks.recipe_tables import PAGE, Promise, Run, best, interval, of_recipe, verdict, write_page as write_marked

RESULT = RESULTS / "mt5_recipes.json"
REFERENCE = "original"
STARTS = ("weak", "strong")
SEARCH = "search-"  # before the start, in the keys of the candidates


def _change(figure: Callable[[Run], float]) -> Callable[[Run, Run], float]:
    return lambda reference, run: figure(run) / figure(reference) - 1


PROMISES = (
    Promise("processor seconds of training", -0.50, _change(lambda run: run["cpu_seconds"])),
    Promise("disk at the peak", -0.32, _change(lambda run: run["disk_at_peak"])),
    Promise("disk at the end", -0.32, _change(lambda run: run["disk_at_end"])),
    Promise("ROUGE-L lost", 0.05, lambda reference, run: 1 - run["rougeL"] / reference["rougeL"]),
    Promise("best validation loss", None, _change(lambda run: best(run)["score"])),
)


def load(path: Path) -> dict[str, dict]:
    """The results so far."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"runs": {}}


def percent(value: float) -> str:
    """A relative change as text."""
    return f"{100 * value:+.1f} %"


def comparison(runs: dict[str, Run], recipes: list[str]) -> list[str]:
    """A row for each start and recipe: mean change against `original` of the same seed, 95 % interval, verdict."""
    lines = [
        f"| start | recipe | {' | '.join(_heading(promise) for promise in PROMISES)} |",
        f"|---|---|{'---|' * len(PROMISES)}",
    ]
    for start in STARTS:
        reference = of_recipe(runs, start, REFERENCE)
        for recipe in recipes:
            found = of_recipe(runs, start, recipe)
            seeds = sorted(set(found) & set(reference))
            if seeds:
                texts = [_change_text(promise, reference, found, seeds) for promise in PROMISES]
                lines.append(f"| {start} | `{recipe}` | {' | '.join(texts)} |")
    return [*lines, ""]


def _heading(promise: Promise) -> str:
    return promise.text if promise.goal is None else f"{promise.text} (promised {percent(promise.goal)})"


def _change_text(promise: Promise, reference: dict[int, Run], found: dict[int, Run], seeds: list[int]) -> str:
    changes = [promise.change(reference[seed], found[seed]) for seed in seeds]
    text = percent(statistics.mean(changes))
    if len(seeds) > 1:
        low, high = interval(changes)
        text += f" ({100 * low:+.1f} to {100 * high:+.1f})"
        if promise.goal is not None:
            text += f", {verdict(promise, changes, len(seeds))}"
    return text


def figures(runs: dict[str, Run]) -> list[str]:
    """A row for each start and recipe: means and standard deviations over the seeds."""
    lines = [
        "| start | recipe | seeds | records | ROUGE-L | best validation loss | processor s | steps | disk at end, MB |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for start in (*STARTS, *(SEARCH + start for start in STARTS)):
        for recipe in dict.fromkeys(key.split("/")[1] for key in runs if key.startswith(f"{start}/")):
            found = of_recipe(runs, start, recipe)
            cells = [
                ", ".join(str(number) for number in sorted({run["records"] for run in found.values()})),
                _spread([run["rougeL"] for run in found.values()], 1),
                _spread([best(run)["score"] for run in found.values()], 3),
                _spread([run["cpu_seconds"] for run in found.values()], 0),
                f"{statistics.mean(run['steps'] for run in found.values()):.0f}",
                f"{statistics.mean(run['disk_at_end'] for run in found.values()) / 1e6:.1f}",
            ]
            lines.append(f"| {start} | `{recipe}` | {', '.join(map(str, sorted(found)))} | {' | '.join(cells)} |")
    return [*lines, ""]


def _spread(values: list[float], digits: int) -> str:
    text = f"{statistics.mean(values):.{digits}f}"
    return f"{text} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else text


def write_page(results: dict[str, dict], recipes: list[str] | None = None, page: Path = PAGE) -> None:
    """Replaces the mT5 tables between the marks of the page."""
    runs = results["runs"]
    lines = [*comparison(runs, recipes or ["optimized", "fast", "best"]), *figures(runs)]
    write_marked({"mt5": lines}, page)
