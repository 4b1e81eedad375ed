"""One object, three lines: the model is found by a name, candles come in any form, and no later bar is seen."""

import logging
import shutil

import numpy as np
import pandas as pd
import pytest

from kronos_ft import Forecast, KronosForecaster, KronosPredictor, forecast_series, load_candles
from kronos_ft.data.sources import simulate_candles
from kronos_ft.models.identity import weights_hash
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
from kronos_ft.models.pairing import write_forecaster

PRICES = ["open", "high", "low", "close", "volume", "amount"]


@pytest.fixture(scope="module")
def forecaster(finetuned):
    return KronosForecaster.from_pretrained(finetuned.folder, device="cpu")


@pytest.fixture(scope="module")
def frame():
    return simulate_candles(120, seed=8)


def same(one, other):
    np.testing.assert_allclose(one.paths, other.paths, rtol=1e-6)


def test_three_lines(finetuned):
    forecaster = KronosForecaster.from_pretrained(str(finetuned.folder))
    forecast = forecaster.predict(finetuned.data, num_paths=9)
    table = forecast.quantiles([0.05, 0.5, 0.95])
    assert isinstance(forecast, Forecast)
    assert (forecaster.lookback, forecaster.horizon) == (20, 4)  # as trained
    assert forecaster.sampling == {"T": 1.0, "top_p": 1.0, "top_k": 0}
    assert table.shape == (4, 3)
    assert table.index[0] == pd.Timestamp(finetuned.series.timestamps[-1]) + pd.Timedelta(hours=1)
    assert (forecast.symbol, forecast.last_close) == ("market", finetuned.series.values[-1, 3])
    assert len(forecast.history) == 20
    assert "20 bars of context, 4 bars ahead, T=1, top_p=1, top_k=0, on cpu" in repr(forecaster)


def test_every_way_to_name_the_model_gives_the_same_forecast(finetuned, forecaster, tmp_path):
    expected = forecaster.predict(finetuned.data, num_paths=5)
    alone = shutil.copytree(finetuned.folder / "predictor" / "best_model", tmp_path / "model")
    for place in (finetuned.folder / "predictor", finetuned.folder / "predictor" / "best_model", alone):
        same(KronosForecaster.from_pretrained(place).predict(finetuned.data, num_paths=5), expected)
    tokenizer = KronosTokenizer.from_pretrained(finetuned.folder / "tokenizer" / "best_model")
    by_hand = KronosPredictor(Kronos.from_pretrained(alone), tokenizer)
    same(forecast_series(by_hand, load_candles(finetuned.data), num_paths=5)[0].forecast, expected)


def test_a_model_of_the_hub(hub, run, finetuned, forecaster):
    assert run("push", finetuned.folder / "tokenizer", "me/tokenizer")[0] == 0
    assert run("push", finetuned.folder / "predictor", "me/predictor", "--tokenizer", "me/tokenizer")[0] == 0
    assert '"tokenizer": "me/tokenizer"' in hub.history("me/predictor")[-1].files["forecaster.json"].decode()
    found = KronosForecaster.from_pretrained("me/predictor")
    same(found.predict(finetuned.data, num_paths=5), forecaster.predict(finetuned.data, num_paths=5))


def test_one_series_in_any_form(forecaster, frame, tmp_path):
    expected = forecaster.predict({"X": frame}, num_paths=5)["X"]
    indexed = frame.set_index("timestamps")
    frame.to_parquet(tmp_path / "X.parquet")
    for data in (
        {"X": indexed},
        {"X": load_candles({"Y": frame})[0]},
        [frame.assign(symbol="X")],
        [tmp_path / "X.parquet"],
    ):
        same(forecaster.predict(data, num_paths=5)["X"], expected)
    for data in (load_candles({"X": frame})[0], tmp_path / "X.parquet", str(tmp_path / "X.parquet")):
        same(forecaster.predict(data, num_paths=5), expected)
    nameless = forecaster.predict(indexed, num_paths=5)
    assert isinstance(nameless, Forecast)
    np.testing.assert_array_equal(nameless.times, expected.times)


def test_several_series_are_a_dict_by_symbol(forecaster, frame, tmp_path):
    other = simulate_candles(90, seed=9)
    expected = forecaster.predict({"A": frame, "B": other}, num_paths=5)
    long = pd.concat([frame.assign(symbol="A"), other.assign(symbol="B")])
    for name, table in (("A", frame), ("B", other)):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    long.to_parquet(tmp_path / "panel.parquet")
    listed = [load_candles({"A": frame})[0], load_candles({"B": other})[0]]
    for data in (long, listed, tmp_path / "panel.parquet", str(tmp_path / "*.csv"), long.set_index("timestamps")):
        found = forecaster.predict(data, num_paths=5)
        assert list(found) == ["A", "B"]
        for symbol in "AB":
            same(found[symbol], expected[symbol])
    assert list(forecaster.predict([frame, other], num_paths=2)) == ["0", "1"]
    assert list(forecaster.predict(frame.assign(symbol="A"), num_paths=2)) == ["A"]  # long format of one symbol


