"""Ten million bars: a run reads them and trains on them with less than 2 GiB resident."""

import sys

import pytest

from benchmarks.large_data import BOUND, in_own_process, write_candles


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the largest resident memory")
@pytest.mark.parametrize(("kind", "bars"), [("parquet", 10_000_000), ("csv", 10_000_000)])
def test_training_on_ten_million_bars_stays_below_two_gigabytes(kind, bars, tmp_path):
    write_candles(tmp_path / "data", bars, 8, kind)
    measured = in_own_process("train", tmp_path / "data", tmp_path / "run")
    assert (tmp_path / "run" / "best_model").is_dir()
    assert measured["peak_gib"] < BOUND
