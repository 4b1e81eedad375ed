"""The content of `evaluation.json`: its schema and reader, what it compares, and facts and notes about its data."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NotRequired, TypedDict

import numpy as np
from msgspec import Meta

from ft_core.io.formats import read_json

from ..baselines.references import JUDGED
from ..data.candles import CandleSeries
from ..scoring.regimes import Regimes
from ..scoring.significance import holm
from ..windows.splits import crossing_splits, split_bounds
from .panel import Panel
from .settings import OriginPlan

SIGNIFICANT = 0.05
LEAST_ORIGINS = 30
PERSISTENCE = "persistence"
AGAIN = "run kronos-ft evaluate again"
Count = Annotated[int, Meta(ge=0, le=2**53)]


class EvaluatedModel(TypedDict):
    """A model of an evaluation; earlier versions recorded neither hash nor from which of the others it was tuned."""

    name: str
    model: str
    sha256: NotRequired[str]
    tuned_from: NotRequired[str]


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


def models_of(evaluation: dict) -> list[str]:
    """Names of the evaluated models, in the given order."""
    return [name for name, one in evaluation["forecasters"].items() if one["role"] == "model"]


def best_distribution(evaluation: dict, target: str = "close") -> str | None:
    """The reference that a model's distribution is compared with, or None.

    The best on the validation split ([`~kronos_ft.baselines.references.choose_references`]); in evaluations of earlier
    versions, the baseline with a distribution that has the lowest CRPS at the last horizon of the test split.
    """
    if "references" in evaluation:
        chosen = evaluation["references"].get("close")
        return chosen["name"] if chosen else None
    scores = {
        name: evaluation["scores"][name][target]["crps"]["by_horizon"][-1]
        for name, one in evaluation["forecasters"].items()
        if one["role"] == "baseline" and one["num_paths"] > 1
    }
    return min(scores, key=scores.__getitem__) if scores else None


def counted_skill(evaluation: dict) -> dict:
    """Skill by model and reference on the origins that count: without those that a model may have memorised."""
    memorised = evaluation.get("memorised")
    return memorised["skill"]["clean"] if memorised else evaluation["skill"]


def observations_of(evaluation: dict, target: str) -> int:
    """The smallest number of distinct times in the tests of all models that forecast the target."""
    outcomes = [one for against in counted_skill(evaluation).values() for one in against.values()]
    tests = [one[target]["absolute"]["observations"] for one in outcomes if one.get(target)]
    memorised = evaluation.get("memorised")
    origins = memorised["origins"]["clean"] if memorised else evaluation["origins"]["test"]
    return min(tests, default=origins)


def result_of(skill: float | None, p_value: float | None, note: str | None = None) -> str:
    """What a skill and its p-value say.

    Returns:
        one of better, worse, seems_better, not_better, no_error, same and untestable.
    """
    if skill is None:
        return "no_error"
    if p_value is None:
        return "same" if note == "the losses are identical" else "untestable"
    if p_value < SIGNIFICANT:
        return "better" if skill > 0 else "worse"
    return "seems_better" if skill > 0 else "not_better"


@dataclass(frozen=True)
class Comparison:
    """A comparison that the verdict states, at the last horizon.

    Attributes:
        model, reference (`str`): names; the reference may be the first model.
        judged (`str`): a key of [`~kronos_ft.baselines.references.JUDGED`].
        loss (`str`): absolute, crps, qlike or brier.
        outcome (`dict`): skill and p-values from [`compare_losses`].
        corrected (`float`, *optional*): p-value after Holm's correction.
        tests (`int`): number of tests that it is corrected for.
    """

    model: str
    reference: str
    judged: str
    loss: str
    outcome: dict
    corrected: float | None = None
    tests: int = 1

    @property
    def skill(self) -> float | None:
        """Skill of the model against the reference."""
        return self.outcome["skill"]["by_horizon"][-1]

    @property
    def p_value(self) -> float | None:
        """p-value of the Diebold-Mariano test, not corrected."""
        return self.outcome["p_value"]["by_horizon"][-1]

    @property
    def result(self) -> str:
        """What it says by the corrected p-value, see [`result_of`]."""
        return result_of(self.skill, self.corrected, self.outcome["note"])


def _compared(evaluation: dict, model: str, judged: str) -> list[Comparison]:
    """A model against the first model and the chosen reference; the close also against persistence. Not corrected."""
    target, loss = JUDGED[judged]
    if observations_of(evaluation, target) < LEAST_ORIGINS:
        return []
    first, against = models_of(evaluation)[0], counted_skill(evaluation)[model]
    others = [first] if model != first else []
    chosen = evaluation.get("references", {}).get(judged)
    pairs = [(name, loss) for name in (*others, chosen["name"])] if chosen else []
    if judged == "close":
        num_paths = {name: one["num_paths"] for name, one in evaluation["forecasters"].items()}
        spreads = [one for one in (*others, best_distribution(evaluation)) if num_paths.get(one, 0) > 1]
        pairs = [(name, "absolute") for name in (*others, PERSISTENCE)]
        pairs += [(name, loss) for name in spreads if num_paths[model] > 1]
    return [
        Comparison(model, name, judged, one, against[name][target][one])
        for name, one in pairs
        if one in against.get(name, {}).get(target, {})
    ]


def comparisons(evaluation: dict) -> list[Comparison]:
    """All comparisons that the verdict states, close first, with p-values corrected for the number of tests.

    Args:
        evaluation (`dict`): from [`evaluate_forecasters`].
    """
    models = models_of(evaluation)
    found = [one for model in models[1:] or models for judged in JUDGED for one in _compared(evaluation, model, judged)]
    p_values = [one.p_value for one in found if one.p_value is not None]
    corrected = iter(holm(p_values))
    return [
        one if one.p_value is None else replace(one, corrected=next(corrected), tests=len(p_values)) for one in found
    ]


def best_on_test(evaluation: dict, last: Comparison) -> tuple[str, float] | None:
    """The reference with the lowest loss on the test split, if it is not the compared one and better than the model.

    None for a comparison with a model, and for the absolute error of the close where the model has a distribution.

    Args:
        evaluation (`dict`): from [`evaluate_forecasters`].
        last ([`Comparison`]): of a model with a reference.

    Returns:
        its name, and the (negative) skill of the model against it.
    """
    about, against, skills = evaluation["forecasters"], counted_skill(evaluation)[last.model], {}
    if about[last.reference]["role"] == "model" or (last.loss == "absolute" and about[last.model]["num_paths"] > 1):
        return None
    for name, one in about.items():
        outcome = against.get(name, {}).get(JUDGED[last.judged][0], {}).get(last.loss)
        if one["role"] == "baseline" and outcome and (skill := outcome["skill"]["by_horizon"][-1]) is not None:
            skills[name] = skill
    best = min(skills, key=skills.__getitem__, default=last.reference)
    return (best, skills[best]) if skills and skills[best] < min(skills.get(last.reference, 0), 0) else None


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
