"""Records: every defect with its line under both policies, joins and splits, what a written file gives back."""

import gzip
import json

import pytest
from hypothesis import given, strategies as st

from mt5_ft.data.jsonl import split_lines
from mt5_ft.data.records import (
    DEFECTS,
    EMOTION_SUMMARY,
    FIVE_ASPECTS,
    TASKS,
    TaskFields,
    join_targets,
    read_records,
    split_targets,
    write_records,
)

PAIR = TaskFields(sources=("text",), targets=("summary",))
GOOD = '{"id": "%s", "text": "t", "summary": "s"}'


def write_lines(path, *lines, end="\n"):
    path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + end.encode() for line in lines))
    return path


@pytest.fixture
def file(tmp_path):
    return tmp_path / "file.jsonl"


DEFECTIVE = [
    ("bad_json", '{"id": 1, ', r"not valid JSON \(.* at column 11\)"),
    ("bad_json", '{"id": ' + "9" * 5000 + "}", "number too long"),
    ("bad_json", "[" * 200_000, "brackets too deep"),
    ("not_utf8", '{"id": "c", "text": "情绪", "summary": "s"}'.encode("gb18030"), "not UTF-8 text"),
    ("not_an_object", '["id"]', "the row is a list, not an object"),
    ("not_an_object", "null", "the row is null, not an object"),
    ("missing_field", '{"id": "c", "text": "t"}', "field 'summary' is missing; the row has 'id', 'text'"),
    ("missing_field", '{"text": "t", "summary": "s"}', "field 'id' is missing or empty while other rows have one"),
    ("missing_field", '{"id": " ", "text": "t", "summary": "s"}', "field 'id' is missing or empty"),
    ("wrong_type", '{"id": "c", "text": 5, "summary": "s"}', "field 'text' is a number, not a string or a list"),
    ("wrong_type", '{"id": "c", "text": null, "summary": "s"}', "field 'text' is null"),
    ("wrong_type", '{"id": "c", "text": ["t", {}], "summary": "s"}', "field 'text' is a list that contains an object"),
    ("wrong_type", '{"id": true, "text": "t", "summary": "s"}', "field 'id' is a boolean, not a string or a number"),
    ("empty_source", '{"id": "c", "text": " \\n\\u3000", "summary": "s"}', r"the source \('text'\) is empty"),
    ("empty_source", '{"id": "c", "text": [], "summary": "s"}', r"the source \('text'\) is empty"),
    ("empty_target", '{"id": "c", "text": "t", "summary": ["", "\\t"]}', r"the target \('summary'\) is empty"),
    ("duplicate_id", GOOD % "a", "id 'a' is already used in line 1"),
    ("control_character", '{"id": "c", "text": "a\\u0007", "summary": "s"}', r"'text' contains the .* U\+0007"),
    ("control_character", '{"id": "c\\u0000", "text": "t", "summary": "s"}', r"'id' contains the .* U\+0000"),
    ("control_character", '{"id": "c", "text": "t", "summary": "\x7f"}', r"'summary' contains the .* U\+007F"),
    ("duplicate_key", '{"id": "c", "text": "t", "summary": "s", "text": "u"}', "key 'text' occurs twice; keep one"),
    ("lone_surrogate", '{"id": "c", "text": ["t", "\\ud83d"], "summary": "s"}', r"'text' contains the .* U\+D83D"),
    ("lone_surrogate", '{"id": "c", "text": "t", "summary": "\\ude00\\ud83d"}', r"'summary' contains the .* U\+DE00"),
]  # fmt: skip


def test_every_kind_of_defect_is_tested():
    assert {kind for kind, _, _ in DEFECTIVE} | {"bad_cells"} == set(DEFECTS)  # of CSV alone, in test_rows.py


@pytest.mark.parametrize(
    ("kind", "line", "message"), DEFECTIVE, ids=[f"{kind}-{n}" for n, (kind, _, _) in enumerate(DEFECTIVE)]
)
@pytest.mark.fault(18)
def test_a_defect_raises_or_is_dropped(file, kind, line, message):
    write_lines(file, GOOD % "a", "", line, GOOD % "b")
    with pytest.raises(
        ValueError, match=rf"file\.jsonl:3: .*{message}.*; correct the file or pass --policy drop$"
    ) as caught:
        read_records(file, PAIR)
    assert "\n" not in str(caught.value)
    assert "more" not in str(caught.value)
    records, report = read_records(file, PAIR, policy="drop")
    assert [(record.id, record.line) for record in records] == [("a", 1), ("b", 4)]
    assert report.defects == {kind: [3]}
    assert (report.rows_read, report.rows_kept) == (3, 2)
    assert report.lines()[0].endswith("file.jsonl: 3 rows read, 2 kept, 1 dropped")
    assert report.lines()[1].endswith(f"file.jsonl:3: {DEFECTS[kind]} (count 1; line 3)")


