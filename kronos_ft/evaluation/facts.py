"""Facts and notes about an evaluation's data: splits, origins, and what was excluded."""

import numpy as np

from ..data.candles import CandleSeries
from ..scoring.regimes import Regimes
from ..windows.splits import crossing_splits, split_bounds
from .panel import Panel
from .settings import OriginPlan


def describe_data(series: list[CandleSeries], test: Panel, validation: Panel, plan: OriginPlan) -> dict:
    """Bars, splits and origins of each symbol."""
    described = {}
    for position, one in enumerate(series):
        bounds = split_bounds(one, plan.ratios, plan.dates, plan.embargo_bars)
        described[one.symbol] = {
            "bars": len(one),
            "first": one.report.first,
            "last": one.report.last,
            "step_seconds": one.report.step_seconds,
            "market": one.report.market,
            "splits": bounds,
        }
        for name, panel in (("validation", validation), ("test", test)):
            origins = panel.origins[position]
            span = one.timestamps[origins.indices[[0, -1]]].astype("datetime64[s]") if len(origins) else []
            described[one.symbol][name] = {
                "origins": len(origins),
                "found": origins.found,
                "across_gaps": origins.across_gaps,
                "constant": origins.constant,
                "untold": origins.untold,
                "first": str(span[0]) if len(origins) else None,
                "last": str(span[1]) if len(origins) else None,
            }
    return described


def remarks(
    test: Panel, validation: Panel, scale: np.ndarray | None, regimes: Regimes | None, plan: OriginPlan
) -> list[str]:
    """Notes that a reader of the results needs."""
    notes = []
    for name, panel in (("test", test), ("validation", validation)):
        found, gaps = sum(one.found for one in panel.origins), sum(one.across_gaps for one in panel.origins)
        if len(panel) < found:
            notes.append(f"{name}: {len(panel)} of {found} origins, thinned evenly (max_origins={plan.max_origins})")
        if gaps:
            notes.append(f"{name}: {gaps} origins excluded because of a gap in their context or horizon")
        constant = sum(one.constant for one in panel.origins)
        if constant:
            notes.append(f"{name}: {constant} origins excluded: constant prices in their context, or moves too small")
        untold = sum(one.untold for one in panel.origins)
        if untold:
            notes.append(f"{name}: {untold} origins excluded because their future times cannot be inferred")
    if not len(validation):
        notes.append("the validation split contains no origin: no calibration, no volatility regimes")
    if scale is None:
        notes.append("a training split is shorter than two horizons: no MASE")
    if regimes is not None and regimes.pooled:
        notes.append(
            "volatility regimes use the limits of all symbols (too few validation origins): "
            f"{', '.join(regimes.pooled)}"
        )
    empty = [one.symbol for one, found in zip(test.series, test.origins, strict=True) if not len(found)]
    if empty:
        notes.append(f"no test origin: {', '.join(empty)}")
    bounds = {one.symbol: split_bounds(one, plan.ratios, plan.dates, plan.embargo_bars) for one in test.series}
    if crossing := crossing_splits(test.series, bounds):
        notes.append(crossing)
    pairs = zip(test.series, test.origins, validation.known_before(test), strict=True)
    early = [one.symbol for one, found, known in pairs if len(found) and len(validation) and not known.any()]
    if early:
        notes.append(
            f"no validation forecast ends before the first test origin of {', '.join(early)}: no calibration and no "
            "volatility regimes for these symbols"
        )
    step = min((spacing for one in test.origins if (spacing := one.spacing())), default=plan.step)
    if step > plan.horizon:
        notes.append(f"origins are at least {step} bars apart: the back-test is in cash between horizons")
    if step < plan.horizon:
        notes.append(
            f"forecasts overlap (an origin every {step} bars, horizon {plan.horizon}): the tests account for this"
        )
    return notes
