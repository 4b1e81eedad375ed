"""Importance of settings: shares of the variance of the objective by fANOVA, and their chart.

fANOVA (Hutter, Hoos and Leyton-Brown, 2014) fits a random forest to the finished trials and splits the variance of its
prediction among the settings and their interactions.
"""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study

from ..io.figures import COLOURS, plain_text, write_figure
from .study import best_trials

FEW_TRIALS = 10  # fewer trials are not enough for the forest


def importance_of(study: Study, seed: int) -> dict[str, object]:
    """`values` (shares that add up to 1, the largest first) and `trials`; or the `reason` why there are none.

    Args:
        study: with its trials.
        seed (`int`): of the forest.
    """
    finished = best_trials(study)
    varied = {name for trial in finished for name in trial.params if trial.params[name] != finished[0].params[name]}
    if len(finished) < 2 or not varied:
        return {
            "reason": f"{len(finished)} finished trials are too few to estimate importance",
            "trials": len(finished),
        }
    if len({trial.value for trial in finished}) == 1:
        return {"reason": "all finished trials have the same objective", "trials": len(finished)}
    evaluator = FanovaImportanceEvaluator(seed=seed)
    values = get_param_importances(study, evaluator=evaluator, params=sorted(varied))
    return {"values": {name: float(share) for name, share in values.items()}, "trials": len(finished)}


def note_on(trials: int) -> str:
    """How reliable importances from this number of trials are."""
    return f"{trials} finished trials" + (": too few to be reliable" if trials < FEW_TRIALS else "")


def plot_importance(values: Mapping[str, float], trials: int, title: str, path: Path) -> None:
    """Draws importances as bars and writes a PNG atomically."""
    figure = Figure(figsize=(8, 1.4 + 0.4 * len(values)), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = list(reversed(values))
    bars = axes.barh([plain_text(name) for name in names], [values[name] for name in names], color=COLOURS[0])
    axes.bar_label(bars, labels=[f"{values[name]:.0%}" for name in names], padding=3, fontsize=8)
    axes.set_xlim(0, max(1.0, *values.values()) * 1.08)
    axes.set_xlabel(f"share of the objective's variance (fANOVA, {note_on(trials)})", fontsize=8)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(plain_text(title), fontsize=11, x=0.01, ha="left")
    write_figure(figure, path)
