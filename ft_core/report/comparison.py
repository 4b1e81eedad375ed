"""Several runs side by side: what differs in their settings, curves on shared axes, best values and their spread."""

import json
from collections.abc import Sequence
from pathlib import Path

from .catalogue import MISSING, Texts, load_texts
from .causes import ask_all
from .charts import Chart, Line
from .curves import best
from .document import count_verdicts
from .facts import EARLY, FINISHED, SETTING_GROUPS, RunFacts, read_run
from .pages import Page
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
    """A name for each run: that of its folder, with the folder above or its position where that is not enough."""
    short = [run.name for run in runs]
    longer = [f"{run.path.resolve().parent.name}/{run.name}" for run in runs]
    numbered = [f"{position}: {name}" for position, name in enumerate(longer, 1)]
    return next(names for names in (short, longer, numbered) if len(set(names)) == len(names))


def settings_of(run: RunFacts) -> dict[str, str]:
    """All recorded settings as text, by group and name, and which windows were trained and validated on."""
    found = {
        f"{group}.{name}": json.dumps(value, ensure_ascii=False, sort_keys=True)
        for group in SETTING_GROUPS
        for name, value in run.record.group(group).items()
        if name not in NO_SETTINGS
    }
    for split in ("train", "validation"):
        spans = list(run.spans(split).items())[:3]
        if spans:
            where = ", ".join(f"{symbol} {' .. '.join(ends)}" for symbol, ends in spans)
            found[f"observed.{split}"] = f"{run.observed.at(split, 'windows')} windows, {where}"
    return found


def differing(runs: Sequence[RunFacts]) -> dict[str, list[str]]:
    """Settings that are not the same in all runs: their values, `-` where one does not record them."""
    recorded = [settings_of(run) for run in runs]
    rows = {name: [values.get(name, MISSING) for values in recorded] for values in recorded for name in values}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def seed_groups(runs: Sequence[RunFacts]) -> list[list[int]]:
    """Positions of runs that came to an end and differ in their seed alone, the first of each seed; two or more of
    one kind."""
    groups: dict[str, dict[object, int]] = {}
    for position, run in enumerate(runs):
        values = settings_of(run) if run.status in (FINISHED, EARLY) else {}
        kept = {name: value for name, value in values.items() if name.split(".")[1] not in SEEDS}
        if values:
            key = json.dumps([run.view.stage, run.max_steps, kept], sort_keys=True)
            groups.setdefault(key, {}).setdefault(str(run.settings.get("seed")), position)
    return [list(group.values()) for group in groups.values() if len(group) > 1]


def _spread(runs: Sequence[RunFacts], names: Sequence[str]) -> list[tuple]:
    """Of runs that differ in their seed alone: their names, the term, and the best value of each."""
    rows = []
    for group in seed_groups(runs):
        found = [best(runs[position].trained_evaluations) for position in group]
        values = [one[1] for one in found if one]
        if len(values) > 1:
            rows.append(([names[position] for position in group], f"eval_{runs[group[0]].view.primary}", values))
    return rows


def _charts(runs: Sequence[RunFacts], names: Sequence[str], texts: Texts) -> list[Chart]:
    """Curves on shared axes, six runs a chart so that the lines can be told apart."""
    term = runs[0].view.primary
    kinds = {
        f"{texts('training')}: {term}": [run.primary for run in runs],
        f"{texts('validation')}: eval_{term}": [run.primary_evaluated for run in runs],
        "learning_rate": [run.training("learning_rate") for run in runs],
        "grad_norm": [run.training("grad_norm") for run in runs],
    }
    found = []
    for title, curves in kinds.items():
        dots = title.endswith(f"eval_{term}")
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
        "runs": dict(zip(names, runs, strict=True)),
        "best": best,
        "verdicts": {name: count_verdicts(ask_all(run)) for name, run in zip(names, runs, strict=True)},
        "spread": _spread(runs, names),
        "settings": differing(runs),
        "others": primaries if len(primaries) > 1 else [],
    }
    charts = _charts(runs, names, texts) if len(primaries) == 1 else []
    return Page("comparison.md.j2", texts, texts("title_several", count=len(runs)), charts, content)


def write_comparison(paths: Sequence[Path], views: Sequence[StageView], language: str, folder: Path) -> list[Path]:
    """Reads runs and writes `report.md` and `report.html` of their comparison into a folder.

    Args:
        paths: folders of runs, or `trainer_state.json` files.
        views: the kinds of runs that are known.
        language: en or zh.
        folder: where to write.

    Returns:
        The two files.

    Raises:
        ValueError: a run that cannot be read, or one that is named twice.
    """
    places = [path.resolve() for path in paths]
    for position, path in enumerate(paths):
        if places[position] in places[:position]:
            raise ValueError(f"run={path} is named twice; name each run once")
    return write_page(comparison_page([read_run(path, views) for path in paths], language), folder)
