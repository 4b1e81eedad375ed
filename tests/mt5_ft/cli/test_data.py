"""`mt5-ft data check`: every finding with file, line and remedy; exit codes; JSON."""

import contextlib
import json
import re

import pytest

from mt5_ft.cli.main import main
from mt5_ft.data.records import write_records
from mt5_ft.runs.check import main_script, plain_text, script_of
from mt5_ft.runs.data import sample_path

PAIR = ["--source_fields", "text", "--target_fields", "summary"]


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """A function that writes files of rows and checks them; returns the exit code and the lines of both streams."""
    monkeypatch.chdir(tmp_path)

    def run(*files, words=(), write=True):
        names = [f"{name}.jsonl" for name in ("train", "validation", "test")[: len(files)]]
        for name, rows in zip(names, files, strict=True):
            write_records(tmp_path / name, rows)
        code = main(["data", "check", *names, *words])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run


def row(text, summary="short", **more):
    return {"text": text, "summary": summary, **more}


def test_good_records_pass(check):
    code, lines, _ = check([row(f"text {n}", f"summary {n}") for n in range(20)], words=PAIR)
    assert code == 0
    assert lines == [
        "train.jsonl",
        "  fields    source <- text; target <- summary",
        "  rows      20 read, 20 usable",
        "  sources   6 characters at the median, 7 at the 95th percentile, 7 at most",
        "  targets   9 characters at the median, 10 at the 95th percentile, 10 at most",
        "  scripts   sources 0% Chinese, 100% Latin, 0% other; targets 0% Chinese, 100% Latin, 0% other (share of "
        "letters by script; no language detection)",
        "  OK        under policy error",
    ]


@pytest.mark.parametrize(
    ("rows", "finding", "code"),
    [
        ([row("a"), row("b"), row("a ")], "train.jsonl:3: same source and target as line 1; remove one of the two", 0),
        ([row("a"), row("a", "other")], "train.jsonl:2: same source as line 1 with another target; keep one of", 0),
        ([row("a"), row("b", " ")], "train.jsonl:2: the target ('summary') is empty; correct the row, or pass", 1),
        ([row("a"), row("")], "train.jsonl:2: the source ('text') is empty; correct the row, or pass --policy drop", 1),
        ([row("a"), {"text": "b"}], "train.jsonl:2: field 'summary' is missing; the row has 'text'; correct the", 1),
        (
            [*(row(f"文{n}", "来访者好转") for n in range(9)), row("b", "better")],
            "train.jsonl:10: the target is mostly in Latin script, most targets in Chinese; check that the row belongs",
            0,
        ),
    ],
)
def test_each_finding_names_line_and_remedy(check, rows, finding, code):
    found, lines, _ = check(rows, words=PAIR)
    assert [line for line in lines if line.startswith(finding)], lines
    assert found == code
    assert lines[-1].startswith("  REJECTED  under policy error" if code else "  OK        under policy error")
    assert check(rows, words=[*PAIR, "--policy", "drop"])[0] == 0


@pytest.mark.parametrize(
    ("target", "script"),
    [
        ("用 cognitive behavioural therapy (CBT) 与 mindfulness 练习 12 次后，来访者睡眠改善", "Chinese"),
        ("She slept better after twelve sessions (正念).", "Latin"),
        ("Ей стало лучше", "other"),
        ("A summary of Достоевский novels today", "Latin"),
        ("来访者读 Достоевский 的小说", "Chinese"),
        ("よく眠れるようになった", "other"),
        ("12 / 3", None),
    ],
)
def test_the_main_script_counts_latin_words(target, script):
    assert main_script(target) == script


def test_a_few_english_targets_are_named_and_a_bilingual_file_is_not(check):
    chinese = [row(f"文{n}", "来访者 sleep hygiene 后睡眠改善") for n in range(8)]
    for english, named in ((1, True), (2, False)):
        _, lines, _ = check([*chinese, *(row(f"text {n}", "She slept better") for n in range(english))], words=PAIR)
        assert any("is mostly in Latin script" in line for line in lines) is named


