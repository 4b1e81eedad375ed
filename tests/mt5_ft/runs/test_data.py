"""No text on both sides of the split, and what is said of a validation file."""

import hashlib

import numpy as np
import pytest

from ft_core.io.console import lines_to
from mt5_ft.data.preprocessing import tokenize_records
from mt5_ft.data.records import EMOTION_SUMMARY, read_records, write_records
from mt5_ft.data.token_batches import StepBatches
from mt5_ft.models.from_scratch import train_tokenizer
from mt5_ft.runs.data import content_digest, read_splits, sample_path
from mt5_ft.training.arguments import MT5DataArguments

SIDES = ("input_ids", "labels")
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


def test_the_splits_of_the_sample_are_those_of_lists_of_records():
    """The hash is that of earlier run folders; the reference holds out of a list, as earlier versions did."""
    records = read_records(sample_path(), EMOTION_SUMMARY)[0]
    chosen: set[int] = set()
    for place in np.random.default_rng(7).permutation(len(records)).tolist():
        if len(chosen) >= round(len(records) * 0.1):
            break
        source = records[place].source.strip()
        chosen |= {n for n, record in enumerate(records) if record.source.strip() == source}
    train, validation = read_splits(MT5DataArguments(data="sample", validation_share=0.1), 7)
    assert [record.id for record in validation] == [records[place].id for place in sorted(chosen)]
    assert [record.id for record in train] == [one.id for n, one in enumerate(records) if n not in chosen]
    assert content_digest(train, validation) == "4eac22d18fda5a66"


def test_tokens_have_the_name_that_their_texts_had(tmp_path):
    train, _ = read_splits(MT5DataArguments(data="sample"), 7)
    tokenizer = train_tokenizer([record.source for record in train[:20]], vocab_size=600)
    key = hashlib.sha256(b'{"prefix": "p", "source": 64, "target": 32, "version": 1}')
    key.update(tokenizer.backend_tokenizer.to_str().encode())
    for record in read_records(sample_path(), EMOTION_SUMMARY)[0]:
        if record.id in {one.id for one in train}:
            key.update(f"{record.id}\0{record.source}\0{record.target}\1".encode())
    limits = {"prefix": "p", "max_source_length": 64, "max_target_length": 32}
    of_table, lengths = tokenize_records(train, tokenizer, cache=str(tmp_path), **limits)
    assert [path.name for path in tmp_path.glob("*.arrow")] == [f"{key.hexdigest()}.arrow"]
    of_list, expected = tokenize_records(list(train), tokenizer, cache="none", **limits)
    assert (of_table.to_dict(), lengths) == (of_list.to_dict(), expected)
    order = [list(StepBatches(*(list(map(len, one[name])) for name in SIDES), 7, 600)) for one in (of_table, of_list)]
    assert order[0] == order[1]
