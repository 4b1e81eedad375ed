"""What can be forecast, settled before anything is: a refusal after hours of forecasts would lose them."""

from collections.abc import Sequence

from .baselines import Forecaster, history_needed
from .panel import Panel


def ready_baselines(baselines: Sequence[Forecaster], panels: Sequence[Panel]) -> tuple[list[Forecaster], list[str]]:
    """Baselines that have the history they need before every origin, and a note on each of the others.

    A baseline is left out as a whole, because every forecaster is scored on the same origins.
    """
    ready, notes = [], []
    for baseline in baselines:
        most, lacking, total = 0, 0, 0
        for panel in panels:
            for one, found in zip(panel.series, panel.origins, strict=True):
                needed = history_needed(baseline, one, found.indices)
                most = max(most, *needed.tolist(), 0)
                lacking += int((found.indices < needed).sum())
                total += len(found)
        if lacking:
            notes.append(
                f"{baseline.name} is left out: it needs {most} bars before each origin, which {lacking} of {total} "
                "lack; give it more data or a later split"
            )
        else:
            ready.append(baseline)
    return ready, notes
