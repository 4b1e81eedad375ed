"""Rules, their answers, and the findings of a report.

A rule asks one question about the facts of a run. Its function decides which answer holds, with which values, and which
settings it advises. All texts (question, answers, figures) are in the catalogues under the id of the rule.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .catalogue import MISSING, Texts, load_texts

if TYPE_CHECKING:
    from .facts import RunFacts

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
    """One question of the checklist, which is called with the facts of a run."""

    id: str  # its short name, by which advice and the catalogues refer to it
    group: str
    look: Callable[["RunFacts"], Answer | None]
    verdicts: Mapping[str, str]  # of each answer
    on_validation: bool  # it uses validation, which is not reliable if validation is leaked

    def __call__(self, facts: "RunFacts") -> Answer | None:
        """The answer for a run; None if the facts that it needs are not recorded."""
        return self.look(facts)


def rule(group: str, *, on_validation: bool = False, **answers: str) -> Callable[[Callable], Rule]:
    """Makes a rule of a function, whose name is the id of the rule.

    Args:
        group: one of `GROUPS`.
        on_validation: whether it reads validation.
        **answers: its possible answers, separated by spaces, as `ok`, `watch`, `problem` and `not_applicable`.
    """
    verdicts = {case: kind.replace("_", " ") for kind, cases in answers.items() for case in cases.split()}
    return lambda look: Rule(look.__name__.replace("_", "-"), group, look, verdicts, on_validation)


@dataclass(frozen=True)
class Finding:
    """The answer of a rule for a run."""

    rule: Rule
    answer: Answer
    verdict: str
    facts: "RunFacts" = field(repr=False)
    override: str = ""  # key of a reason that replaces that of the answer, because of another finding
    effect: str = ""  # key of a sentence on what caused it
    is_doubtful: bool = False  # it rests on validation data that are leaked

    def question(self, language: str) -> str:
        """The question of its rule."""
        return str(self._texts(language).rule(self.rule.id)["question"])

    def name(self, language: str) -> str:
        """How sentences refer to its rule."""
        return self._texts(language).name_of_rule(self.rule.id)

    def figure(self, language: str) -> str:
        """The figures that it rests on."""
        known = self._texts(language).rule(self.rule.id)
        text = known.get("figures", {}).get(self.answer.case, known["figure"])
        return MISSING if self.answer.case == UNKNOWN else self._fill(text, language)

    def reason(self, language: str) -> str:
        """Why it has this verdict."""
        texts = self._texts(language)
        known = texts.rule(self.rule.id)
        text = known["needs"] if self.answer.case == UNKNOWN else known["answers"][self.answer.case]
        sentences = [texts.find("overrides", self.override) if self.override else text]
        sentences += [texts.find("phrases", "doubtful")] if self.is_doubtful else []
        sentences += [texts.find("effects", self.effect)] if self.effect else []
        return texts("between_sentences").join(self._fill(text, language) for text in sentences)

    def account(self, language: str) -> str:
        """Reason and figures in one line."""
        return self._texts(language)("account", reason=self.reason(language), figure=self.figure(language))

    def _texts(self, language: str) -> Texts:
        return load_texts(language, self.facts.view.package)

    def _fill(self, text: str, language: str) -> str:
        values = {"run": self.facts, "term": self.facts.view.primary, **self.answer.values}
        return self._texts(language).fill(text, values)


def ask(rule: Rule, facts: "RunFacts") -> Finding:
    """The finding of a rule for a run."""
    answer = rule(facts)
    if answer is None:
        return Finding(rule, Answer(UNKNOWN), NOT_KNOWN, facts)
    is_doubtful = rule.on_validation and facts.is_leaked
    return Finding(rule, answer, rule.verdicts[answer.case], facts, is_doubtful=is_doubtful)
