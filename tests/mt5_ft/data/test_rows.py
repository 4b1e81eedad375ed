"""Every form and encoding of records gives the same rows; others are named with what they would read."""

import bz2
import gzip
import json
import shlex
import subprocess
import sys

import pytest
from hypothesis import given, strategies as st

from mt5_ft.cli.main import main
from mt5_ft.data.encodings import conversion
from mt5_ft.data.fields import MISSING, lookup
from mt5_ft.data.records import TaskFields, read_records
from mt5_ft.data.rows import read_rows
from mt5_ft.data.subset import drop_subset, restore
from tests.examples import examples

PAIR = TaskFields(sources=("text",), targets=("summary",))
ROWS = [{"text": "病人，失眠\n两个月", "summary": 'slept "badly"'}, {"text": "élève", "summary": "ok, good"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
TABLE = 'text,summary\n"病人，失眠\n两个月","slept ""badly"""\nélève,"ok, good"\n'


def parquet(path):
    import pandas

    pandas.DataFrame(ROWS).to_parquet(path)


FORMS = {
    "lines.jsonl": LINES,
    "array.json": json.dumps(ROWS, indent=1),
    "array_on_a_line.json": json.dumps(ROWS),
    "array.jsonl": "\n" + json.dumps(ROWS, ensure_ascii=False),
    "pretty.json": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "wrapped.json": json.dumps({"data": ROWS}, indent=2),
    "wrapped_on_a_line.json": json.dumps({"version": 1, "data": ROWS}),
    "records.json": json.dumps({"records": ROWS}),
    "table.csv": TABLE,
    "semicolons.csv": TABLE.replace(",s", ";s").replace('月",', '月";').replace("élève,", "élève;"),
    "table.tsv": 'text\tsummary\n"病人，失眠\n两个月"\t"slept ""badly"""\nélève\tok, good\n',
}


def texts(path):
    return [{name: row[name] for name in ("text", "summary")} for row in read_rows(path).values()]


MARKED = [(name, encoding) for name in FORMS for encoding in ("utf-8", "utf-8-sig", "utf-16")]
# UTF-16 without a mark is recognised by the bracket of JSON
UNMARKED = [(name, encoding) for name in FORMS if ".js" in name for encoding in ("utf-16-le", "utf-16-be")]


@pytest.mark.parametrize(("name", "encoding"), MARKED + UNMARKED)
def test_forms_and_encodings(tmp_path, name, encoding):
    path = tmp_path / name
    content = (FORMS[name].lstrip() if (name, encoding) in UNMARKED else FORMS[name]).encode(encoding)
    for suffix, pack in (("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress)):
        packed = path.with_name(name + suffix)
        packed.write_bytes(pack(content))
        assert texts(packed) == ROWS


def test_parquet(tmp_path):
    parquet(tmp_path / "table.parquet")
    assert texts(tmp_path / "table.parquet") == ROWS
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "table.parquet").read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"cut.parquet is a damaged Parquet file \(.*\); write it again"):
        read_rows(tmp_path / "cut.parquet")


def test_byte_order_marks_inside_a_concatenated_file(tmp_path):
    path = tmp_path / "both.jsonl"
    parts = [json.dumps(row).encode("utf-8-sig") + b"\n" for row in ROWS]
    path.write_bytes(b"".join(parts))
    assert texts(path) == ROWS


def test_rows_are_numbered_as_people_count_them(tmp_path):
    for name, numbers in (("table.csv", [2, 3]), ("pretty.json", [1, 2]), ("lines.jsonl", [1, 2])):
        (tmp_path / name).write_text(FORMS[name], "utf-8")
        assert list(read_rows(tmp_path / name)) == numbers


def test_dotted_names_and_names_with_dots(tmp_path):
    row = {"a": {"b": {"c": "deep"}, "d": 1}, "a.b": "flat"}
    assert [lookup(row, name) for name in ("a.b", "a.b.c", "a.d", "a.d.e", "z")] == [
        "flat",
        "deep",
        1,
        MISSING,
        MISSING,
    ]
    path = tmp_path / "nested.jsonl"
    path.write_text('{"doc": {"body": "t", "abstract": ["s", "u"]}}\n', "utf-8")
    (record,), _ = read_records(path, TaskFields(("doc.body",), ("doc.abstract",)))
    assert (record.source, record.target) == ("t", "s\nu")
    with pytest.raises(ValueError, match=r"has sources 'doc\.text'; set source_fields to existing fields: 'doc'"):
        read_records(path, TaskFields(("doc.text",), ("doc.abstract",)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '[{"text": "t", "summary": "s"},\n{"text": ]', r"a.json:2: not valid JSON \(.* at column 10\)"),
        ("a.json", '[{"text": "t", "summary": "s"}', "not valid JSON .Expecting ',' delimiter|Unterminated array"),
        ("a.json", '[\n{"text": "t"}\n] x', "a.json:3: not valid JSON .Extra data at column 3"),
        ("a.json", '{"data": [{"text": "t"}],\n "data": []}', "key 'data' occurs twice"),
        ("a.json", "[\n]", "a.json is empty"),
        ("a.csv", "text,summary\n", "a.csv is empty"),
        ("a.csv", "text,text\na,b\n", "a.csv:1: the header has the column 'text' twice"),
        ("a.csv", 'text,summary\n"a,b\n', "a.csv:2: not valid CSV"),
        ("a.json", '[{"text": "t", "summary": "s"}, 3]', "a.json:2: the row is a number, not an object"),
        ("a.json", '[\n{"text": "t", "text": "u"}]', "a.json:1: is ambiguous: key 'text' occurs twice; keep one"),
        ("a.csv", "text,summary\na,b\nc\n", "a.csv:3: the row has 1 cells, but the header has 2"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content, "utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        read_records(path, PAIR)
    assert "\n" not in str(caught.value)


CASES = {
    "big5": "病人情緒低落，失眠兩個月，經過認知治療後改善。",
    "gb18030": "来访者情绪低落，失眠两个月，经过认知治疗后改善。",
    "cp1251": "Пациент не спал два месяца, после терапии стало лучше.",
}


def test_rows_of_parquet_are_numbered_over_its_parts(tmp_path, monkeypatch):
    import pandas

    monkeypatch.setattr("mt5_ft.data.rows.ROWS_AT_ONCE", 7)
    frame = pandas.DataFrame({"text": [f"t{n}" for n in range(50)], "summary": "s"})
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=20)
    assert list(read_rows(tmp_path / "a.parquet").items()) == list(enumerate(frame.to_dict("records"), start=1))
    (tmp_path / "b.parquet").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    assert read_rows(tmp_path / "b.parquet") == read_rows(tmp_path / "a.parquet")


@pytest.mark.parametrize("encoding", CASES)
@pytest.mark.parametrize("form", ["lines", "csv"])
@pytest.mark.fault(18)
def test_another_encoding_is_named_with_words_of_the_text(tmp_path, encoding, form):
    text = CASES[encoding]
    row = json.dumps({"text": text, "summary": text[:6]}, ensure_ascii=False)
    path = tmp_path / ("a.jsonl" if form == "lines" else "a.csv")
    path.write_bytes((f"{row}\n" * 3 if form == "lines" else f"text,summary\n{text},s\n").encode(encoding))
    with pytest.raises(ValueError, match="not UTF-8 text") as caught:
        read_records(path, PAIR)
    message = str(caught.value)
    assert f"as {encoding} it reads '{text[:4]}" in message
    command = message[message.index("python -c") :]
    subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=tmp_path, check=True)
    assert (tmp_path / f"utf8-{path.name}").read_bytes() == path.read_bytes().decode(encoding).encode()
    assert len(message.split("it reads ")[1].split(";")[0].split("', '")) == 3


def test_a_file_whose_name_has_an_apostrophe_is_converted_with_its_line_ends(tmp_path):
    path = tmp_path / "today's notes.csv"
    path.write_bytes("text,summary\r\n情绪,s\r\n".encode("gb18030"))
    subprocess.run([sys.executable, *shlex.split(conversion(path.name, "gb18030"))[1:]], cwd=tmp_path, check=True)
    assert (tmp_path / f"utf8-{path.name}").read_bytes() == "text,summary\r\n情绪,s\r\n".encode()


def test_a_first_line_in_another_encoding_is_a_defect_of_its_line(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = ['{"text": "情绪低落，失眠", "summary": "s"}\n'.encode("gb18030"), b'{"text": "t", "summary": "s"}\n' * 2]
    path.write_bytes(b"".join(rows))
    records, report = read_records(path, PAIR, "drop")
    assert ([record.line for record in records], report.defects) == ([2, 3], {"not_utf8": [1]})


def test_several_likely_encodings_are_all_shown(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"text": "患者は眠れない日が続き、治療の後に改善した。", "summary": "s"}\n'.encode("cp932"))
    with pytest.raises(ValueError, match="as cp932 it reads '患者は眠れない日") as caught:
        read_records(path, PAIR)
    assert "convert the file with the encoding that gives words of the text" in str(caught.value)


def test_noise_is_not_advised_on(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "\xff\xfe\x81\x80\x00\x01\x02\x03\x9d\x8f", "summary": "s"}\n')
    with pytest.raises(ValueError, match="not UTF-8 text") as caught:
        read_records(path, PAIR)
    assert "python -c" not in str(caught.value) or "it reads" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "encoding", "output"),
    [
        *[(name, "utf-8", name.split(".")[0] + ".jsonl") for name in FORMS],
        ("lines.jsonl", "utf-16", "lines.jsonl"),
        ("array.json", "utf-16", "array.jsonl"),
        ("table.csv", "utf-16", "table.jsonl"),
    ],
)
@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress)])
def test_the_subset_of_every_form(tmp_path, name, encoding, output, suffix, pack):
    path = tmp_path / (name + suffix)
    original = pack(FORMS[name].encode(encoding))
    path.write_bytes(original)
    path.chmod(0o600)
    output += suffix if suffix == ".gz" else ""
    report = drop_subset(path, 0.5)
    kept = tmp_path / output
    assert (report.path, report.rows_before, report.rows_after) == (kept, 2, 1)
    assert texts(kept) in ([ROWS[0]], [ROWS[1]])
    content = gzip.decompress(kept.read_bytes()) if suffix == ".gz" else kept.read_bytes()
    assert len(content.decode("utf-8").strip().splitlines()) == 1
    assert kept.stat().st_mode & 0o777 == 0o600
    assert report.backup.read_bytes() == original
    assert report.backup == (path.with_name(path.name + ".backup") if kept == path else path)
    if kept == path:
        assert restore(path).read_bytes() == original
        assert list(tmp_path.iterdir()) == [path]
    else:
        assert sorted(tmp_path.iterdir()) == sorted([path, kept])


