"""Writes the table of all rules of reports into a page: `python -m tests.report_rules docs/report.md`."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ft_core.report.answers import GROUPS, Rule
from ft_core.report.catalogue import load_texts
from ft_core.report.rules import COMMON_RULES
from ft_core.report.views import StageView

BEGIN, END = "<!-- rules -->", "<!-- end of rules -->"
FUNCTIONS = ("place", "rule", "word")
PHRASE = re.compile(r"{say\('(\w+)'[^{}]*\)}")


def _shown(text: str, phrases: Mapping[str, str]) -> str:
    """A text with its phrases filled in, its places by name, and its alternatives in brackets."""
    text = PHRASE.sub(lambda phrase: phrases[phrase[1]], text)
    text = re.sub(r"{% (?:if|for) .*?%}", "[", text)
    text = re.sub(r"{% el(?:se|if) ?.*?%}", " / ", text)
    text = re.sub(r"{% end(?:if|for) %}", "]", text)
    name = re.compile(rf"(?:(?:{'|'.join(FUNCTIONS)})\()?(?:(?:run|top|gap)\.)?([a-z_]+)")
    return re.sub(r"{([^{}]*)}", lambda place: f"{{{name.search(place[1])[1]}}}", text)


def rules_page(views: Sequence[StageView], language: str = "en") -> str:
    """The table of all rules and their answers, in Markdown; rules of one kind of run name it."""
    rules: dict[str, tuple[Rule, str, list[str]]] = {rule.id: (rule, "ft_core.report", []) for rule in COMMON_RULES}
    for view in views:
        for rule in view.rules:
            rules.setdefault(rule.id, (rule, view.package, []))[2].append(view.stage)
    common, lines = load_texts(language), []
    for group in GROUPS:
        lines += [f"### {common.find('groups', group)}", "", "| rule | question | answers |", "|---|---|---|"]
        for rule, package, stages in (one for one in rules.values() if one[0].group == group):
            texts = load_texts(language, package).rule(rule.id)
            answers = "<br>".join(
                f"**{common.find('verdicts', verdict)}**: {_shown(texts['answers'][case], common.section('phrases'))}"
                for case, verdict in rule.verdicts.items()
            )
            only = f" ({', '.join(stages)})" if stages else ""
            lines.append(f"| `{rule.id}`{only} | {texts['question']} | {answers} |")
        lines.append("")
    return "\n".join(lines)


def with_rules(text: str) -> str:
    """A page with the tables of rules between its marks."""
    from kronos_ft.report.views import VIEWS
    from mt5_ft.report.views import MT5

    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{rules_page((*VIEWS, MT5))}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(with_rules(page.read_text(encoding="utf-8")), encoding="utf-8")
