"""A file of tokens: filled block by block, complete or absent, continued after a kill, read by safetensors."""

import errno

import numpy as np
import pytest
from safetensors.numpy import load_file

from kronos_ft.windows import token_file
from kronos_ft.windows.token_file import TokenFile, content_hash

NAMES = {"tokenizer": "a" * 64, "windows": "b" * 64}
SHAPE = (70, 5)
rng = np.random.default_rng(0)
HALVES = [rng.integers(0, 2**10, SHAPE).astype("int16"), rng.integers(0, 2**20, SHAPE).astype("int32")]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(token_file, "BLOCK", 16)


@pytest.fixture
def file(tmp_path):
    return TokenFile(tmp_path / "train.safetensors", NAMES, SHAPE, ["int16", "int32"])


def make(rows):
    return [half[rows.start : rows.stop] for half in HALVES]


def killed(file):
    """Its process has ended: the system released the lock."""
    file._lock.release()


def finished(file):
    file.finish()
    found = load_file(file.path)
    for name, half in zip(("s1", "s2"), HALVES, strict=True):
        np.testing.assert_array_equal(found[name], half)
        assert found[name].dtype == half.dtype
    s1, s2 = file.read()
    np.testing.assert_array_equal(s1, HALVES[0])
    np.testing.assert_array_equal(s2, HALVES[1])
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]


def test_the_hash_of_the_content_is_that_of_all_bytes(monkeypatch):
    monkeypatch.setattr(token_file, "PIECE", 32)
    pieces = content_hash(HALVES)
    monkeypatch.undo()
    assert pieces == content_hash(HALVES)
    changed = HALVES[1].copy()
    changed[-1, -1] ^= 1
    assert content_hash([HALVES[0], changed]) != pieces


def test_a_file_is_filled_and_read(file):
    file.begin()
    assert file.missing(file.part) == [0, 1, 2, 3, 4]
    told = []
    file.fill(file.part, file.missing(file.part), make, progress=lambda done, total: told.append((done, total)))
    assert told == [(16, 70), (32, 70), (48, 70), (64, 70), (70, 70)]
    assert not file.path.exists()
    finished(file)


def test_processes_fill_it_together(file):
    file.begin()
    missing = file.missing(file.part)
    for process in range(3):
        file.fill(file.part, missing[process::3], make, process)
    assert file.missing(file.part) == []
    finished(file)


def test_an_interrupted_file_continues(file):
    file.begin()
    file.fill(file.part, [0, 3], make)

    def stops(rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        file.fill(file.part, [1], stops, process=1)
    killed(file)
    again = TokenFile(file.path, NAMES, SHAPE, ["int16", "int32"])
    again.begin()
    assert again.missing(again.part) == [1, 2, 4]
    again.fill(again.part, again.missing(again.part), make)
    finished(again)


def test_a_block_that_was_torn_or_noted_wrongly_is_computed_again(file):
    file.begin()
    file.fill(file.part, [0, 1, 2], make)
    content = bytearray(file.part.read_bytes())
    content[-HALVES[1].nbytes + 16 * 5 * 4] ^= 1  # the first fine token of block 1
    file.part.write_bytes(content)
    note = file.part.with_name(f"{file.part.name}.done.0")
    note.write_text(note.read_text() + "x y\n99 0\n4", "utf-8")
    assert file.missing(file.part) == [1, 3, 4]


@pytest.mark.parametrize("change", ["names", "shape", "cut"])
def test_an_unfinished_file_of_other_tokens_is_not_used(file, change):
    file.begin()
    file.fill(file.part, [0, 1], make)
    names, shape = NAMES, SHAPE
    if change == "names":
        names = NAMES | {"windows": "c" * 64}
    elif change == "shape":
        shape = (71, 5)
    else:
        file.part.write_bytes(file.part.read_bytes()[:-1])
    killed(file)
    other = TokenFile(file.path, names, shape, ["int16", "int32"])
    other.begin()
    assert other.missing(other.part) == [0, 1, 2, 3, 4]


def test_machines_have_files_of_their_own(file):
    other = TokenFile(file.path, NAMES, SHAPE, ["int16", "int32"], machine=1)
    for one in (file, other):
        one.begin()
        one.fill(one.part, one.missing(one.part), make)
    file.finish()
    finished(other)


def test_two_runs_at_once_fill_files_of_their_own(file):
    other = TokenFile(file.path, NAMES, SHAPE, ["int16", "int32"])
    for one in (file, other):
        one.begin()
    assert file.part != other.part
    file.fill(file.part, file.missing(file.part), make)
    file.finish()
    mapped = file.read()[0]
    other.fill(other.part, other.missing(other.part), lambda rows: [half - 1 for half in make(rows)])
    np.testing.assert_array_equal(mapped, HALVES[0])  # the second run does not write into the file that the first maps
    other.fill(other.part, range(5), make)
    finished(other)


def test_a_full_disk_is_told_before_anything_is_computed(file, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        file.begin()
    assert file.part is None
    assert not list(file.path.parent.glob("*.part"))
