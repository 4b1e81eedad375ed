"""The report of one run as blocks: status, checklist, losses, curves, schedule and norms, disk, advice."""

import statistics
from collections.abc import Sequence

from ..io.progress_lines import span
from .advice import Change, diff_lines, yaml_value
from .answers import DATA, GROUPS, PROBLEM, WATCH, Finding, number, punctuated, with_spans
from .blocks import Block, Code, Document, Heading, Picture, Table, Text, Verdict
from .causes import CAUSES, LEAKS, SCALING, by_cause, inputs_are_unscaled, without_cure
from .charts import Chart, Line
from .facts import RunFacts
from .history import Curve
from .symptoms import EXPLODED, explosion, is_unscaled
from .trends import best, trend
from .wording import FACT_WORDS, GROUP_WORDS, SPEED_WORDS, STATUS_WORDS, say, summary_of

MOST_ROWS = 12
MEGABYTE = 1e6
NORMALISED = (", normalised units", "（归一化单位）")  # in titles of pictures
RESUMABLE = ("interrupted", "killed")
OPTIMISATION = ("learning_rate", "grad_norm", "weight_norm")


def _rows(pairs: Sequence[tuple[str, str | None]]) -> list[list[str]]:
    return [[name, value] for name, value in pairs if value]


def _words(value: object, language: str) -> str | None:
    """Recorded facts on one line."""
    if not isinstance(value, dict) or not value:
        return None
    named = {name: FACT_WORDS.get(name, {}).get(language, name) for name in value}
    return ("，" if language == "zh" else ", ").join(f"{named[name]} {item}" for name, item in value.items())


def _list(items: Sequence[str], language: str) -> str:
    """Items of an enumeration in a sentence."""
    return ("、" if language == "zh" else ", ").join(items)


def _spans(facts: RunFacts, split: str) -> str:
    spans = facts.observed(split, "spans")
    if not isinstance(spans, dict) or not spans:
        return ""
    named = [f"{symbol} {ends[0][:10]} .. {ends[1][:10]}" for symbol, ends in list(spans.items())[:3]]
    return ", ".join(named) + (f", ... ({len(spans)})" if len(spans) > 3 else "")


def _data_words(facts: RunFacts, split: str, samples: str, language: str) -> str | None:
    windows, bars = facts.observed(split, "windows"), facts.observed(split, "bars")
    if isinstance(windows, int) and isinstance(bars, int):
        return say("windows_of", language, count=windows, bars=bars, spans=_spans(facts, split))
    count = facts.observed(samples)
    return say("samples", language, count=count) if isinstance(count, int) else None


def _lengths(facts: RunFacts, language: str) -> str | None:
    lengths = facts.record.get("lengths")
    try:
        return say("lengths_of", language, source=lengths["source_mean"], target=lengths["target_mean"])
    except (TypeError, KeyError, ValueError):  # not recorded
        return None


