"""Family 18: twenty malformed CSVs and twenty malformed JSONLs, each refused in one line, and nothing written."""

import gzip
import json

import pytest

from kronos_ft.cli.main import main as kronos
from kronos_ft.data.sources import simulate_candles
from mt5_ft.cli.main import main as mt5
from tests.untrusted import files_of, refusal

pytestmark = pytest.mark.fault(18)

LINES = simulate_candles(60).drop(columns="amount").to_csv(index=False).splitlines()
HEADER, ROW = LINES[0], LINES[5].split(",")


def with_row(*changes, line=6):
    """The table with cells of one line (numbered as a person would) changed."""
    cells = LINES[line - 1].split(",")
    for column, value in changes:
        cells[column] = value
    return "\n".join([*LINES[: line - 1], ",".join(cells), *LINES[line:]]) + "\n"


TIME, OPEN, HIGH, LOW, CLOSE, VOLUME = range(6)
CSVS = {
    "empty": ("", "is empty"),
    "blank lines": ("\n\n \n", "is empty"),
    "header only": (HEADER + "\n", "has only a header line"),
    "no time": ("\n".join(line.split(",", 1)[1] for line in LINES), "no column found for time"),
    "no close": ("\n".join(",".join(line.split(",")[:4]) for line in LINES), "no column found for close"),
    "other columns": ("name,age,town,street,number\na,1,b,c,2\n", "no column found for time, open, high, low, close"),
    "a web page": ("<!DOCTYPE html>\n<html><body>404 not found</body></html>\n", "no column found for"),
    "JSON": ('{"timestamps": [1, 2], "open": [3, 4]}\n', "has only a header line"),
    "a cell too many": (with_row((VOLUME, "1,2")), "line 6"),
    "text for a price": (with_row((CLOSE, "n/a!")), "line 6"),
    "an empty price": (with_row((OPEN, "")), "line 6"),
    "an infinite price": (with_row((HIGH, "inf")), "line 6"),
    "a negative price": (with_row((LOW, "-3")), "line 6"),
    "a price of zero": (with_row((CLOSE, "0")), "line 6"),
    "high below low": (with_row((HIGH, "1"), (LOW, "900")), "line 6"),
    "negative volume": (with_row((VOLUME, "-1")), "line 6"),
    "a time that is none": (with_row((TIME, "2020-13-45 99:00")), "line 6"),
    "two prices for one time": (with_row((TIME, LINES[6].split(",")[0])), "lines 6, 7"),
    "an open quote": (with_row((VOLUME, '"12')), "cannot be read as a table"),
    "day or month": ("\n".join([HEADER, *(f"01/02/2020 {h:02}:00,1,2,1,2,3" for h in range(9))]), "are ambiguous: day"),
    "two digits of a year": ("\n".join([HEADER, "13/01/20,1,2,1,2,3", "14/01/20,1,2,1,2,3"]), "a two-digit year"),
    "a decimal or thousand": (with_row((CLOSE, '"1,234"')), "the comma may separate decimals or thousands"),
    "binary": (bytes(range(128, 256)) * 9, "is not UTF-8, UTF-16 or GB18030 text"),
    "cut gzip": (gzip.compress("\n".join(LINES).encode())[:-60], "damaged gzip"),
    "no header": ("\n".join(",".join(["1", *line.split(",")[1:], "3,4,5"]) for line in LINES[1:]), "no header line"),
    "one bar": ("\n".join(LINES[:2]), "only 1 usable bars; at least 2"),
    "a constant price": ("\n".join([HEADER, *(f"{line.split(',')[0]},7,7,7,7,1" for line in LINES[1:])]), "close is"),
}  # fmt: skip


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


@pytest.mark.parametrize("name", CSVS)
def test_csv(tmp_path, capsys, name):
    content, message = CSVS[name]
    path = written(tmp_path / "bad.csv", content)
    before = files_of(tmp_path)
    for words in (
        ["tokenizer", "--model", "tiny", "--from_scratch", "--output_dir", tmp_path / "run"],
        ["forecast", "--model", "nobody/none", "--tokenizer", "nobody/none", "--output", tmp_path / "o.csv"],
        ["evaluate", "--model", "nobody/none", "--tokenizer", "nobody/none", "--output_dir", tmp_path / "e"],
    ):
        line = refusal(capsys, kronos, [*words, "--data", path])
        assert "bad.csv" in line
        assert message in line
        assert len(line) < 700
    assert files_of(tmp_path) == before


def test_there_are_twenty_of_each():
    assert len(CSVS) >= 20
    assert len(JSONLS) >= 20


GOOD = {"id": 1, "case_description": ["a"], "consultation_process": ["b"], "experience_and_reflection": "c"}


