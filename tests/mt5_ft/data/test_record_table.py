"""Tables of records equal lists of them, in memory and in a file; what a full or missing cache does."""

import json

import numpy as np
import pytest

from mt5_ft.data import record_table
from mt5_ft.data.record_table import RecordTable, encoded, read_table
from mt5_ft.data.records import TaskFields, read_records

PAIR = TaskFields(sources=("text",), targets=("summary",))
IDS = ["1.5", "null", '"a"', '"a"', "true", '"line 5"', '" "', "7"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file.jsonl"
    rows = (f'{{"id": {value}, "text": " 情绪 t{n % 5}", "summary": "s{n}"}}\n' for n, value in enumerate(IDS * 9))
    path.write_text("\n".join(rows) + '{"id": 9}\n', "utf-8")
    return path


def values(records):
    return [(record.id, record.source, record.target, record.line) for record in records]


@pytest.mark.parametrize("in_memory", [0, 500, 2**20])
def test_a_table_has_the_records_of_the_list(file, monkeypatch, in_memory):
    monkeypatch.setattr(record_table, "IN_MEMORY", in_memory)
    monkeypatch.setattr(record_table, "AT_ONCE", 7)
    listed, expected = read_records(file, PAIR, "drop", need_id=False)
    table, report = read_table(file, PAIR, "drop")
    assert values(table) == values(listed)
    assert (len(table), report) == (len(listed), expected)
    assert values(table[place] for place in (0, 3, 70)) == values(listed[place] for place in (0, 3, 70))
    assert values(table[5:60:7]) == values(listed[5:60:7])
    part = table.select(np.arange(len(table)) % 3 == 1)
    assert values(part[::-2]) == values(listed[1::3][::-2])
    assert list(encoded(table)) == list(encoded(listed))
    assert list(encoded(part)) == list(encoded(listed[1::3]))
    assert [*table.has_own_id] == [record.id != f"line {record.line}" for record in listed]
    other = RecordTable.of(listed)
    assert (other.sources == table.sources).all()
    assert RecordTable.of(table) is table
    assert len(np.unique(table.sources)) == 5
    assert not any((file.parent / "cache").glob("records/*"))  # its files have no name


def test_records_without_ids_have_lines_and_no_own_id(tmp_path):
    (tmp_path / "a.jsonl").write_text(f"{json.dumps({'text': 't', 'summary': 's'})}\n" * 3, "utf-8")
    table, _ = read_table(tmp_path / "a.jsonl", PAIR)
    assert ([record.id for record in table], table.has_own_id.any()) == (["1", "2", "3"], False)


def test_texts_stay_in_memory_without_a_cache(file, monkeypatch, caplog):
    monkeypatch.setattr(record_table, "IN_MEMORY", 0)
    (file.parent / "none").write_text("")
    monkeypatch.setenv("KRONOS_FT_CACHE", str(file.parent / "none"))
    table, _ = read_table(file, PAIR, "drop")
    assert values(table) == values(read_records(file, PAIR, "drop", need_id=False)[0])
    assert "KRONOS_FT_CACHE to a folder on another disk: the texts stay in memory" in caplog.text


def test_a_disk_that_becomes_full(file, monkeypatch):
    class Full:
        def __init__(self, dir):
            self.writes = 0

        def write(self, content):
            self.writes += 1
            if self.writes == 3:
                raise OSError(28, "No space left on device")

        def flush(self):
            pass

    monkeypatch.setattr(record_table, "IN_MEMORY", 0)
    monkeypatch.setattr(record_table.tempfile, "TemporaryFile", Full)
    with pytest.raises(ValueError, match=r"do not fit into .*cache \(No space left on device\); free some space, or"):
        read_table(file, PAIR, "drop")
