"""Subsets: distributions stay, bytes stay, the original comes back, and nothing is lost when a write fails."""

import gzip
import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from ft_core.io import files
from mt5_ft.data import subset
from mt5_ft.data.stratified import choose_rows, ks_statistic, text_length
from mt5_ft.data.subset import drop_subset, restore

TOPICS = ("work", "family", "school", "grief")
SHARES = (0.6, 0.25, 0.12, 0.03)


def checksum(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_rows(count=600, seed=0):
    rng = np.random.default_rng(seed)
    topics = rng.choice(TOPICS, count, p=SHARES)
    sizes = rng.lognormal(4, 0.8, count).astype(int) + 1 + 100 * (topics == "grief")
    return [
        {"id": number, "topic": str(topic), "case": ["情" * (size // 2), "绪" * (size - size // 2)]}
        for number, (topic, size) in enumerate(zip(topics, sizes, strict=True))
    ]


@pytest.fixture
def rows():
    return make_rows()


@pytest.fixture
def file(tmp_path, rows):
    path = tmp_path / "cases.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def ks_by_hand(first, second):
    values = sorted({*first, *second})
    share = [[sum(item <= value for item in sample) / len(sample) for value in values] for sample in (first, second)]
    return max(abs(a - b) for a, b in zip(*share, strict=True))


@given(*[st.lists(st.integers(0, 9), min_size=1, max_size=12)] * 2)
def test_ks_statistic_equals_brute_force(first, second):
    assert ks_statistic(np.array(first), np.array(second)) == pytest.approx(ks_by_hand(first, second))


def test_text_length_counts_every_string():
    assert text_length({"id": 5, "a": "情绪", "b": ["x", {"c": "yz"}], "d": None, "e": True}) == 5


@pytest.mark.parametrize("by", ["length", "topic"])
@pytest.mark.parametrize("drop", [0.2, 0.5, 0.9])
def test_the_length_distribution_stays(file, rows, by, drop):
    lengths = np.array([text_length(row) for row in rows])
    keep = round(600 * (1 - drop))
    shortest = np.sort(lengths)[:keep]
    rng = np.random.default_rng(42)
    at_random = np.mean([ks_statistic(lengths, rng.choice(lengths, keep, replace=False)) for _ in range(20)])
    report = drop_subset(file, drop, by=by)
    kept = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert report.ks == pytest.approx(ks_by_hand(lengths, [text_length(row) for row in kept]))
    assert report.ks < 0.75 * at_random
    assert report.ks < ks_statistic(lengths, shortest) / 5
    assert (report.rows_before, report.rows_after, len(kept)) == (600, keep, keep)


@pytest.mark.parametrize("how", [{"by": "topic"}, {"by": "field", "field": "topic"}, {"field": "topic"}])
def test_category_shares_stay(file, rows, how):
    report = drop_subset(file, 0.2, **how)
    before = {topic: [row["topic"] for row in rows].count(topic) for topic in TOPICS}
    kept = [json.loads(line)["topic"] for line in file.read_text("utf-8").splitlines()]
    for topic, count in before.items():
        assert abs(kept.count(topic) - 0.8 * count) < 1
        assert report.shares_before[topic] == count / 600
        assert report.shares_after[topic] == kept.count(topic) / 480
    assert list(report.shares_before) == sorted(TOPICS, key=before.get, reverse=True)


def test_categories_of_any_type_and_absent_ones(tmp_path):
    values = [{"topic": 1}, {"topic": ["a"]}, {}, {"topic": None}]
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"text": "t", **value}) + "\n" for value in values * 10), "utf-8")
    report = drop_subset(file, 0.5, by="topic")
    assert report.shares_after == report.shares_before == {"1": 0.25, '["a"]': 0.25, "(absent)": 0.25, "null": 0.25}


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcd")), min_size=1, max_size=80),
    st.floats(0, 1),
    st.integers(0, 5),
)
def test_the_number_kept_is_exact(rows, share, seed):
    lengths, categories = np.array([row[0] for row in rows]), [row[1] for row in rows]
    keep = round(share * len(rows))
    chosen = choose_rows(lengths, categories, keep, seed)
    assert chosen.sum() == keep
    for category in set(categories):
        mask = np.array([item == category for item in categories])
        assert abs(chosen[mask].sum() - mask.sum() * keep / len(rows)) < 1


