"""Fields that are found in rows: conversations, instructions and usual names; ambiguities are refused."""

import json

import pytest

from mt5_ft.cli.main import main
from mt5_ft.data.fields import MISSING, lookup
from mt5_ft.data.records import EMOTION_SUMMARY, TaskFields, read_records, write_records
from mt5_ft.models.task import read_task

SHAREGPT = {"conversations": [{"from": "human", "value": "A long text."}, {"from": "gpt", "value": "Short."}]}
MESSAGES = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "First text."},
        {"role": "assistant", "content": "First summary."},
        {"role": "user", "content": "Second text."},
        {"role": "assistant", "content": "Second summary."},
    ]
}
ALPACA = {"instruction": "Summarise.", "input": "A long text.", "output": "Short.", "text": "the whole prompt"}


def read(tmp_path, *rows, fields=EMOTION_SUMMARY, **options):
    path = tmp_path / "records.jsonl"
    write_records(path, rows)
    return read_records(path, fields, **options)


@pytest.mark.parametrize(
    ("row", "source", "target", "sources"),
    [
        (SHAREGPT, "A long text.", "Short.", ("conversations.source",)),
        (
            MESSAGES,
            "Be brief.\nFirst text.\nFirst summary.\nSecond text.",
            "Second summary.",
            ("messages.source",),
        ),
        (ALPACA, "Summarise.\nA long text.", "Short.", ("instruction", "input")),
        ({"instruction": "Say hello.", "output": "Hello."}, "Say hello.", "Hello.", ("instruction",)),
        ({"document": "A long text.", "summary": "Short."}, "A long text.", "Short.", ("document",)),
        ({"article": "A long text.", "highlights": "Short.", "id": "7"}, "A long text.", "Short.", ("article",)),
    ],
)
def test_fields_are_found_and_said_in_one_line(tmp_path, row, source, target, sources):
    (record,), report = read(tmp_path, row)
    assert (record.source, record.target) == (source, target)
    assert report.fields.sources == sources
    (line,) = report.noteworthy()
    assert f"source <- {', '.join(sources)}; target <- {report.fields.targets[0]}" in line
    assert "--source_fields and --target_fields override them" in line


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a", "document": "b", "summary": "c"}, "'text', 'document' could each be the source; name one with"),
        ({"text": "a", "summary": "c", "abstract": "d"}, "'summary', 'abstract' could each be the target; name one"),
        ({**SHAREGPT, **MESSAGES}, "'conversations', 'messages' could each be the source"),
        ({**SHAREGPT, "instruction": "a", "output": "b"}, "'conversations', 'instruction' could each be the source"),
        ({**ALPACA, "summary": "b"}, "'output', 'summary' could each be the target"),
        ({"question": "a", "reply": "b"}, "no row of the file has sources 'case_description'"),
    ],
)
def test_ambiguous_and_unknown_rows_are_refused(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, row)


def test_named_fields_win(tmp_path):
    row = {"text": "a", "document": "b", "summary": "c"}
    (record,), report = read(tmp_path, row, fields=TaskFields(("document",), ("summary",)))
    assert (record.source, report.remark, report.noteworthy()) == ("b", "", [])
    task = {"case_description": "a", "consultation_process": "b", "experience_and_reflection": "c", "text": "d"}
    (record,), report = read(tmp_path, {**task, "summary": "e"})
    assert (record.source, record.target, report.remark) == ("a\nb", "c", "")


def test_a_row_that_does_not_fit_is_one_line_with_its_number(tmp_path):
    bad = {"conversations": [{"from": "human", "value": "Only a question."}]}
    with pytest.raises(ValueError, match=r"records.jsonl:2: field 'conversations.target' is missing; the row has 'con"):
        read(tmp_path, SHAREGPT, bad)
    kept, report = read(tmp_path, SHAREGPT, bad, policy="drop")
    assert len(kept) == 1
    assert report.defects == {"missing_field": [2]}
    torn = {"conversations": [{"from": "human"}, "text"]}
    with pytest.raises(ValueError, match=r"records.jsonl:2: field 'conversations.source' is missing"):
        read(tmp_path, SHAREGPT, torn)


def test_rows_to_summarise_need_no_target(tmp_path):
    question = {"conversations": [{"from": "human", "value": "Only a question."}]}
    (record,), _ = read(tmp_path, question, need_target=False)
    assert record.source == "Only a question."
    (record,), report = read(tmp_path, {"text": "a"}, need_target=False)
    assert (record.source, report.fields.targets) == ("a", ("target",))
    (record,), report = read(tmp_path, {"instruction": "a"}, need_target=False)
    assert record.source == "a"


def test_turns_are_no_fields_of_other_lists():
    assert lookup({"a": ["x"]}, "a.source") is MISSING
    assert lookup({"a": []}, "a.source") is MISSING
    assert lookup(SHAREGPT, "conversations.other") is MISSING


def rows_of_shape(records, shape):
    if shape == "sharegpt":
        return [
            {"conversations": [{"from": "human", "value": one.source}, {"from": "gpt", "value": one.target}]}
            for one in records
        ]
    return [{"instruction": "总结：", "input": one.source, "output": one.target} for one in records]


@pytest.mark.parametrize(
    ("shape", "fields"), [("sharegpt", ["conversations.source"]), ("alpaca", ["instruction", "input"])]
)
def test_training_records_the_fields_and_summaries_use_them(train, records, tmp_path, capsys, shape, fields):
    data, output = tmp_path / "records.jsonl", tmp_path / "out.jsonl"
    write_records(data, rows_of_shape(records, shape))
    code, run = train()
    assert code == 0
    assert capsys.readouterr().out.count("source <- ") == 1
    assert read_task(run / "final")["source_fields"] == fields
    assert json.loads((run / "run.json").read_text("utf-8"))["data"]["source_fields"] == fields
    assert train("--resume")[0] == 0
    words = ["summarize", "--model", run / "final", "--input", data, "--output", output]
    assert main([str(word) for word in words]) == 0
    assert main(["evaluate", "--predictions", str(output), "--data", str(data)]) == 0
    assert "rougeL" in capsys.readouterr().out
