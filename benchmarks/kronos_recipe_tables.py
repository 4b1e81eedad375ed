"""The Kronos tables of docs/recipes.md: each recipe beside the baseline on every market, paired by seed.

A promise is kept at a market and start if every seed keeps it: two or three seeds are too few for an interval. The
floor of the predictor's loss is not known; its estimate is the lowest validation of any run from the same weights, so
that the share of the gain is an estimate too, and 100 % for the recipe that found the floor.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.recipe_tables import Promise, Run, best, reach

REFERENCE, PUBLISHED = "baseline", "published"
STAGES = ("tokenizer", "predictor")
SEARCHED = (11, 12)  # seeds of the search, which no recipe is judged on
MARKETS = {
    "sample": "BTC/USDT, 30 min",
    "gbpusd_1h_2012_2022": "GBP/USD, 1 h",
    "us_cpay_5m_2024": "CPAY (US stock), 5 min",
    "sample-mini": "BTC/USDT, 30 min, mini",
}
WEAK = 600  # steps of the starting weights of the goals of time to quality
GOALS = {("tokenizer", True): 6.0, ("predictor", True): 10.0, ("tokenizer", False): 2.0, ("predictor", False): 2.0}
Runs = dict[str, Run]


@dataclass(frozen=True)
class Place:
    """Runs from the same starting weights: stage, market and steps of the weights."""

    stage: str
    market: str
    start: int

    @property
    def name(self) -> str:
        """As in the tables."""
        return f"{MARKETS.get(self.market, self.market)}, start {self.start:,}"

    def runs(self, runs: Runs, recipe: str) -> dict[int, Run]:
        """Runs of a recipe by seed, without those of the search unless there are no others."""
        prefix = f"{self.stage}/{self.market}/{self.start}/{recipe}/"
        found = {int(key.removeprefix(prefix)): run for key, run in runs.items() if key.startswith(prefix)}
        judged = {seed: run for seed, run in found.items() if seed not in SEARCHED}
        return judged or found

    def pairs(self, runs: Runs, recipe: str, reference: str = REFERENCE) -> dict[int, tuple[Run, Run]]:
        """The reference's and the recipe's run of every seed that both have."""
        before, after = self.runs(runs, reference), self.runs(runs, recipe)
        return {seed: (before[seed], after[seed]) for seed in sorted(set(before) & set(after))}

    def lowest(self, runs: Runs) -> float:
        """The lowest validation of any run from these weights: the estimate of the floor."""
        prefix = f"{self.stage}/{self.market}/{self.start}/"
        return min(best(run)["score"] for key, run in runs.items() if key.startswith(prefix))


def start_score(run: Run) -> float:
    """Validation of the starting weights."""
    return next(entry["score"] for entry in run["history"] if entry["step"] == 0)


def end_score(run: Run) -> float:
    """Validation of the weights that a run returns: its best checkpoint, which may be worse than the start."""
    return best(run)["score"]


def speed_up(reference: Run, run: Run) -> float | None:
    """How many times sooner a run reaches the reference's best validation, in processor seconds; None: never."""
    goal = best(reference)
    reached = reach(run, goal["score"])
    return None if reached is None else goal["cpu"] / reached["cpu"]


def _sooner(unit: str) -> Callable[[Run, Run], float | None]:
    def change(reference: Run, run: Run) -> float | None:
        goal = best(reference)
        reached = reach(run, goal["score"])
        return None if reached is None else reached[unit] / goal[unit] - 1

    return change


def _saved(reference: Run, run: Run) -> float | None:
    """Processor time of the complete run; None if it ends worse than the reference: that saves nothing."""
    return run["cpu_run"] / reference["cpu_run"] - 1 if end_score(run) <= end_score(reference) else None


def _test(reference: Run, run: Run) -> float | None:
    (before,), (after,) = reference["test"].values(), run["test"].values()
    return after / before - 1


SOONER = Promise("processor time to the baseline's best validation", -0.20, _sooner("cpu"))
LOWER = Promise("best validation", -0.10, lambda reference, run: end_score(run) / end_score(reference) - 1)
SAVED = Promise("processor time of a complete run that ends no worse", -0.20, _saved)
PROMISES = {"tokenizer": (SOONER, LOWER, SAVED), "predictor": (SOONER, SAVED)}
BESIDE = (
    Promise("optimizer steps to the baseline's best validation", None, _sooner("step")),
    Promise("passes over the windows to it", None, _sooner("epoch")),
    Promise("test split", None, _test),
)


