"""How findings depend on each other: which explain others, which override others, and in which order they are read."""

from collections.abc import Sequence
from dataclasses import replace

from .answers import DATA, GROUPS, NOT_APPLICABLE, NOT_KNOWN, OK, PROBLEM, VERDICTS, WATCH, Finding, ask
from .facts import RunFacts
from .rules import COMMON_RULES

SCALING, LEAKS = "scaling", ("leakage", "shared-texts")
CAUSES = ((*LEAKS, SCALING), ("finite", "learning-rate"))  # rules that explain the others, the deepest cause first
VALIDATION = ("in-step", "overfitting", "fits-data", "regularisation", "early-stopping")
CURVES = ("falling", "improved", "in-step", "overfitting", "steady", "gradients", "long-enough", "early-stopping")
BALANCE = ("fits-data", "regularisation")
SUMMARIES = ("summaries", "distinct-summaries")
# a problem (rule, answer), the rules that it makes meaningless, and the key of the reason; in this order
MEANINGLESS = (
    (SCALING, "unscaled", (*CURVES, *BALANCE, "learning-rate", "code-usage", "weights"), "unscaled"),
    ("learning-rate", "exploded", VALIDATION, "exploded"),
    ("finite", "many_logged", (*CURVES, *BALANCE), "not_finite"),
    ("early-stopping", "too_early", BALANCE, "stopped"),
)
UNADVISED_UNSCALED = ("clipping", "finite")  # valid beside unscaled inputs, but no setting helps
# a problem (rule, answer), and a rule whose ok turns into watch beside it
OVERRIDES = (
    (SCALING, "unscaled", "saving"),
    ("leakage", "shared", "saving"),
    ("finite", "many_logged", "saving"),
    ("early-stopping", "too_early", "complete"),
    ("distinct-summaries", "identical", "summaries"),
)
# a problem (rule, answers), and the rules whose findings it causes
EFFECTS = (
    (SCALING, ("unscaled",), ("explained", "scale-from-past", "finite")),
    ("learning-rate", ("exploded", "not_finite"), ("gradients", "weights", "explained", "code-usage")),
    ("early-stopping", ("too_early",), ("explained", "code-usage", "beats-frequencies", *SUMMARIES)),
)


def by_cause(findings: Sequence[Finding]) -> list[Finding]:
    """Findings by verdict, the worst first; within one verdict, causes before effects."""

    def depth(id: str) -> int:
        return next((depth for depth, rules in enumerate(CAUSES) if id in rules), len(CAUSES))

    return sorted(findings, key=lambda finding: (VERDICTS.index(finding.verdict), depth(finding.rule.id)))


def ask_all(facts: RunFacts) -> list[Finding]:
    """The findings of all rules for a run, by group, after taking account of how they depend on each other."""
    rules = (*COMMON_RULES, *facts.view.rules)
    return related([ask(rule, facts) for group in GROUPS for rule in rules if rule.group == group])


def related(findings: Sequence[Finding]) -> list[Finding]:
    """The findings; those that another problem makes meaningless are overridden, and causes are named."""
    found = list(findings)
    for cause, case, rules, key in MEANINGLESS:
        if _problems(found).get(cause) == case:
            found = [_meaningless(one, key) if one.rule.id in rules else one for one in found]
    problems = _problems(found)
    if SCALING in problems:
        found = [_unadvised(one) if one.rule.id in UNADVISED_UNSCALED else one for one in found]
    leak = next((rule for rule in LEAKS if rule in problems), None)
    if leak:  # with leaked validation an `ok` is not reliable and is removed; a bad verdict is kept
        found = [_meaningless(one, f"leaked-{leak}") if one.is_doubtful and one.verdict == OK else one for one in found]
    for cause, case, rule in OVERRIDES:
        if problems.get(cause) == case:
            changed = {"verdict": WATCH, "override": f"{rule}-{cause}"}
            found = [replace(one, **changed) if one.rule.id == rule and one.verdict == OK else one for one in found]
    for cause, cases, rules in EFFECTS:
        if problems.get(cause) in cases:
            found = [_caused(one, cause) if one.rule.id in rules else one for one in found]
    return found


def _problems(findings: Sequence[Finding]) -> dict[str, str]:
    """The answers that are problems, by rule."""
    return {one.rule.id: one.answer.case for one in findings if one.verdict == PROBLEM}


def _unadvised(finding: Finding) -> Finding:
    return replace(finding, answer=replace(finding.answer, advice={}))


def _meaningless(finding: Finding, key: str) -> Finding:
    if finding.verdict in (NOT_APPLICABLE, NOT_KNOWN):
        return finding
    return replace(_unadvised(finding), verdict=NOT_APPLICABLE, override=key, is_doubtful=False)


def _caused(finding: Finding, cause: str) -> Finding:
    """A finding that is not ok, with the first cause that explains it."""
    is_caused = finding.verdict in (PROBLEM, WATCH) and not finding.effect
    return replace(finding, effect=cause) if is_caused else finding


def without_cure(findings: Sequence[Finding], cured: Sequence[str]) -> tuple[list[Finding], list[Finding]]:
    """Problems for which no setting is advised: those of the data, and the others."""
    left = [one for one in by_cause(findings) if one.verdict == PROBLEM and one.rule.id not in cured]
    return [one for one in left if one.rule.group == DATA], [one for one in left if one.rule.group != DATA]
