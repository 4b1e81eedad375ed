"""Every public function that takes candles takes a file, a DataFrame or a series, and the names of its columns."""

import inspect

import numpy as np
import pytest

import kronos_ft
from kronos_ft import KronosForecaster, KronosPredictor, WindowDataset, WindowShape, forecast_series, load_candles

GERMAN = {"timestamps": "Datum", "open": "Start", "high": "Hoch", "low": "Tief", "close": "Schluss"}
COLUMNS = {"time": "Datum", "open": "Start", "high": "Hoch", "low": "Tief", "close": "Schluss"}
TAKES_CANDLES = {"KronosForecaster.predict": "data", "WindowDataset": "series", "forecast_series": "series"}
TAKES_COLUMNS = {"KronosForecaster.predict", "forecast_series", "load_candles"}


def public_callables():
    for name in kronos_ft.__all__:
        one = getattr(kronos_ft, name)
        yield name, one
        if inspect.isclass(one):
            for method, function in vars(one).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    yield f"{name}.{method}", function


@pytest.fixture
def frame(series):
    return series[0].to_frame()


@pytest.fixture
def predictor(networks):
    return KronosPredictor(*networks, device="cpu")


@pytest.fixture
def forms(frame, series, tmp_path):
    """The same candles in several forms."""
    frame.to_csv(tmp_path / "DataFrame.csv", index=False)
    load = load_candles(frame)
    path = tmp_path / "DataFrame.csv"
    return [load, load[0], frame, frame.set_index("timestamps"), path, str(path), [frame]]


def test_all_functions_are_known():
    found, columns = {}, set()
    for name, one in public_callables():
        parameters = inspect.signature(one).parameters
        if "columns" in parameters and not name.endswith("Arguments"):
            columns.add(name)
        for parameter in parameters.values():
            text = str(parameter.annotation)
            if "CandleSeries" in text and "DataFrame" in text:
                found[name] = parameter.name
            else:
                assert "CandleSeries" not in text, (name, parameter)
    assert found == TAKES_CANDLES
    assert columns == TAKES_COLUMNS


def test_forecasts(predictor, forms):
    found = [forecast_series(predictor, one, 3, lookback=20, num_paths=2)[0] for one in forms[:-1]]
    for one in found[1:]:
        np.testing.assert_array_equal(one.forecast.paths, found[0].forecast.paths)
        np.testing.assert_array_equal(one.times, found[0].times)
    assert [one.series.symbol for one in forecast_series(predictor, forms[-1], 3, lookback=20, num_paths=2)] == ["0"]


def test_windows(forms):
    shape = WindowShape(lookback=20, horizon=4)
    found = [WindowDataset(one, "train", shape) for one in forms]
    assert {one.fingerprint() for one in found} == {found[0].fingerprint()}


def test_columns_by_name(predictor, frame):
    german = frame.rename(columns=GERMAN)
    expected = load_candles(frame)[0]
    listed = ",".join(f"{meaning}={name}" for meaning, name in COLUMNS.items())
    forecaster = KronosForecaster(predictor)
    sizes = {"lookback": 20, "num_paths": 2}
    paths = forecaster.predict(frame, 3, **sizes).paths
    for columns in (COLUMNS, listed):
        np.testing.assert_array_equal(load_candles(german, columns=columns)[0].values, expected.values)
        np.testing.assert_array_equal(forecaster.predict(german, 3, columns=columns, **sizes).paths, paths)
        (one,) = forecast_series(predictor, german, 3, columns=columns, **sizes)
        np.testing.assert_array_equal(one.forecast.paths, paths)
    by_symbol = german.assign(Papier="X")
    assert list(forecaster.predict(by_symbol, 3, columns={**COLUMNS, "symbol": "Papier"}, **sizes)) == ["X"]
    with pytest.raises(ValueError, match="no column is named 'Kurs'"):
        forecaster.predict(german, 3, columns={**COLUMNS, "close": "Kurs"}, **sizes)
    with pytest.raises(ValueError, match="columns names 'price', which is no meaning"):
        forecaster.predict(german, 3, columns={"price": "Schluss"}, **sizes)
