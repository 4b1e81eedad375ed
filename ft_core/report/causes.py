"""What lies behind what: the order in which findings are read, and findings that mean nothing beside others."""

from collections.abc import Sequence
from dataclasses import replace

from .answers import DATA, GROUPS, NOT_KNOWN, OK, PROBLEM, SILENT, VERDICTS, WATCH, Case, Finding, Rule
from .checklist import ask
from .facts import RunFacts

# rules that explain the others, the deepest first
CAUSES = (("leakage", "shared-texts", "scaling"), ("finite", "learning-rate"))
SCALING, LEAKS = "scaling", ("leakage", "shared-texts")
# what these say of inputs of a wrong size is true of the size alone
MEANINGLESS_UNSCALED = (
    *("learning-rate", "code-usage", "gradients", "falling", "weights", "improved", "steady", "in-step"),
    *("overfitting", "regularisation", "fits-data", "long-enough", "early-stopping"),
)
UNADVISED_UNSCALED = ("clipping", "finite")  # true as they are, but no setting mends them
UNSCALED = Case(
    SILENT,
    "inputs are not normalised, so that this means nothing; see scaling.",
    "输入未归一化，此项无意义，见 scaling。",
)
# what these say of weights that training has broken says nothing of the data or of further settings
MEANINGLESS_EXPLODED = ("early-stopping", "in-step", "overfitting", "fits-data", "regularisation")
EXPLODED = Case(
    SILENT,
    "training exploded, so that this means nothing; see learning-rate.",
    "训练曾发散，此项无意义，见 learning-rate。",
)
# what these say of finite entries alone, of a Trainer that applies a step of NaN and logs its loss as 0
MEANINGLESS_NOT_FINITE = (
    *("falling", "improved", "in-step", "overfitting", "steady", "gradients", "long-enough", "early-stopping"),
    *("fits-data", "regularisation"),
)
NOT_FINITE = Case(
    SILENT,
    "losses or gradient norms were not finite, so that this means nothing; see finite.",
    "损失或梯度范数出现非有限值，此项无意义，见 finite。",
)
# what one or two evaluations cannot show
MEANINGLESS_STOPPED = ("fits-data", "regularisation")
STOPPED = Case(
    SILENT,
    "training was stopped before this could show; see early-stopping.",
    "训练在能看出之前就停止了，见 early-stopping。",
)
# what is in order by a validation that was trained on is not known to be; what is amiss even so is said
LEAKED = {
    cause: Case(
        SILENT,
        f"validation is leaked, so that this means nothing; see {cause}.",
        f"验证集已泄漏，此项无意义，见 {cause}。",
    )
    for cause in LEAKS
}
# a rule and answers of it, rules that are in order by themselves, and what they are beside it
SPOILT: Sequence[tuple[str, Sequence[str], str, Case]] = (
    (
        SCALING,
        ("unscaled",),
        "saving",
        Case(
            WATCH,
            "a model is written, but its inputs were not normalised: do not use best_model or resume from it.",
            "模型已写入，但训练时输入未归一化：best_model 不可用，请勿续训。",
        ),
    ),
    (
        "leakage",
        ("shared",),
        "saving",
        Case(
            WATCH,
            "a model is written, but the best checkpoint was chosen on leaked validation; do not compare by it.",
            "模型已写入，但最佳检查点按已泄漏的验证选出，不可用于比较。",
        ),
    ),
    (
        "finite",
        ("many_logged",),
        "saving",
        Case(
            WATCH,
            "checkpoints are there, but losses or gradient norms were not finite: do not use one from after that.",
            "检查点齐全，但损失或梯度范数出现过非有限值：请勿使用此后的检查点。",
        ),
    ),
    (
        "early-stopping",
        ("too_early",),
        "complete",
        Case(WATCH, "ended too soon by early stopping, see early-stopping.", "被早停过早结束，见 early-stopping。"),
    ),
)
# a rule, its answers that explain others, the others, and what is added to their reasons
EFFECTS: Sequence[tuple[str, Sequence[str], Sequence[str], dict[str, str]]] = (
    (
        SCALING,
        ("unscaled",),
        ("explained", "scale-from-past", "finite"),
        {"en": "; a result of inputs that are not normalised, see scaling", "zh": "；由输入未归一化引起，见 scaling"},
    ),
    (
        "learning-rate",
        ("exploded", "not_finite"),
        ("gradients", "weights", "explained", "code-usage"),
        {
            "en": "; a result of a learning rate that is too high, see learning-rate",
            "zh": "；由学习率过高引起，见 learning-rate",
        },
    ),
    (
        "early-stopping",
        ("too_early",),
        ("explained", "code-usage", "beats-frequencies", "summaries"),
        {"en": "; training was stopped too soon, see early-stopping", "zh": "；训练被过早停止，见 early-stopping"},
    ),
)


