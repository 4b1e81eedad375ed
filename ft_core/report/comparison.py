"""Several runs side by side: what differs in their settings, curves on shared axes, best values and their spread."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from .answers import PROBLEM, WATCH
from .catalogue import Texts, load_texts, number
from .causes import ask_all
from .charts import Chart, Line
from .document import Rows, disk_megabytes
from .facts import EARLY, FINISHED, SETTING_GROUPS, RunFacts, read_run
from .pages import Page, code
from .trends import best
from .views import StageView
from .write import write_page

SEEDS = ("seed", "data_seed")
# what tells runs apart without being a setting, or follows from others
NO_SETTINGS = (
    *("output_dir", "run_name", "resume", "overwrite", "overwrite_lock", "resume_force", "dry_run", "logging_dir"),
    *("symbols", "split_ends", "token_cache", "accelerator_config", "eval_on_start"),
)
MOST_LINES = 6


def names_of(runs: Sequence[RunFacts]) -> list[str]:
    """A name for each run: that of its folder, with the folder above where that is not enough."""
    short = [run.name for run in runs]
    if len(set(short)) == len(short):
        return short
    longer = [f"{run.path.resolve().parent.name}/{name}" for run, name in zip(runs, short, strict=True)]
    if len(set(longer)) == len(longer):
        return longer
    return [f"{position}: {name}" for position, name in enumerate(longer, 1)]


def settings_of(run: RunFacts) -> dict[str, str]:
    """All recorded settings as text, by group and name, and which windows were trained and validated on."""
    found = {}
    for group in SETTING_GROUPS:
        values = run.record.get(group)
        for name, value in values.items() if isinstance(values, dict) else ():
            if name not in NO_SETTINGS:
                found[f"{group}.{name}"] = json.dumps(value, ensure_ascii=False, sort_keys=True)
    for split in ("train", "validation"):
        spans = run.observed(split, "spans")
        if isinstance(spans, dict):
            where = ", ".join(f"{symbol} {' .. '.join(ends)}" for symbol, ends in list(spans.items())[:3])
            found[f"observed.{split}"] = f"{run.observed(split, 'windows')} windows, {where}"
    return found


def differing(runs: Sequence[RunFacts]) -> dict[str, list[str]]:
    """Settings that are not the same in all runs: their values, `-` where one does not record them."""
    recorded = [settings_of(run) for run in runs]
    rows = {name: [values.get(name, "-") for values in recorded] for values in recorded for name in values}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def seed_groups(runs: Sequence[RunFacts]) -> list[list[int]]:
    """Positions of runs that came to an end and differ in their seed alone, the first of each seed; two or more of
    one kind."""
    groups: dict[str, list[int]] = {}
    for position, run in enumerate(runs):
        values = settings_of(run) if run.status in (FINISHED, EARLY) else {}
        kept = {name: value for name, value in values.items() if name.split(".")[1] not in SEEDS}
        if values:
            key = json.dumps([run.view.stage, run.max_steps, kept], sort_keys=True)
            groups.setdefault(key, []).append(position)
    once = [sorted({runs[i].setting("seed"): i for i in reversed(group)}.values()) for group in groups.values()]
    return [group for group in once if len(group) > 1]


def best_value(run: RunFacts) -> tuple[int, float] | None:
    """Step and value of the best validation of the main quantity after the start."""
    return best(run.trained_evaluations)


def _overview(runs: Sequence[RunFacts], names: Sequence[str], texts: Texts) -> Rows:
    rows = []
    for run, name in zip(runs, names, strict=True):
        found, verdicts = best_value(run), [finding.verdict for finding in ask_all(run)]
        rows.append([
            name,
            texts.find("statuses", run.status),
            f"{run.step:,}" + (f" / {run.max_steps:,}" if run.max_steps else ""),
            f"{run.view.primary} {number(found[1])} ({found[0]})" if found else "-",
            texts("span", seconds=run.seconds),
            "-" if run.seconds_a_step is None else f"{run.seconds_a_step:.3g} s",
            f"{disk_megabytes(run):,.1f} MB" if run.disk else "-",
            f"{verdicts.count(PROBLEM)} / {verdicts.count(WATCH)}",
        ])  # fmt: skip
    return rows


def _spread(runs: Sequence[RunFacts], names: Sequence[str]) -> Rows:
    rows = []
    for group in seed_groups(runs):
        values = [found[1] for found in (best_value(runs[position]) for position in group) if found]
        if len(values) > 1:
            figures = (number(statistics.fmean(values)), number(statistics.stdev(values)), str(len(values)))
            members = ", ".join(names[position] for position in group)
            rows.append([members, code(f"eval_{runs[group[0]].view.primary}"), *figures])
    return rows


def _charts(runs: Sequence[RunFacts], names: Sequence[str], texts: Texts) -> list[Chart]:
    """Curves on shared axes, six runs a chart, or nobody could tell the lines apart."""
    term = runs[0].view.primary
    kinds = [
        (f"{texts('training')}: {term}", [run.primary for run in runs], False),
        (f"{texts('validation')}: eval_{term}", [run.primary_evaluated for run in runs], True),
        ("learning_rate", [run.training("learning_rate") for run in runs], False),
        ("grad_norm", [run.training("grad_norm") for run in runs], False),
    ]
    found = []
    for title, curves, dots in kinds:
        named = enumerate(zip(names, curves, strict=True))
        lines = [Line(name, curve, place % MOST_LINES, dots) for place, (name, curve) in named if len(curve)]
        log_scale = not runs[0].view.in_nats and dots
        for first in range(0, len(lines), MOST_LINES):
            found.append(Chart(title, lines[first : first + MOST_LINES], log_scale, texts("step")))
    return found


def comparison_page(runs: Sequence[RunFacts], language: str) -> Page:
    """The comparison of two runs or more."""
    names, texts = names_of(runs), load_texts(language)
    primaries = sorted({f"{run.view.stage or 'Trainer'} {run.view.primary}" for run in runs})
    content = {
        "names": names,
        "runs": _overview(runs, names, texts),
        "spread": _spread(runs, names),
        "settings": [[code(name.split(".", 1)[1]), *values] for name, values in differing(runs).items()],
        "others": primaries if len(primaries) > 1 else [],
    }
    charts = _charts(runs, names, texts) if len(primaries) == 1 else []
    title = texts("title_several", count=len(runs))
    return Page("comparison.md.j2", language, texts, title, charts, content)


def write_comparison(paths: Sequence[Path], views: Sequence[StageView], language: str, folder: Path) -> list[Path]:
    """Reads runs and writes `report.md` and `report.html` of their comparison into a folder.

    Raises:
        ValueError: a run that cannot be read, or one that is named twice.
    """
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise ValueError(f"run={path} is named twice; name each run once")
        seen.add(path.resolve())
    return write_page(comparison_page([read_run(path, views) for path in paths], language), folder)
