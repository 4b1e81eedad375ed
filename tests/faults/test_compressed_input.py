"""Compressed candles and records: read up to a limit of unpacked bytes, so that no bomb fills the memory."""

import bz2
import gzip
import io
import tracemalloc
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ft_core.io.compressed import unpack, unpacked_limit
from kronos_ft.cli.main import main as kronos
from kronos_ft.data.candles import load_candles
from kronos_ft.data.sources import simulate_candles
from mt5_ft.cli.main import main as mt5
from mt5_ft.data.records import EMOTION_SUMMARY, read_records
from mt5_ft.data.subset import drop_subset
from tests.untrusted import files_of, refusal

pytestmark = pytest.mark.fault(18)

LIMIT = "unpacks to more than 8 MiB; if this is intended, set KRONOS_FT_MAX_UNPACKED to a higher number of MiB"


def zipped(*contents, **options):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"../../evil{number}.csv", content)
    return memory.getvalue()


PACKERS = {".csv.gz": gzip.compress, ".csv.bz2": bz2.compress, ".csv.zip": zipped, ".zip": zipped}


@pytest.fixture
def small_limit(monkeypatch):
    monkeypatch.setenv("KRONOS_FT_MAX_UNPACKED", "8")


@pytest.mark.parametrize("suffix", PACKERS)
def test_candles(tmp_path, suffix):
    frame = simulate_candles(60)
    path = tmp_path / f"BTC{suffix}"
    path.write_bytes(PACKERS[suffix](frame.to_csv(index=False).encode()))
    (series,) = load_candles(path)
    assert series.symbol == "BTC"
    np.testing.assert_array_equal(series.values, load_candles({"BTC": frame})[0].values)
    assert not list(tmp_path.parent.rglob("evil*"))


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_bomb_of_candles(tmp_path, capsys, small_limit, suffix):
    path = tmp_path / f"BTC{suffix}"
    header = simulate_candles(3).to_csv(index=False).encode()
    path.write_bytes(PACKERS[suffix](header + b"0" * 24 * 2**20))
    assert path.stat().st_size < 2**18
    assert LIMIT in refusal(capsys, kronos, ["data", "check", path])
    tracemalloc.start()
    with pytest.raises(ValueError, match="unpacks to more than"):
        unpack(path, path.read_bytes())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 2**20


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zipped])
def test_a_bomb_of_records(tmp_path, capsys, small_limit, pack):
    path = tmp_path / "cases.jsonl"
    path.write_bytes(pack(b" " * 12 * 2**20))
    run = tmp_path / "run"
    assert LIMIT in refusal(
        capsys, mt5, ["train", "--data", path, "--output_dir", run, "--from_scratch", "--model", "small"]
    )
    assert LIMIT in refusal(capsys, mt5, ["subset", path, "--drop", "0.5"])
    assert list(tmp_path.iterdir()) == [path]


def test_a_bomb_of_parquet(tmp_path, capsys, small_limit):
    path = tmp_path / "BTC.parquet"
    columns = {name: pa.array(np.ones(2_000_000)) for name in ("timestamp", "open", "high", "low", "close")}
    pq.write_table(pa.table(columns), path, compression="zstd")
    assert path.stat().st_size < 2**18
    assert LIMIT in refusal(capsys, kronos, ["data", "check", path])


def test_within_the_limit_nothing_changes(tmp_path, small_limit, made):
    path = tmp_path / "cases.jsonl.bz2"
    path.write_bytes(bz2.compress((made / "records.jsonl").read_bytes()))
    plain = read_records(made / "records.jsonl", EMOTION_SUMMARY)[0]
    assert [one.source for one in read_records(path, EMOTION_SUMMARY)[0]] == [one.source for one in plain]
    assert drop_subset(path, 0.2).path == tmp_path / "cases.jsonl"


def encrypted():
    content = bytearray(zipped(b"a"))
    content[6] |= 1
    place = content.rindex(b"PK\x01\x02")
    content[place + 8] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped(b"a", b"b"), "a zip archive of 2 files; unpack it and pass one"),
        (zipped(), "an empty zip archive"),
        (encrypted(), "an encrypted zip archive"),
        (zipped(b"a" * 999)[:-30], "a damaged zip file"),
        (gzip.compress(bytes(range(256)) * 99, mtime=0)[:-20], "a damaged gzip file"),
        (gzip.compress(b"abc" * 99, mtime=0)[:12] + b"\xff" * 40, "a damaged gzip file"),
        (bz2.compress(b"abc" * 99)[:-9] + b"123456789", "a damaged bzip2 file"),
        (b"\xfd7zXZ\x00abc", "an xz file, which is not supported"),
        (b"\x28\xb5\x2f\xfdabc", "a zstandard file, which is not supported"),
        (b"7z\xbc\xaf\x27\x1cabc", "a 7-Zip archive, which is not supported"),
        (b"Rar!\x1a\x07\x00", "a RAR archive, which is not supported"),
    ],
)
def test_archives_that_cannot_be_read(tmp_path, capsys, made, content, message):
    for main, name, words in (
        (kronos, "BTC.csv", ["tokenizer", "--output_dir", tmp_path / "run", "--data"]),
        (mt5, "cases.jsonl", ["summarize", "--model", made / "mt5", "--output", tmp_path / "out.jsonl", "--input"]),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        line = refusal(capsys, main, [*words, path])
        assert f"data file {path} is {message}" in line
    assert {path.name for path in files_of(tmp_path)} == {"BTC.csv", "cases.jsonl"}


@pytest.mark.parametrize("value", ["-1", "0", "many", "1.5"])
def test_a_limit_that_is_none(monkeypatch, value):
    monkeypatch.setenv("KRONOS_FT_MAX_UNPACKED", value)
    with pytest.raises(ValueError, match=rf"KRONOS_FT_MAX_UNPACKED='{value}' is not a positive integer \(MiB\)"):
        unpacked_limit()


def test_the_limit_unless_set(monkeypatch):
    monkeypatch.delenv("KRONOS_FT_MAX_UNPACKED", raising=False)
    assert unpacked_limit() == 2 * 2**30
