"""Every answer of the rules on records and summaries."""

import pytest

from ft_core.report.answers import NOT_KNOWN, OK, PROBLEM, WATCH, ask
from ft_core.report.catalogue import LANGUAGES
from ft_core.report.causes import ask_all
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
    "distinct-summaries": {"distinct": written("identical_share", 0.33), "identical": written("identical_share", 0.34)},
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
    return finding_of_run(rule, run, folder)


def finding_of_run(rule, run, folder):
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


def test_identical_summaries_are_a_problem_and_not_healthy_ones(tmp_path):
    run = mt5_run()
    run.evaluated("identical_share", 0.9)
    folder = run.write(tmp_path / "run")
    report = write_report(folder, VIEWS, "zh")
    found = {finding.rule.id: finding for finding in ask_all(run.facts(tmp_path / "other", VIEWS))}
    assert (found["distinct-summaries"].verdict, found["summaries"].verdict) == (PROBLEM, WATCH)
    assert found["summaries"].reason("en").endswith("many are identical; see distinct-summaries.")
    assert "train for more steps or raise the learning rate." in found["distinct-summaries"].reason("en")
    assert {change.setting: change.after for change in report.changes} == {"max_steps": 400}
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "许多摘要与另一原文的摘要相同，模型没有利用输入：请增加训练步数或提高学习率。" in text
    assert "几乎没有空白、重复或不完整的摘要。" not in text


def test_random_weights_that_ignore_their_input_are_told_a_higher_rate(tmp_path):
    run = mt5_run()
    run.record["model"]["from_scratch"] = True
    run.evaluated("identical_share", 0.9)
    finding = finding_of_run("distinct-summaries", run, tmp_path / "run")
    assert finding.answer.advice == {"learning_rate": 3e-3}
    assert "raise the learning rate 0.0001 to 0.003, or start from published weights." in finding.reason("en")
    assert "把学习率从 0.0001 提高到 0.003，或从已发布的权重开始训练。" in finding.reason("zh")


def test_identical_summaries_after_an_explosion_are_laid_to_the_learning_rate(tmp_path):
    run = mt5_run()
    run.evaluated("identical_share", 0.9)
    run.training("loss", lambda step, old: 40.0 if step == 100 else old)
    finding = finding_of_run("distinct-summaries", run, tmp_path / "run")
    assert finding.answer.advice == {}
    assert finding.reason("en").endswith("the learning rate is too high; see learning-rate.")


def test_identical_summaries_of_older_runs_are_not_known(tmp_path):
    run = mt5_run()
    for entry in run.entries:
        entry.pop("eval_identical_share", None)
    found = {finding.rule.id: finding for finding in ask_all(run.facts(tmp_path / "run", VIEWS))}
    assert (found["distinct-summaries"].verdict, found["summaries"].verdict) == (NOT_KNOWN, OK)


@pytest.mark.parametrize(("rows", "verdict"), [(2, NOT_KNOWN), (3, PROBLEM)])
def test_two_identical_summaries_may_be_a_coincidence(rows, verdict, tmp_path):
    run = mt5_run()
    run.evaluated("identical_share", 1.0)
    run.arguments["eval_generate_rows"] = rows
    assert finding_of_run("distinct-summaries", run, tmp_path / "run").verdict == verdict
    run.files["training_metrics.json"] = {"final": {"identical_share": 0.0, "summarised_rows": 100}}
    assert finding_of_run("distinct-summaries", run, tmp_path / "whole").verdict == OK  # of the whole split
