"""No text on both sides of the split, and what is said of a validation file."""

import pytest

from ft_core.io.console import lines_to
from mt5_ft.data.records import write_records
from mt5_ft.runs.data import content_digest, read_splits
from mt5_ft.training.arguments import MT5DataArguments

FIELDS = {"source_fields": ["text"], "target_fields": ["summary"]}


def write(path, texts, first_id=0):
    rows = [{"id": first_id + n, "text": text, "summary": f"s{n}"} for n, text in enumerate(texts)]
    write_records(path, rows)
    return str(path)


@pytest.fixture
def said():
    lines = []
    with lines_to(lines.append):
        yield lines


def test_equal_sources_are_never_on_both_sides(tmp_path, said):
    data = write(tmp_path / "a.jsonl", [f"text {n % 12}" for n in range(60)])
    for seed in range(20):
        train, validation = read_splits(MT5DataArguments(data=data, **FIELDS), seed)
        assert not {record.source for record in train} & {record.source for record in validation}
        assert len(train) + len(validation) == 60
        assert len(validation) == 10  # at least the share, in whole groups of 5


def test_one_text_alone_cannot_be_split(tmp_path, said):
    data = write(tmp_path / "a.jsonl", ["same"] * 20)
    with pytest.raises(ValueError, match="all 20 records have the same source"):
        read_splits(MT5DataArguments(data=data, **FIELDS), 1)


def test_the_validation_file_in_the_training_file(tmp_path, said):
    train = write(tmp_path / "train.jsonl", [f"text {n}" for n in range(10)])
    other = write(tmp_path / "validation.jsonl", ["text 3", "text 7", "new"], first_id=100)
    data = {"data": train, "validation_data": other, **FIELDS}
    message = r"2 of 10 records of .*train.jsonl \(first on line 4\) have the source of a record in .*validation.jsonl"
    with pytest.raises(ValueError, match=message):
        read_splits(MT5DataArguments(**data), 1)
    kept, validation = read_splits(MT5DataArguments(**data, policy="drop"), 1)
    assert (len(kept), len(validation)) == (8, 3)
    assert "2 records excluded from training: their source is in" in said[0]
    with pytest.raises(ValueError, match=r"10 of 10 records .* no record would remain for training"):
        read_splits(MT5DataArguments(**{**data, "validation_data": train}, policy="drop"), 1)


def test_files_that_both_number_from_zero_are_two_files(tmp_path, said):
    train = write(tmp_path / "train.jsonl", [f"text {n}" for n in range(10)])
    other = write(tmp_path / "validation.jsonl", ["new", "newer"])
    kept, _ = read_splits(MT5DataArguments(data=train, validation_data=other, **FIELDS), 1)
    assert len(kept) == 10
    assert said == ["WARNING     2 ids occur in both files with different texts; check that both files are correct"]


def test_defects_of_the_validation_file_are_reported(tmp_path, said):
    train = write(tmp_path / "train.jsonl", [f"text {n}" for n in range(10)])
    other = write(tmp_path / "validation.jsonl", ["new", " "], first_id=50)
    read_splits(MT5DataArguments(data=train, validation_data=other, policy="drop", **FIELDS), 1)
    assert "validation.jsonl: 2 rows read, 1 kept, 1 dropped" in said[0]


def test_the_digest_is_that_of_the_texts(records):
    assert content_digest(records[:9], records[9:]) == content_digest(records[:9], records[9:])
    assert content_digest(records[:9], records[9:]) != content_digest(records[:10], records[10:])
    assert content_digest(records[:9], records[9:]) != content_digest(records[:9], records[8:])
