"""Every answer of the rules on records and summaries."""

import pytest

from ft_core.report.answers import NOT_KNOWN, OK, ask
from ft_core.report.catalogue import LANGUAGES
from ft_core.report.rules import COMMON_RULES
from ft_core.report.write import write_report
from mt5_ft.report.views import MT5, VIEWS
from tests.written_runs import mt5_run


def nothing(run):
    """As it is."""


def fact(group, **values):
    return lambda run: run.record[group].update(values)


def written(name, value):
    return lambda run: run.evaluated(name, value)


SCENARIOS = {
    "truncation": {"fits": nothing, "some": fact("lengths", target_cut=0.1), "much": fact("lengths", source_cut=0.4)},
    "shared-texts": {"apart": nothing, "shared": lambda run: run.record.update(shared_sources=3)},
    "records": {
        "enough": nothing,
        "few": fact("observed", train_samples=100),
        "few_validation": fact("observed", validation_samples=10),
    },
    "vocabulary": {
        "covers": nothing,
        "loses": fact("vocabulary", coverage=0.97),
        "not_trimmed": fact("model", trim_vocab=False),
    },
    "summaries": {
        "whole": nothing,
        "some_broken": written("repeated_share", 0.1),
        "broken": written("empty_share", 0.6),
        "other_length": written("length_ratio", 3.0),
    },
}
CASES = [(rule, case) for rule, cases in SCENARIOS.items() for case in cases]


@pytest.mark.parametrize("language", LANGUAGES)
def test_repeats_within_words_are_a_finding_and_older_runs_lack_the_figure(language, tmp_path):
    finding = finding_of("summaries", written("repeated_characters", 0.05), tmp_path / "run")
    assert finding.answer.case == "some_broken"
    assert "5.0" in finding.figure(language)
    plain = finding_of("summaries", nothing, tmp_path / "other")
    assert "characters" not in plain.figure("en")


def finding_of(rule, change, folder):
    run = mt5_run()
    change(run)
    facts = run.facts(folder, VIEWS)
    return ask(next(one for one in MT5.rules if one.id == rule), facts)


def test_there_is_a_run_for_every_answer_of_every_rule():
    assert {rule.id: set(rule.verdicts) for rule in MT5.rules} == {id: set(cases) for id, cases in SCENARIOS.items()}


@pytest.mark.parametrize(("rule", "case"), CASES)
def test_each_run_gets_its_answer(rule, case, tmp_path):
    finding = finding_of(rule, SCENARIOS[rule][case], tmp_path / "run")
    assert finding.answer.case == case, finding.answer
    for language in LANGUAGES:
        assert "{" not in finding.reason(language)


def test_a_healthy_run_is_well(tmp_path):
    facts = mt5_run().facts(tmp_path / "run", VIEWS)
    found = {rule.id: ask(rule, facts).verdict for rule in (*COMMON_RULES, *facts.view.rules)}
    assert set(found.values()) == {OK}, found


def test_the_report_tells_the_lengths(tmp_path):
    folder = mt5_run().write(tmp_path / "run")
    write_report(folder, VIEWS, "en")
    assert "sources average 120 tokens, targets 60" in (folder / "report.md").read_text()


def test_summaries_of_the_whole_split_count_where_there_are_some(tmp_path):
    finding = finding_of("summaries", lambda run: run.files.update({"training_metrics.json": {"final": {
        "empty_share": 0.9, "repeated_share": 0.0, "sentinel_share": 0.0}}}), tmp_path / "run")  # fmt: skip
    assert finding.answer.case == "broken"


def test_summaries_of_only_punctuation_are_broken(tmp_path):
    finding = finding_of("summaries", written("only_punctuation_share", 0.9), tmp_path / "run")
    assert finding.answer.case == "broken"
    assert "Many summaries are only punctuation" in finding.reason("en")
    assert "只有标点" in finding.reason("zh")


def test_a_vocabulary_that_was_not_recorded_is_not_known(tmp_path):
    finding = finding_of("vocabulary", lambda run: run.record.pop("vocabulary"), tmp_path / "run")
    assert finding.verdict == NOT_KNOWN
