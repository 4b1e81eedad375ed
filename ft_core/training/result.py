"""What a finished run returns: the figures of `training_metrics.json`, which print as a few lines and draw the loss."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.figures import empty_figure
from ..io.progress_lines import span
from ..runs.folder import BEST_MODEL, CURVES_FILE, FINAL_MODEL, METRICS_FILE, REPORT_HTML
from .curves import Panel, draw_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILES = (BEST_MODEL, FINAL_MODEL, METRICS_FILE, CURVES_FILE, REPORT_HTML)


class TrainingResult(dict):
    """The figures of a run, as in `training_metrics.json`.

    Attributes:
        folder (`Path`): the run folder.
        outcome (`str`): one line on the best model.
        history (`list` of `dict`): what was logged; empty for a run that had been finished before.
        panel ([`Panel`], *optional*): what [`~TrainingResult.plot`] draws.
    """

    def __init__(
        self,
        figures: Mapping[str, object],
        folder: str | Path,
        outcome: str,
        history: Sequence[dict] = (),
        panel: Panel | None = None,
    ):
        super().__init__(figures)
        self.folder, self.outcome = Path(folder), outcome
        self.history, self.panel = list(history), panel

    def __repr__(self) -> str:
        took = f" in {span(self['seconds'])}" if self.get("seconds") else ""
        files = ", ".join(name for name in FILES if (self.folder / name).exists())
        return (
            f"Run {self.folder}: {self['steps']} of {self['max_steps']} steps{took}\n"
            f"{self.outcome}\nfiles: {files or 'none'}"
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draws the loss in training as a line, and in validation as dots.

        Args:
            ax (`matplotlib.axes.Axes`, *optional*): to draw on; by default new axes of a new figure, which a notebook
                shows.

        Returns:
            the axes; `ax.figure.savefig(FILE)` writes them.

        Raises:
            ValueError: the run had been finished before, so that nothing was logged.
        """
        if not self.history or self.panel is None:
            raise ValueError(f"nothing was logged, since {self.folder} was finished before; see its {CURVES_FILE}")
        if ax is None:
            ax = empty_figure(8, 3.6, inline=True).add_subplot()
        draw_panel(ax, self.history, self.panel)
        return ax
