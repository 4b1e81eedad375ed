"""What a forecast offers: mean, quantiles, bands, probabilities, one long table, a picture, its text."""

import dataclasses

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest

from kronos_ft.data.columns import FEATURES
from kronos_ft.forecasting.forecast import DirectQuantiles, Forecast
from kronos_ft.forecasting.plots import shown_paths

CLOSE = 3
PATHS = 100 + np.random.default_rng(0).normal(size=(41, 3, 6))
TIMES = np.array(["2024-01-01T01", "2024-01-01T02", "2024-01-01T03"], dtype="datetime64[ns]")
LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
VALUES = np.array(
    [[95.0, 98.0, 100.0, 102.0, 105.0], [94.0, 97.0, 101.0, 103.0, 106.0], [90.0, 90.0, 90.0, 95.0, 99.0]]
)


@pytest.fixture
def forecast():
    return Forecast(PATHS, 0.0, 0.0)


@pytest.fixture
def told():
    """A forecast with times, symbol, last close and history."""
    times = pd.date_range("2023-12-31", periods=25, freq="h", name="timestamps")
    history = pd.DataFrame(np.full((25, 6), 100.0), columns=list(FEATURES), index=times)
    return Forecast(PATHS, 0.031, 0.0, TIMES, "BTC<b>", 100.0, history=history)


def test_mean_and_quantile_tables(forecast):
    np.testing.assert_array_equal(forecast.mean().to_numpy(), PATHS.mean(axis=0))
    found = forecast.quantile_tables([0.0, 0.5, 1.0])
    np.testing.assert_array_equal(found[0.5].to_numpy(), np.median(PATHS, axis=0))
    np.testing.assert_array_equal(found[0.0].to_numpy(), PATHS.min(axis=0))
    np.testing.assert_array_equal(found[1.0].to_numpy(), PATHS.max(axis=0))


def test_quantiles_of_the_close_are_one_table_indexed_by_time(forecast, told):
    found = told.quantiles([0.05, 0.5, 0.95])
    assert list(found.columns) == [0.05, 0.5, 0.95]
    assert found.index.equals(pd.DatetimeIndex(TIMES, name="timestamps"))
    np.testing.assert_array_equal(found[0.5], np.median(PATHS[..., CLOSE], axis=0))
    assert forecast.quantiles([0.5]).index.tolist() == [0, 1, 2]
    assert forecast.quantiles([0.5], ["a", "b", "c"]).index.tolist() == ["a", "b", "c"]
    assert list(forecast.quantiles().columns) == [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95]
    assert told.mean().index.equals(found.index)
    assert told.quantile_tables([0.5])[0.5].index.equals(found.index)


def test_quantiles_cover_the_truth_of_their_own_distribution():
    """The k-th smallest of P paths is the quantile k / (P + 1): exact coverage also with few paths."""
    draws = np.random.default_rng(1).normal(size=(19, 4000, 6))
    found = Forecast(draws, 0.0, 0.0).quantiles([0.05, 0.95])
    truth = np.random.default_rng(2).normal(size=4000)
    covered = ((truth >= found[0.05]) & (truth <= found[0.95])).mean()
    assert abs(covered - 0.9) < 0.02  # 0.82 with numpy's default


def test_a_band_holds_its_share_of_the_paths(forecast):
    low, high = forecast.band(0.8)
    inside = (low.to_numpy() <= PATHS) & (high.to_numpy() >= PATHS)
    assert inside.mean(axis=0).min() >= 0.75
    assert inside.mean(axis=0).max() <= 0.85


def test_one_table_of_all_paths(forecast, told):
    frame = forecast.to_frame(["a", "b", "c"])
    assert list(frame.columns) == ["path", "timestamps", *FEATURES]
    assert len(frame) == 41 * 3
    row = frame[(frame.path == 7) & (frame.timestamps == "b")]
    np.testing.assert_array_equal(row[list(FEATURES)].to_numpy()[0], PATHS[7, 1])
    assert told.to_frame().timestamps[:3].tolist() == pd.DatetimeIndex(TIMES).tolist()
    assert forecast.to_frame().timestamps[:4].tolist() == [1, 2, 3, 1]


def test_the_probability_of_a_rise(forecast):
    paths = np.full((4, 2, 6), 100.0)
    paths[:, :, CLOSE] = [[99, 101], [100, 101], [101, 101], [101, 99]]
    up = Forecast(paths, 0.0, 0.0, last_close=100.0).probability_up()
    assert up.tolist() == [0.625, 0.75]  # an equal close counts half
    with pytest.raises(ValueError, match="last_close is not known"):
        forecast.probability_up()


def test_the_probability_of_an_event(forecast):
    found = forecast.probability(lambda paths: paths[:, :, 1].max(axis=1) > 101)
    assert found == (PATHS[:, :, 1].max(axis=1) > 101).mean()
    for event in (lambda paths: paths[:, -1, CLOSE], lambda paths: paths[..., CLOSE] > 100, lambda paths: True):
        with pytest.raises(ValueError, match=r"event returned .*; return one bool per path, shape \(41,\)"):
            forecast.probability(event)


