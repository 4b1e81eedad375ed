"""The command: one run, several, both stages, and what it refuses."""

import re

import pytest

from kronos_ft.cli.main import main
from mt5_ft.cli.main import main as mt5_main
from tests.written_runs import mt5_run, predictor_run, tokenizer_run


@pytest.fixture(autouse=True)
def _english(monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")


def test_one_run(tmp_path, capsys):
    run = tokenizer_run()
    run.evaluated("recon_all", lambda step, old: 3.0 * old)
    folder = run.write(tmp_path / "run")
    assert main(["report", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r".*run: 1 problem, [12] to watch, 2\d ok, 0 not applicable, 0 not known", lines[0])
    assert lines[1].startswith("  in-step: Validation is far above training")
    assert lines[2:] == [str(folder / name) for name in ("report.md", "report.html", "next.yaml")]
    assert main(["report", str(folder), "--lang", "zh"]) == 0
    assert "验证值远高于训练值" in capsys.readouterr().out


def test_the_report_is_written_where_it_is_wanted(tmp_path, capsys):
    folder = tokenizer_run().write(tmp_path / "run")
    before = sorted(path.name for path in folder.iterdir())
    assert main(["report", str(folder), "--output_dir", str(tmp_path / "out" / "deep")]) == 0
    assert sorted(path.name for path in folder.iterdir()) == before
    assert (tmp_path / "out" / "deep" / "report.html").is_file()


def test_both_stages_of_a_folder(tmp_path, capsys):
    tokenizer_run().write(tmp_path / "both" / "tokenizer")
    predictor_run().write(tmp_path / "both" / "predictor")
    assert main(["report", str(tmp_path / "both")]) == 0
    assert "Kronos tokenizer" in (tmp_path / "both" / "tokenizer" / "report.md").read_text()
    assert "Kronos predictor" in (tmp_path / "both" / "predictor" / "report.md").read_text()


def test_several_runs(tmp_path, capsys):
    paths = [str(tokenizer_run().write(tmp_path / name)) for name in ("a", "b")]
    assert main(["report", *paths, "--output_dir", str(tmp_path / "out")]) == 0
    assert "Comparison of 2 runs" in (tmp_path / "out" / "report.md").read_text()
    assert str(tmp_path / "out" / "report.html") in capsys.readouterr().out


def test_mt5_runs(tmp_path, capsys):
    folder = mt5_run().write(tmp_path / "run")
    assert mt5_main(["report", str(folder), "--lang", "zh"]) == 0
    assert "裁剪后的词表覆盖文本吗？" in (folder / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("program", "written", "words"),
    [
        (mt5_main, tokenizer_run, "is of the stage tokenizer; report on it with kronos-ft report"),
        (mt5_main, predictor_run, "is of the stage predictor; report on it with kronos-ft report"),
        (main, mt5_run, "is of the stage mt5; report on it with mt5-ft report"),
    ],
)
def test_a_run_of_the_other_program_is_refused(program, written, words, tmp_path, capsys):
    folder = written().write(tmp_path / "run")
    assert program(["report", str(folder)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert f"run={folder} {words}" in lines[0]
    assert not (folder / "report.md").exists()


def test_a_record_of_no_known_stage_is_read_as_that_of_a_trainer(tmp_path, capsys):
    run = mt5_run()
    run.record["stage"] = run.observed["stage"] = "another"
    folder = run.write(tmp_path / "run")
    assert main(["report", str(folder)]) == 0
    assert "(Trainer)" in (folder / "report.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: RUN"),
        (["nowhere"], "run=nowhere does not exist; name the folder of a run, or a trainer_state.json"),
        (["."], "holds neither run.json with metrics.jsonl nor a trainer_state.json"),
        ([".", "--lang", "de"], "argument --lang: invalid choice: 'de'"),
        ([".", "--langue", "de"], "--langue is not an option; did you mean --lang?"),
    ],
)
def test_bad_words(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
