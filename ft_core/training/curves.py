"""Training curves: the logged metrics in one figure, by panel.

matplotlib is imported when a picture is drawn, and without pyplot: importing a trainer does not change its backend.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..io.files import write_file

# dark enough on white, distinct for colour-blind readers (Okabe-Ito)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


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


def plain_text(text: str) -> str:
    """Escapes dollar signs, which matplotlib would otherwise parse as formulas."""
    return text.replace("$", r"\$")


def plot_curves(history: list[dict], panels: Sequence[Panel], title: str, path: Path) -> None:
    """Draws the panels and writes a PNG atomically.

    Args:
        history (`list` of `dict`): `state.log_history` of a Trainer.
        panels (`Sequence` of [`Panel`]): what to draw.
        title (`str`): heading of the picture.
        path (`Path`): the PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 2
    rows = (len(panels) + columns - 1) // columns
    figure = Figure(figsize=(11, 3.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis, panel in zip(axes.flat, panels, strict=False):
        for colour, term in zip(COLOURS, panel.terms, strict=False):
            steps, values = _points(history, term)
            axis.plot(steps, values, color=colour, linewidth=1.4, label=term)
            steps, values = _points(history, f"eval_{term}")
            if steps:
                axis.plot(steps, values, "o", color=colour, markersize=5, markeredgecolor="white", label=f"eval_{term}")
        if panel.log_scale:
            axis.set_yscale("log")
        axis.set_title(panel.title, fontsize=10, loc="left")
        axis.set_xlabel("optimizer step", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=7, frameon=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(plain_text(title), fontsize=12, x=0.01, ha="left")
    write_file(path, lambda temporary: figure.savefig(temporary, dpi=110, facecolor="white", format="png"))
