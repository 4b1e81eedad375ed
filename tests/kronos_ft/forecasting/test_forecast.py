"""What a forecast offers: mean, quantiles, bands, one long table."""

import numpy as np
import pytest

from kronos_ft.data.columns import FEATURES
from kronos_ft.forecasting.forecast import Forecast

PATHS = np.random.default_rng(0).normal(size=(41, 3, 6))


@pytest.fixture
def forecast():
    return Forecast(PATHS, 0.0, 0.0)


def test_mean_and_quantiles(forecast):
    np.testing.assert_array_equal(forecast.mean().to_numpy(), PATHS.mean(axis=0))
    found = forecast.quantiles([0.0, 0.5, 1.0])
    np.testing.assert_array_equal(found[0.5].to_numpy(), np.median(PATHS, axis=0))
    np.testing.assert_array_equal(found[0.0].to_numpy(), PATHS.min(axis=0))
    np.testing.assert_array_equal(found[1.0].to_numpy(), PATHS.max(axis=0))


def test_a_band_holds_its_share_of_the_paths(forecast):
    low, high = forecast.band(0.8)
    inside = (low.to_numpy() <= PATHS) & (high.to_numpy() >= PATHS)
    assert inside.mean(axis=0).min() >= 0.75
    assert inside.mean(axis=0).max() <= 0.85


def test_one_table_of_all_paths(forecast):
    frame = forecast.to_frame(["a", "b", "c"])
    assert list(frame.columns) == ["path", "timestamps", *FEATURES]
    assert len(frame) == 41 * 3
    row = frame[(frame.path == 7) & (frame.timestamps == "b")]
    np.testing.assert_array_equal(row[list(FEATURES)].to_numpy()[0], PATHS[7, 1])


def test_bad_levels(forecast):
    with pytest.raises(ValueError, match=r"level=1.5 is outside \[0, 1\]"):
        forecast.quantiles([1.5])
    with pytest.raises(ValueError, match=r"coverage=1 is outside \(0, 1\)"):
        forecast.band(1)
