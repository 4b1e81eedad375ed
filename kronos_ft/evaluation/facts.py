"""The content of `evaluation.json`: its schema and reader, and the facts and notes about data and origins."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NotRequired, TypedDict

import numpy as np
from msgspec import Meta

from ft_core.io.formats import read_json

from ..data.candles import CandleSeries
from ..scoring.regimes import Regimes
from ..windows.splits import crossing_splits, split_bounds
from .panel import Panel
from .settings import OriginPlan

AGAIN = "run kronos-ft evaluate again"
Count = Annotated[int, Meta(ge=0, le=2**53)]


class EvaluatedModel(TypedDict):
    """A model of an evaluation; earlier versions recorded no hash."""

    name: str
    model: str
    sha256: NotRequired[str]


class EvaluationSettings(TypedDict):
    """The settings that reports and cards show."""

    horizon: Annotated[int, Meta(ge=1, le=2**53)]
    lookback: Count
    num_paths: Count


class EvaluationForecaster(TypedDict):
    """A model or a baseline."""

    role: str
    num_paths: Count


class Evaluation(TypedDict):
    """The parts of `evaluation.json` that reports, cards and the page read; scores and skill by forecaster."""

    settings: EvaluationSettings
    models: list[EvaluatedModel]
    forecasters: dict[str, EvaluationForecaster]
    origins: dict[str, Count]
    data: dict[str, dict]
    scores: dict[str, dict[str, dict]]
    skill: dict[str, dict[str, dict[str, dict]]]
    calibration: dict[str, dict]
    notes: list[str]
    warnings: NotRequired[list[str]]
    doubts: NotRequired[list[dict[str, str]]]
    references: NotRequired[dict[str, dict]]
    memorised: NotRequired[dict[str, object]]
    survivors: NotRequired[dict[str, object] | None]


def read_evaluation(path: Path) -> dict:
    """The content of an `evaluation.json`.

    Raises:
        ValueError: the file is missing, too large, or not an evaluation.
    """
    return read_json(path, AGAIN, Evaluation)


@contextlib.contextmanager
def rendering(path: Path) -> Iterator[None]:
    """Turns a figure that is missing or of a wrong type in an evaluation into one line.

    Raises:
        ValueError: the evaluation cannot be shown.
    """
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"{path} is not a complete evaluation ({error!r:.120}); {AGAIN}") from error


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
            notes.append(f"{name}: {len(panel)} of {found} origins, subsampled evenly (max_origins={plan.max_origins})")
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
