"""The healthy and the four sick runs of `benchmarks.sick_runs` get the verdicts that commit 34fc8a4 gave them.

Since then, the range of learning rates from random weights begins and ends higher, as does the rate advised for them.
"""

import re

import pytest

from ft_core.report.advice import gather_changes
from ft_core.report.causes import ask_all
from ft_core.report.facts import read_run
from kronos_ft.report.views import VIEWS

from .sick_folders import RUNS, baseline, write_sick_run


def numbers(text):
    """The figures in a text; digits that belong to a name, such as `s1`, do not count."""
    return re.findall(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?", text)


@pytest.mark.parametrize("name", RUNS)
def test_rules_verdicts_figures_and_advice_are_those_of_before(name, tmp_path):
    facts = read_run(write_sick_run(name, tmp_path / name), VIEWS)
    findings = ask_all(facts)
    before = baseline()[name]
    assert [finding.rule.id for finding in findings] == [old["rule"] for old in before["findings"]]
    for finding, old in zip(findings, before["findings"], strict=True):
        assert (finding.verdict, finding.answer.case) == (old["verdict"], old["case"]), old["rule"]
        assert numbers(finding.figure("en")) == numbers(old["figure"]), old["rule"]
    changes = gather_changes(findings, facts)
    assert {change.setting: change.after for change in changes} == before["changes"]
