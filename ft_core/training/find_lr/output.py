"""The picture and the JSON of a search for a learning rate."""

import math
from pathlib import Path

from ...cli.learning_rates import LEARNING_RATE
from ...io.figures import COLOURS, plain_text, write_figure
from ...io.files import write_json
from .rule import changes, smoothed
from .search import FoundRate

CURVE_FILE, PICTURE_FILE = "find_lr.json", "find_lr.png"


def write_search(found: FoundRate, title: str, folder: Path) -> None:
    """Writes `find_lr.json` and `find_lr.png` into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CURVE_FILE, found.record())
    draw_search(found, title, folder / PICTURE_FILE)


def draw_search(found: FoundRate, title: str, path: Path) -> None:
    """Draws the range test and the trials side by side, and writes a PNG atomically."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    change = changes(found.range_losses, found.start_losses)
    rates = found.range_rates[: len(change)]
    left.plot(rates, change, color=COLOURS[5], linewidth=0.8, label="each step")
    left.plot(rates, smoothed(change), color=COLOURS[0], linewidth=1.6, label="smoothed")
    left.set_title("range test: change of the training loss while the rate grows", fontsize=10, loc="left")
    name = found.metric.removeprefix("eval_")
    trials = sorted((rate, value) for rate, value in found.trials.items() if math.isfinite(value))
    right.plot(*zip(*trials, strict=True), "o-", color=COLOURS[0], label=f"after {found.trial_steps} steps")
    right.axhline(found.start, color=COLOURS[3], linewidth=1, label="starting weights")
    right.set_title(f"trials: validation {name}", fontsize=10, loc="left")
    for axis in (left, right):
        axis.axvline(found.rates[LEARNING_RATE], color=COLOURS[1], linewidth=1.2, linestyle="--", label="chosen")
        axis.set_xscale("log")
        axis.set_xlabel("learning rate", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=7, frameon=False)
    figure.suptitle(plain_text(title), fontsize=12, x=0.01, ha="left")
    write_figure(figure, path)
