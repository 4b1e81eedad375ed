"""Pictures of a forecast and of an evaluation, in the style of `ft_core.io.figures`.

Shapes: L bars of context, P paths, H horizon.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from ft_core.io.figures import (
    COLOURS,
    INK,
    PANEL,
    draw_candles,
    draw_legend,
    label_times,
    new_axes,
    plain_text,
    save_figure,
)

SHOWN_PATHS = 20
SHOWN_CONTEXT = 3  # context to draw, in horizons ...
LEAST_CONTEXT = 60  # ... and its minimum, in bars
CLOSE = 3
BAND_LEVELS = (0.5, 0.8, 0.9)


def forecast_axes(title: str, *, inline: bool = False) -> Axes:
    """New axes for a forecast; `inline` shows them in a notebook."""
    return new_axes(10, 5, title, inline=inline)


def shown_paths(closes: np.ndarray, most: int = SHOWN_PATHS) -> np.ndarray:
    """The paths to draw: evenly spread by the rank of their last close.

    Args:
        closes (`np.ndarray` of shape `(P, H)`): closes of the paths.
        most (`int`): maximum number of paths.

    Returns:
        `np.ndarray` of int, shape `(min(P, most),)`: row numbers.
    """
    if len(closes) <= most:
        return np.arange(len(closes))
    middles = (np.arange(most) + 0.5) * len(closes) / most  # of `most` groups of equal size
    return np.argsort(closes[:, -1], kind="stable")[middles.astype(int)]


def draw_forecast(
    context: np.ndarray,
    paths: np.ndarray,
    axes: Axes | None = None,
    *,
    times: np.ndarray | None = None,
    truth: np.ndarray | None = None,
    levels: Sequence[float] = BAND_LEVELS,
    quantiles: Callable[[Sequence[float]], np.ndarray] | None = None,
    last: float | None = None,
    title: str = "Forecast",
) -> Axes:
    """Draws the last candles before the origin, some paths, the close's median and intervals, and the actual candles.

    Args:
        context (`np.ndarray` of shape `(L, 4 or more)`): open, high, low, close before the origin; L may be 0.
        paths (`np.ndarray` of shape `(P, H, 4 or more)`): forecast paths, drawn as [`shown_paths`] says; P may be 0
            with `quantiles`.
        axes (`matplotlib.axes.Axes`, *optional*): to draw on; by default new ones with a title, shown in a notebook.
        times (`np.ndarray` of `datetime64`, shape `(L + H,)`, *optional*): times of context and forecast, UTC.
        truth (`np.ndarray` of shape `(H, 4 or more)`, *optional*): the actual candles after the origin, if known.
        levels (`Sequence[float]`): levels of the prediction intervals.
        quantiles (`Callable`, *optional*): quantiles of the close, `(H, len(levels))`, at levels; by default of paths.
        last (`float`, *optional*): the last known close, if there is no context.
        title (`str`): heading of new axes.
    """
    if axes is None:
        axes = forecast_axes(title, inline=True)
    horizon, closes = paths.shape[1], paths[:, :, CLOSE]
    is_of_paths = quantiles is None
    quantiles = quantiles or (lambda at: np.quantile(closes, at, axis=0, method="weibull").T)
    shown = min(len(context), max(LEAST_CONTEXT, SHOWN_CONTEXT * horizon))
    past = np.arange(-shown, 0)
    last = context[-1, CLOSE] if len(context) else last
    ahead = np.arange(0 if last is None else -1, horizon)  # paths start at the last known close

    def from_last(values: np.ndarray) -> np.ndarray:
        return values if last is None else np.concatenate((np.full((*values.shape[:-1], 1), last), values), axis=-1)

    if len(paths) != 1:
        for level in sorted(levels, reverse=True):
            ends = quantiles((round((1 - level) / 2, 9), round((1 + level) / 2, 9))).T
            axes.fill_between(ahead, *from_last(ends), color=COLOURS[0], alpha=0.16, linewidth=0)
        inside = ", ".join(f"{100 * level:g}" for level in sorted(levels))
        of_paths = " of the paths" if is_of_paths else " intervals"
        axes.fill_between([], [], color=COLOURS[0], alpha=0.4, linewidth=0, label=f"{inside} %{of_paths}")
        lines = [np.column_stack((ahead, one)) for one in from_last(closes[shown_paths(closes)])]
        some = f"{SHOWN_PATHS} of {len(paths):,} paths" if len(paths) > SHOWN_PATHS else None
        axes.add_collection(LineCollection(lines, colors=COLOURS[0], linewidths=0.6, alpha=0.45, zorder=2, label=some))
    median = from_last(quantiles((0.5,))[:, 0])
    axes.plot(ahead, median, color="#003F66", linewidth=1.8, zorder=5, label="median close")
    if shown:
        draw_candles(axes, past, context[-shown:, :4])
    if truth is not None and len(truth):
        draw_candles(axes, np.arange(len(truth)), truth[:, :4], hollow=True)
        axes.plot([], [], "s", color=INK, markerfacecolor=PANEL, label="actual candles (hollow)")
    axes.axvline(-0.5, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_xlim(-shown - 1, horizon)
    axes.autoscale(axis="y")
    axes.autoscale_view(scalex=False)
    axes.set_ylabel("price", fontsize=9, color=INK)
    if times is None:
        axes.set_xlabel("bars after the origin", fontsize=9, color=INK)
    else:
        ticks = np.unique(np.linspace(-shown, horizon - 1, 7).round().astype(int))
        label_times(axes, ticks, times[len(context) + ticks])
    # above the axes: candles may be anywhere inside
    draw_legend(axes, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4)
    return axes


def plot_forecast(context: np.ndarray, paths: np.ndarray, path: Path, title: str = "Forecast", **options) -> None:
    """Draws a forecast as a PNG file.

    Args:
        context, paths: as for [`draw_forecast`].
        path (`Path`): the PNG file.
        title (`str`): heading.
        options: as for [`draw_forecast`].
    """
    save_figure(draw_forecast(context, paths, forecast_axes(title), **options), path)


def plot_reliability(
    levels: Sequence[float],
    before: Mapping[str, Sequence[float]],
    after: Mapping[str, Sequence[float]],
    path: Path,
    title: str = "Coverage of the prediction intervals",
) -> None:
    """Draws actual against nominal coverage of the prediction intervals, before and after calibration.

    Args:
        levels (`Sequence[float]`): nominal levels between 0 and 1.
        before, after: actual coverage at each level, by forecaster.
        path (`Path`): the PNG file.
        title (`str`): heading.
    """
    axes = new_axes(6, 5.2, title)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1.0, linestyle=(0, (4, 3)), label="perfect calibration")
    for colour, name in zip(cycle(COLOURS), before, strict=False):
        axes.plot(levels, before[name], "o-", color=colour, linewidth=1.6, markersize=5, label=plain_text(name))
        if name in after:
            axes.plot(
                levels,
                after[name],
                "s--",
                color=colour,
                linewidth=1.6,
                markersize=6,
                markerfacecolor=PANEL,
                label=f"{plain_text(name)}, calibrated",
            )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("nominal coverage", fontsize=9, color=INK)
    axes.set_ylabel("actual coverage", fontsize=9, color=INK)
    draw_legend(axes, loc="upper left")
    save_figure(axes, path)


def draw_skill(
    skills: Mapping[str, Sequence[float | None]],
    axes: Axes | None = None,
    title: str = "Skill by horizon",
    *,
    p_values: Mapping[str, Sequence[float | None]] | None = None,
    significant: float = 0.05,
) -> Axes:
    """Draws skill against each reference over the horizon; filled dots are significant by the Diebold-Mariano test.

    Args:
        skills: 1 - loss / loss of the reference at horizons 1, 2, ..., by label; None where undefined.
        axes (`matplotlib.axes.Axes`, *optional*): to draw on; by default new ones with a title, shown in a notebook.
        title (`str`): heading of new axes.
        p_values (*optional*): in the same form as `skills`.
        significant (`float`): p-values below this are drawn as filled dots.
    """
    if axes is None:
        axes = new_axes(8, 4.6, title, inline=True)
    axes.axhline(0, color=INK, linewidth=1.0)
    for colour, (name, values) in zip(cycle(COLOURS), skills.items(), strict=False):
        heights = np.array([np.nan if value is None else 100 * value for value in values])
        steps = np.arange(1, len(heights) + 1)
        axes.plot(steps, heights, color=colour, linewidth=1.6, label=plain_text(name))
        if p_values:
            sure = np.array([p is not None and p < significant for p in p_values[name]])
            axes.plot(steps[sure], heights[sure], "o", color=colour, markersize=4.5)
            axes.plot(steps[~sure], heights[~sure], "o", color=colour, markersize=4.5, markerfacecolor=PANEL)
    if p_values:
        axes.plot([], [], "o", color=INK, markersize=4.5, label=f"p < {significant:g} (hollow: p >= {significant:g})")
    axes.set_xlabel("bars ahead", fontsize=9, color=INK)
    axes.set_ylabel("skill, % (above 0: better than the reference)", fontsize=9, color=INK)
    draw_legend(axes, loc="best")
    return axes


def plot_skill(
    skills: Mapping[str, Sequence[float | None]], path: Path, title: str = "Skill by horizon", **options
) -> None:
    """Draws skill by horizon as a PNG file; other arguments as for [`draw_skill`]."""
    save_figure(draw_skill(skills, new_axes(8, 4.6, title), **options), path)