def places(runs: Runs, stage: str) -> list[Place]:
    """Where a stage was measured: markets in their order, weak starting weights first."""
    order = list(MARKETS)
    named = {tuple(key.split("/")[1:3]) for key in runs if key.startswith(f"{stage}/") and key.count("/") == 4}
    rank = {market: order.index(market) if market in order else len(order) for market, _ in named}
    found = [Place(stage, market, int(start)) for market, start in named]
    return sorted(found, key=lambda place: (place.start, rank[place.market], place.market))


def changes(promise: Promise, place: Place, runs: Runs, recipe: str) -> tuple[list[float], int]:
    """Relative changes of the seeds that have one, and the number of seeds."""
    pairs = place.pairs(runs, recipe)
    found = [promise.change(*pair) for pair in pairs.values()]
    return [change for change in found if change is not None], len(pairs)


def kept(promise: Promise, place: Place, runs: Runs, recipe: str) -> str:
    """Whether every seed keeps a promise at a place; an empty text if it was not measured or has no goal."""
    found, seeds = changes(promise, place, runs, recipe)
    if promise.goal is None or not seeds:
        return ""
    held = sum(change <= promise.goal for change in found)
    return "held" if held == seeds else f"held by {held} of {seeds} seeds" if held else "not held"


def is_worse(place: Place, runs: Runs, recipe: str) -> list[int]:
    """Seeds whose returned weights have a higher validation than the baseline's."""
    return [seed for seed, (before, after) in place.pairs(runs, recipe).items() if end_score(after) > end_score(before)]


def _percent(value: float) -> str:
    return f"{100 * value:+.1f} %"


def _cell(promise: Promise, place: Place, runs: Runs, recipe: str) -> str:
    found, _ = changes(promise, place, runs, recipe)
    judged = kept(promise, place, runs, recipe)
    if not found:
        return f"never: {judged}" if judged else "-"
    spread = f" ({_percent(min(found))} to {_percent(max(found))})" if len(found) > 1 else ""
    return f"{_percent(statistics.mean(found))}{spread}" + (f": {judged}" if judged else "")


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def summary(runs: Runs, recipe: str = "best") -> list[str]:
    """Markdown: each promise and the places where the recipe keeps it."""
    rows = []
    for stage in STAGES:
        measured = [place for place in places(runs, stage) if place.pairs(runs, recipe)]
        for promise in PROMISES[stage]:
            judged = {place: kept(promise, place, runs, recipe) for place in measured}
            failed = [f"{place.name} ({text})" for place, text in judged.items() if text != "held"]
            count = f"{len(judged) - len(failed)} of {len(judged)}"
            rows.append([stage, f"{promise.text}: {_percent(promise.goal)}", count, "; ".join(failed) or "nowhere"])
        worse = {place: is_worse(place, runs, recipe) for place in measured}
        failed = [f"{place.name} ({len(seeds)} seeds)" for place, seeds in worse.items() if seeds]
        count = f"{len(worse) - len(failed)} of {len(worse)}"
        rows.append([stage, "validation never above the baseline's", count, "; ".join(failed) or "nowhere"])
    return _table(["stage", "promise of `best`", "kept at", "not kept at"], rows)


def stage_tables(runs: Runs, stage: str) -> list[str]:
    """Markdown: the promises and scores of `best` and `optimized` at every place."""
    lines = []
    for recipe in ("best", "optimized"):
        measured = [place for place in places(runs, stage) if place.pairs(runs, recipe)]
        if not measured:
            continue
        listed = [*PROMISES[stage], *([] if LOWER in PROMISES[stage] else [LOWER])]
        rows = []
        for place in measured:
            seeds = ", ".join(map(str, place.pairs(runs, recipe)))
            cells = [_cell(promise, place, runs, recipe) for promise in listed]
            if stage == "predictor":
                cells[-1] = cells[-1].partition(":")[0]  # no promise: a cross-entropy has a floor
            rows.append([place.name, seeds, *cells, *(_cell(promise, place, runs, recipe) for promise in BESIDE)])
        head = ["market, start", "seeds", *(promise.text for promise in (*listed, *BESIDE))]
        lines += [
            f"**{stage}: `{recipe}` beside `{REFERENCE}`**, mean change (lowest to highest of the seeds)",
            "",
            *_table(head, rows),
        ]
    return [*lines, *(gain_table(runs) if stage == "predictor" else []), *score_table(runs, stage)]