def test_direct_quantiles_take_precedence():
    one = Forecast(PATHS, 0.0, 0.0, TIMES, "BTC", 100.0, DirectQuantiles(LEVELS, VALUES))
    found = one.quantiles([0.05, 0.15, 0.5, 0.99]).to_numpy()
    np.testing.assert_allclose(found[:, [0, 2]], VALUES[:, [0, 2]])
    assert (found[:2, 1] > VALUES[:2, 0]).all()
    assert (found[:2, 1] < VALUES[:2, 1]).all()
    assert (found[:2, 3] > VALUES[:2, -1]).all()  # the line goes on beyond the last level
    # the probability is the inverse of the quantiles; of equal quantiles it is that of the middle level
    for bar, price in enumerate((98.0, 103.0)):
        up = dataclasses.replace(one, last_close=price).probability_up().iloc[bar]
        assert one.direct.at("close", [1 - up])[bar] == pytest.approx([price])
    assert dataclasses.replace(one, last_close=90.0).probability_up().iloc[2] == pytest.approx(1 - 0.8 / 3)
    assert (dataclasses.replace(one, last_close=1.0).probability_up().iloc[:2] > 0.999).all()
    with pytest.raises(ValueError, match=r"level=1.0 is outside \(0, 1\), the levels of direct quantiles"):
        one.quantiles([1])


def test_direct_quantiles_of_other_targets():
    one = DirectQuantiles(LEVELS, VALUES, volatility=VALUES / 1000)
    np.testing.assert_allclose(one.at("volatility", [0.15]), one.at("close", [0.15]) / 1000)
    with pytest.raises(ValueError, match="there are no direct quantiles of high"):
        one.at("high", [0.5])


def test_direct_quantiles_alone():
    one = Forecast(np.empty((0, 3, 6)), 0.0, 0.0, TIMES, "BTC", 100.0, DirectQuantiles(LEVELS, VALUES))
    assert (one.num_paths, one.horizon, len(one.to_frame())) == (0, 3, 0)
    assert "0 paths, direct quantiles" in repr(one)
    assert len(one.plot().collections) > 2
    for ask in (one.mean, lambda: one.band(0.8), lambda: one.probability(lambda paths: paths)):
        with pytest.raises(ValueError, match="has direct quantiles but no paths; forecast with num_paths=100"):
            ask()


@pytest.mark.parametrize(
    ("levels", "tables", "message"),
    [
        ([0.5, 0.2], {}, r"must be increasing values in \(0, 1\)"),
        ([0.0, 0.5], {}, r"must be increasing values in \(0, 1\)"),
        ([0.5], {}, r"must be increasing values in \(0, 1\)"),
        (LEVELS, {"close": VALUES[:, ::-1]}, "close has quantiles that are negative, not finite or decrease"),
        (LEVELS, {"high": VALUES[:2]}, "high of shape"),
        (LEVELS, {"volatility": VALUES * np.nan}, "volatility has quantiles that are negative, not finite"),
    ],
)
def test_direct_quantiles_that_cannot_be(levels, tables, message):
    with pytest.raises(ValueError, match=message):
        DirectQuantiles(levels, **{"close": VALUES, **tables})


def test_bad_levels(forecast):
    for ask in (forecast.quantiles, forecast.quantile_tables):
        with pytest.raises(ValueError, match=r"level=1.5 is outside \[0, 1\]"):
            ask([1.5])
        with pytest.raises(ValueError, match="levels is empty"):
            ask([])
    with pytest.raises(ValueError, match=r"coverage=1 is outside \(0, 1\)"):
        forecast.band(1)


def test_its_text_has_three_lines(forecast, told):
    lines = repr(told).splitlines()
    assert len(lines) == 3
    assert lines[0] == "Forecast of BTC<b>: 3 bars, 2024-01-01 01:00 to 2024-01-01 03:00 UTC, 41 paths"
    median = np.median(PATHS[:, -1, CLOSE])
    assert lines[1].startswith(f"close 100 -> median {median:.6g} ({median / 100 - 1:+.2%}) at the last bar, 90 % ")
    assert lines[2].endswith("3.1% of the bars violated low <= open, close <= high")
    assert len(repr(forecast).splitlines()) == 3


def test_its_page_escapes_the_symbol(told):
    page = told._repr_html_()
    assert "BTC&lt;b&gt;" in page
    assert "BTC<b>" not in page
    assert page.count("<tr") == 3 + 2  # bars, two rows of headings
    assert "probability up" in page


def test_the_picture_is_drawn_on_given_axes(forecast, told):
    figure = matplotlib.figure.Figure()
    axes = figure.add_subplot()
    assert told.plot(ax=axes) is axes
    assert {"median close", "50, 80, 90 % of the paths"} <= {one.get_text() for one in axes.get_legend().get_texts()}
    low, high = axes.get_ylim()
    drawn = PATHS[shown_paths(PATHS[..., CLOSE]), :, CLOSE]
    assert low < drawn.min()
    assert high > drawn.max()
    assert axes.get_xlim() == (-26, 3)  # 25 known bars, three to come
    assert forecast.plot() is not forecast.plot()  # new axes
