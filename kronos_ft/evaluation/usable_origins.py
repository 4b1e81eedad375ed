"""Before the first forecast: which origins and baselines are usable, and fits on the training split.

A later error would lose hours of work.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..baselines.forecaster import Forecaster, history_needed
from ..data.candles import CandleSeries
from ..forecasting.context import inferred_times
from ..scoring.targets import BAR_VOLUME, VOLUME
from ..windows.splits import split_bounds
from .origins import Origins
from .panel import Panel
from .settings import OriginPlan


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
    told = told_origins(panel.series, panel.origins, panel.horizon, split)
    return Panel.of(panel.series, told, panel.horizon, panel.lookback)


def judged_volume(panels: Sequence[Panel]) -> tuple[list[Panel], list[str]]:
    """Volume is judged for the symbols whose every origin of all splits defines it.

    To leave out single origins would be a choice by bars after them.

    Returns:
        the panels, with the true volume of the other symbols as NaN, and notes on these symbols.
    """
    series, truths = panels[0].series, [panel.truth.copy() for panel in panels]
    absent, scarce, lacking, total = [], [], 0, 0
    for position, one in enumerate(series):
        parts = [truth[panel.rows[position], :, VOLUME] for panel, truth in zip(panels, truths, strict=True)]
        undefined = sum(int(np.isnan(part).any(axis=1).sum()) for part in parts)
        if not undefined:
            continue
        if one.values[:, BAR_VOLUME].any():
            scarce.append(one.symbol)
            lacking, total = lacking + undefined, total + sum(map(len, parts))
        else:
            absent.append(one.symbol)
        for part in parts:
            part[:] = np.nan
    notes = [f"volume is not judged for {_listed(absent)}: the candles have no volume"] if absent else []
    if scarce:
        notes.append(
            f"volume is not judged for {_listed(scarce)}: {lacking} of {total} origins have no volume in their "
            "lookback or in the first bars after it, where its logarithm is undefined"
        )
    return [replace(panel, truth=truth) for panel, truth in zip(panels, truths, strict=True)], notes


def _listed(symbols: Sequence[str]) -> str:
    """The first three symbols."""
    return ", ".join(symbols[:3]) + ", ..." * (len(symbols) > 3)


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


def training_split(series: Sequence[CandleSeries], plan: OriginPlan) -> list[CandleSeries]:
    """The bars of the training split of every symbol that has any; later bars are not in the result."""
    found = []
    for one in series:
        first, end = split_bounds(one, plan.ratios, plan.dates)["train"]
        if end > first:
            cut = {"timestamps": one.timestamps[first:end], "values": one.values[first:end], "table": None}
            found.append(replace(one, **cut))
    return found


def fit_forecasters(
    forecasters: Sequence[Forecaster], baselines: Sequence[Forecaster], series: Sequence[CandleSeries], plan: OriginPlan
) -> tuple[list[Forecaster], list[str]]:
    """Fits every forecaster that has a method `fit`; baselines that cannot be fitted are excluded.

    Returns:
        the remaining baselines, and a note on each of the others.

    Raises:
        ValueError: a model cannot be fitted.
    """
    training, kept, notes = training_split(series, plan), [], []
    for one in baselines:
        try:
            _fit(one, training, plan)
            kept.append(one)
        except ValueError as error:
            notes.append(f"{one.name} is excluded: {error}")
    for one in forecasters:
        try:
            _fit(one, training, plan)
        except ValueError as error:
            raise ValueError(f"{one.name}: {error}") from error
    return kept, notes


def _fit(forecaster: Forecaster, training: Sequence[CandleSeries], plan: OriginPlan) -> None:
    fit = getattr(forecaster, "fit", None)
    if fit is not None:
        fit(training, plan)