def gain_table(runs: Runs) -> list[str]:
    """Markdown: the predictor's gain as a share of the distance from the starting weights to the estimated floor."""
    rows = []
    for place in places(runs, "predictor"):
        pairs = place.pairs(runs, "best")
        if not pairs:
            continue
        floor = place.lowest(runs)
        start = start_score(next(iter(pairs.values()))[0])
        shares = [
            statistics.mean((start - end_score(pair[side])) / (start - floor) for pair in pairs.values())
            for side in (0, 1)
        ]
        gains = [statistics.mean(start - end_score(pair[side]) for pair in pairs.values()) for side in (0, 1)]
        times = f"{gains[1] / gains[0]:.1f}x" if gains[0] > 0 else "-"
        row = [
            f"{start:.4f}",
            f"{floor:.4f}",
            *(f"{gain:.4f} ({share:.0%})" for gain, share in zip(gains, shares, strict=True)),
        ]
        rows.append([place.name, *row, times])
    head = [
        "market, start",
        "starting weights",
        "floor (estimate)",
        "gain of `baseline` (share)",
        "gain of `best` (share)",
    ]
    return ["**predictor: gain over the starting weights**, validation loss", "", *_table([*head, "gain"], rows)]


def score_table(runs: Runs, stage: str) -> list[str]:
    """Markdown: best validation of every recipe, those of the search included."""
    rows = []
    for place in places(runs, stage):
        prefix = f"{stage}/{place.market}/{place.start}/"
        recipes = dict.fromkeys(key.split("/")[3] for key in runs if key.startswith(prefix))
        for recipe in sorted(recipes):
            found = place.runs(runs, recipe)
            scores = [best(run)["score"] for run in found.values()]
            spread = f"{statistics.stdev(scores):.4f}" if len(scores) > 1 else "-"
            start = f"{start_score(next(iter(found.values()))):.4f}"
            cpu = statistics.mean(run["cpu_run"] for run in found.values())
            steps = statistics.mean(run["steps"] for run in found.values())
            named = ", ".join(map(str, sorted(found)))
            score = f"{statistics.mean(scores):.4f}"
            rows.append([place.name, f"`{recipe}`", named, start, score, spread, f"{steps:.0f}", f"{cpu:.1f}"])
    head = ["market, start", "recipe", "seeds", "start", "best, mean", "deviation", "steps", "processor s"]
    return ["**All runs**, validation", "", *_table(head, rows)]


def quality_table(runs: Runs) -> list[str]:
    """Markdown: processor seconds of `best` until the best validation of the published loop, and of `baseline`."""
    rows = []
    for stage in STAGES:
        for place in places(runs, stage):
            for reference in (PUBLISHED, REFERENCE):
                pairs = place.pairs(runs, "best", reference)
                if not pairs:
                    continue
                found = [speed_up(*pair) for pair in pairs.values()]
                reached = [one for one in found if one is not None]
                seconds = statistics.mean(best(before)["cpu"] for before, _ in pairs.values())
                times = f"{statistics.mean(reached):.1f}x" if reached else "never"
                spread = f"{min(reached):.1f} to {max(reached):.1f}" if len(reached) > 1 else "-"
                goal = GOALS[stage, place.start <= WEAK]
                met = len(reached) == len(found) and min(reached) >= goal
                end = statistics.mean(end_score(after) / end_score(before) - 1 for before, after in pairs.values())
                cells = [f"{seconds:.1f} s", times, spread, f"{goal:g}x", "met" if met else "missed", _percent(end)]
                rows.append([stage, place.name, f"`{reference}`", ", ".join(map(str, pairs)), *cells])
    head = ["stage", "market, start", "reference", "seeds", "its best after", "`best` is there", "of seeds", "goal", ""]
    return _table([*head, "validation at the end"], rows)


def sections(runs: Runs) -> dict[str, list[str]]:
    """Lines between the marks of the page, by mark."""
    found = {key: run for key, run in runs.items() if key.count("/") == 4}
    if not found:
        return {}
    tables = {stage: stage_tables(found, stage) for stage in STAGES}
    return {"kronos promises": summary(found), "time to quality": quality_table(found), **tables}
