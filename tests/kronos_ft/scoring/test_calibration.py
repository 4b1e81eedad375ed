"""Calibration: each symbol on its own where it can be, the others together."""

import numpy as np
import pytest

from kronos_ft.scoring.calibration import LEAST_OWN, ConformalBands, calibrate
from kronos_ft.scoring.targets import TARGETS, VOLUME


def draws(generator, count, spread, num_paths=40, horizon=3):
    """Truth with a spread, and paths that are half as wide."""
    truth = np.abs(generator.normal(0, spread, (count, horizon, 7)))
    return truth, np.abs(generator.normal(0, spread / 2, (count, num_paths, horizon, 7)))


@pytest.fixture
def two_symbols():
    generator = np.random.default_rng(0)
    parts = [[draws(generator, count, spread) for count, spread in ((200, 1.0), (100, 0.1))] for _ in range(2)]
    return [
        (*(np.concatenate([part[i] for part in split]) for i in (0, 1)), [slice(0, 200), slice(200, 300)])
        for split in parts
    ]


def test_own_offsets_reach_the_level_in_each_symbol(two_symbols):
    validation, test = two_symbols
    found = calibrate(*validation, *test)
    assert found["own"] == 2
    assert found["origins"] == 300
    close = found["targets"]["close"]["levels"]
    for level, band in close.items():
        assert band["before"]["coverage"]["overall"] < float(level) - 0.05
        assert abs(band["after"]["coverage"]["overall"] - float(level)) < 0.06
        assert band["after"]["width"]["overall"] > band["before"]["width"]["overall"]


def test_offsets_are_those_of_the_first_symbol(two_symbols):
    validation, test = two_symbols
    found = calibrate(*validation, *test)
    own = ConformalBands.fit(validation[0][:200, :, 3], validation[1][:200, ..., 3])
    np.testing.assert_allclose(found["targets"]["close"]["offsets"], own.offsets)
    few = LEAST_OWN - 1
    short = (validation[0][:few], validation[1][:few], [slice(0, few)])
    assert calibrate(*short, *test[:2], [slice(0, 300)])["own"] == 0


@pytest.mark.fault(17)
def test_offsets_are_pooled_from_what_is_known_alone(two_symbols):
    (truth, paths, _), test = two_symbols
    rows = [slice(0, 20), slice(20, 300)]
    known = [np.arange(300) % 2 == 0, np.ones(300, bool)]
    found = calibrate(truth, paths, rows, *test, known)
    expected = ConformalBands.fit(truth[::2, :, 3], paths[::2, ..., 3])
    np.testing.assert_allclose(found["targets"]["close"]["offsets"], expected.offsets)


@pytest.mark.fault(17)
def test_a_symbol_with_nothing_known_before_its_test_has_no_figures(two_symbols):
    (truth, paths, _), test = two_symbols
    rows, none = [slice(0, 0), slice(0, 300)], np.zeros(300, bool)
    found = calibrate(truth, paths, rows, *test, [none, ~none])
    assert found["notes"] == ["200 test origins have no validation origin before them and are excluded here"]
    alone = calibrate(truth, paths, [rows[1]], test[0][200:], test[1][200:], [slice(0, 100)])
    assert found["targets"] == alone["targets"]
    assert calibrate(truth, paths, [rows[0]], *test[:2], [slice(0, 300)], [none]) is None


def test_a_point_forecast_is_given_bands_and_had_none(two_symbols):
    (truth, paths, rows), test = two_symbols
    found = calibrate(truth, paths[:, :1], rows, test[0], test[1][:, :1], test[2])
    band = found["targets"]["close"]["levels"]["0.9"]
    assert band["before"] is None
    assert abs(band["after"]["coverage"]["overall"] - 0.9) < 0.06


def test_without_validation_there_is_no_calibration(two_symbols):
    _, test = two_symbols
    assert calibrate(np.empty((0, 3, 7)), np.empty((0, 1, 3, 7)), [slice(0, 0)] * 2, *test) is None


def test_volume_is_calibrated_where_it_is_defined(two_symbols):
    """The second symbol has no volume: the other targets do not change, and volume is calibrated on the first."""
    validation, test = two_symbols
    whole = calibrate(*validation, *test)
    for truth, paths, rows in two_symbols:
        truth[rows[1], :, VOLUME] = paths[rows[1], ..., VOLUME] = np.nan
    found = calibrate(*validation, *test)
    for target in TARGETS[:VOLUME]:
        assert found["targets"][target] == whole["targets"][target]
    alone = [(truth[:200], paths[:200], [slice(0, 200)]) for truth, paths, _ in two_symbols]
    assert found["targets"]["volume"] == calibrate(*alone[0], *alone[1])["targets"]["volume"]
    for truth, paths, _ in two_symbols:
        truth[..., VOLUME] = paths[..., VOLUME] = np.nan
    assert set(calibrate(*validation, *test)["targets"]) == set(TARGETS[:VOLUME])


def test_volume_is_pooled_from_symbols_that_have_it(two_symbols):
    (truth, paths, _), test = two_symbols
    truth[1:300:2, :, VOLUME] = np.nan  # validation origins of other symbols, without volume
    rows = [slice(0, 20), slice(20, 60)]
    found = calibrate(truth, paths, rows, *test)
    expected = ConformalBands.fit(truth[::2, :, VOLUME], paths[::2, ..., VOLUME])
    np.testing.assert_allclose(found["targets"]["volume"]["offsets"], expected.offsets)
