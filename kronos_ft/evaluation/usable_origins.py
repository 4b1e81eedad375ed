"""What can be forecast, settled before anything is: a refusal after hours of forecasts would lose them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..data.candles import CandleSeries
from ..forecasting.future_times import inferred_times
from .baselines import Forecaster, history_needed
from .origins import Origins
from .panel import Panel


def told_origins(series: Sequence[CandleSeries], origins: Sequence[Origins], horizon: int, split: str) -> list[Origins]:
    """Origins whose future times the bars before tell; the others are counted as `untold`.

    Raises:
        ValueError: no origin of the test split is left.
    """
    kept, refusal = [], None
    for one, found in zip(series, origins, strict=True):
        told = np.ones(len(found), dtype=bool)
        for position, origin in enumerate(found.indices.tolist()):
            try:
                inferred_times(one, origin, horizon)
            except ValueError as error:
                told[position] = False
                refusal = refusal or f"{one.symbol}: {error}"
        untold = int((~told).sum())
        kept.append(replace(found, indices=found.indices[told], found=found.found - untold, untold=untold))
    if split == "test" and refusal and not any(map(len, kept)):
        raise ValueError(f"the future times of no test origin can be told from the bars before; {refusal}")
    return kept


def ready_panel(panel: Panel, forecasters: Sequence[Forecaster], split: str) -> Panel:
    """A panel without origins that a forecaster would refuse because it cannot infer their future times.

    Raises:
        ValueError: no origin of the test split is left.
    """
    if not any(getattr(one, "infers_times", False) for one in forecasters):
        return panel
    return Panel.of(panel.series, told_origins(panel.series, panel.origins, panel.horizon, split), panel.horizon)


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
