"""Training curves: the logged metrics in one figure, by panel.

matplotlib is imported when a picture is drawn, and without pyplot: importing a trainer does not change its backend.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.figures import COLOURS, empty_figure, plain_text, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Panel:
    """One plot: training terms as lines, the evaluation terms of the same name as dots.

    Attributes:
        title (`str`): what is shown, with its unit.
        terms (`Sequence[str]`): names as logged in training.
        log_scale (`bool`): logarithmic vertical axis.
    """

    title: str
    terms: Sequence[str]
    log_scale: bool = False


def _points(history: list[dict], name: str) -> tuple[list[int], list[float]]:
    entries = [(entry["step"], entry[name]) for entry in history if name in entry]
    return [step for step, _ in entries], [value for _, value in entries]


def draw_panel(axes: "Axes", history: list[dict], panel: Panel) -> None:
    """Draws the terms of a panel on axes; arguments as for [`plot_curves`]."""
    for colour, term in zip(COLOURS, panel.terms, strict=False):
        steps, values = _points(history, term)
        axes.plot(steps, values, color=colour, linewidth=1.4, label=term)
        steps, values = _points(history, f"eval_{term}")
        if steps:
            axes.plot(steps, values, "o", color=colour, markersize=5, markeredgecolor="white", label=f"eval_{term}")
    if panel.log_scale:
        axes.set_yscale("log")
    axes.set_title(panel.title, fontsize=10, loc="left")
    axes.set_xlabel("optimizer step", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False)


def plot_curves(history: list[dict], panels: Sequence[Panel], title: str, path: Path) -> None:
    """Draws the panels and writes a PNG atomically.

    Args:
        history (`list` of `dict`): `state.log_history` of a Trainer.
        panels (`Sequence` of [`Panel`]): what to draw.
        title (`str`): heading of the picture.
        path (`Path`): the PNG file.
    """
    columns = 2
    rows = (len(panels) + columns - 1) // columns
    figure = empty_figure(11, 3.4 * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis, panel in zip(axes.flat, panels, strict=False):
        draw_panel(axis, history, panel)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(plain_text(title), fontsize=12, x=0.01, ha="left")
    write_figure(figure, path)