def test_every_row_has_the_same_chance():
    lengths, categories = np.arange(37) ** 2, ["a"] * 30 + ["b"] * 7
    counts = sum(choose_rows(lengths, categories, 26, seed).astype(int) for seed in range(2000))
    assert abs(counts / 2000 - 26 / 37).max() < 0.06  # six standard deviations of a share in 2,000 draws


def test_same_seed_same_rows(file, tmp_path):
    original = file.read_bytes()
    results = []
    for seed in (42, 42, 7):
        other = tmp_path / f"{len(results)}.jsonl"
        other.write_bytes(original)
        drop_subset(other, by="topic", seed=seed)
        results.append(other.read_bytes())
    assert results[0] == results[1] != results[2]
    assert len(results[0].splitlines()) == len(results[2].splitlines()) == 480


def test_kept_lines_are_the_same_bytes_in_order(tmp_path):
    ends = ["\n", "\r\n", " \n"]
    lines = [f'{{ "text":"{"情" * (n % 13)}\u2028\\u60c5", "n" :{n}.0}}{ends[n % 3]}'.encode() for n in range(40)]
    lines.insert(7, b"\r\n")
    lines.append(b'{"text": "no newline at the end", "n": 40}')
    file = tmp_path / "a.jsonl"
    for seed in range(5):
        file.write_bytes(b"\xef\xbb\xbf" + b"".join(lines))
        drop_subset(file, 0.4, seed=seed)
        content = file.read_bytes()
        assert content.startswith(b"\xef\xbb\xbf")
        numbers = [json.loads(line)["n"] for line in content[3:].split(b"\n") if line.strip()]
        assert len(numbers) == round(41 * 0.6)
        assert numbers == sorted(numbers)
        kept = [line for line in lines if not line.strip() or json.loads(line)["n"] in numbers]
        assert content[3:] == b"".join(kept)
        restore(file)


@pytest.mark.parametrize("zipped", [False, True])
def test_restore_brings_back_every_byte(file, zipped):
    if zipped:
        file.write_bytes(gzip.compress(file.read_bytes(), compresslevel=1))
    file.chmod(0o600)
    before = checksum(file)
    report = drop_subset(file)
    assert checksum(file) != before
    assert report.sha256 == before == checksum(report.backup)
    assert report.backup == file.with_name("cases.jsonl.backup")
    assert file.stat().st_mode & 0o777 == report.backup.stat().st_mode & 0o777 == 0o600
    text = gzip.decompress(file.read_bytes()) if zipped else file.read_bytes()
    assert len(text.splitlines()) == 480
    assert restore(file) == file
    assert checksum(file) == before
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_restore_of_a_file_that_is_gone(file):
    before = checksum(file)
    drop_subset(file)
    file.unlink()
    restore(str(file))
    assert checksum(file) == before


def test_the_report_is_printable(file):
    report = drop_subset(file, by="topic")
    lines = report.lines()
    assert lines[0].endswith("cases.jsonl: 600 rows before, 480 after")
    assert f"Kolmogorov-Smirnov statistic {report.ks:.4f}" in lines[1]
    assert len(lines) == 2 + len(TOPICS) + 1
    assert lines[2].startswith("'work': ")
    assert lines[-1].endswith(f"cases.jsonl.backup (sha256 {report.sha256})")


def fail_at(monkeypatch, number):
    """Makes the rename number `number` from now fail, as a full disk or a pulled plug would."""
    replace, calls = files.os.replace, []

    def failing(source, target):
        calls.append(target)
        if len(calls) == number:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", failing)


def test_a_failed_backup_changes_nothing(file, monkeypatch):
    before = checksum(file)
    fail_at(monkeypatch, 1)
    with pytest.raises(OSError, match="No space left"):
        drop_subset(file)
    assert checksum(file) == before
    assert [path.name for path in file.parent.iterdir()] == ["cases.jsonl"]


def test_a_failed_cut_leaves_file_and_backup(file, monkeypatch):
    before = checksum(file)
    fail_at(monkeypatch, 3)
    with pytest.raises(OSError, match="No space left"):
        drop_subset(file)
    backup = file.with_name("cases.jsonl.backup")
    assert checksum(file) == checksum(backup) == before
    assert sorted(path.name for path in file.parent.iterdir()) == [
        "cases.jsonl",
        "cases.jsonl.backup",
        "cases.jsonl.backup.cut",
    ]
    restore(file)
    assert checksum(file) == before
    assert [path.name for path in file.parent.iterdir()] == ["cases.jsonl"]