def status_block(facts: RunFacts, language: str) -> list[Block]:
    """What was run, on what, and how far it is."""
    unknown = say("unknown", language)
    status = STATUS_WORDS.get(facts.status, {}).get(language, facts.status) + (f" ({facts.why})" if facts.why else "")
    total = f"{facts.max_steps:,}" if facts.max_steps else unknown
    progress = say("steps_of", language, step=facts.step, total=total)
    if facts.progress is not None:
        progress += f" ({facts.progress:.0%})".replace("%", " %")
    if facts.epoch is not None:
        progress += ", " + say("epochs", language, epoch=facts.epoch)
    time = unknown
    if facts.seconds is not None and facts.seconds_a_step is not None:
        time = say("per_step", language, span=with_spans(span(facts.seconds), language), seconds=facts.seconds_a_step)
    elif facts.seconds_a_step is not None:
        time = say("only_per_step", language, seconds=facts.seconds_a_step)
    left = None
    if facts.status == "running":
        left = unknown if facts.seconds_left is None else with_spans(span(facts.seconds_left), language)
    speed = facts.training(facts.view.speed) if facts.view.speed else None
    median = None
    if speed is not None and len(speed):
        unit = SPEED_WORDS.get(facts.view.speed, {}).get(language, facts.view.speed)
        median = f"{statistics.median(speed.values):,.0f} {unit}"
    parameters, trainable = facts.observed("parameters"), facts.observed("trainable")
    size = None
    if isinstance(parameters, int) and isinstance(trainable, int):
        size = say("trainable", language, all=parameters, trainable=trainable)
    batch, per_epoch = facts.observed("effective_batch"), facts.observed("steps_per_epoch")
    git = facts.record.get("git")
    commit = None
    if isinstance(git, dict):
        commit = str(git.get("commit", ""))[:12] + (say("uncommitted", language) if git.get("changed") else "")
    torn = facts.history.torn
    source = say("torn", language, source=facts.history.source, torn=torn) if torn else facts.history.source
    rows = _rows(
        (
            (say("status", language), punctuated(status, language)),
            (say("progress", language), punctuated(progress, language)),
            (say("time", language), time),
            (say("time_left", language), left),
            (say("speed", language), median),
            (say("started", language), str(facts.record["started"]) if facts.record.get("started") else None),
            (say("data_train", language), _data_words(facts, "train", "train_samples", language)),
            (say("data_validation", language), _data_words(facts, "validation", "validation_samples", language)),
            (
                say("batch", language),
                say("batch_of", language, count=batch, steps=per_epoch)
                if isinstance(batch, int) and isinstance(per_epoch, int)
                else None,
            ),
            (say("lengths", language), _lengths(facts, language)),
            (say("model_size", language), size),
            (say("hardware", language), _words(facts.record.get("hardware"), language)),
            (say("versions", language), _words(facts.record.get("versions"), language)),
            (say("commit", language), commit),
            (say("source", language), source),
        )
    )
    return [Heading(2, say("status", language)), Table(("", ""), rows)]


def checklist_blocks(findings: Sequence[Finding], language: str) -> list[Block]:
    """The findings, a table for each group."""
    blocks: list[Block] = [Heading(2, say("checklist", language))]
    head = [say(word, language) for word in ("question", "verdict", "figure", "reason", "rule")]
    for group in GROUPS:
        rows = [
            [f.rule.question(language), Verdict(f.verdict), f.figure(language), f.reason(language), f"`{f.rule.id}`"]
            for f in findings
            if f.rule.group == group
        ]
        if rows:
            blocks += [Heading(3, GROUP_WORDS[group][language]), Table(head, rows)]
    return blocks


def _trend_word(curve: Curve, exploded: bool, language: str) -> str:
    """What a training curve did. The way back from an explosion is no fall."""
    found = trend(curve)
    if found is None:
        return "-"
    fell_back = exploded and found.direction < 0 and max(curve.values) > EXPLODED * curve.values[0] > 0
    return say("fell_back" if fell_back else {-1: "falls", 1: "rises", 0: "level"}[found.direction], language)


def _ends(values: Sequence[float]) -> tuple[str, str]:
    return (number(values[0]), number(values[-1])) if values else ("-", "-")