def test_the_first_defect_is_named_and_the_others_counted(file):
    write_lines(file, GOOD % "a", "{", "{}", GOOD % "a", "[", '{"id": "d", "text": " ", "summary": "\\u0001"}')
    counts = r"bad JSON: 1, missing field: 1, empty source: 1, duplicate id: 1, control character: 1"
    with pytest.raises(ValueError, match=rf":2: not valid JSON \(.*\); 5 more defects \({counts}\); correct the file"):
        read_records(file, PAIR)
    records, report = read_records(file, PAIR, policy="drop")
    assert report.defects == {
        "bad_json": [2, 5], "missing_field": [3], "duplicate_id": [4], "empty_source": [6], "control_character": [6],
    }  # fmt: skip
    assert (len(records), report.rows_read, report.rows_kept) == (1, 6, 1)


def test_the_report_shows_a_few_lines_of_many(file):
    write_lines(file, GOOD % "a", *["{"] * 9)
    assert read_records(file, PAIR, "drop")[1].lines()[1].endswith("(count 9; line 2, 3, 4, 5, 6 and 4 more)")


def test_a_defective_row_does_not_take_its_id_from_a_sound_one(file):
    write_lines(file, '{"id": 7, "text": "", "summary": "s"}', '{"id": "7", "text": "t", "summary": "s"}', GOOD % "7")
    records, report = read_records(file, PAIR, "drop")
    assert [(record.id, record.line) for record in records] == [("7", 2)]
    assert report.defects == {"empty_source": [1], "duplicate_id": [3]}


def test_fields_are_joined(file):
    row = {
        "id": 0, "case_description": ["一", "二"], "consultation_process": ["问：\t三"],
        "experience_and_reflection": "四",
        "causes": "", "symptoms": ["五", "六"], "treatment_process": "七", "characteristics_of_illness": "八",
        "treatment_effect": "九",
    }  # fmt: skip
    write_records(file, [row])
    (record,), report = read_records(file, EMOTION_SUMMARY)
    assert (record.id, record.line, record.row) == ("0", 1, row)
    assert (record.source, record.target) == ("一\n二\n问：\t三", "四")
    assert report.lines() == [f"{file}: 1 rows read, 1 kept, 0 dropped"]
    (record,), _ = read_records(file, FIVE_ASPECTS)
    assert record.source == "一\n二\n问：\t三\n四"
    assert record.target == (
        "【causes】\n\n【symptoms】\n五\n六\n【treatment_process】\n七\n【characteristics_of_illness】\n八\n"
        "【treatment_effect】\n九"
    )
    assert TASKS == {"emotion_summary": EMOTION_SUMMARY, "five_aspects": FIVE_ASPECTS}


