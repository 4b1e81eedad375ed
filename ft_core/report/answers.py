"""Rules, their answers, and the findings of a report.

A rule asks one question of the facts of a run. Its function decides which answer holds, by which values, and which
settings it advises. All texts (question, answers, figures) stand in the catalogues under the id of the rule.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from .catalogue import COMMON, MISSING, load_texts

OK, WATCH, PROBLEM, NOT_APPLICABLE, NOT_KNOWN = "ok", "watch", "problem", "not applicable", "not known"
VERDICTS = (PROBLEM, WATCH, OK, NOT_APPLICABLE, NOT_KNOWN)  # the worst first
TRAINING, DATA, MODEL = "training", "data", "model"
GROUPS = (TRAINING, DATA, MODEL)
UNKNOWN = "unknown"  # the answer of every rule whose facts are not recorded


@dataclass(frozen=True)
class Answer:
    """What the function of a rule found."""

    case: str  # the key of the answer in the rule's texts
    values: Mapping[str, object] = field(default_factory=dict)  # for the places in these texts
    advice: Mapping[str, object] = field(default_factory=dict)  # settings for the next run


@dataclass(frozen=True)
class Rule:
    """One question of the checklist, with its possible answers by verdict, separated by spaces."""

    id: str  # its short name, by which advice and the catalogues refer to it
    group: str
    look: Callable[..., Answer | None]  # of the facts of a run; None if those that it needs are missing
    ok: str = ""
    watch: str = ""
    problem: str = ""
    not_applicable: str = ""
    on_validation: bool = False  # it reads validation, which means little if validation is leaked

    @cached_property
    def verdicts(self) -> dict[str, str]:
        """The verdict of each answer."""
        sorted_by = {OK: self.ok, WATCH: self.watch, PROBLEM: self.problem, NOT_APPLICABLE: self.not_applicable}
        return {case: verdict for verdict, cases in sorted_by.items() for case in cases.split()}


@dataclass(frozen=True)
class Finding:
    """The answer of a rule for a run."""

    rule: Rule
    answer: Answer
    verdict: str
    package: str = COMMON  # the report package whose catalogue has its texts
    override: str = ""  # key of a reason that replaces that of the answer, because of another finding
    effect: str = ""  # key of a sentence on what caused it
    is_doubtful: bool = False  # it rests on a validation that is leaked

    def question(self, language: str) -> str:
        """The question of its rule."""
        return str(load_texts(language, self.package).rule(self.rule.id)["question"])

    def name(self, language: str) -> str:
        """What sentences call its rule."""
        return load_texts(language, self.package).name_of_rule(self.rule.id)

    def figure(self, language: str) -> str:
        """The figures behind it."""
        texts, case = load_texts(language, self.package), self.answer.case
        known = texts.rule(self.rule.id)
        text = known.get("figures", {}).get(case, known["figure"])
        return MISSING if case == UNKNOWN else texts.fill(text, self.answer.values)

    def reason(self, language: str) -> str:
        """Why the verdict is what it is."""
        texts = load_texts(language, self.package)
        known = texts.rule(self.rule.id)
        text = known["needs"] if self.answer.case == UNKNOWN else known["answers"][self.answer.case]
        sentences = [texts.find("overrides", self.override) if self.override else text]
        sentences += [texts.find("phrases", "doubtful")] if self.is_doubtful else []
        sentences += [texts.find("effects", self.effect)] if self.effect else []
        return texts("between_sentences").join(texts.fill(text, self.answer.values) for text in sentences)

    def account(self, language: str) -> str:
        """Reason and figure in one line."""
        return load_texts(language)("account", reason=self.reason(language), figure=self.figure(language))


def ask(rule: Rule, facts: "RunFacts") -> Finding:  # noqa: F821
    """The finding of a rule for a run."""
    answer, package = rule.look(facts), facts.view.package
    if answer is None:
        return Finding(rule, Answer(UNKNOWN), NOT_KNOWN, package)
    is_doubtful = rule.on_validation and facts.is_leaked
    return Finding(rule, answer, rule.verdicts[answer.case], package, is_doubtful=is_doubtful)


def count_verdicts(findings: Sequence[Finding]) -> dict[str, int]:
    """How many findings have each verdict, the worst first, with names that fit places in texts."""
    return {verdict.replace(" ", "_"): sum(finding.verdict == verdict for finding in findings) for verdict in VERDICTS}
