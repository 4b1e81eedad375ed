"""The pictures of an evaluation: the last forecast, coverage of prediction intervals, skill by horizon."""

from pathlib import Path

import numpy as np

from ..data.candles import CandleSeries
from ..forecasting.plots import plot_forecast, plot_reliability, plot_skill
from .facts import PERSISTENCE, best_distribution, models_of
from .models import EvaluatedModel
from .origins import Origins

PICTURES = {"forecast": "forecast.png", "reliability": "reliability.png", "skill": "skill.png"}
SKILL_TITLE = "Skill of the close by horizon, test split"


def skill_lines(evaluation: dict) -> tuple[dict[str, list[float | None]], dict[str, list[float | None]]]:
    """Skill of the close by horizon, and its p-values, of each model against each of its references, by label."""
    models, best = models_of(evaluation), best_distribution(evaluation)
    skills, p_values = {}, {}
    for model in models:
        others = {PERSISTENCE: "absolute", best: "crps", **({models[0]: "crps"} if model != models[0] else {})}
        for reference, loss in others.items():
            if reference in evaluation["skill"][model]:
                outcome = evaluation["skill"][model][reference]["close"][loss]
                label = f"{model} against {reference}, {'CRPS' if loss == 'crps' else 'absolute error'}"
                skills[label], p_values[label] = (outcome[key]["by_horizon"] for key in ("skill", "p_value"))
    return skills, p_values


def draw_pictures(
    evaluation: dict, series: list[CandleSeries], forecaster: EvaluatedModel, origins: list[Origins], folder: Path
) -> list[tuple[str, str]]:
    """Draws the pictures of an evaluation.

    Args:
        evaluation (`dict`): from [`evaluate_forecasters`].
        forecaster ([`EvaluatedModel`]): draws its last forecast.
        origins (`list` of [`Origins`]): test origins of each series.

    Returns:
        `list` of (title, file name).
    """
    horizon, models, best = evaluation["settings"]["horizon"], models_of(evaluation), best_distribution(evaluation)
    one, found = next((one, found) for one, found in zip(series, origins, strict=True) if len(found))
    origin = int(found.indices[-1])
    first = origin - forecaster.lookback
    paths = forecaster.paths(one, np.array([origin]), horizon)[0]
    when = str(one.timestamps[origin].astype("datetime64[m]")).replace("T", " ")
    titles = {
        "forecast": f"{one.symbol}, {forecaster.name}: {horizon} bars from {when} UTC, the last test origin",
        "reliability": f"Coverage of the close's prediction intervals over all {horizon} bars, test split",
        "skill": SKILL_TITLE,
    }
    plot_forecast(
        one.values[first:origin],
        paths,
        folder / PICTURES["forecast"],
        times=one.timestamps[first : origin + horizon],
        truth=one.values[origin : origin + horizon],
        title=titles["forecast"],
    )
    drawn = ["forecast"]
    if evaluation["calibration"]:
        coverage = {
            side: {
                name: [band[side]["coverage"]["overall"] for band in found["targets"]["close"]["levels"].values()]
                for name, found in evaluation["calibration"].items()
                if name in (*models, best) and evaluation["forecasters"][name]["num_paths"] > 1
            }
            for side in ("before", "after")
        }
        plot_reliability(
            evaluation["levels"], *coverage.values(), folder / PICTURES["reliability"], titles["reliability"]
        )
        drawn.append("reliability")
    skills, p_values = skill_lines(evaluation)
    plot_skill(skills, folder / PICTURES["skill"], titles["skill"], p_values=p_values)
    return [(titles[name], PICTURES[name]) for name in (*drawn, "skill")]
