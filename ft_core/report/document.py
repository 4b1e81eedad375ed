"""The report of one run: what its templates show, as texts and tables."""

import statistics
from collections.abc import Sequence

from .advice import Change, advice_notes, diff_lines, next_step
from .answers import GROUPS, PROBLEM, WATCH, Finding, count_verdicts
from .catalogue import MISSING, Texts, load_texts, number
from .causes import by_cause
from .charts import Chart, Line
from .facts import RUNNING, UNFINISHED, RunFacts
from .history import Curve
from .pages import Markdown, Page, code, verdict
from .rules.symptoms import EXPLODED, explosion, is_unscaled
from .trends import best, trend

MOST_ROWS = 12
OPTIMISATION = ("learning_rate", "grad_norm", "weight_norm")

Rows = list[list[str]]


def summary_of(findings: Sequence[Finding], texts: Texts) -> str:
    """How many findings have each verdict, in a sentence."""
    return texts("summary", **count_verdicts(findings))


def finding_rows(findings: Sequence[Finding], language: str) -> Rows:
    """Findings as rows: verdict, question, reason, figure, rule."""
    return [
        [
            *(verdict(one.verdict, language), one.question(language)),
            *(one.reason(language), one.figure(language), code(one.rule.id)),
        ]
        for one in findings
    ]


def _trend_word(curve: Curve, exploded: bool, texts: Texts) -> str:
    """What a training curve did; the way back from an explosion is no fall."""
    found = trend(curve)
    if found is None:
        return MISSING
    fell_back = exploded and found.direction < 0 and max(curve.values) > EXPLODED * curve.values[0] > 0
    return texts("fell_back" if fell_back else {-1: "falls", 1: "rises", 0: "level"}[found.direction])


def _ends(curve: Curve) -> list[str]:
    return [number(curve.values[0]), number(curve.values[-1])] if len(curve) else [MISSING, MISSING]


def loss_rows(facts: RunFacts, texts: Texts) -> Rows:
    """First, highest and last value of each term, its trend, and the best validation of the main one."""
    rows, exploded = [], explosion(facts) is not None
    for term in facts.view.terms:
        training, evaluated = facts.training(term), facts.evaluated(term)
        if not len(training) and not len(evaluated):
            continue
        top = best(evaluated) if term not in facts.view.signed and term == facts.view.primary else None
        (begin, end), (first, last) = _ends(training), _ends(evaluated)
        shown = [begin, number(max(training.values, default=None)), end, _trend_word(training, exploded, texts)]
        rows.append([code(term), *shown, first, f"{number(top[1])} ({top[0]})" if top else MISSING, last])
    return rows


def side_by_side_rows(facts: RunFacts) -> Rows:
    """Training and validation of the main quantity at a dozen evaluations."""
    kept = facts.gaps[:: -(-len(facts.gaps) // MOST_ROWS)] if facts.gaps else []
    kept = kept if not kept or kept[-1] == facts.gaps[-1] else [*kept, facts.gaps[-1]]
    by_difference = facts.view.in_nats or facts.is_rewarded
    compared = lambda gap: f"{gap.difference:+.4g}" if by_difference else f"{gap.ratio:.3f}"  # noqa: E731
    return [[f"{one.step:,}", number(one.training), number(one.validation), compared(one)] for one in kept]


def code_rows(facts: RunFacts) -> Rows:
    """How many codes are in use, first and last."""
    curves = {term: (facts.training(term), facts.evaluated(term)) for term in facts.view.codes}
    return [[code(term), *_ends(one), *_ends(other)] for term, (one, other) in curves.items() if len(one) or len(other)]


def optimisation_rows(facts: RunFacts) -> Rows:
    """Learning rate, gradient norm and weight norm in figures."""
    logged = {term: facts.training(term).values for term in OPTIMISATION}
    return [
        [code(term), *map(number, (values[0], max(values), statistics.median(values), values[-1]))]
        for term, values in logged.items()
        if values
    ]


def charts(facts: RunFacts, texts: Texts) -> list[Chart]:
    """The charts of a run: a colour a term, validation as dots."""
    found = []
    for panel in facts.view.panels:
        curves = [
            Line(name, curve, colour, dots)
            for colour, term in enumerate(panel.terms)
            for curve, name, dots in (
                (facts.training(term), term, False),
                (facts.evaluated(term), f"eval_{term}", True),
            )
            if len(curve)
        ]
        if curves:
            title = texts.find("titles", panel.title)
            title = title.replace(texts("normalised_units"), "") if is_unscaled(facts) else title
            found.append(Chart(title, curves, panel.log_scale, texts("step")))
    return found


def disk_megabytes(facts: RunFacts) -> float:
    """The size of the folder: the sum of its parts as they are shown."""
    return sum(round(size / 1e6, 1) for size in facts.disk.values())


def disk_rows(facts: RunFacts, texts: Texts) -> Rows:
    """Sizes by kind of content."""
    sizes = {name: size / 1e6 for name, size in facts.disk.items()} | {"total": disk_megabytes(facts)}
    rows = [[texts(name, steps=list(facts.checkpoints)), f"{size:,.1f} MB"] for name, size in sizes.items()]
    return rows if facts.disk else []


def run_page(
    facts: RunFacts, findings: Sequence[Finding], changes: Sequence[Change], language: str, next_file: str | None
) -> Page:
    """The report of a run.

    Args:
        findings: of the rules of its kind.
        changes: what they advise.
        next_file: the name of the file of the next run's settings; None if there is none.
    """
    texts = load_texts(language, facts.view.package)
    stage = texts.find("stages", facts.view.stage)
    sense = "sense_unknown" if not facts.view.stage else "sense_nats" if facts.view.in_nats else "sense_error"
    sense = "sense_rewarded" if facts.is_rewarded else sense
    notes = [(key, [one.name(language) for one in named]) for key, named in advice_notes(facts, findings, changes)]
    throughput = facts.training(facts.view.speed).values if facts.view.speed else ()
    use = "from_python" if facts.is_from_python else "from_trainer" if not facts.record else ""
    if not use and next_file and facts.view.command:
        use = "advice_use"
    settled = [one for group in GROUPS for one in findings if one.rule.group == group]
    settled = [one for one in settled if one.verdict not in (PROBLEM, WATCH)]
    return Page(
        "run.md.j2",
        language,
        texts,
        texts("title", name=facts.name, kind=stage),
        charts(facts, texts),
        {
            "summary": summary_of(findings, texts),
            "next_step": next_step(findings, changes, texts),
            "notes": notes,
            "diff": Markdown("\n".join(diff_lines(changes, texts)).replace("```", "")),
            "use": use if changes else "",
            "next_file": next_file,
            "problems": finding_rows([one for one in by_cause(findings) if one.verdict in (PROBLEM, WATCH)], language),
            "settled": finding_rows(settled, language),
            "sense": texts(sense),
            "losses": loss_rows(facts, texts),
            "meanings": Markdown(texts.find("meanings", facts.view.stage, "")),
            "side_by_side": side_by_side_rows(facts),
            "codes": code_rows(facts),
            "optimisation": optimisation_rows(facts),
            "facts": facts,
            "recorded": lambda name: facts.record[name] if isinstance(facts.record.get(name), dict) else {},
            "status_word": texts.find("statuses", facts.status),
            "throughput": statistics.median(throughput) if throughput else None,
            "is_open": facts.status == RUNNING or (facts.status == UNFINISHED and facts.seconds_left is not None),
            "disk": disk_rows(facts, texts),
        },
    )