@pytest.mark.fault(17)
def test_bars_from_the_origin_on_change_no_quantile_and_no_path(forecaster, frame):
    origin = str(frame.timestamps[80])
    later = frame.copy()
    later.loc[80:, PRICES] *= np.random.default_rng(0).uniform(0.5, 2, (40, 1))
    known = forecaster.predict({"X": frame}, 12, origin=origin)["X"]
    for data in (later, frame[:80], later[:97]):
        found = forecaster.predict({"X": data}, 12, origin=origin)["X"]
        np.testing.assert_array_equal(found.paths, known.paths)
        pd.testing.assert_frame_equal(found.quantiles(), known.quantiles())
        pd.testing.assert_series_equal(found.probability_up(), known.probability_up())
        pd.testing.assert_frame_equal(found.history, known.history)
    earlier = frame.copy()
    earlier.loc[79, PRICES] *= 1.01  # the last known bar does count
    assert not np.array_equal(forecaster.predict({"X": earlier}, 12, origin=origin)["X"].paths, known.paths)


def test_settings_override_those_of_the_model(forecaster, frame, caplog):
    with caplog.at_level(logging.WARNING):
        found = forecaster.predict(frame, 7, num_paths=3, lookback=50, seed=1, T=0.0)
    assert (found.horizon, found.num_paths, len(found.history)) == (7, 3, 50)
    assert "lookback=50 differs from the 20 bars of context that" in caplog.text
    assert "horizon=7 exceeds the 4 bars ahead that" in caplog.text
    assert (found.paths == found.paths[0]).all()  # greedy
    assert not np.array_equal(forecaster.predict(frame, seed=1).paths, forecaster.predict(frame, seed=2).paths)


def test_a_time_zone_and_invalid_candles_are_told(finetuned, frame, caplog, monkeypatch):
    own = KronosForecaster.from_pretrained(finetuned.folder)
    monkeypatch.setitem(own.found.record, "data", {"timezone": "Asia/Shanghai"})
    monkeypatch.setattr("kronos_ft.forecasting.forecaster.MANY_TOUCHED", -1.0)
    own.predict(frame, num_paths=2)
    assert "read as UTC here, but as Asia/Shanghai in the training of" in caplog.text
    assert "invalid candles (1 of 1 series have many): the model does not fit these data well" in caplog.text
    caplog.clear()
    own.predict(load_candles(frame)[0], num_paths=2)  # its times are read already
    own.predict(frame, num_paths=2, timezone="Asia/Shanghai")
    assert "read as UTC" not in caplog.text


def test_sampling_settings_of_a_calibration(finetuned, forecaster, frame, tmp_path):
    folder = shutil.copytree(finetuned.folder / "predictor" / "best_model", tmp_path / "model")
    own = weights_hash(forecaster.predictor.model)
    write_forecaster(folder, {"T": 0.0, "predictor_sha256": own})
    calibrated = KronosForecaster.from_pretrained(folder)
    assert (calibrated.predict(frame, num_paths=3).paths[0] == calibrated.predict(frame, num_paths=3).paths[1]).all()
    write_forecaster(folder, {"predictor_sha256": "0" * 64})
    with pytest.raises(ValueError, match="was calibrated for other weights"):
        KronosForecaster.from_pretrained(folder)
    with pytest.raises(ValueError, match="was calibrated for other weights"):
        KronosPredictor(Kronos.from_pretrained(folder), forecaster.predictor.tokenizer)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "data contains no series; pass at least one"),
        (3, "data is a int, not candles; pass a DataFrame"),
        ([3], r"data\[0\] is a int, not candles"),
        (pd.DataFrame({"a": [1]}), "DataFrame: no column found for time, open, high, low, close"),
        ("nowhere.csv", "data file nowhere.csv does not exist"),
    ],
)
def test_what_is_no_candles(forecaster, data, message):
    with pytest.raises(ValueError, match=message):
        forecaster.predict(data)


def test_a_symbol_twice_and_a_series_too_short(forecaster, frame):
    one = load_candles({"X": frame})[0]
    with pytest.raises(ValueError, match="symbol X occurs 2 times; pass a dict of symbol to candles"):
        forecaster.predict([one, one])
    with pytest.raises(ValueError, match="B has 10 bars before the forecast, fewer than lookback=20"):
        forecaster.predict({"A": frame, "B": frame[:10]})
