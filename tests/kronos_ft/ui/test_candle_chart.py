"""The chart: well-formed, everything inside, at the height of its price; layers come and go; no text becomes markup."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from kronos_ft.data.sources import simulate_candles
from kronos_ft.forecasting.forecast import DirectQuantiles, Forecast
from kronos_ft.ui.candle_chart import (
    ALONE,
    HEAD_LAYERS,
    LAYERS,
    LEFT,
    PRICES_END,
    RIGHT,
    TOP,
    WIDTH,
    candle_chart,
    shown_context,
)
from kronos_ft.ui.forecast_view import price
from kronos_ft.ui.words import words_of

WORDS = words_of("en")
HORIZON = 12


@pytest.fixture(scope="module")
def market():
    frame = simulate_candles(200, seed=2)
    return frame.drop(columns="timestamps").to_numpy(), frame.timestamps.to_numpy()


@pytest.fixture(scope="module")
def paths(market):
    steps = np.random.default_rng(0).normal(0, 0.004, (30, HORIZON, 1))
    return market[0][149, 3] * np.exp(np.cumsum(steps, axis=1)) * np.ones(6)


def draw(market, paths, **options):
    values, times = market
    shown = times[: 150 + (0 if paths is None else HORIZON)]
    one = Forecast(paths, 0.0, 0.0, direct=options.pop("direct", None)) if paths is not None else None
    chart = candle_chart(values[:150], shown, options.pop("words", WORDS), forecast=one, **options)
    return ElementTree.fromstring(chart[chart.index("<svg") :]), chart


def drawn(svg, kind):
    return [one for one in svg.iter() if kind in (one.get("class") or "").split()]


def points(path):
    return [tuple(map(float, pair)) for pair in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.get("d"))]


def test_one_title_a_bar_with_its_figures(market, paths):
    svg, _ = draw(market, paths, truth=market[0][150:155])
    titles = [one.find("title").text for one in drawn(svg, "pointer")]
    assert len(titles) == shown_context(150, HORIZON) + HORIZON
    assert str(market[1][149])[:16].replace("T", " ") in titles[-HORIZON - 1]
    assert "50 %" not in titles[-HORIZON - 1]
    assert "50 %" in titles[-1]
    assert "close" in titles[-8]
    assert "close" not in titles[-1]  # beyond the five bars that are known


def test_the_median_stands_at_its_price(market, paths):
    svg, _ = draw(market, paths, layers=())
    (median,) = drawn(svg, "median")
    found = points(median)
    closes = np.median(paths[:, :, 3], axis=0)
    assert len(found) == HORIZON + 1
    heights = np.array([y for _, y in found[1:]])
    slope, offset = np.polyfit(closes, heights, 1)
    assert slope < 0
    np.testing.assert_allclose(heights, slope * closes + offset, atol=0.06)  # drawn with one decimal
    assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= PRICES_END for x, y in found)


def test_bands_hold_each_other(market, paths):
    svg, _ = draw(market, paths)
    (wide,), (narrow,) = drawn(svg, "band-90"), drawn(svg, "band-50")
    (upper90, lower90), (upper50, lower50) = ((found[1], found[-2]) for found in (points(wide), points(narrow)))
    assert upper90[1] < upper50[1] < lower50[1] < lower90[1]  # y grows downwards


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_come_and_go(market, paths, layer):
    marks = {"paths": "paths", "90": "band-90", "50": "band-50", "truth": "truth"}
    truth = market[0][150 : 150 + HORIZON]
    assert drawn(draw(market, paths, truth=truth, layers=[layer])[0], marks[layer])
    others = [one for one in LAYERS if one != layer]
    svg, chart = draw(market, paths, truth=truth, layers=others)
    assert not drawn(svg, marks[layer])
    assert f"key-{layer}" not in chart


@pytest.fixture(scope="module")
def direct(market):
    """Quantiles of a head, far wider than the paths."""
    spread = 0.05 * np.sqrt(np.arange(1, HORIZON + 1))[:, None] * np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    return DirectQuantiles(np.array([0.01, 0.2, 0.5, 0.8, 0.99]), market[0][149, 3] * np.exp(spread))


def heights_at_end(path):
    """Upper and lower end of a band at the last bar."""
    found = points(path)
    return [y for x, y in found if x == max(x for x, _ in found)]


def test_bands_of_a_head_are_between_its_own_levels(market, paths, direct):
    options = {"direct": direct, "levels": direct.levels, "layers": HEAD_LAYERS}
    svg, chart = draw(market, paths, **options)
    bands = [heights_at_end(one) for one in drawn(svg, "band-levels")]
    assert len(bands) == 2
    heights = np.array([bands[0][0], bands[1][0], bands[1][1], bands[0][1]])
    slope, offset = np.polyfit(direct.close[-1, [4, 3, 1, 0]], heights, 1)
    np.testing.assert_allclose(heights, slope * direct.close[-1, [4, 3, 1, 0]] + offset, atol=0.1)
    assert all(TOP <= y <= PRICES_END for band in bands for y in band)
    assert "quantile bands 1–99, 20–80 %" in chart
    assert drawn(svg, "paths")
    assert not drawn(svg, "band-90")
    svg, chart = draw(market, paths, **{**options, "layers": ["paths"]})
    assert not drawn(svg, "band")
    assert "key-levels" not in chart


def test_the_median_of_a_head_is_its_own(market, paths, direct):
    svg, _ = draw(market, paths, direct=direct, levels=direct.levels, layers=["levels"])
    assert "50 %: " + price(direct.close[-1, 2]) in drawn(svg, "pointer")[-1].find("title").text
    (median,) = drawn(svg, "median")
    assert len({y for _, y in points(median)}) == 1  # this head's median is the last close


def test_raw_paths_are_drawn_over_the_head(market, paths, direct):
    raw = Forecast(paths, 0.0, 0.0)
    svg, chart = draw(market, paths, direct=direct, levels=direct.levels, layers=["levels"], raw=raw)
    low, median, high = (drawn(svg, f"raw-{name}")[0] for name in ("low", "median", "high"))
    bottom, middle, top = (points(one)[-1][1] for one in (low, median, high))
    upper, lower = heights_at_end(drawn(svg, "band-levels")[1])
    assert upper < top < middle < bottom < lower  # the raw interval is inside the band of the head here
    assert WORDS["legend_raw"] in chart
    svg, chart = draw(market, paths)
    assert not drawn(svg, "raw")
    assert WORDS["legend_raw"] not in chart


def test_candles_alone(market):
    svg, chart = draw(market, None)
    assert len(drawn(svg, "pointer")) == ALONE
    assert not drawn(svg, "median")
    assert "key-median" not in chart


def test_one_path_has_no_bands(market, paths):
    svg, _ = draw(market, paths[:1])
    assert not drawn(svg, "band")


def test_flat_prices_and_no_volume_are_drawn():
    flat = np.column_stack((np.full((80, 4), 5.0), np.zeros((80, 2))))
    times = np.datetime64("2024-01-01T00:00", "ns") + np.arange(80) * np.timedelta64(3600, "s")
    svg = ElementTree.fromstring(re.search("<svg.*", candle_chart(flat, times, WORDS))[0])
    assert drawn(svg, "candle")
    assert not drawn(svg, "volume")


def test_text_is_no_markup(market, paths):
    words = {**WORDS, "origin_mark": "<b onclick=x>", "known": "<script>"}
    _, chart = draw(market, paths, words=words)
    assert "<b" not in chart
    assert "<script" not in chart
