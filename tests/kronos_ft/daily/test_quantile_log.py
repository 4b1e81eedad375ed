"""The quantile file: what is in it, what is added and what is refused, and what is not such a file."""

import shutil
import threading

import numpy as np
import pandas as pd
import pytest

from kronos_ft.daily.quantile_log import COLUMNS, LEVEL_COLUMNS, append_rows, keys_of, quantile_rows, read_log
from kronos_ft.forecasting.forecast import Forecast
from kronos_ft.forecasting.series import SymbolForecast


@pytest.fixture
def tables(make_log):
    return [make_log([origin]) for origin in (100, 101)]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_is_written_is_read(make_log, tmp_path, suffix):
    path = tmp_path / f"log{suffix}"
    symbols = ["=1+2", "000001", "NA", "贵州茅台"]  # formulas are escaped in CSV; none becomes a number or is missing
    assert append_rows(path, [make_log([7], symbol=symbol) for symbol in symbols]) == []
    assert append_rows(path, [make_log([8], symbol=symbol) for symbol in symbols]) == []
    expected = pd.concat(
        [make_log([7], symbol=one) for one in symbols] + [make_log([8], symbol=one) for one in symbols]
    ).reset_index(drop=True)
    pd.testing.assert_frame_equal(read_log(path), expected, check_exact=True, check_dtype=False)
    if suffix == ".csv":
        assert "'=1+2" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_forecast_is_never_replaced(tables, make_log, tmp_path, suffix):
    path = tmp_path / f"log{suffix}"
    append_rows(path, tables[:1])
    before = path.read_bytes()
    (key,) = append_rows(path, [make_log([100], width=2)])
    assert (key[0], str(key[1])[:13], key[2]) == ("W", "2024-01-05T04", "m" * 64)
    assert path.read_bytes() == before
    assert append_rows(path, [make_log([100], model="other"), tables[1], tables[1]]) == [next(iter(keys_of(tables[1])))]
    assert len(read_log(path)) == 9
    assert append_rows(path, tables[:1], new=True) == []
    assert len(read_log(path)) == 3


def test_the_rows_of_a_forecast(walked):
    (series,) = walked
    paths = np.random.default_rng(0).normal(100, 1, (30, 3, 6))
    times = series.timestamps[-3:]
    forecast = Forecast(paths, 0.0, 0.0, times, "W", 99.5)
    rows = quantile_rows(SymbolForecast(series, len(series) - 3, times, forecast, 20), "abc")
    assert list(rows.columns) == list(COLUMNS)
    assert rows.step.tolist() == [1, 2, 3]
    assert (rows.origin == pd.Timestamp(series.timestamps[-4])).all()
    assert rows.timestamps.tolist() == pd.DatetimeIndex(times).tolist()
    np.testing.assert_array_equal(rows[list(LEVEL_COLUMNS)], forecast.quantiles().to_numpy())
    np.testing.assert_array_equal(rows.probability_up, forecast.probability_up())
    assert set(rows.last_close) == {99.5}
    assert abs(rows.created[0] - pd.Timestamp.now("UTC").tz_localize(None)) < pd.Timedelta(minutes=5)


def test_processes_that_append_at_once_lose_nothing(make_log, tmp_path):
    path = tmp_path / "log.csv"
    writers = [threading.Thread(target=append_rows, args=(path, [make_log([origin])])) for origin in range(50, 62)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(keys_of(read_log(path))) == 12


def test_an_interrupted_write_leaves_the_old_file(tables, tmp_path, monkeypatch):
    path = tmp_path / "log.csv"
    append_rows(path, tables[:1])
    before = path.read_bytes()
    monkeypatch.setattr(pd.DataFrame, "to_csv", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space left"):
        append_rows(path, tables[1:])
    assert path.read_bytes() == before
    assert {one.name for one in tmp_path.iterdir()} <= {"log.csv", ".log.csv.lock"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda log: log.drop(columns=["0.05", "model"]), "has no column 0.05, model"),
        (lambda log: log.assign(origin="soon"), "has a value of the wrong type"),
        (lambda log: log.assign(last_close="much"), "has a value of the wrong type"),
        (lambda log: log.assign(last_close=""), "has a value of the wrong type"),
        (lambda log: log.assign(last_close=-1.0), "has prices of zero or less"),
        (lambda log: log.assign(**{"0.05": 200.0}), "has quantiles that are missing or decrease"),
        (lambda log: log.assign(**{"0.95": np.inf}), "has quantiles that are missing or decrease"),
        (lambda log: pd.concat([log, log]), "has two forecasts of W from 2024-01-05"),
    ],
)
def test_what_is_no_log(tables, tmp_path, change, message):
    path = tmp_path / "log.csv"
    change(tables[0]).to_csv(path, index=False)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"log.csv {message}"):
        append_rows(path, tables[1:])
    assert path.read_bytes() == before


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(ValueError, match=r"none.csv does not exist; pass a file of kronos-ft forecast --quantiles"):
        read_log(tmp_path / "none.csv")
    (tmp_path / "log.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match="is not a readable Parquet file"):
        read_log(tmp_path / "log.parquet")
    shutil.copy(tmp_path / "log.parquet", tmp_path / "log.csv")
    with pytest.raises(ValueError, match="has no column symbol, origin"):
        read_log(tmp_path / "log.csv")
