"""Figures in the style of this library, readable on light and on dark pages: new axes, candles, PNG files.

Notable:
- Dark ink on an opaque neutral background: the picture does not depend on the page's colour.
- Figures are built without pyplot: no global state, safe in threads. Only a figure to show in a notebook is one of
  pyplot, which shows and closes it at the end of the cell; the backend is left as it is.
- matplotlib takes a second to import and is imported when a figure is drawn.
"""

import logging
import re
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .files import write_file
from .notebook import in_notebook

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()  # levels and filters of warnings are those of the process

# of Linux, Windows and macOS, the first that is installed
CHINESE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei"),
    *("Noto Sans CJK JP", "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB", "Heiti SC"),
    *("Arial Unicode MS", "Droid Sans Fallback"),
)
_CHINESE = re.compile("[\u3400-\u9fff\uff00-\uffef]")

# dark enough on white, distinct for colour-blind readers (Okabe-Ito)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
PAGE, PANEL, INK, GRID = "#E9E9E6", "#F6F6F4", "#22252A", "#C4C4C0"
UP, DOWN = "#2F9E86", "#8F1D1D"  # also differ in lightness, for colour-blind readers
OPEN, HIGH, LOW, CLOSE = range(4)


def plain_text(text: str) -> str:
    """Escapes dollar signs, which matplotlib would otherwise parse as formulas."""
    return text.replace("$", r"\$")


def empty_figure(width: float, height: float, *, inline: bool = False, colour: str = "white") -> "Figure":
    """A figure without axes.

    Args:
        width, height (`float`): size in inches.
        inline (`bool`): show it below the current cell, if this is a notebook.
        colour (`str`): the background.
    """
    options = {"figsize": (width, height), "layout": "constrained", "facecolor": colour}
    if inline and in_notebook():
        from matplotlib import pyplot

        return pyplot.figure(**options)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(**options)
    FigureCanvasAgg(figure)
    return figure


def new_axes(width: float, height: float, title: str, *, inline: bool = False) -> "Axes":
    """Axes of a new figure with a heading; arguments as for [`empty_figure`]."""
    figure = empty_figure(width, height, inline=inline, colour=PAGE)
    axes = figure.add_subplot()
    axes.set_facecolor(PANEL)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, colors=INK)
    for side, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(side in ("left", "bottom"))
    figure.suptitle(plain_text(title), fontsize=11.5, x=0.01, ha="left", color=INK)
    return axes


def _set_fonts(figure: "Figure") -> None:
    """Adds an installed Chinese font, if there is one, to the texts with Chinese characters."""
    from matplotlib.font_manager import fontManager
    from matplotlib.text import Text

    texts = [text for text in figure.findobj(Text) if _CHINESE.search(text.get_text())]
    installed = {font.name for font in fontManager.ttflist} if texts else set()
    fonts = [name for name in CHINESE_FONTS if name in installed]
    for text in texts:
        text.set_fontfamily([*text.get_fontfamily(), *fonts[:1]])


@cache
def _warn_of_boxes(folder: str) -> None:
    logger.warning(
        "no installed font has some characters of the picture, which shows boxes for them; install one, such as "
        f"fonts-noto-cjk for Chinese, and remove the font cache of matplotlib, {folder}"
    )


def write_figure(figure: "Figure", path: Path, *, dpi: int = 110, colour: str = "white") -> None:
    """Writes a figure as a PNG file, atomically; warns once of characters without a font.

    Args:
        figure (`matplotlib.figure.Figure`): texts in it with Chinese characters get a font that has them.
        path (`Path`): the PNG file.
        dpi (`int`): dots per inch.
        colour (`str`): the background.
    """
    from matplotlib import get_cachedir

    messages = logging.getLogger("matplotlib.font_manager")  # a line for each text and each font that is missing
    with _one_at_a_time, warnings.catch_warnings(record=True) as found:
        level = messages.level
        messages.setLevel(logging.ERROR)
        try:
            warnings.simplefilter("always")
            _set_fonts(figure)
            write_file(path, lambda temporary: figure.savefig(temporary, dpi=dpi, facecolor=colour, format="png"))
        finally:
            messages.setLevel(level)
    for one in found:
        if str(one.message).startswith("Glyph "):
            _warn_of_boxes(get_cachedir())
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def save_figure(axes: "Axes", path: Path) -> None:
    """Writes the figure of axes as a PNG file, atomically."""
    write_figure(axes.figure, path, dpi=120, colour=PAGE)


def draw_legend(axes: "Axes", **options) -> None:
    """Adds a legend in the style of [`new_axes`]."""
    axes.legend(fontsize=8.5, labelcolor=INK, facecolor=PANEL, edgecolor=GRID, framealpha=1.0, **options)


def draw_candles(axes: "Axes", positions: np.ndarray, candles: np.ndarray, *, hollow: bool = False) -> None:
    """Draws wicks and bodies.

    Args:
        axes (`matplotlib.axes.Axes`): to draw on.
        positions (`np.ndarray` of shape `(N,)`): places on the horizontal axis, one apart.
        candles (`np.ndarray` of shape `(N, 4 or more)`): open, high, low, close.
        hollow (`bool`): bodies without filling, for actual candles after the origin of a forecast.
    """
    from matplotlib.collections import LineCollection, PolyCollection

    colours = np.where(candles[:, CLOSE] >= candles[:, OPEN], UP, DOWN)
    wicks = [[(x, bar[LOW]), (x, bar[HIGH])] for x, bar in zip(positions, candles, strict=True)]
    axes.add_collection(LineCollection(wicks, colors=colours, linewidths=0.9, zorder=3))
    bodies = [
        [(x - 0.33, bar[OPEN]), (x + 0.33, bar[OPEN]), (x + 0.33, bar[CLOSE]), (x - 0.33, bar[CLOSE])]
        for x, bar in zip(positions, candles, strict=True)
    ]
    faces = PANEL if hollow else colours
    axes.add_collection(PolyCollection(bodies, facecolors=faces, edgecolors=colours, linewidths=0.9, zorder=4))


def label_times(axes: "Axes", positions: np.ndarray, times: np.ndarray) -> None:
    """Labels positions on the horizontal axis with UTC times, `datetime64` of the same shape `(N,)`."""
    labels = [str(time.astype("datetime64[m]")).replace("T", "\n") for time in times]
    axes.set_xticks(positions, labels)
    axes.set_xlabel("UTC", fontsize=9, color=INK)
