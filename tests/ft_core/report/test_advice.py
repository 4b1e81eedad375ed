"""What a report advises, what it withholds, and what it says instead."""

from pathlib import Path

import pytest
import yaml

from ft_core.report.catalogue import LANGUAGES, load_texts
from ft_core.report.write import write_report
from kronos_ft.report.views import VIEWS
from mt5_ft.report.views import MT5
from tests.written_runs import mt5_run, tokenizer_run


def unscaled(run):
    run.observed["train"]["inputs"].update(mean=41_000.0, std=9_000.0, largest=69_000.0, clipped_share=1.0)


def leaked(run):
    run.observed["shared_share"] = 0.4


def of_python(run):
    del run.record["data"], run.record["model"], run.record["augmentation"]


def say(key, language, **values):
    return load_texts(language)(key, **values)


def advice_of(folder, language="en"):
    text = (folder / "report.md").read_text(encoding="utf-8")
    return text.split(f"## {say('advice', language)}")[1].split("\n## ")[0]


def report_of(folder, *changes, language="en"):
    run = tokenizer_run()
    for change in changes:
        change(run)
    return write_report(run.write(folder), VIEWS, language)


def exploded(run):
    run.arguments["max_grad_norm"] = 0.0
    run.training("recon_all", lambda step, old: 9.0 if step == 100 else old)


@pytest.mark.parametrize("language", LANGUAGES)
def test_inputs_that_are_not_scaled_are_the_first_thing_to_mend(language, tmp_path):
    report = report_of(tmp_path / "run", unscaled, exploded, language=language)
    assert {"scaling", "clipping"} <= {f.rule.id for f in report.findings if f.verdict == "problem"}
    assert report.changes == []
    text = advice_of(tmp_path / "run", language)
    assert say("first_fix", language) in text
    assert say("no_cure", language, rules=["MARK"]).split("MARK")[0] not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_problem_that_no_setting_cures_is_said_so(language, tmp_path):
    report = report_of(tmp_path / "run", leaked, language=language)
    assert report.changes == []
    text = advice_of(tmp_path / "run", language)
    rules = {"en": "leakage", "zh": "「验证数据没有泄漏吗？」（leakage）"}[language]
    assert say("no_cure", language, rules=[rules]) in text
    assert say("no_comparison", language) in text
    written = (tmp_path / "run" / "next.yaml").read_text(encoding="utf-8")
    assert say("not_before", language, rules="leakage") in written
    assert "split_dates" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")


def test_a_problem_outside_the_data_refers_to_its_reason(tmp_path):
    report_of(tmp_path / "run", lambda run: run.end_at(160, "interrupted: SIGINT"))
    assert say("see_reasons", "en", rules=["complete"]) in advice_of(tmp_path / "run")


def test_causes_stand_before_what_they_cause(tmp_path):
    report_of(tmp_path / "run", exploded, leaked, lambda run: run.arguments.update(metric_for_best_model="eval_loss"))
    text = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    first = text.split("## Curves")[0]
    places = [
        first.index(words) for words in ("Is validation held out?", "learning rate too high?", "by a sound metric?")
    ]
    assert places == sorted(places)


def test_a_run_that_exploded_unclipped_is_to_be_clipped(tmp_path):
    changes = {change.setting: change for change in report_of(tmp_path / "run", exploded).changes}
    assert changes["max_grad_norm"].after == 2.0
    assert changes["learning_rate"].after == pytest.approx(1e-5)
    assert "weight_decay" not in changes


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_from_python_gets_no_command_that_cannot_work(language, tmp_path):
    report_of(tmp_path / "run", of_python, exploded, lambda run: run.evaluated(
        "recon_all", lambda step, old: old if step else 1.19), language=language)  # fmt: skip
    text = advice_of(tmp_path / "run", language)
    assert say("from_python", language) in text
    assert "kronos-ft tokenizer --config" not in text
    written = (tmp_path / "run" / "next.yaml").read_text(encoding="utf-8")
    assert f"# {say('from_python_file', language)}" in written
    found = yaml.safe_load(written)
    expected = {"lookback_window": 90, "predict_window": 10, "stride": 1, "clip": 5.0, "from_scratch": True}
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize(("language", "words"), [
    ("en", "stopped at 100 of 200; 100 steps (50 %, 1.0 epochs, about 50 s) not trained"),
    ("zh", "在 100 / 200 步停止，少训练 100 步（50 %，1.0 轮，约 50 秒）"),
])  # fmt: skip
def test_the_account_of_a_run_that_was_stopped_too_early(language, words, tmp_path):
    report = report_of(tmp_path / "run", lambda run: run.arguments.update(early_stopping=True),
                       lambda run: run.end_at(100, "stopped early"))  # fmt: skip
    finding = next(finding for finding in report.findings if finding.rule.id == "early-stopping")
    assert words in finding.figure(language).replace(", ", "，" if language == "zh" else ", ")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_from_python_without_advice_speaks_of_no_changes(language, tmp_path):
    report_of(tmp_path / "run", of_python, language=language)
    written = (tmp_path / "run" / "next.yaml").read_text(encoding="utf-8")
    assert say("no_changes", language) in written
    assert say("from_python_file", language) not in written
    assert say("not_before", language, rules=["MARK"]).split("MARK")[0] not in written


