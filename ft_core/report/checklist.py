"""The table of rules: those of every run, in the order of the checklist."""

from collections.abc import Sequence

from .answers import GROUPS, LANGUAGES, NOT_KNOWN, UNKNOWN, Case, Finding, Outcome, Rule
from .facts import RunFacts
from .rules import (
    course as rules_course,
    fit as rules_training,
    learning_rate as rules_rate,
    length as rules_length,
    model as rules_model,
    steps as rules_steps,
)
from .views import StageView
from .wording import GROUP_WORDS, VERDICT_WORDS

COMMON = (
    *(*rules_course.RULES, *rules_length.RULES, *rules_training.RULES, *rules_rate.RULES),
    *(*rules_steps.RULES, *rules_model.RULES),
)


def ask(rule: Rule, facts: RunFacts) -> Finding:
    """The finding of a rule for a run."""
    outcome = rule.look(facts)
    if outcome is None:
        return Finding(rule, Outcome(UNKNOWN, "-"), Case(NOT_KNOWN, *rule.needs))
    return Finding(rule, outcome, rule.cases[outcome.case], rule.on_validation and facts.is_leaked)


def rules_for(view: StageView) -> tuple[Rule, ...]:
    """Rules that are asked of a kind of run."""
    return (*COMMON, *view.rules)


def rules_page(views: Sequence[StageView], language: str = "en") -> str:
    """The table of all rules and their answers, in Markdown; rules of one kind of run name it."""
    assert language in LANGUAGES
    rules: dict[str, tuple[Rule, list[str]]] = {rule.id: (rule, []) for rule in COMMON}
    for view in views:
        for rule in view.rules:
            rules.setdefault(rule.id, (rule, []))[1].append(view.stage)
    lines = []
    for group in GROUPS:
        lines += [f"### {GROUP_WORDS[group][language]}", "", "| rule | question | answers |", "|---|---|---|"]
        for rule, stages in rules.values():
            if rule.group != group:
                continue
            answers = "<br>".join(
                f"**{VERDICT_WORDS[case.verdict][language]}**: {getattr(case, language)}"
                for case in rule.cases.values()
            )
            only = f" ({', '.join(stages)})" if stages else ""
            lines.append(f"| `{rule.id}`{only} | {rule.question(language)} | {answers} |")
        lines.append("")
    return "\n".join(lines)
