"""Pictures: written whole, opaque, with something drawn, and without pyplot's global state."""

import matplotlib.image
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.collections import LineCollection

from ft_core.io.figures import PAGE
from kronos_ft.forecasting.plots import draw_forecast, plot_forecast, plot_reliability, plot_skill


@pytest.fixture
def candles(series):
    return series[0].values[300:424]


def colours_of(path):
    """The colours of a picture, each as one number; checks that it is opaque and its corners are the page's."""
    picture = (matplotlib.image.imread(path) * 255).round().astype(int)
    assert picture.shape[2] == 3 or (picture[..., 3] == 255).all()
    page = tuple(int(PAGE[i : i + 2], 16) for i in (1, 3, 5))
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert tuple(picture[row, column, :3]) == page
    return np.unique(picture[..., :3] @ np.array([65_536, 256, 1]))


@pytest.mark.parametrize(("num_paths", "known"), [(30, 24), (30, 5), (1, 0)])
def test_forecast(candles, series, tmp_path, num_paths, known):
    generator = np.random.default_rng(0)
    paths = candles[99, 3] * np.exp(np.cumsum(generator.normal(0, 0.003, (num_paths, 24, 1)), axis=1)) * np.ones(4)
    times = series[0].timestamps[300:424]
    truth = candles[100 : 100 + known] if known else None
    plot_forecast(candles[:100], paths, tmp_path / "a.png", times=times, truth=truth, title="SIM")
    plot_forecast(candles[:100], paths, tmp_path / "b.png")
    assert len(colours_of(tmp_path / "a.png")) > 50
    assert len(colours_of(tmp_path / "b.png")) > 50
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(("num_paths", "drawn", "label"), [(100, 20, "20 of 100 paths"), (20, 20, None), (7, 7, None)])
def test_the_drawn_paths_are_spread_by_their_last_close(num_paths, drawn, label):
    closes = np.random.default_rng(0).permutation(num_paths)[:, None] + np.zeros((1, 6))
    axes = draw_forecast(np.empty((0, 4)), np.repeat(closes[..., None], 4, 2))
    (lines,) = (found for found in axes.collections if isinstance(found, LineCollection))
    ends = sorted(segment[-1, 1] for segment in lines.get_segments())
    step = num_paths / drawn
    assert ends == [int((position + 0.5) * step) for position in range(drawn)]
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown == ["50, 80, 90 % of the paths", *([label] if label else []), "median close"]


def test_the_legend_names_paths_only_if_the_intervals_are_theirs():
    axes = draw_forecast(np.empty((0, 4)), np.ones((5, 6, 4)), quantiles=lambda levels: np.ones((6, len(levels))))
    assert axes.get_legend().get_texts()[0].get_text() == "50, 80, 90 % intervals"


def test_reliability_and_skill(tmp_path):
    levels = (0.5, 0.8, 0.9)
    plot_reliability(levels, {"a": [0.3, 0.5, 0.6], "b": [0.5, 0.8, 0.9]}, {"a": levels}, tmp_path / "r.png")
    plot_skill({"naive": [0.1, None, -0.2]}, tmp_path / "s.png", p_values={"naive": [0.01, None, 0.4]})
    plot_skill({"naive": [None, None]}, tmp_path / "t.png")
    for name in ("r.png", "s.png", "t.png"):
        assert len(colours_of(tmp_path / name)) > 20
    assert pyplot.get_fignums() == []