def test_a_change_quotes_its_own_figure_and_says_where_it_is_the_default(tmp_path):
    changes = {
        change.setting: change
        for change in report_of(
            tmp_path / "run", exploded, lambda run: run.arguments.update(learning_rate=2.0),
            lambda run: run.training("grad_norm", lambda step, old: 500.0 if step == 100 else old),
        ).changes
    }  # fmt: skip
    assert changes["max_grad_norm"].figure("en").endswith("highest 500 (step 100)")
    assert "learning_rate 2" in changes["learning_rate"].figure("en")
    text = advice_of(tmp_path / "run")
    assert "+ learning_rate: 0.0002  # (the default) [learning-rate, optimizer] learning_rate 2" in text


@pytest.mark.parametrize(("changes", "en", "zh"), [
    ((), "Nothing has to change.", "无须更改。"),
    ((lambda run: run.observed["validation"].update(bars=100),), "No setting has to change; read the points",
     "无须更改设置；"),
    ((leaked,), "Fix the problem found by leakage (see its row below), then train again.",
     "先解决「验证数据没有泄漏吗？」（leakage）指出的问题（做法见下表该行），再重新训练。"),
    ((leaked, exploded), "Fix the problem found by leakage", "先解决「验证数据没有泄漏吗？」（leakage）"),
    ((lambda run: run.end_at(160, "interrupted: SIGINT"),), "Resume the run: the same command with --resume.",
     "用相同命令加 --resume 继续训练。"),
    ((lambda run: run.end_at(40, "interrupted: SIGKILL"),), "Start the run again", "重新开始训练"),
    ((exploded, lambda run: run.end_at(160, "interrupted: SIGINT")), "Train again with learning_rate 1.0e-05",
     "改用 learning_rate 1.0e-05"),
    ((exploded,), "Train again with learning_rate 1.0e-05, max_grad_norm 2 (learning-rate).",
     "改用 learning_rate 1.0e-05、max_grad_norm 2 重新训练；理由见检查项「学习率过高吗？」（learning-rate）。"),
])  # fmt: skip
def test_what_to_do_first_stands_at_the_top(changes, en, zh, tmp_path):
    for language, words in (("en", en), ("zh", zh)):
        report_of(tmp_path / language, *changes, language=language)
        text = (tmp_path / language / "report.md").read_text(encoding="utf-8")
        assert text.splitlines()[6].startswith(words)


def settings_after(folder, *changes):
    report_of(folder, *changes)
    return yaml.safe_load((folder / "next.yaml").read_text(encoding="utf-8"))


def test_what_follows_from_other_settings_is_not_pinned(tmp_path):
    """A length of summaries that was that of the targets would cut the next run's longer ones."""
    found = settings_after(tmp_path / "run", lambda run: run.arguments.update(
        lookback_window=90, predict_window=10, push_to_hub=True, hub_strategy="end", eval_on_start=False))  # fmt: skip
    assert not {"embargo", "push_to_hub", "hub_strategy", "eval_on_start"} & set(found)
    found = settings_after(tmp_path / "own", lambda run: run.arguments.update(lookback_window=60, predict_window=10))
    assert found["embargo"] == 101


def test_the_next_run_of_the_folder_one_is_in_lies_beside_it(tmp_path, monkeypatch):
    run = tokenizer_run().write(tmp_path / "run")
    monkeypatch.chdir(run)
    write_report(Path("."), VIEWS, "en")
    assert yaml.safe_load((run / "next.yaml").read_text("utf-8"))["output_dir"] == f"{tmp_path / 'run'}-next"


def test_a_minimum_that_no_gain_can_reach_stops_too_early(tmp_path):
    run = tokenizer_run()
    run.arguments.update(early_stopping=True, early_stopping_min_delta=1.0)
    run.evaluated("recon_all", lambda step, old: 1.5 - step / 10_000)
    run.end_at(100, "stopped early")
    report = write_report(run.write(tmp_path / "run"), VIEWS, "en")
    finding = next(one for one in report.findings if one.rule.id == "early-stopping")
    assert finding.answer.case == "too_early"


def test_summaries_of_the_next_run_may_be_as_long_as_its_targets(tmp_path):
    for name, most, kept in (("derived", 64, False), ("own", 40, True)):
        run = mt5_run()
        run.record["data"]["max_target_length"] = 64
        run.arguments["generation_max_length"] = most
        write_report(run.write(tmp_path / name), (MT5,), "en")
        found = yaml.safe_load((tmp_path / name / "next.yaml").read_text(encoding="utf-8"))
        assert ("generation_max_length" in found) is kept
