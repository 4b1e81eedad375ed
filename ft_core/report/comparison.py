"""Several runs side by side: what differs in their settings, curves on shared axes, best values and their spread."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from ..io.progress_lines import span
from .answers import PROBLEM, WATCH, number, with_spans
from .blocks import Block, Document, Heading, Picture, Table, Text
from .causes import ask_all
from .charts import Chart, Line
from .checklist import rules_for
from .document import disk_megabytes
from .facts import EARLY, FINISHED, SETTING_GROUPS, RunFacts, read_run
from .history import Curve
from .trends import best
from .views import StageView
from .wording import STATUS_WORDS, say
from .write import write_document

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
    names = dict.fromkeys(name for values in recorded for name in values)
    rows = {name: [values.get(name, "-") for values in recorded] for name in names}
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


def _overview(runs: Sequence[RunFacts], names: Sequence[str], language: str) -> list[Block]:
    rows = []
    for run, name in zip(runs, names, strict=True):
        found = best_value(run)
        findings = ask_all(rules_for(run.view), run)
        verdicts = [sum(finding.verdict == verdict for finding in findings) for verdict in (PROBLEM, WATCH)]
        rows.append(
            [
                name,
                STATUS_WORDS.get(run.status, {}).get(language, run.status),
                f"{run.step:,}" + (f" / {run.max_steps:,}" if run.max_steps else ""),
                f"{run.view.primary} {number(found[1])} ({found[0]})" if found else "-",
                "-" if run.seconds is None else with_spans(span(run.seconds), language),
                "-" if run.seconds_a_step is None else f"{run.seconds_a_step:.3g} s",
                f"{disk_megabytes(run):,.1f} MB" if run.disk else "-",
                f"{verdicts[0]} / {verdicts[1]}",
            ]
        )
    head = [say(word, language) for word in ("run", "status", "step", "best_value", "time", "a_step", "disk", "grave")]
    return [Heading(2, say("runs", language)), Table(head, rows)]


def _settings(runs: Sequence[RunFacts], names: Sequence[str], language: str) -> list[Block]:
    rows = [[f"`{name.split('.', 1)[1]}`", *values] for name, values in differing(runs).items()]
    heading = Heading(2, say("settings_differ", language))
    if not rows:
        return [heading, Text(say("no_difference", language))]
    return [heading, Table([say("setting", language), *names], rows)]


def _spread(runs: Sequence[RunFacts], names: Sequence[str], language: str) -> list[Block]:
    rows = []
    for group in seed_groups(runs):
        values = [found[1] for found in (best_value(runs[position]) for position in group) if found]
        if len(values) > 1:
            mean, sd = statistics.fmean(values), statistics.stdev(values)
            members = ", ".join(names[position] for position in group)
            term = f"eval_{runs[group[0]].view.primary}"
            rows.append([members, f"`{term}`", number(mean), number(sd), str(len(values))])
    heading = Heading(2, say("spread", language))
    if not rows:
        return [heading, Text(say("one_seed", language))]
    return [heading, Table([say(word, language) for word in ("group", "term", "mean", "sd", "count")], rows)]


def _curves(runs: Sequence[RunFacts], names: Sequence[str], language: str) -> list[Block]:
    primaries = {(run.view.stage, run.view.primary) for run in runs}
    if len(primaries) > 1:
        terms = ", ".join(sorted(f"{stage or 'Trainer'} {term}" for stage, term in primaries))
        return [Text(say("not_comparable", language, terms=terms))]
    term = runs[0].view.primary
    kinds: list[tuple[str, list[Curve], bool]] = [
        (f"{say('training', language)}: {term}", [run.primary for run in runs], False),
        (f"{say('validation', language)}: eval_{term}", [run.primary_evaluated for run in runs], True),
        ("learning_rate", [run.training("learning_rate") for run in runs], False),
        ("grad_norm", [run.training("grad_norm") for run in runs], False),
    ]
    found: list[Block] = [Heading(2, say("shared_axes", language))]
    for title, curves, dots in kinds:
        lines = [
            Line(name, curve, position % MOST_LINES, dots)
            for position, (name, curve) in enumerate(zip(names, curves, strict=True))
            if len(curve)
        ]
        # of ten runs and more each picture takes six, or nobody could tell the lines apart
        for first in range(0, len(lines), MOST_LINES):
            log_scale = not runs[0].view.in_nats and dots
            found.append(Picture(Chart(title, lines[first : first + MOST_LINES], log_scale, say("step", language))))
    return found if len(found) > 1 else []


def comparison_document(runs: Sequence[RunFacts], language: str) -> Document:
    """The comparison of two runs or more."""
    names = names_of(runs)
    title = say("title_several", language, count=len(runs))
    blocks = [
        Heading(1, title),
        *_overview(runs, names, language),
        *_spread(runs, names, language),
        *_settings(runs, names, language),
        *_curves(runs, names, language),
    ]
    return Document(language, title, blocks)


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
    return write_document(comparison_document([read_run(path, views) for path in paths], language), folder)
