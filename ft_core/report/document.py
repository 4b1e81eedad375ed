"""The report of one run: what its template shows."""

from collections.abc import Sequence

from .advice import Change, advice_notes, next_step
from .answers import GROUPS, PROBLEM, VERDICTS, WATCH, Finding
from .catalogue import Texts, load_texts
from .causes import by_cause
from .charts import Chart, Line
from .curves import Gap, best, trend
from .facts import RUNNING, UNFINISHED, RunFacts
from .pages import Markdown, Page, code
from .rules.symptoms import EXPLODED, explosion, is_unscaled

MOST_ROWS = 12
OPTIMISATION = ("learning_rate", "grad_norm", "weight_norm")
TRENDS = {-1: "falls", 1: "rises", 0: "level"}


def count_verdicts(findings: Sequence[Finding]) -> dict[str, int]:
    """How many findings have each verdict, the worst first, with names that fit places in texts."""
    return {verdict.replace(" ", "_"): sum(finding.verdict == verdict for finding in findings) for verdict in VERDICTS}


def _moved(facts: RunFacts, term: str) -> str:
    """The key of what a training curve did, empty if it is too short; the way back from an explosion is no fall."""
    curve = facts.training(term)
    found = trend(curve)
    if found is None:
        return ""
    fell_back = found.direction < 0 and curve.max() > EXPLODED * curve.iloc[0] > 0 and explosion(facts)
    return "fell_back" if fell_back else TRENDS[found.direction]


def _losses(facts: RunFacts) -> list[tuple]:
    """Of each term: its name, training, trend, validation, and the best validation of the main one."""
    rows = []
    for term in facts.view.terms:
        training, evaluated = facts.training(term), facts.evaluated(term)
        is_main = term == facts.view.primary and term not in facts.view.signed
        if len(training) or len(evaluated):
            top = best(evaluated) if is_main else None
            rows.append((term, training.tolist(), _moved(facts, term), evaluated.tolist(), top))
    return rows


def _some(gaps: list[Gap]) -> list[Gap]:
    """A dozen of the gaps, with the last."""
    return gaps[: -1 : -(-len(gaps) // MOST_ROWS)] + gaps[-1:] if gaps else []


def charts(facts: RunFacts, texts: Texts) -> list[Chart]:
    """The charts of a run: a colour a term, validation as dots."""
    found = []
    for panel in facts.view.panels:
        lines = []
        for colour, term in enumerate(panel.terms):
            lines.append(Line(term, facts.training(term), colour))
            lines.append(Line(f"eval_{term}", facts.evaluated(term), colour, dots=True))
        title = texts.find("titles", panel.title)
        title = title.replace(texts("normalised_units"), "") if is_unscaled(facts) else title
        found.append(Chart(title, [line for line in lines if len(line.curve)], panel.log_scale, texts("step")))
    return [chart for chart in found if chart.lines]


def _sense(facts: RunFacts) -> str:
    """The key of what the main quantity is."""
    if facts.is_rewarded:
        return "sense_rewarded"
    if facts.view.sense or not facts.view.stage:
        return facts.view.sense or "sense_unknown"
    return "sense_nats" if facts.view.in_nats else "sense_error"


def _use(facts: RunFacts, next_file: str | None) -> str:
    """The key of how to apply the changes; empty if that is not known."""
    if facts.text_log:
        return "from_text_log"
    if facts.is_from_python or not facts.record:
        return "from_python" if facts.is_from_python else "from_trainer"
    return "advice_use" if next_file and facts.view.command else ""


def _origin(facts: RunFacts, texts: Texts) -> Markdown:
    """Which text log the run was read from, and what that does not contain; empty for every other run."""
    log = facts.text_log
    values = {"file": code(log.text("file")), **{name: log.count(name) for name in ("starts", "without_validation")}}
    return Markdown(texts.fill(texts.find("text_logs", facts.view.stage, ""), values) if log else "")


def run_page(
    facts: RunFacts, findings: Sequence[Finding], changes: Sequence[Change], language: str, next_file: str | None
) -> Page:
    """The report of a run.

    Args:
        facts: the facts of the run.
        findings: of the rules of its kind.
        changes: the settings that they advise.
        language: en or zh.
        next_file: the name of the file of the next run's settings; None if there is none.

    Returns:
        [`Page`]: the document, to be written as Markdown and as HTML.
    """
    texts = load_texts(language, facts.view.package)
    codes = [(term, facts.training(term).tolist(), facts.evaluated(term).tolist()) for term in facts.view.codes]
    optimisation = [(term, facts.training(term).tolist()) for term in OPTIMISATION]
    by_group = [one for group in GROUPS for one in findings if one.rule.group == group]
    content = {
        "facts": facts,
        "counts": count_verdicts(findings),
        "origin": _origin(facts, texts),
        "next_step": next_step(findings, changes, texts),
        "notes": [(key, [one.name(language) for one in named]) for key, named in advice_notes(findings, changes)],
        "changes": changes,
        "use": _use(facts, next_file),
        "next_file": next_file,
        "problems": [one for one in by_cause(findings) if one.verdict in (PROBLEM, WATCH)],
        "settled": [one for one in by_group if one.verdict not in (PROBLEM, WATCH)],
        "sense": _sense(facts),
        "losses": _losses(facts),
        "meanings": Markdown(texts.find("meanings", facts.view.stage, "")),
        "gaps": _some(facts.gaps),
        "codes": [row for row in codes if row[1] or row[2]],
        "optimisation": [row for row in optimisation if row[1]],
        "throughput": facts.training(facts.view.speed).tolist(),
        "is_open": facts.status == RUNNING or (facts.status == UNFINISHED and facts.seconds_left is not None),
    }
    title = texts("title", name=facts.name, kind=texts.find("stages", facts.view.stage))
    return Page("run.md.j2", texts, title, charts(facts, texts), content)
