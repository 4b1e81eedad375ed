"""Reports of real tiny runs: written at their end, and by the command afterwards."""

import json
import logging
from pathlib import Path

import pytest

from ft_core.report.answers import NOT_KNOWN, PROBLEM
from ft_core.report.causes import ask_all
from ft_core.report.facts import read_run
from ft_core.report.write import write_report
from kronos_ft.cli.main import main
from kronos_ft.data.sources import simulate_candles
from kronos_ft.report.views import VIEWS
from kronos_ft.runs.finish import finish_run
from kronos_ft.training.report_facts import input_figures, shared_share
from kronos_ft.windows.dataset import WindowDataset, WindowShape

SHAPE = WindowShape(lookback=20, horizon=4)


def findings_of(folder):
    facts = read_run(folder, VIEWS)
    return {finding.rule.id: finding for finding in ask_all(facts)}


@pytest.fixture
def _chinese(monkeypatch):
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")


@pytest.mark.usefixtures("_chinese")
def test_a_tokenizer_run_writes_its_report_and_its_next_run_starts(tmp_path, capsys):
    simulate_candles(700).to_csv(tmp_path / "btc.csv", index=False)
    words = ["--data", str(tmp_path / "btc.csv"), "--model", "tiny", "--from_scratch", "--lookback_window", "20",
             "--predict_window", "4", "--max_steps", "24", "--eval_strategy", "steps", "--eval_steps", "6",
             "--save_strategy", "steps", "--save_steps", "6", "--logging_steps", "2", "--learning_rate", "3e-3",
             "--per_device_train_batch_size", "8"]  # fmt: skip
    folder = tmp_path / "run"
    assert main(["tokenizer", *words, "--output_dir", str(folder)]) == 0
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "训练报告：run（Kronos 分词器）" in text
    findings = findings_of(folder)
    silent = {name for name, finding in findings.items() if finding.verdict == NOT_KNOWN}
    assert silent == set()
    for name in ("complete", "saving", "falling", "improved", "schedule", "finite", "scaling", "leakage", "clipping"):
        assert findings[name].verdict == "ok", (name, findings[name].answer)
    assert findings["windows"].answer.case in ("few_training", "few_validation")
    capsys.readouterr()
    next_words = ["--config", str(folder / "next.yaml"), "--output_dir", str(tmp_path / "next"), "--dry_run"]
    assert main(["tokenizer", *next_words]) == 0
    assert "windows of 25 bars" in capsys.readouterr().out
    # a run that replaces it takes the old report away
    assert main(["tokenizer", *words, "--output_dir", str(folder), "--overwrite", "--max_steps", "4"]) == 0
    assert "4 / 4 步" in (folder / "report.md").read_text(encoding="utf-8")


def test_a_predictor_run_says_what_its_tokens_are_worth(make_predictor_run):
    findings = findings_of(make_predictor_run())
    assert findings["beats-frequencies"].verdict != NOT_KNOWN
    assert findings["conditioning"].answer.case == "true"
    assert findings["scaling"].verdict == "ok"


@pytest.fixture
def make_predictor_run(tiny_predictor, train_windows, validation_windows, _tiny_model, tmp_path):
    from kronos_ft.training.predictor_arguments import KronosArguments
    from kronos_ft.training.predictor_trainer import KronosTrainer
    from kronos_ft.windows.tokens import TokenWindowDataset

    def make():
        args = KronosArguments(
            output_dir=str(tmp_path / "run"), per_device_train_batch_size=8, max_steps=6, eval_strategy="steps",
            eval_steps=3, save_strategy="steps", save_steps=3, logging_steps=1, learning_rate=1e-3, use_cpu=True,
        )  # fmt: skip
        tokens = [TokenWindowDataset(windows, _tiny_model) for windows in (train_windows, validation_windows)]
        trainer = KronosTrainer(tiny_predictor, args, *tokens)
        trainer.train()
        finish_run(trainer)
        return tmp_path / "run"

    return make


def test_a_validation_inside_training_is_found(make_trainer, series):
    train = WindowDataset(series, "train", SHAPE)
    validation = WindowDataset(series, "validation", SHAPE, ratios=(0.4, 0.4, 0.2))
    trainer = make_trainer(train=train, validation=validation)
    trainer.train()
    record = json.loads((trainer_folder(trainer) / "run.json").read_text())
    assert record["observed"]["shared_share"] == pytest.approx(0.75, abs=0.01)
    finding = findings_of(trainer_folder(trainer))["leakage"]
    assert (finding.verdict, finding.answer.case) == (PROBLEM, "shared")


def trainer_folder(trainer):
    return Path(trainer.args.output_dir)


def test_shared_time_is_counted_by_symbol():
    days = ["2020-01-01", "2020-01-11"]
    assert shared_share({"A": days}, {"A": ["2020-01-06", "2020-01-16"]}) == 0.5
    assert shared_share({"A": days}, {"B": days}) == 0.0
    assert shared_share({"A": days}, {"A": ["2020-02-01", "2020-02-11"]}) == 0.0


def test_figures_of_the_inputs(series):
    found = input_figures(WindowDataset(series, "train", SHAPE))
    assert 0.5 < found["std"] < 2
    assert found["lookback_offset"] < 0.01 < found["window_offset"]
    tight = input_figures(WindowDataset(series, "train", WindowShape(20, 4, clip=0.5)))
    assert tight["clipped_share"] > 0.3
    assert tight["largest"] == 0.5


def test_a_report_that_fails_never_fails_a_run(make_trainer, monkeypatch, caplog):
    def fail(*args):
        raise RuntimeError("no\nreport")

    monkeypatch.setattr("ft_core.report.write.run_page", fail)
    trainer = make_trainer(max_steps=2, eval_steps=2, save_steps=2)
    trainer.train()
    with caplog.at_level(logging.WARNING):
        assert finish_run(trainer)["steps"] == 2
    assert "was written (RuntimeError: no report); the run is complete" in caplog.text
    assert not (trainer_folder(trainer) / "report.md").exists()


@pytest.mark.thorough
def test_each_sick_run_is_found_by_the_rule_meant_for_it(tmp_path, capsys):
    from benchmarks.sick_runs import RUNS, main as sick_runs

    assert sick_runs(tmp_path) == 0, capsys.readouterr().out
    for name in RUNS:
        for language in ("en", "zh"):
            assert (tmp_path / name / f"report-{language}" / "report.html").is_file()


def test_the_report_of_a_running_run(make_trainer):
    """Written from outside while the run is at it: here at its second save."""
    from transformers import TrainerCallback

    class Ask(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            folder = trainer_folder(trainer)
            self.report = write_report(folder, VIEWS, "en", folder.with_name("out"))

    ask = Ask()
    trainer = make_trainer(callbacks=[ask])
    trainer.train()
    assert ask.report.facts.status == "running"
    assert {finding.rule.id: finding for finding in ask.report.findings}["complete"].answer.case == "running"