def losses_block(facts: RunFacts, language: str) -> list[Block]:
    """First, last and best value of each term, and training beside validation of the main one."""
    rows, exploded = [], explosion(facts) is not None
    for term in facts.view.terms:
        training, evaluated = facts.training(term), facts.evaluated(term)
        if not len(training) and not len(evaluated):
            continue
        word = _trend_word(training, exploded, language)
        top = best(evaluated) if term not in facts.view.signed and term == facts.view.primary else None
        shown = f"{number(top[1])} ({top[0]})" if top else "-"
        first, last = _ends(evaluated.values)
        begin, end = _ends(training.values)
        top_value = number(max(training.values)) if len(training) else "-"
        rows.append([f"`{term}`", begin, top_value, end, word, first, shown, last])
    if not rows:
        return []
    head = ("term", "train_first", "train_highest", "train_last", "trend", "valid_first", "valid_best", "valid_last")
    blocks: list[Block] = [Heading(2, say("losses", language)), Table([say(word, language) for word in head], rows)]
    signed = [f"`{term}`" for term in facts.view.signed if len(facts.training(term))]
    if signed:
        blocks.append(Text(say("signed", language, terms=_list(signed, language))))
    meanings = getattr(facts.view.meanings, language, "") if facts.view.meanings else ""
    if meanings:
        blocks.append(Text(meanings))
    if facts.gaps:
        kept = facts.gaps[:: -(-len(facts.gaps) // MOST_ROWS)]
        kept = kept if kept[-1] == facts.gaps[-1] else [*kept, facts.gaps[-1]]
        last = "difference" if facts.view.in_nats else "ratio"
        head = [say(word, language) for word in ("step", "training", "validation", last)]
        rows = [
            [f"{gap.step:,}", number(gap.training), number(gap.validation),
             f"{gap.difference:+.4g}" if facts.view.in_nats else f"{gap.ratio:.3f}"]
            for gap in kept
        ]  # fmt: skip
        heading = Heading(3, say("side_by_side", language, term=facts.view.primary))
        blocks += [heading, Text(say("side_by_side_means", language)), Table(head, rows)]
    return blocks


def codes_block(facts: RunFacts, language: str) -> list[Block]:
    """How many codes are in use, first and last."""
    rows = []
    for term in facts.view.codes:
        training, evaluated = facts.training(term), facts.evaluated(term)
        if len(training) or len(evaluated):
            rows.append([f"`{term}`", *_ends(training.values), *_ends(evaluated.values)])
    head = [say(word, language) for word in ("term", "train_first", "train_last", "valid_first", "valid_last")]
    return [Heading(3, say("code_usage", language)), Table(head, rows)] if rows else []


def charts(facts: RunFacts, language: str) -> list[Chart]:
    """The pictures of a run, those without a point left out: a colour a term, validation as dots."""
    found = []
    for panel in facts.view.panels:
        lines = []
        for colour, term in enumerate(panel.terms):
            for curve, name, dots in (
                (facts.training(term), term, False),
                (facts.evaluated(term), f"eval_{term}", True),
            ):
                if len(curve):
                    lines.append(Line(name, curve, colour, dots))
        if lines:
            title = facts.view.zh_titles.get(panel.title, panel.title) if language == "zh" else panel.title
            for words in NORMALISED if is_unscaled(facts) else ():
                title = title.replace(words, "")
            found.append(Chart(title, lines, panel.log_scale, say("step", language)))
    return found


def optimisation_block(facts: RunFacts, language: str) -> list[Block]:
    """Learning rate, gradient norm and weight norm in figures."""
    rows = []
    for term in OPTIMISATION:
        values = facts.training(term).values
        if values:
            figures = (values[0], max(values), statistics.median(values), values[-1])
            rows.append([f"`{term}`", *map(number, figures)])
    head = [say(word, language) for word in ("term", "first", "highest", "median", "last")]
    return [Heading(2, say("optimisation", language)), Table(head, rows)] if rows else []


def disk_megabytes(facts: RunFacts) -> float:
    """What lies in the folder, the sum of its parts as they are shown."""
    return sum(round(size / MEGABYTE, 1) for size in facts.disk.values())


def disk_block(facts: RunFacts, language: str) -> list[Block]:
    """What lies in the folder, in bytes."""
    if not facts.disk:
        return []
    steps = _list(list(map(str, facts.checkpoints)), language) or "-"
    labels = {"checkpoints": say("checkpoints", language, steps=steps)}
    rows = [
        [labels.get(name) or say(name, language), f"{size / MEGABYTE:,.1f} MB"] for name, size in facts.disk.items()
    ]
    rows.append([say("total", language), f"{disk_megabytes(facts):,.1f} MB"])
    return [Heading(2, say("disk", language)), Table((say("content", language), "MB"), rows)]


def advice_block(
    facts: RunFacts, findings: Sequence[Finding], changes: Sequence[Change], next_file: str | None, language: str
) -> list[Block]:
    """What no setting cures, the changes as a diff, and how to start the next run with them."""
    blocks: list[Block] = [Heading(2, say("advice", language))]
    in_data, others = without_cure(findings, [rule for change in changes for rule in change.rules])
    if inputs_are_unscaled(findings):
        blocks.append(Text(f"**{say('first_fix', language)}**"))
        in_data, others = [rule for rule in in_data if rule in CAUSES[0] and rule != SCALING], []
    names = {finding.rule.id: finding.rule.name(language) for finding in findings}
    if in_data:
        cure = say("no_cure", language, rules=_list([names[rule] for rule in in_data], language))
        if set(in_data) & set(LEAKS):
            cure += ("" if language == "zh" else " ") + say("no_comparison", language)
        blocks.append(Text(f"**{cure}**"))
    if others and not changes:
        blocks.append(Text(say("see_reasons", language, rules=_list([names[rule] for rule in others], language))))
    if not changes and len(blocks) == 1:
        watched = any(finding.verdict == WATCH for finding in findings)
        blocks.append(Text(say("no_advice_watch" if watched else "no_advice", language)))
    if not changes:
        return blocks
    blocks += [Text(say("diff_note", language)), Code("\n".join(diff_lines(changes)), "diff")]
    if facts.is_from_python:
        blocks.append(Text(say("from_python", language)))
    elif next_file and facts.view.command:
        blocks.append(Text(say("advice_use", language, file=next_file, command=facts.view.command)))
    return blocks


def next_step(findings: Sequence[Finding], changes: Sequence[Change], language: str) -> str:
    """What to do first: the cure of the gravest problem, else the first advice."""
    problems = [finding for finding in by_cause(findings) if finding.verdict == PROBLEM]
    ended = next((finding for finding in problems if finding.rule.id == "complete"), None)
    if ended is not None:  # a run that is sick besides is not to be gone on with
        problems = [finding for finding in problems if finding.rule.id not in ("complete", "saving")]
        if not problems:
            return say("next_resume" if ended.outcome.case in RESUMABLE else "next_anew", language)
    # data are mended before settings are changed; of other problems, one that a setting cures
    cured = [finding for finding in problems if any(finding.rule.id in change.rules for change in changes)]
    gravest = problems[0] if problems and problems[0].rule.group == DATA else next(iter(cured or problems), None)
    advised = [change for change in changes if gravest is None or gravest.rule.id in change.rules]
    names = {finding.rule.id: finding.rule.name(language) for finding in findings}
    if advised:
        settings = [f"{change.setting} {yaml_value(change.after)}" for change in advised]
        rule = gravest.rule.id if gravest else advised[0].rules[0]
        return say("next_change", language, settings=_list(settings, language), rule=names[rule])
    if problems:
        return say("next_mend", language, rule=problems[0].rule.name(language))
    watched = any(finding.verdict == WATCH for finding in findings)
    return say("next_watch" if watched else "next_nothing", language)


def opening(facts: RunFacts, findings: Sequence[Finding], changes: Sequence[Change], language: str) -> list[Block]:
    """Verdicts in one sentence, what to do first, the problems, and which quantity to read."""
    summary = summary_of(findings, language)
    sense = say(facts.view.sense, language)
    rows = [
        [Verdict(f.verdict), f.rule.question(language), f.account(language)]
        for f in by_cause(findings)
        if f.verdict in (PROBLEM, WATCH)
    ]
    head = [say(word, language) for word in ("verdict", "question", "reason")]
    blocks: list[Block] = [Text(f"**{summary}**"), Text(next_step(findings, changes, language))]
    if rows:
        blocks.append(Table(head, rows))
    return [*blocks, Text(say("main_quantity", language, term=facts.view.primary, sense=sense))]


def run_document(
    facts: RunFacts, findings: Sequence[Finding], changes: Sequence[Change], language: str, next_file: str | None
) -> Document:
    """The report of a run.

    Args:
        findings: from the rules of its kind.
        changes: what they advise.
        next_file: the name of the file of the next run's settings; None where there is none.
    """
    kind = f"（{facts.view.zh_title or facts.view.title}）" if language == "zh" else f" ({facts.view.title})"
    title = say("title", language, name=facts.name + kind)
    pictures = [Picture(chart) for chart in charts(facts, language)]
    blocks = [
        Heading(1, title),
        *opening(facts, findings, changes, language),
        *status_block(facts, language),
        *checklist_blocks(findings, language),
        *losses_block(facts, language),
        *codes_block(facts, language),
        *([Heading(2, say("pictures", language)), *pictures] if pictures else []),
        *optimisation_block(facts, language),
        *disk_block(facts, language),
        *advice_block(facts, findings, changes, next_file, language),
    ]
    return Document(language, title, blocks)