def test_lines_are_ids_only_where_no_row_has_one(file):
    write_lines(file, '{"text": "t", "summary": "s"}', "", '{"text": "u", "summary": "s"}')
    assert [record.id for record in read_records(file, PAIR)[0]] == ["1", "3"]
    with pytest.raises(ValueError, match=r"has id 'key'; set id_field to existing fields: 'text', 'summary'"):
        read_records(file, TaskFields(("text",), ("summary",), id="key"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("zipped", [False, True])
def test_encodings_and_line_ends(tmp_path, end, zipped):
    file = tmp_path / "file.jsonl.gz"
    write_lines(
        file, "\ufeff" + GOOD % "a", '{"id": "b", "text": "\u2028|\\ud83d\\ude00|\U0001f600", "summary": "s"}', end=end
    )
    if zipped:
        file.write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    records, _ = read_records(file, PAIR)
    assert [(record.id, record.source) for record in records] == [("a", "t"), ("b", "\u2028|😀|😀")]


def test_rows_without_targets(file):
    write_lines(
        file,
        '{"id": "a", "text": "t"}',
        '{"id": "b", "text": "t", "summary": "s"}',
        '{"id": "c", "text": "t", "summary": 3}',
        '{"id": "d", "text": ""}',
    )
    with pytest.raises(ValueError, match=r":4: the source \('text'\) is empty; correct"):
        read_records(file, PAIR, need_target=False)
    records, report = read_records(file, PAIR, "drop", need_target=False)
    assert [(record.id, record.target) for record in records] == [("a", ""), ("b", "s"), ("c", "")]
    assert report.defects == {"empty_source": [4]}
    write_lines(file, '{"id": "a", "text": "t"}')
    assert len(read_records(file, PAIR, need_target=False)[0]) == 1


@pytest.mark.parametrize("policy", ["error", "drop"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist; correct the path"),
        (b"", "is empty; pass a file with one JSON object per line"),
        (b"\xef\xbb\xbf\n \r\n", "is empty; pass a file with one JSON object per line"),
        (gzip.compress(b"", mtime=0), "is empty; pass a file"),
        (gzip.compress(b"x" * 1000, mtime=0)[:20], "is a damaged gzip file"),
        ("{}".encode("utf-16")[:-1], "is damaged UTF-16 text"),
        (b"{}\n{}", "its rows have no fields"),
        (b'{"id": 1, "txt": "a"}', "has sources 'text'; did you mean 'txt'. set source_fields to .*: 'id', 'txt'"),
        (b'{"text": "a", "sum\\nmary": "b"}', r"no row .* has targets 'summary'.*'sum\\nmary'"),
        (b'{"text": "a", "summary": " "}\n{"text": "b", "summary": []}\n{', "every target is empty .'summary' in"),
    ],
)  # fmt: skip
@pytest.mark.fault(18)
def test_files_of_no_use(file, policy, content, message):
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_records(file, PAIR, policy)
    assert "\n" not in str(caught.value)


def test_no_usable_row_folders_and_policies(file):
    write_lines(file, "{", '{"text": "t", "summary": "\\u0001"}')
    with pytest.raises(
        ValueError,
        match=r"none of the 2 rows is usable \(bad JSON: 1, control character: 1\): line 1, .*; correct",
    ):
        read_records(file, PAIR, "drop")
    with pytest.raises(ValueError, match="is a folder; pass the JSONL file in it"):
        read_records(file.parent, PAIR)
    with pytest.raises(ValueError, match="policy='repair' is not known; use one of error, drop"):
        read_records(file, PAIR, "repair")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("text", ("summary",)), r"sources='text' is a string; pass a tuple of field names, \('text',\)"),
        ((("text",), ()), r"targets=\(\) is empty"),
        ((("text",), ("summary", "text")), "field 'text' is named twice"),
        ((("text", "id"), ("summary",)), "field 'id' is named twice"),
    ],
)
def test_task_fields_are_checked(values, message):
    with pytest.raises(ValueError, match=message):
        TaskFields(*values)


TARGETS = ("a", "b.", "c_c")
PIECES = st.sampled_from(["【a】", "【b.】", "【 c_c 】", "【d】", "\\", "\n", " ", "\u3000", "【", "】", "x"])


@given(st.fixed_dictionaries({name: st.lists(PIECES | st.text(max_size=3)).map("".join) for name in TARGETS}))
def test_split_is_the_inverse_of_join(values):
    assert split_targets(join_targets(values, TARGETS), TARGETS) == values


@given(st.text())
def test_any_text_splits(text):
    assert split_targets(text, ("a",)) == {"a": text}
    assert join_targets({"a": text}, ("a",)) == text
    assert list(split_targets(text, TARGETS)) == list(TARGETS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("【a】 one two 【b.】 three 【c_c】 four", ("one two", "three", "four")),  # newlines became spaces
        ("【a】one【b.】【c_c】", ("one", "", "")),
        ("【b.】\ntwo", ("", "two", "")),
        ("lost", ("lost", "", "")),
        ("lost 【c_c】 four", ("lost", "", "four")),
        ("lost\n【a】\none", ("lost\none", "", "")),
        ("【c_c】 four 【a】 one 【c_c】 five", ("one", "", "four\nfive")),
        ("【 a 】one【bx】", ("one【bx】", "", "")),
        ("", ("", "", "")),
    ],
)
def test_what_a_model_writes_splits(text, expected):
    assert tuple(split_targets(text, TARGETS).values()) == expected


def test_written_rows_read_back(tmp_path):
    rows = [
        {"id": "1", "text": "情绪\u2028\n", "summary": "s", "note": "\ud83d"},
        {"id": "2", "text": "t", "summary": "u"},
    ]
    for name in ("a.jsonl", "b.jsonl.gz"):
        write_records(tmp_path / name, iter(rows))
        assert [record.row for record in read_records(tmp_path / name, PAIR)[0]] == rows
        first = (tmp_path / name).read_bytes()
        write_records(tmp_path / name, rows)
        assert (tmp_path / name).read_bytes() == first
    assert first[4:8] == bytes(4)  # gzip's time stamp
    assert gzip.decompress((tmp_path / "b.jsonl.gz").read_bytes()) == (tmp_path / "a.jsonl").read_bytes()
    write_records(tmp_path / "c.jsonl", [*rows[1:], {"text": "情绪"}])
    assert (tmp_path / "c.jsonl").read_text("utf-8").splitlines()[1] == '{"text": "情绪"}'


