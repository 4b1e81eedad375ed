"""What a rule is, and how rules become findings.

A rule asks one question of a run's facts. Its answers are cases, written out in its table in both languages with a
verdict each, so that the tables of rules read like the checklist that they make; the function behind a rule only
decides which case it is, and says by which figure.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

OK, WATCH, PROBLEM = "ok", "watch", "problem"
SILENT, NOT_KNOWN = "not applicable", "not known"  # it does not concern the run; its facts were not recorded
VERDICTS = (PROBLEM, WATCH, OK, SILENT, NOT_KNOWN)  # the worst first
TRAINING, DATA, MODEL = "training", "data", "model"
GROUPS = (TRAINING, DATA, MODEL)
LANGUAGES = ("en", "zh")
UNKNOWN = "unknown"  # the case of every rule whose facts are not recorded


LEAKED = {"en": " (validation is leaked: of little meaning)", "zh": "（验证集已泄漏，仅供参考）"}


# time spans as `line_progress.span` writes them
ZH_SPANS = (
    (r"\b(\d+) h (\d+) min\b", r"\1 小时 \2 分"),
    (r"\b(\d+) min (\d+) s\b", r"\1 分 \2 秒"),
    (r"(?<![\w.])(\d+) s\b", r"\1 秒"),
)


# punctuation of Chinese sentences; a comma between digits has no space after it and stays
ZH_MARKS = (
    (r",\s+", "，"),
    (r";\s+", "；"),
    (r":\s+", "："),
    (r"\s*\(([^()]*)\)", r"（\1）"),
    (r"\s*([（），；：。])\s*", r"\1"),
)
# questions of the rules that reasons of others refer to
ZH_REFERRED = {
    "learning-rate": "学习率是否合适？",
    "scaling": "输入做了归一化吗？",
    "leakage": "验证数据没有泄漏吗？",
    "early-stopping": "早停的时机合适吗？",
    "finite": "所有步都是有限值吗？",
    "schedule": "学习率是否按计划变化？",
}


def with_spans(text: str, language: str) -> str:
    """A text whose time spans are in the words of a language."""
    for pattern, words in ZH_SPANS if language == "zh" else ():
        text = re.sub(pattern, words, text)
    return text


def punctuated(text: str, language: str) -> str:
    """A text whose punctuation is that of a language."""
    for pattern, mark in ZH_MARKS if language == "zh" else ():
        text = re.sub(pattern, mark, text)
    return text


def named(id: str, question: str, language: str) -> str:
    """A rule as sentences name it: by its id, in Chinese after its question."""
    return f"「{question}」（{id}）" if language == "zh" else id


def _with_questions(text: str) -> str:
    """A Chinese reason in which the rules that it refers to have their questions."""
    pattern = rf"见 ({'|'.join(ZH_REFERRED)})"
    return re.sub(pattern, lambda found: f"见{named(found[1], ZH_REFERRED[found[1]], 'zh')}", text)


@dataclass(frozen=True)
class Case:
    """An answer: its verdict and its reason in both languages, with places for values."""

    verdict: str
    en: str
    zh: str

    def reason(self, language: str, values: Mapping[str, object]) -> str:
        """The reason, filled in."""
        return getattr(self, language).format(**values)


@dataclass(frozen=True)
class Outcome:
    """What a rule's function found.

    Attributes:
        case (`str`): a case of the rule.
        figure (`str`): the figure behind it: numbers, names of terms and as few English words as can be.
        values (`Mapping`): for the places in the case's reason.
        advice (`Mapping`): settings for the next run.
    """

    case: str
    figure: str = ""
    values: Mapping[str, object] = field(default_factory=dict)
    advice: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """One question of the checklist.

    Attributes:
        id (`str`): its short name, by which advice refers to it.
        group (`str`): training, data or model.
        en, zh (`str`): the question.
        look (`Callable`): [`~ft_core.report.facts.RunFacts`] to an [`Outcome`]; None where the facts that it
            needs are not recorded.
        cases (`Mapping`): its answers.
        needs (`tuple` of `str`): what is missing where `look` finds nothing, in English and in Chinese.
        zh_figure (`Sequence`): patterns of the words in its figures, and what stands for them in Chinese.
        on_validation (`bool`): it reads validation, which says little where that is leaked.
    """

    id: str
    group: str
    en: str
    zh: str
    look: Callable[..., Outcome | None]
    cases: Mapping[str, Case]
    needs: tuple[str, str]
    zh_figure: Sequence[tuple[str, str]] = ()
    on_validation: bool = False

    def question(self, language: str) -> str:
        """The question in a language."""
        return getattr(self, language)

    def name(self, language: str) -> str:
        """What sentences call it."""
        return named(self.id, self.question(language), language)


@dataclass(frozen=True)
class Finding:
    """A rule's answer for a run; a doubtful one rests on a validation that is leaked.

    Attributes:
        note (`Mapping`): by language, words on what lies behind it, added to its reason.
    """

    rule: Rule
    outcome: Outcome
    case: Case
    is_doubtful: bool = False
    note: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """ok, watch, problem, not applicable or not known."""
        return self.case.verdict

    def figure(self, language: str) -> str:
        """The figure behind it, in a language."""
        figure = self.outcome.figure
        for pattern, words in self.rule.zh_figure if language == "zh" else ():
            figure = re.sub(pattern, words, figure)
        return punctuated(with_spans(figure, language), language)

    def reason(self, language: str) -> str:
        """Why, in a language."""
        reason = with_spans(self.case.reason(language, self.outcome.values), language)
        further = (LEAKED[language] if self.is_doubtful else "") + self.note.get(language, "")
        if further:
            reason = f"{reason[:-1]}{further}{reason[-1]}"  # before the full stop
        return punctuated(_with_questions(reason), language) if language == "zh" else reason

    def account(self, language: str) -> str:
        """Reason and figure, in a language."""
        reason, figure = self.reason(language), self.figure(language)
        return f"{reason}依据：{figure}。" if language == "zh" else f"{reason} ({figure})"


def count_verdicts(findings: Sequence[Finding]) -> dict[str, int]:
    """How many findings have each verdict, the worst first; names are those of the placeholders of sentences."""
    return {verdict.replace(" ", "_"): sum(finding.verdict == verdict for finding in findings) for verdict in VERDICTS}


def percent(share: float, digits: int = 0) -> str:
    """A share as signed per cent, such as `-87 %`."""
    return f"{share:+.{digits}%}".replace("%", " %")


def number(value: float) -> str:
    """A figure with four significant digits."""
    return f"{value:.4g}"


def ok(en: str, zh: str) -> Case:
    """A case in which all is well."""
    return Case(OK, en, zh)


def watch(en: str, zh: str) -> Case:
    """A case to keep an eye on."""
    return Case(WATCH, en, zh)


def problem(en: str, zh: str) -> Case:
    """A case that wants another run."""
    return Case(PROBLEM, en, zh)


def silent(en: str, zh: str) -> Case:
    """A case in which the question does not concern the run."""
    return Case(SILENT, en, zh)