def _depth(finding: Finding) -> int:
    return next((depth for depth, rules in enumerate(CAUSES) if finding.rule.id in rules), len(CAUSES))


def by_cause(findings: Sequence[Finding]) -> list[Finding]:
    """Findings by verdict, the worst first, and of one verdict those that explain others first."""
    return sorted(findings, key=lambda finding: (VERDICTS.index(finding.verdict), _depth(finding)))


def inputs_are_unscaled(findings: Sequence[Finding]) -> bool:
    """Whether the rule on scaling found a problem, which no setting cures and which spoils other figures."""
    return any(finding.rule.id == SCALING and finding.verdict == PROBLEM for finding in findings)


def ask_all(rules: Sequence[Rule], facts: RunFacts) -> list[Finding]:
    """The findings of all rules, by group, in the order of the tables, each as what the others leave of it."""
    return related([ask(rule, facts) for group in GROUPS for rule in rules if rule.group == group])


def related(findings: Sequence[Finding]) -> list[Finding]:
    """The findings, silent where another one takes their meaning, and with words on what caused them."""
    known = {finding.rule.id: finding for finding in findings if finding.verdict == PROBLEM}
    found = list(findings)
    if SCALING in known:
        found = [_silenced(one, UNSCALED) if one.rule.id in MEANINGLESS_UNSCALED else one for one in found]
        found = [_unadvised(one) if one.rule.id in UNADVISED_UNSCALED else one for one in found]
    elif "learning-rate" in known and known["learning-rate"].outcome.case == "exploded":
        found = [_silenced(one, EXPLODED) if one.rule.id in MEANINGLESS_EXPLODED else one for one in found]
    if "finite" in known and known["finite"].outcome.case == "many_logged":
        found = [_silenced(one, NOT_FINITE) if one.rule.id in MEANINGLESS_NOT_FINITE else one for one in found]
    if "early-stopping" in known and known["early-stopping"].outcome.case == "too_early":
        found = [_silenced(one, STOPPED) if one.rule.id in MEANINGLESS_STOPPED else one for one in found]
    leak = next((rule for rule in LEAKS if rule in known), None)
    if leak is not None:
        found = [_silenced(one, LEAKED[leak]) if one.is_doubtful and one.verdict == OK else one for one in found]
    meant = {one.rule.id: one.outcome.case for one in found if one.verdict == PROBLEM}
    for cause, cases, rule, case in SPOILT:
        if meant.get(cause) in cases:
            found = [replace(one, case=case) if one.rule.id == rule and one.verdict == OK else one for one in found]
    for cause, cases, rules, note in EFFECTS:
        if meant.get(cause) in cases:
            found = [_noted(one, note) if one.rule.id in rules else one for one in found]
    return found


def _unadvised(finding: Finding) -> Finding:
    return replace(finding, outcome=replace(finding.outcome, advice={}))


def _silenced(finding: Finding, case: Case) -> Finding:
    if finding.verdict in (SILENT, NOT_KNOWN):
        return finding
    return replace(_unadvised(finding), case=case, is_doubtful=False)


def _noted(finding: Finding, note: dict[str, str]) -> Finding:
    """A finding that something is amiss, with the first thing that explains it."""
    return replace(finding, note=note) if finding.verdict in (PROBLEM, WATCH) and not finding.note else finding


def without_cure(findings: Sequence[Finding], cured: Sequence[str]) -> tuple[list[str], list[str]]:
    """Rules that found a problem for which no setting is advised: those on data, and the others."""
    left = [f for f in by_cause(findings) if f.verdict == PROBLEM and f.rule.id not in cured]
    return [f.rule.id for f in left if f.rule.group == DATA], [f.rule.id for f in left if f.rule.group != DATA]