def test_the_subset_of_parquet(tmp_path, refused):
    path = tmp_path / "table.parquet"
    parquet(path)
    assert main(["subset", str(path), "--drop", "0.5"]) == 0
    assert texts(tmp_path / "table.jsonl") in ([ROWS[0]], [ROWS[1]])
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    refused(["subset", path, "--drop", "0.5"], "table.jsonl exists; rename or remove it, or pass it instead of table.p")
    refused(["restore", path], "table.parquet.backup does not exist; pass the file that subset replaced")
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before
    assert main(["subset", str(tmp_path / "table.jsonl"), "--drop", "0.4"]) == 2


def test_the_subset_of_what_json_does_not_have(tmp_path, refused):
    import pandas

    path = tmp_path / "dates.parquet"
    pandas.DataFrame({"text": ["a", "b"], "when": pandas.to_datetime(["2024-01-01"] * 2)}).to_parquet(path)
    refused(["subset", path, "--drop", "0.5"], "parquet:1: the row cannot be written as JSON (Object of type")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.fault(18)
def test_the_subset_of_rows_with_defects(tmp_path, refused):
    for name, text, message in (
        ("a.csv", "a,b\n1,2\n1\n", "a.csv:3: the row has 1 cells, but the header has 2; correct the file"),
        (
            "a.json",
            '[{"a": 1},\n2]',
            "a.json:2: the row is a number, not an object; write one object per line; correct",
        ),
        ("b.json", '[{"a": 1}', "b.json:1: not valid JSON (Expecting ',' delimiter at column 10); correct the file"),
    ):
        (tmp_path / name).write_text(text, "utf-8")
        refused(["subset", tmp_path / name, "--drop", "0.5"], message)
        assert not list(tmp_path.glob("*.jsonl"))


