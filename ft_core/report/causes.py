"""What lies behind what: the order in which findings are read, and advice that rests on nothing."""

from collections.abc import Sequence
from dataclasses import replace

from .rules import DATA, PROBLEM, VERDICTS, Finding

# rules that explain the others, the deepest first
CAUSES = (("leakage", "shared-texts", "scaling"), ("finite", "learning-rate"))
SCALING = "scaling"
# what these say of inputs of a wrong size is true of the size alone
MEANINGLESS_UNSCALED = (
    *("learning-rate", "clipping", "code-usage", "gradients", "falling", "weights", "improved", "steady", "in-step"),
    *("overfitting", "regularisation", "fits-data", "long-enough", "early-stopping", "finite"),
)


def _depth(finding: Finding) -> int:
    return next((depth for depth, rules in enumerate(CAUSES) if finding.rule.id in rules), len(CAUSES))


def by_cause(findings: Sequence[Finding]) -> list[Finding]:
    """Findings by verdict, the worst first, and of one verdict those that explain others first."""
    return sorted(findings, key=lambda finding: (VERDICTS.index(finding.verdict), _depth(finding)))


def inputs_are_unscaled(findings: Sequence[Finding]) -> bool:
    """Whether the rule on scaling found a problem, which no setting cures and which spoils other figures."""
    return any(finding.rule.id == SCALING and finding.verdict == PROBLEM for finding in findings)


def with_founded_advice(findings: Sequence[Finding]) -> list[Finding]:
    """The findings, without advice where inputs that are not scaled explain what it rests on."""
    if not inputs_are_unscaled(findings):
        return list(findings)
    return [
        replace(finding, outcome=replace(finding.outcome, advice={}))
        if finding.rule.id in MEANINGLESS_UNSCALED
        else finding
        for finding in findings
    ]


def without_cure(findings: Sequence[Finding], cured: Sequence[str]) -> tuple[list[str], list[str]]:
    """Rules that found a problem for which no setting is advised: those on data, and the others."""
    left = [f for f in by_cause(findings) if f.verdict == PROBLEM and f.rule.id not in cured]
    return [f.rule.id for f in left if f.rule.group == DATA], [f.rule.id for f in left if f.rule.group != DATA]