def row(**changes):
    return json.dumps({**GOOD, **changes})


def rows(*lines):
    return "\n".join([row(id=10), *lines]) + "\n"


def without(name):
    return json.dumps({key: value for key, value in GOOD.items() if key != name})


JSONLS = {
    "empty": ("", "is empty"),
    "blank lines": ("\n\n", "is empty"),
    "no JSON": (rows("hello"), ":2: not valid JSON"),
    "a cut row": (rows(row()[:-9]), ":2: not valid JSON"),
    "two rows on a line": (rows(row() + row(id=2)), ":2: not valid JSON"),
    "single quotes": (rows("{'id': 1}"), ":2: not valid JSON"),
    "a trailing comma": (rows('{"id": 1,}'), ":2: not valid JSON"),
    "a list": (rows("[1, 2]"), ":2: the row is a list, not an object"),
    "a string": (rows('"text"'), ":2: the row is a string, not an object"),
    "null": (rows("null"), ":2: the row is null, not an object"),
    "no target": (rows(without("experience_and_reflection")), ":2: field 'experience_and_reflection' is missing"),
    "no source": (rows(without("case_description")), ":2: field 'case_description' is missing"),
    "a number for text": (rows(row(experience_and_reflection=3)), ":2: field 'experience_and_reflection' is a number"),
    "an object for text": (rows(row(case_description={"a": 1})), ":2: field 'case_description' is an object"),
    "a number in a list": (
        rows(row(consultation_process=["a", 3])),
        ":2: field 'consultation_process' is a list that contains",
    ),
    "an empty source": (rows(row(case_description=[], consultation_process=[" "])), ":2: the source"),
    "an empty target": (rows(row(experience_and_reflection="  ")), ":2: the target"),
    "a key twice": (rows('{"case_description": "a", "case_description": "b"}'), ":2: "),
    "a control character": (rows(row(experience_and_reflection="a\u0000b")), ":2: field"),
    "half an emoji": (rows(row(experience_and_reflection="\ud83d")), "lone surrogate U+D83D"),
    "GB18030": (rows().encode() + row(id="x").replace("x", "情绪").encode("gb18030"), ":2: not UTF-8 text"),
    "binary": (bytes(range(128, 256)) * 9, ":1: not UTF-8 text"),
    "cut gzip": (gzip.compress(rows().encode() * 99)[:-20], "damaged gzip"),
    "nested too deeply": (rows("[" * 100_000), ":2: not readable JSON"),
    "a number of 5,000 digits": (rows(f'{{"id": {"9" * 5000}}}'), ":2: not readable JSON"),
    "other fields": ('{"first": "a", "second": "b"}\n', "to existing fields"),
}


@pytest.mark.parametrize("name", JSONLS)
def test_jsonl(tmp_path, capsys, name):
    content, message = JSONLS[name]
    path = written(tmp_path / "bad.jsonl", content)
    before = files_of(tmp_path)
    line = refusal(
        capsys, mt5, ["train", "--model", "small", "--from_scratch", "--data", path, "--output_dir", tmp_path / "run"]
    )
    assert "bad.jsonl" in line
    assert message in line
    assert len(line) < 700
    assert line.isprintable()
    predictions = written(tmp_path / "predictions.jsonl", '{"id": 1, "prediction": "a"}\n')
    words = ["evaluate", "--data", path, "--predictions", predictions, "--output", tmp_path / "scores.json"]
    assert "bad.jsonl" in refusal(capsys, mt5, words)
    predictions.unlink()
    assert files_of(tmp_path) == before


PREDICTIONS = {
    "no JSON": ("hello", ":1: not valid JSON"),
    "no id": ('{"prediction": "a"}', ":1 has no id or no text prediction"),
    "a number": ('{"id": 1, "prediction": 3}', ":1 has no id or no text prediction"),
    "a list": ("[]", "is empty; pass a file with records"),
    "an id twice": ('{"id": 1, "prediction": "a"}\n{"id": "1", "prediction": "a"}', ":2: id '1' occurs twice"),
    "other ids": ('{"id": 7, "prediction": "a"}', "no id of"),
}


@pytest.mark.parametrize("name", PREDICTIONS)
def test_predictions(tmp_path, capsys, name):
    content, message = PREDICTIONS[name]
    data, predictions = written(tmp_path / "data.jsonl", row() + "\n"), written(tmp_path / "bad.jsonl", content)
    words = ["evaluate", "--data", data, "--predictions", predictions, "--output", tmp_path / "scores.json"]
    line = refusal(capsys, mt5, words)
    assert "bad.jsonl" in line
    assert message in line
    assert not (tmp_path / "scores.json").exists()