def test_a_write_that_fails_leaves_the_old_file(file):
    write_records(file, [{"a": 1}])
    with pytest.raises(TypeError):
        write_records(file, [{"a": 2}, {"a": object()}])
    assert json.loads(file.read_text("utf-8")) == {"a": 1}
    assert [path.name for path in file.parent.iterdir()] == ["file.jsonl"]
    with pytest.raises(ValueError, match=r"output folder .*none does not exist; create it"):
        write_records(file.parent / "none" / "a.jsonl", [])


def test_an_id_is_not_needed_to_train(file):
    ids = ["1.5", "7.0", "null", '"a"', '"a"', "true", '[" "]', '" "']
    write_lines(file, *(f'{{"id": {value}, "text": "t{n}", "summary": "s"}}' for n, value in enumerate(ids)))
    records, report = read_records(file, PAIR, need_id=False)
    found = [record.id for record in records]
    assert found == ["1.5", "7", "line 3", "a", "line 5", "line 6", "line 7", "line 8"]
    assert not report.defects
    with pytest.raises(ValueError, match=r":3: field 'id' is null, not a string or a number; name another field with"):
        read_records(file, PAIR)


def test_another_field_may_be_the_id(file):
    write_lines(
        file,
        '{"id": 1, "case": {"no": "x"}, "text": "t", "summary": "s"}',
        '{"id": 1, "case": {"no": 2.0}, "text": "u", "summary": "s"}',
    )
    fields = TaskFields(("text",), ("summary",), id="case.no")
    records, _ = read_records(file, fields)
    assert [record.id for record in records] == ["x", "2"]
    assert [record.id_value("case.no") for record in records] == ["x", 2.0]
    numbered = read_records(file, TaskFields(("text",), ("summary",), id="none"))[0]
    assert [record.id for record in numbered] == [record.id_value("none") for record in numbered] == ["1", "2"]
    with pytest.raises(ValueError, match=":2: id '1' is already used in line 1; name another field with --id_field"):
        read_records(file, PAIR)


@pytest.mark.parametrize("separator", ["\x85", "\x0b", "\x0c", "\x1c", "\x92"])
def test_separators_become_spaces(file, separator):
    write_lines(file, json.dumps({"id": f"a{separator}", "text": f"one{separator}two", "summary": "s"}))
    (record,), report = read_records(file, PAIR)
    assert (record.id, record.source) == (f"a{separator}", "one two")
    assert (report.cleaned, report.noteworthy()[1]) == (
        1,
        f"{file}: control characters such as U+0085 became spaces (texts: 1)",
    )
    write_lines(file, GOOD % "a")
    assert not read_records(file, PAIR)[1].noteworthy()


LATE = {
    "id": [{"text": "t"}, {"text": "u", "id": 4}],
    "inner id": [{"text": "t", "case": {}}, {"text": "u", "case": {"no": 4}}],
    "task": [{"text": "t", "summary": "s"}, {"case_description": "t"}, {"experience_and_reflection": "s"}],
    "named": [{"text": "t"}, {"text": "t", "summary": "s"}],
    "conversation": [
        {"messages": [], "text": "t"},
        {"messages": [{"role": "user", "content": "t"}, {"role": "assistant", "content": "s"}]},
    ],
    "ambiguous": [{"text": "t", "summary": "s"}, {"document": "t"}],
    "no longer ambiguous": [{"text": "t", "input": "i", "output": "s"}, {"instruction": "t", "output": "s"}],
    "unknown": [{"a": 1}, {"b": 2}],
    "later defect": [{"text": "t", "summary": "s"}, {"text": "t", "summary": 3}],
}


@pytest.mark.parametrize("name", LATE)
@pytest.mark.parametrize("fields", [EMOTION_SUMMARY, PAIR, TaskFields(("text",), ("summary",), id="case.no")])
@pytest.mark.parametrize("need_target", [False, True])
def test_a_later_row_decides_the_fields_as_a_first_one_would(file, monkeypatch, name, fields, need_target):
    write_lines(file, *(json.dumps(row) for row in LATE[name]))

    def found():
        try:
            records, report = read_records(file, fields, "drop", need_target)
            return records, report, report.details
        except ValueError as error:
            return str(error)

    expected = found()
    monkeypatch.setattr("mt5_ft.data.records.FIRST_ROWS", 1)
    assert found() == expected


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"bc", b"\x85"])), st.integers(1, 4))
def test_lines_do_not_depend_on_the_blocks(pieces, size):
    content = b"".join(pieces)
    blocks = [content[first : first + size] for first in range(0, len(content), size)]
    assert list(split_lines(blocks)) == content.splitlines(keepends=True)
