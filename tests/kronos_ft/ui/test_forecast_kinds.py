"""What a page offers for each model, and which networks and sampling settings make it."""

import dataclasses
import shutil

import numpy as np
import pytest

from kronos_ft.forecasting.networks import load_predictor
from kronos_ft.models.found_model import find_model
from kronos_ft.models.pairing import SAMPLING
from kronos_ft.ui.forecast_kinds import (
    BLOCKS,
    BOTH,
    CALIBRATED,
    OWN,
    RAW,
    SAMPLED,
    ForecastKinds,
    load_page_predictor,
)
from kronos_ft.ui.forecast_view import ForecastChoices, make_forecast

CHOICES = ForecastChoices(horizon=3, num_paths=9, lookback=20, seed=3)


@pytest.fixture(scope="module")
def head_kinds(head):
    return ForecastKinds(head)


@pytest.fixture(scope="module")
def calibrated_kinds(calibrated):
    return ForecastKinds(load_page_predictor(find_model(calibrated), "cpu")[0])


@pytest.fixture
def forecast_with(run):
    """A function that makes the forecast of a request."""

    def forecast_with(ask):
        return make_forecast(ask.predictor, run.series, dataclasses.replace(CHOICES, **ask.sampling)).forecast

    return forecast_with


def test_the_choices_of_each_model(predictor, head_run, head_kinds, calibrated_kinds):
    assert ForecastKinds(predictor).kinds() == (OWN,)
    assert calibrated_kinds.kinds() == (CALIBRATED, RAW, BOTH, OWN)
    assert head_kinds.kinds() == (CALIBRATED, RAW, BOTH)
    alone, warning = load_page_predictor(find_model(str(head_run / "quantiles")), "cpu")
    assert ForecastKinds(alone).kinds() == (CALIBRATED,)
    assert not ForecastKinds(alone).has_sampled_paths
    assert warning is None


def test_where_sampling_fields_apply(predictor, head_kinds, calibrated_kinds):
    assert ForecastKinds(predictor).sampling_applies(OWN)
    assert [calibrated_kinds.sampling_applies(kind) for kind in calibrated_kinds.kinds()] == [False, False, False, True]
    assert [head_kinds.sampling_applies(kind, BLOCKS) for kind in head_kinds.kinds()] == [False] * 3
    assert [head_kinds.sampling_applies(kind, SAMPLED) for kind in head_kinds.kinds()] == [True, False, True]


def test_a_head_alone_gives_its_distribution_and_ignores_no_field(head_kinds, forecast_with):
    (ask,) = head_kinds.requests(CALIBRATED, BLOCKS, 0.3, 0.4)
    assert (ask.kind, ask.sampling) == (CALIBRATED, {})
    found = forecast_with(ask)
    np.testing.assert_array_equal(found.direct.levels, head_kinds.levels())
    np.testing.assert_allclose(np.sort(found.paths[:, :, 3], axis=0).T, found.direct.samples("close", 9))


def test_sampled_paths_of_a_head_take_the_fields_and_keep_its_distribution(head_kinds, forecast_with):
    (blocks,), (cold,), (warm,) = (
        head_kinds.requests(CALIBRATED, *fields)
        for fields in ((BLOCKS, 1, 1), (SAMPLED, 0.2, 1.0), (SAMPLED, 1.5, 1.0))
    )
    assert cold.sampling == {"T": 0.2, "top_p": 1.0}
    found = [forecast_with(ask) for ask in (blocks, cold, warm)]
    for one in found[1:]:
        np.testing.assert_allclose(one.direct.close, found[0].direct.close)
        np.testing.assert_allclose(np.sort(one.paths[:, :, 3], axis=0), np.sort(found[0].paths[:, :, 3], axis=0))
    assert not np.array_equal(found[1].paths, found[2].paths)


def test_raw_paths_are_those_of_the_predictor(head_run, head_kinds, calibrated, calibrated_kinds, run, forecast_with):
    """With T=1, top_p=1 and top_k=0, whatever the fields and the calibrated values are."""
    for kinds, name in ((head_kinds, str(head_run / "predictor")), (calibrated_kinds, calibrated)):
        (raw,) = kinds.requests(RAW, BLOCKS, 0.3, 0.4)
        both = kinds.requests(BOTH, BLOCKS, 0.3, 0.4)
        assert [ask.kind for ask in both] == [CALIBRATED, RAW]
        assert raw.sampling == SAMPLING
        expected = make_forecast(
            load_predictor(find_model(name), "cpu"), run.series, dataclasses.replace(CHOICES, **SAMPLING)
        )
        for ask in (raw, both[1]):
            found = forecast_with(ask)
            assert found.direct is None
            np.testing.assert_array_equal(found.paths, expected.forecast.paths)


def test_calibrated_sampling_is_that_of_forecaster_json(calibrated_kinds, forecast_with):
    (ask,) = calibrated_kinds.requests(CALIBRATED, BLOCKS, 1.0, 1.0)
    (own,) = calibrated_kinds.requests(OWN, BLOCKS, 0.8, 0.9)
    assert (ask.sampling, own.kind, own.sampling) == ({}, OWN, {"T": 0.8, "top_p": 0.9})
    np.testing.assert_array_equal(forecast_with(ask).paths, forecast_with(own).paths)
    (raw,) = calibrated_kinds.requests(RAW, BLOCKS, 0.8, 0.9)
    assert not np.array_equal(forecast_with(raw).paths, forecast_with(own).paths)


def test_what_a_model_does_not_offer(predictor, head_kinds):
    with pytest.raises(ValueError, match="kind='raw' is not known; use one of own"):
        ForecastKinds(predictor).requests(RAW, BLOCKS, 1, 1)
    with pytest.raises(ValueError, match="paths='sampled' is not possible with this model; use blocks"):
        ForecastKinds(predictor).requests(OWN, SAMPLED, 1, 1)
    with pytest.raises(ValueError, match="paths='both' is not possible"):
        head_kinds.requests(CALIBRATED, "both", 1, 1)


def test_a_head_whose_predictor_cannot_be_used(head_run, tmp_path):
    """The page opens with the head alone, and a warning."""
    folder = tmp_path / "run"
    shutil.copytree(head_run, folder)
    (folder / "predictor" / "best_model" / "config.json").unlink()
    found, warning = load_page_predictor(find_model(str(folder)), "cpu")
    assert ForecastKinds(found).kinds() == (CALIBRATED,)
    assert warning.startswith("the page has no sampled paths: ")
    assert str(folder / "predictor" / "best_model") in warning