def test_summarize_and_evaluate_read_every_form(start, tmp_path):
    (tmp_path / "table.csv").write_text(TABLE, "utf-8")
    parquet(tmp_path / "table.parquet")
    fields = ["--source_fields", "text", "--target_fields", "summary"]
    for name in ("table.csv", "table.parquet"):
        output = tmp_path / f"{name}.jsonl"
        words = ["--model", start, "--input", tmp_path / name, "--output", output, "--max_length", "5"]
        assert main([str(word) for word in ["summarize", *words, *fields]]) == 0
        words = ["--predictions", output, "--data", tmp_path / name]
        assert main([str(word) for word in ["evaluate", *words]]) == 0


INSERTED = st.sampled_from(
    [b"[[[[" * 50, b"1" * 400, b"NaN", b'"text":1,"text":2,', b"null", b"\xa4\xa4", b"\xff\xfe", b'"', b"\n", b"\0"]
)
SEEDS = [content.encode(encoding) for content in FORMS.values() for encoding in ("utf-8", "utf-16")]


@examples(300)
@given(st.data())
def test_damaged_content_is_one_line_or_a_defect(tmp_path_factory, data):
    content = data.draw(st.sampled_from(SEEDS))
    for _ in range(data.draw(st.integers(1, 4))):
        at, until = (data.draw(st.integers(0, len(content))) for _ in range(2))
        content = content[:at] + data.draw(INSERTED | st.binary(max_size=3)) + content[max(at, until) :]
    name = data.draw(st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet"]))
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    for policy in ("error", "drop"):
        message = ""
        try:
            records, _ = read_records(path, PAIR, policy)
            assert all(record.source and record.target for record in records)
        except ValueError as error:
            message = str(error)
        assert "\n" not in message