def test_the_embedded_sample_has_no_finding(capsys):
    assert main(["data", "check", "sample"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 7


def test_an_empty_field_of_several_is_found(check):
    rows = [
        {"case_description": "a", "consultation_process": [" "], "experience_and_reflection": "c"},
        {"case_description": "b", "consultation_process": ["x"], "experience_and_reflection": "d"},
    ]
    code, lines, _ = check(rows)
    assert code == 0
    assert "train.jsonl:1: field 'consultation_process' is empty; fill it in, or leave the field out of" in lines[-2]


def test_texts_in_two_files_are_leaks(check):
    train = [row("The patient slept well."), row("Second text."), row("Third text.")]
    validation = [row("Second text.", "other"), row("the patient SLEPT, well"), row("New."), row("Third text.")]
    code, lines, _ = check(train, validation, words=PAIR)
    assert code == 1
    assert (
        "validation.jsonl:1: same source as train.jsonl:2; remove the row from one of the files; --policy" in lines[13]
    )
    assert any("validation.jsonl:4: same source and target as train.jsonl:3; remove" in line for line in lines)
    near = "validation.jsonl:2: same source as train.jsonl:1 but for case, spaces and punctuation; compare the rows"
    assert any(line.startswith(near) for line in lines)
    assert "  OK        under policy error" in lines
    assert lines[-1].startswith("  REJECTED  under policy error (see the lines above; --policy drop accepts")
    assert check(train, validation[1:3], words=PAIR)[0] == 0  # nearly equal is a remark


def test_many_findings_of_a_kind_are_shortened_and_json_has_all(check):
    rows = [row("same")] * 10
    _, lines, _ = check(rows, words=PAIR)
    assert sum("same source and target as line 1" in line for line in lines) == 5
    assert "train.jsonl: 4 more of this kind; --json lists all" in lines
    code, lines, _ = check(rows, words=[*PAIR, "--json"])
    report = json.loads("\n".join(lines))
    (file,) = report["files"]
    assert (code, report["accepted"], file["rows"], len(file["findings"])) == (0, True, 10, 9)
    assert file["findings"][0] == {
        "kind": "duplicate",
        "line": 2,
        "text": "same source and target as line 1",
        "remedy": "remove one of the two rows",
    }
    assert file["fields"] == {"sources": ["text"], "targets": ["summary"]}


def test_tokens_and_what_the_defaults_truncate(check, start, records, tokenizer):
    rows = [row(record.source, record.target) for record in records]
    code, lines, _ = check(rows, words=[*PAIR, "--model", str(start)])
    counts = sorted(len(tokenizer(record.source)["input_ids"]) for record in records)
    assert code == 0
    said = f"  sources   {counts[19]} tokens at the median, {counts[37]} at the 95th percentile, {counts[-1]} at most"
    assert said in lines
    limit = -(-counts[37] // 8) * 8
    (line,) = [line for line in lines if line.startswith("  defaults")]
    assert line.startswith(f"  defaults  max_source_length {limit} and max_target_length ")
    assert f" would truncate {sum(count > limit for count in counts)} sources and " in line


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("data check", ["{data}", "--model"]),
        ("summarize", ["--input", "{data}", "--output", "{out}", "--model"]),
        ("trim-vocab", ["--data", "{data}", "--output", "{out}", "--model"]),
        ("expand-vocab", ["--output", "{out}", "--model"]),
        ("plan", ["--data", "{data}", "--output_dir", "{out}", "--model"]),
    ],
)
def test_without_the_hub_a_command_names_only_its_own_options(command, words, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ft_core.hub.resolve.hub_answers", lambda: False)
    words = [word.format(data=data, out=tmp_path / "out") for word in words]
    assert main([*command.split(), *words, "google/mt5-base"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert (
        "it is not in the local cache; connect, set HF_ENDPOINT to a mirror, or pass a folder with the model" in error
    )
    with contextlib.suppress(SystemExit):
        main([*command.split(), "--help"])
    known = capsys.readouterr().out
    named = set(re.findall(r"--\w+", error))
    assert named == {"data check": {"--model"}, "plan": {"--model", "--from_scratch"}}.get(command, set())
    assert all(option in known for option in named)


def test_fields_found_in_the_first_file_hold_for_all(check):
    turns = [{"from": "human", "value": "A long text."}, {"from": "gpt", "value": "Short."}]
    code, lines, _ = check([{"conversations": turns}])
    assert code == 0
    assert "source <- conversations.source; target <- conversations.target" in lines[1]
    code, _, err = check([row("a")], [{"document": "b", "summary": "c"}])
    assert code == 2
    assert "validation.jsonl: no row of the file has sources 'text'" in err[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "none.jsonl"], "data file none.jsonl does not exist"),
        (["check", "a.jsonl", "a.jsonl"], "a.jsonl is given twice; pass each file once"),
        (["chekc"], "data 'chekc' is not an action; did you mean check?"),
        (["check", "sample", "--task", "none"], "task='none' is not known"),
    ],
)
def test_what_cannot_be_checked_is_one_line(words, message, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(["data", *words], message)


def test_the_sample_and_the_help(capsys):
    assert main(["data", "check", "sample"]) == 0
    assert str(sample_path()) in capsys.readouterr().out
    assert main(["data", "--help"]) == 0
    assert "mt5-ft data check train.csv validation.csv" in capsys.readouterr().out
    assert main(["data"]) == 2


def test_scripts_are_counted_by_letters():
    assert script_of("焦虑 CBT 3! привет") == {"Chinese": 2, "Latin": 3, "other": 6}
    assert plain_text("Ａ-b, C。") == "abc"
