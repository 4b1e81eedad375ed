"""Checks before the first forecast which origins and baselines are usable: a later error would lose hours of work."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..baselines.forecaster import Forecaster, history_needed
from ..data.candles import CandleSeries
from ..forecasting.future_times import inferred_times
from .origins import Origins
from .panel import Panel


def told_origins(series: Sequence[CandleSeries], origins: Sequence[Origins], horizon: int, split: str) -> list[Origins]:
    """Keeps the origins whose future times can be inferred from the bars before; counts the others as `untold`.

    Raises:
        ValueError: no origin of the test split is left.
    """
    kept, reason = [], None
    for one, found in zip(series, origins, strict=True):
        told = np.ones(len(found), dtype=bool)
        for position, origin in enumerate(found.indices.tolist()):
            try:
                inferred_times(one, origin, horizon)
            except ValueError as error:
                told[position] = False
                reason = reason or f"{one.symbol}: {error}"
        untold = int((~told).sum())
        kept.append(replace(found, indices=found.indices[told], found=found.found - untold, untold=untold))
    if split == "test" and reason and not any(map(len, kept)):
        raise ValueError(f"future times cannot be inferred at any test origin; {reason}")
    return kept


def ready_panel(panel: Panel, forecasters: Sequence[Forecaster], split: str) -> Panel:
    """Removes origins whose future times cannot be inferred, if a forecaster needs them.

    Raises:
        ValueError: no origin of the test split is left.
    """
    if not any(getattr(one, "infers_times", False) for one in forecasters):
        return panel
    return Panel.of(panel.series, told_origins(panel.series, panel.origins, panel.horizon, split), panel.horizon)


def ready_baselines(baselines: Sequence[Forecaster], panels: Sequence[Panel]) -> tuple[list[Forecaster], list[str]]:
    """Returns the baselines with enough history before every origin, and a note on each of the others.

    All forecasters are scored on the same origins, so a baseline that lacks history at one origin is excluded.
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
                f"{baseline.name} is excluded: it needs {most} bars before each origin, but {lacking} of {total} "
                "origins have fewer; use more data or a later split"
            )
        else:
            ready.append(baseline)
    return ready, notes
