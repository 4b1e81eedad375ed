"""Candles to choose from: own, sample and uploaded ones, which leave nothing behind; origins inside the data."""

import numpy as np
import pytest

from kronos_ft.data.sources import simulate_candles
from kronos_ft.models.found_model import FoundModel
from kronos_ft.ui.candle_choice import OWN, SAMPLE, UPLOAD, CandleChoice, describe, moved_origin, past_origin, series_of
from kronos_ft.ui.words import words_of


def test_own_candles_come_from_the_record_or_the_command_line(run, shown):
    choice = CandleChoice.of(shown)
    assert choice.kinds() == {OWN: "market.csv", SAMPLE: "", UPLOAD: ""}
    (own,) = choice.read(OWN)
    np.testing.assert_array_equal(own.values, run.series.values)
    assert choice.read(OWN)[0] is own  # read once
    assert CandleChoice.of(shown, "sample").kinds() == {SAMPLE: "", UPLOAD: ""}
    assert CandleChoice.of(shown, "other.parquet").kinds()[OWN] == "other.parquet"


def test_own_candles_have_the_columns_of_their_run(tmp_path):
    path = tmp_path / "candles.csv"
    simulate_candles(50).rename(columns={"timestamps": "Datum", "close": "Schluss"}).to_csv(path, index=False)
    data = {"data": str(path), "policy": "error", "timezone": "UTC", "columns": "time=Datum,close=Schluss"}
    found = FoundModel("run", "model", "tokenizer", record={"data": data})
    assert len(CandleChoice.of(found).read(OWN)[0]) == 50


def test_an_upload_is_read_and_deleted(tmp_path):
    path = tmp_path / "mine.csv"
    simulate_candles(50).to_csv(path, index=False)
    (one,) = CandleChoice(None).read(UPLOAD, str(path))
    assert (one.symbol, len(one), path.exists()) == ("mine", 50, False)


def test_a_bad_upload_is_named_without_its_place_and_deleted(tmp_path):
    path = tmp_path / "bad.csv"
    frame = simulate_candles(50)
    frame.loc[7, "low"] = 1e6
    frame.to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"^bad\.csv: low or high contradicts open and close in 1 row") as refused:
        CandleChoice(None).read(UPLOAD, str(path))
    assert str(tmp_path) not in str(refused.value)
    assert not path.exists()
    frame.to_csv(path, index=False)
    assert len(CandleChoice(None).read(UPLOAD, str(path), "drop")[0]) == 49


def test_choices_that_are_none():
    with pytest.raises(ValueError, match="data='own' is not known; use one of sample, upload"):
        CandleChoice(None).read(OWN)
    with pytest.raises(ValueError, match="no file uploaded; choose a CSV or Parquet file"):
        CandleChoice(None).read(UPLOAD)
    with pytest.raises(ValueError, match="no candles loaded; choose data first"):
        series_of(None, None)


def test_symbols(run):
    assert series_of([run.series], None) is run.series
    with pytest.raises(ValueError, match="symbol 'ETH' is not in the data"):
        series_of([run.series], "ETH")
    assert describe(run.series, words_of("en")) == "600 bars of 1 h, 2020-01-01 to 2020-01-25 23:00 UTC"


def test_origins_stay_inside_the_data(run):
    assert past_origin(run.series, 24) == "2020-01-25 00:00"
    assert past_origin(run.series, 10_000) == "2020-01-01 01:00"
    assert moved_origin(run.series, "2020-01-25 00:00", -24) == "2020-01-24 00:00"
    assert moved_origin(run.series, "2020-01-25 00:00", 999) == "2020-01-25 23:00"
    assert moved_origin(run.series, "2020-01-02", -999) == "2020-01-01 01:00"
    with pytest.raises(ValueError, match="origin='soon' is not a time"):
        moved_origin(run.series, "soon", 1)
