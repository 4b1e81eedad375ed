"""Calibrated bands cover what they say on origins that they were not fitted on."""

import json
import math

import numpy as np
import pytest

from kronos_ft.scoring.calibration import ConformalBands
from kronos_ft.scoring.figures import plain
from kronos_ft.scoring.metrics import path_bands


def forecasts(generator, number, spread, paths=40):
    """Truth of standard deviation 1 around a known centre; paths of standard deviation `spread`."""
    centre = generator.standard_normal((number, 2))
    truth = centre + generator.standard_normal((number, 2))
    return truth, centre[:, None] + spread * generator.standard_normal((number, paths, 2))


@pytest.mark.parametrize("spread", [0.4, 1.0, 3.0])
def test_coverage_by_simulation(spread):
    generator = np.random.default_rng(1)
    bands = ConformalBands.fit(*forecasts(generator, 2000, spread))
    found = bands.coverage(*forecasts(generator, 8000, spread))
    for level, sides in found.items():
        for coverage in sides["after"]["coverage"].by_horizon:
            assert coverage == pytest.approx(level, abs=0.03)
        narrower = sides["before"]["width"].overall < sides["after"]["width"].overall
        if spread != 1:
            assert abs(sides["before"]["coverage"].overall - level) > 0.08
            assert narrower == (spread < 1)
    json.dumps(plain({"bands": bands, "coverage": found}), allow_nan=False)


def test_a_point_forecast_gets_bands():
    generator = np.random.default_rng(2)
    bands = ConformalBands.fit(*forecasts(generator, 2000, 0.0, paths=1))
    found = bands.coverage(*forecasts(generator, 8000, 0.0, paths=1))
    assert found[0.9]["after"]["coverage"].overall == pytest.approx(0.9, abs=0.02)
    assert found[0.9]["before"]["coverage"].overall == 0
    assert bands.offsets[2] == pytest.approx([1.645, 1.645], abs=0.1)


def test_finite_sample_rank():
    """Mean coverage over many calibrations of 19 origins is 0.9 exactly: the 18th smallest of 19 scores."""
    generator = np.random.default_rng(3)
    truth = generator.permutation(np.arange(1.0, 20.0))[:, None]
    assert ConformalBands.fit(truth, np.zeros((19, 1, 1)), [0.9]).offsets[0, 0] == 18
    assert ConformalBands.fit(np.arange(1.0, 100.0)[:, None], np.zeros((99, 1, 1)), [0.9]).offsets[0, 0] == 90
    covered = []
    for _ in range(3000):
        truth, new = generator.standard_normal((19, 1)), generator.standard_normal()
        covered.append(abs(new) <= ConformalBands.fit(truth, np.zeros((19, 1, 1)), [0.9]).offsets[0, 0])
    assert np.mean(covered) == pytest.approx(0.9, abs=0.02)


def test_offsets_by_hand():
    paths = np.tile(np.arange(1.0, 20.0)[None, :, None], (3, 1, 1))  # the 80 % band is 2 to 18
    truth = np.array([[10.0], [1.0], [25.0]])  # scores -8, 1, 7
    bands = ConformalBands.fit(truth, paths, [0.5, 0.8])
    assert bands.offsets[1, 0] == 7
    assert bands.note == (
        "3 validation origins are too few for the 80% interval: it uses the largest error, without a coverage guarantee"
    )
    lower, upper = bands.bands(paths)
    assert (lower[1, 0, 0], upper[1, 0, 0]) == pytest.approx((-5, 25))


def test_bands_never_cross_and_contain_each_other():
    generator = np.random.default_rng(4)
    truth, paths = forecasts(generator, 30, 50.0)
    bands = ConformalBands.fit(truth, paths, [0.1, 0.5, 0.8, 0.9])
    lower, upper = bands.bands(paths * generator.uniform(0, 2, (30, 1, 1)))
    assert (lower <= upper).all()
    assert (np.diff(lower, axis=0) <= 0).all()
    assert (np.diff(upper, axis=0) >= 0).all()
    assert (bands.offsets < 0).all()


def test_volatility_stays_above_its_minimum():
    generator = np.random.default_rng(5)
    truth, paths = np.abs(generator.standard_normal((200, 2))), np.full((200, 5, 2), 0.1)
    lower, _ = ConformalBands.fit(truth, paths, minimum=0.0).bands(paths)
    assert (lower == 0).any()
    assert (lower >= 0).all()


@pytest.mark.fault(17)
def test_calibration_sees_the_validation_split_alone():
    """Bands depend on the validation origins and the new paths; there is no other input."""
    generator = np.random.default_rng(6)
    bands = ConformalBands.fit(*forecasts(generator, 200, 0.5))
    truth, paths = forecasts(generator, 50, 0.5)
    before = bands.bands(paths)
    bands.coverage(truth * math.pi, paths)
    np.testing.assert_array_equal(before, bands.bands(paths))
    np.testing.assert_allclose(before[0], path_bands(paths)[0] - bands.offsets[:, None])


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="no validation origins to calibrate on"):
        ConformalBands.fit(np.zeros((0, 2)), np.zeros((0, 5, 2)))
    with pytest.raises(ValueError, match="do not have the 2 bars of the calibration"):
        ConformalBands.fit(np.zeros((9, 2)), np.zeros((9, 5, 2))).bands(np.zeros((9, 5, 3)))
