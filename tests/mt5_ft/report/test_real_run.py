"""The report of a real tiny run of mT5, written at its end."""

from ft_core.report.answers import NOT_KNOWN
from ft_core.report.causes import ask_all
from ft_core.report.facts import read_run
from mt5_ft.report.views import VIEWS


def test_a_run_writes_its_report(train):
    code, folder = train("--eval_steps", "1", "--save_steps", "1")
    assert code == 0
    facts = read_run(folder, VIEWS)
    findings = {finding.rule.id: finding for finding in ask_all(facts)}
    text = (folder / "report.md").read_text(encoding="utf-8")
    for finding in findings.values():
        assert finding.rule.id in text
    assert (folder / "next.yaml").is_file()
    silent = {name for name, finding in findings.items() if finding.verdict == NOT_KNOWN}
    assert silent <= {"vocabulary", "steady", "speed", "falling", "learning-rate"}
    assert findings["truncation"].answer.case == "much"  # the limits of a test are short
    assert findings["shared-texts"].verdict == findings["complete"].verdict == findings["schedule"].verdict == "ok"
    assert findings["summaries"].verdict != NOT_KNOWN