def test_a_failed_restore_keeps_the_backup(file, monkeypatch):
    before = checksum(file)
    report = drop_subset(file)
    smaller = checksum(file)
    fail_at(monkeypatch, 1)
    with pytest.raises(OSError, match="No space left"):
        restore(file)
    assert (checksum(file), checksum(report.backup)) == (smaller, before)


def test_a_restore_that_went_wrong_is_noticed(file, monkeypatch):
    report = drop_subset(file)
    monkeypatch.setattr(subset, "write_file", lambda path, write: path.write_bytes(b"torn"))
    with pytest.raises(ValueError, match=r"differs from .* after writing; check the disk, the backup is kept"):
        restore(file)
    assert checksum(report.backup) == report.sha256


def test_a_backup_is_never_overwritten(file):
    drop_subset(file)
    backup = file.with_name("cases.jsonl.backup")
    before = checksum(file), checksum(backup)
    with pytest.raises(ValueError, match=r"backup .*cases\.jsonl\.backup exists; restore or remove it first"):
        drop_subset(file)
    assert (checksum(file), checksum(backup)) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"drop": 0}, r"drop=0 is outside \(0, 1\)"),
        ({"drop": 1.0}, r"drop=1.0 is outside \(0, 1\)"),
        ({"drop": 20}, r"drop=20 is outside \(0, 1\); use e.g. 0.2"),
        ({"drop": float("nan")}, r"drop=nan is outside"),
        ({"drop": 0.0001}, "drop=0.0001 of 600 rows keeps 600"),
        ({"drop": 0.9999}, "drop=0.9999 of 600 rows keeps 0; use a share"),
        ({"seed": -1}, "seed=-1 is negative"),
        ({"by": "tpic"}, "no row has the field by='tpic'; use length or one of 'id', 'topic', 'case'"),
        ({"by": "field"}, "by='field' needs the name of the field"),
        ({"by": "topic", "field": "id"}, "by='topic' and field='id' name two different fields"),
        ({"by": "id"}, "by='id' has 600 different values in 600 rows; use a field with categories"),
    ],
)
def test_wrong_arguments_write_nothing(file, arguments, message):
    before = checksum(file)
    with pytest.raises(ValueError, match=message) as caught:
        drop_subset(file, **arguments)
    assert "\n" not in str(caught.value)
    assert checksum(file) == before
    assert [path.name for path in file.parent.iterdir()] == ["cases.jsonl"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; pass a file with one JSON object per line"),
        (b"\n\n", "is empty; pass a file"),
        (b'{"a": 1}\n{"a": \n', r"cases\.jsonl:2: not valid JSON .*; correct the file"),
        (b"{}\n\n[]\n", r"cases\.jsonl:3: the row is a list"),
        (b"\x1f\x8b\x08broken", "is a damaged gzip file"),
    ],
)
@pytest.mark.fault(18)
def test_unusable_files_stay_as_they_are(file, content, message):
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        drop_subset(file)
    assert file.read_bytes() == content
    assert [path.name for path in file.parent.iterdir()] == ["cases.jsonl"]


def test_missing_files(tmp_path):
    with pytest.raises(ValueError, match=r"none\.jsonl does not exist; correct the path"):
        drop_subset(tmp_path / "none.jsonl")
    with pytest.raises(
        ValueError, match=r"backup .*none\.jsonl\.backup does not exist; pass the file that subset replaced"
    ):
        restore(tmp_path / "none.jsonl")


@pytest.mark.fault(27)
def test_a_link_stays_a_link(file, tmp_path):
    before = checksum(file)
    link = tmp_path / "folder" / "link.jsonl"
    link.parent.mkdir()
    link.symlink_to(file)
    report = drop_subset(link)
    assert link.is_symlink()
    assert checksum(link) == checksum(file) != before
    assert report.backup == file.with_name("cases.jsonl.backup")
    restore(link)
    assert link.is_symlink()
    assert checksum(file) == before


def test_changes_since_the_cut_are_not_lost_unasked(file):
    before = checksum(file)
    drop_subset(file)
    with open(file, "ab") as changed:
        changed.write(b'{"id": 999, "topic": "work", "case": ["mine"]}\n')
    edited = checksum(file)
    with pytest.raises(
        ValueError, match=r"has changed since the subset was made, and restoring .* would lose .*; copy the file"
    ):
        restore(file)
    assert checksum(file) == edited
    restore(file, force=True)
    assert checksum(file) == before
    assert [path.name for path in file.parent.iterdir()] == ["cases.jsonl"]
