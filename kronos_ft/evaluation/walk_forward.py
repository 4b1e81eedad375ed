"""Walk-forward evaluation: forecasts from many origins, scored against the truth and against reference forecasts.

Notable:
- No leakage from the test split: forecasters see only bars before an origin, references are fitted on the training
  split and the one to beat is chosen on the validation split, as are calibration and the limits of volatility regimes.
- Every forecaster is scored on the same origins. Targets are log returns, so the origins of all symbols can be pooled.

Shapes: N origins (of all symbols), P paths, H horizon, 7 targets in the order of `TARGETS`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ft_core.runs.shared_work import Part, SharedWork

from ..baselines.forecaster import Forecaster
from ..baselines.references import choose_references, default_baselines, mean_losses
from ..data.candles import CandleSeries
from ..scoring.backtest import WARNING, backtest
from ..scoring.calibration import calibrate
from ..scoring.figures import plain
from ..scoring.metrics import BAND_LEVELS, energy_loss
from ..scoring.model_confidence import surviving_models
from ..scoring.panels import LEAST_SYMBOLS, panel_scores
from ..scoring.regimes import REGIMES, Regimes, context_volatility, fit_regimes
from ..scoring.scores import OriginTimes, compare_losses, losses_of, score_targets, shorten, sorted_samples
from ..scoring.targets import CLOSE, TARGETS, naive_scale
from ..windows.splits import split_bounds
from .facts import describe_data, remarks
from .leakage import memorised_note
from .origins import with_step
from .panel import Panel, Samples
from .settings import EvaluationSettings, OriginPlan
from .usable_origins import fit_forecasters, judged_volume, ready_baselines, ready_panel

OPEN = TARGETS.index("open")
SHARES = "projected_share", "spike_share"
UNIT_ORIGINS = 32  # that are forecast and kept together


def regimes_of(series: list[CandleSeries], test: Panel, plan: OriginPlan) -> tuple[Regimes | None, np.ndarray]:
    """Volatility regimes from all validation origins, and the regime of each test origin (-1: none), shape `(N,)`."""
    validation = Panel.build(series, "validation", replace(plan, max_origins=None))
    volatility = {
        one.symbol: context_volatility(one, found.indices, plan.lookback)
        for one, found in zip(series, validation.origins, strict=True)
    }
    regimes = fit_regimes(volatility, validation.known_before(test))
    if regimes is None:
        return None, np.zeros(len(test), dtype=np.int64)
    assigned = [
        regimes.assign(one.symbol, context_volatility(one, found.indices, plan.lookback))
        for one, found in zip(series, test.origins, strict=True)
    ]
    return regimes, np.concatenate(assigned)


def _naive_scales(series: list[CandleSeries], test: Panel, plan: OriginPlan) -> np.ndarray | None:
    """In-sample naive errors of each test origin's symbol, shape `(N, H, 7)`; None with too few training bars."""
    scales = []
    for one, found in zip(series, test.origins, strict=True):
        train = split_bounds(one, plan.ratios, plan.dates)["train"]
        if train[1] - train[0] < 2 * plan.horizon + 1:
            return None
        scale = naive_scale(one, train, plan.horizon, plan.lookback)
        scales.append(np.broadcast_to(scale, (len(found), *scale.shape)))
    return np.concatenate(scales)


@dataclass
class _Judged:
    """Results of one forecaster, without its paths."""

    role: str
    num_paths: int
    exact: frozenset[str]
    shares: dict[str, float]  # of invalid candles and of spikes, where known
    losses: dict[str, np.ndarray]
    validation: dict[str, float | None]  # mean losses on the validation split
    close: np.ndarray  # median log return of the close at the last horizon, (N,)
    expected: np.ndarray  # its mean, (N,)
    scores: dict[str, dict]
    by_symbol: dict[str, dict]
    by_regime: dict[str, dict]
    calibration: dict | None


def evaluate_forecasters(
    series: list[CandleSeries],
    forecasters: Sequence[Forecaster],
    settings: EvaluationSettings | None = None,
    *,
    baselines: Sequence[Forecaster] | None = None,
    progress: Callable[[int, int], None] | None = None,
    clean_from: Mapping[str, str] | None = None,
    work: SharedWork | None = None,
) -> dict:
    """Scores forecasters on the test split, against baselines and against each other.

    Args:
        series (`list` of [`CandleSeries`]): one per symbol.
        forecasters (`Sequence` of [`Forecaster`]): the models. Each further model is compared with the first.
        settings ([`EvaluationSettings`], *optional*): sizes, splits, costs.
        baselines (`Sequence` of [`Forecaster`], *optional*): the references, by default [`default_baselines`]. A
            baseline that lacks history at an origin, or cannot be fitted, is excluded, with a note.
        progress: called with (forecasts done, total forecasts), not counting baselines.
        clean_from (`Mapping` of model name to date, *optional*): models that descend from weights trained on data up to
            this date (UTC), and may have memorised earlier bars ([`~kronos_ft.evaluation.leakage.clean_dates`]).
        work ([`~ft_core.runs.shared_work.SharedWork`], *optional*): the processes that share the forecasts and scores;
            by default this one alone, in memory.

    Returns:
        `dict` of plain values without NaN, empty on processes other than the main one: `settings`, `data` (splits and
        origins of each symbol), `origins`, `forecasters` (role and number of paths), `scores` ([`score_targets`] by
        forecaster), `skill` ([`compare_losses`] by model and reference), `regimes` and `symbols` (the same, shortened),
        `calibration` ([`calibrate`] by forecaster), `backtest` by symbol, `panel` ([`panel_scores`] by forecaster, for
        five or more symbols), `references` ([`choose_references`]), `memorised` (origins and skill before and after
        `clean_from`), `survivors` ([`surviving_models`], for two or more models), `notes`.

    Raises:
        ValueError: no data, no origin, repeated names, symbols with different time steps, or an error of a forecaster.
    """
    settings, work = settings or EvaluationSettings(), work or SharedWork()
    baselines = default_baselines(settings.plan.lookback, settings.seed) if baselines is None else list(baselines)
    _check_names([*forecasters, *baselines])
    check_steps(series)
    settings = replace(settings, plan=with_step(series, settings.plan))
    plan = settings.plan
    test, validation = (
        ready_panel(Panel.build(series, split, plan), forecasters, split) for split in ("test", "validation")
    )
    (test, validation), unjudged = judged_volume((test, validation))
    baselines, unready = ready_baselines(baselines, (test, validation))
    baselines, unfitted = fit_forecasters(forecasters, baselines, series, plan)
    regimes, regime = regimes_of(series, test, plan)
    scale = _naive_scales(series, test, plan)
    facts = _Facts(test, validation, regime, regimes, scale, settings)
    # baselines first: their errors must appear before hours of model forecasts
    found = work.results(baselines, lambda one: facts.judge("baseline", one, *facts.forecast(one)))
    if work.folder is None:
        count = _Counter((len(test) + len(validation)) * len(forecasters), progress)
        found += [facts.judge("model", one, *facts.forecast(one, count)) for one in forecasters]
    else:
        units = facts.units(forecasters)
        work.compute("samples", units, facts.forecast_unit, progress=progress)
        found += work.results(
            forecasters,
            lambda one: facts.judge("model", one, *facts.read(one, units, work)),
        )
    if not work.is_main:
        return {}
    judged = {one.name: outcome for one, outcome in zip([*baselines, *forecasters], found, strict=True)}
    judged = {one.name: judged[one.name] for one in (*forecasters, *baselines)}
    spread = {name: one.num_paths for name, one in judged.items() if one.role == "baseline"}
    references = choose_references(
        spread,
        {name: judged[name].validation for name in spread},
        {name: mean_losses(judged[name].losses) for name in spread},
    )
    memorised, clean = _memorised(judged, test, clean_from or {})
    result = {
        "settings": {**vars(plan), "embargo": plan.embargo_bars, **_costs(settings), "seed": settings.seed},
        "targets": TARGETS,
        "levels": BAND_LEVELS,
        "data": describe_data(series, test, validation, plan),
        "origins": {"test": len(test), "validation": len(validation)},
        "forecasters": {
            name: {"role": one.role, "num_paths": one.num_paths, "exact": sorted(one.exact), **one.shares}
            for name, one in judged.items()
        },
        "scores": {name: one.scores for name, one in judged.items()},
        "skill": _skills(judged, test.times()),
        "regimes": _by_regime(judged, test.times(), regime, regimes),
        "symbols": _by_symbol(judged, test),
        "calibration": {name: one.calibration for name, one in judged.items() if one.calibration},
        "backtest": _backtests(judged, test, settings),
        "panel": _across_symbols(judged, test, settings),
        "references": references,
        "memorised": memorised,
        "survivors": _survivors(judged, references, test, clean, settings),
    }
    few = [(name, one.scores["close"]["bands"]["0.9"]["coverage"]["note"]) for name, one in judged.items()]
    few = [f"{name}: {note}" for name, note in few if note and judged[name].num_paths > 1]
    noted = [survivors["note"]] if (survivors := result["survivors"]) and survivors["note"] else []
    old = [memorised_note(memorised)] if memorised else []
    about = remarks(test, validation, scale, regimes, plan)
    result["notes"] = [*old, *unready, *unfitted, *unjudged, *about, *few, *noted]
    return plain(result)


class _Counter:
    """Counts forecasts and reports progress."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None):
        self.total, self.done, self.progress = total, 0, progress
        if progress is not None:
            progress(0, total)

    def __call__(self, more: int) -> None:
        self.done += more
        if self.progress is not None:
            self.progress(self.done, self.total)


def _check_names(forecasters: Sequence[Forecaster]) -> None:
    names = [one.name for one in forecasters]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two forecasters have the name {twice[0]!r}; give each a different name")


def check_steps(series: list[CandleSeries]) -> None:
    """Checks that all symbols have the same bar length, so that a horizon means the same time span for all.

    Raises:
        ValueError: no series, or different steps.
    """
    if not series:
        raise ValueError("no candles to evaluate on; pass at least one symbol")
    steps = {one.report.step_seconds: one.symbol for one in series}
    if len(steps) > 1:
        found = ", ".join(f"{symbol} {step:g} s" for step, symbol in sorted(steps.items())[:3])
        raise ValueError(f"time steps are mixed ({found}); evaluate symbols of each step separately")


def _costs(settings: EvaluationSettings) -> dict[str, float]:
    return {"fee_bps": settings.fee_bps, "slippage_bps": settings.slippage_bps}


@dataclass(frozen=True)
class _Unit:
    """Batches of one model that are forecast and kept together."""

    forecaster: Forecaster
    panel: Panel
    batches: list[tuple[int, np.ndarray]]


@dataclass(frozen=True)
class _Facts:
    """What all forecasters are judged on."""

    test: Panel
    validation: Panel
    regime: np.ndarray
    regimes: Regimes | None
    scale: np.ndarray | None
    settings: EvaluationSettings

    def forecast(self, one: Forecaster, count: _Counter | None = None) -> tuple[Samples, Samples]:
        """Samples of both splits, made in this process."""
        return tuple(panel.forecast(one, self.settings.batch_size, count) for panel in (self.test, self.validation))

    def units(self, forecasters: Sequence[Forecaster]) -> list[_Unit]:
        """All batches of all models, those of each model and split in units of at least `UNIT_ORIGINS` origins."""
        units = []
        for one in forecasters:
            for panel in (self.test, self.validation):
                batches = panel.batches(self.settings.batch_size)
                ends = np.cumsum([len(origins) for _, origins in batches])
                groups = (ends - 1) // UNIT_ORIGINS
                units += [
                    _Unit(one, panel, [batches[place] for place in np.flatnonzero(groups == group)])
                    for group in np.unique(groups)
                ]
        return units

    @staticmethod
    def forecast_unit(unit: _Unit) -> Part:
        """The arrays of its batches, each named by the number of its batch."""
        parts = [unit.panel.forecast_batch(unit.forecaster, *batch) for batch in unit.batches]
        return {f"{place:04d} {name}": value for place, part in enumerate(parts) for name, value in part.items()}

    def read(self, one: Forecaster, units: Sequence[_Unit], work: SharedWork) -> tuple[Samples, Samples]:
        """Samples of both splits, from finished units."""

        def batches(panel: Panel) -> Iterator[Part]:
            for position, unit in enumerate(units):
                if unit.forecaster is one and unit.panel is panel:
                    kept = work.read("samples", position)
                    for place in range(len(unit.batches)):
                        start = f"{place:04d} "
                        yield {name[len(start) :]: part for name, part in kept.items() if name.startswith(start)}

        return tuple(panel.joined(one.name, batches(panel)) for panel in (self.test, self.validation))

    def judge(self, role: str, forecaster: Forecaster, found: Samples, earlier: Samples) -> _Judged:
        """Scores and losses of the samples of both splits."""
        test, validation, exact = self.test, self.validation, found.exact
        energy = energy_loss(test.truth[..., CLOSE], found.joint, "close" in exact)  # before sorting
        paths, past = sorted_samples(found.values), sorted_samples(earlier.values)

        def score(chosen: np.ndarray | slice) -> dict[str, dict]:
            part = None if self.scale is None else self.scale[chosen]
            times, seed = test.times().select(chosen), self.settings.seed
            return score_targets(test.truth[chosen], paths[chosen], part, times, seed, exact, energy[chosen])

        rows = {one.symbol: row for one, row in zip(test.series, test.rows, strict=True)}
        groups = {name: np.flatnonzero(self.regime == i) for i, name in enumerate(REGIMES)} if self.regimes else {}
        shares = np.concatenate((found.shares, earlier.shares))
        return _Judged(
            role=role,
            num_paths=paths.shape[1],
            exact=exact,
            shares=dict(zip(SHARES, shares.mean(axis=0).tolist(), strict=True)) if len(shares) else {},
            losses=losses_of(test.truth, paths, exact),
            validation=mean_losses(losses_of(validation.truth, past, exact)),
            close=np.median(paths[:, :, -1, CLOSE], axis=1),
            expected=paths[:, :, -1, CLOSE].mean(axis=1),
            scores=score(slice(None)),
            by_symbol={symbol: shorten(score(row)) for symbol, row in rows.items()} if len(rows) > 1 else {},
            by_regime={name: shorten(score(chosen)) for name, chosen in groups.items()},
            calibration=calibrate(
                validation.truth, past, validation.rows, test.truth, paths, test.rows, validation.known_before(test)
            ),
        )


def _pairs(judged: dict[str, _Judged]) -> list[tuple[str, str]]:
    """Pairs of each model with each baseline, and of each further model with the first."""
    models = [name for name, one in judged.items() if one.role == "model"]
    baselines = [name for name, one in judged.items() if one.role == "baseline"]
    return [(m, b) for m in models for b in (*(models[:1] if m != models[0] else ()), *baselines)]


def _skills(judged: dict[str, _Judged], times: OriginTimes, chosen: np.ndarray | slice | None = None) -> dict:
    """Skill of each pair; for `chosen` origins only at the last horizon and overall."""
    found: dict[str, dict] = {name: {} for name, one in judged.items() if one.role == "model"}
    for model, reference in _pairs(judged):
        a, b = judged[model].losses, judged[reference].losses
        found[model][reference] = (
            compare_losses(a, b, times) if chosen is None else shorten(_last_skill(a, b, times, chosen))
        )
    return found


def _memorised(
    judged: dict[str, _Judged], test: Panel, clean_from: Mapping[str, str]
) -> tuple[dict, np.ndarray | slice]:
    """Origins and skill before and after the date from which bars are clean, and the clean origins."""
    if not clean_from:
        return {}, slice(None)
    date = max(clean_from.values())
    clean = test.stamps() >= np.datetime64(date, "ns")
    if clean.all():
        return {}, slice(None)
    groups = {"memorised": np.flatnonzero(~clean), "clean": np.flatnonzero(clean)}
    return {
        "until": date,
        "models": sorted(clean_from),
        "origins": {name: len(chosen) for name, chosen in groups.items()},
        "skill": {name: _last_skills(judged, test.times(), chosen) for name, chosen in groups.items()},
    }, groups["clean"]


def _last_skills(judged: dict[str, _Judged], times: OriginTimes, chosen: np.ndarray) -> dict[str, dict]:
    """Skill of each pair at the last horizon, for `chosen` origins."""
    found: dict[str, dict] = {name: {} for name, one in judged.items() if one.role == "model"}
    for model, reference in _pairs(judged):
        found[model][reference] = _last_skill(judged[model].losses, judged[reference].losses, times, chosen)
    return found


def _last_skill(
    a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], times: OriginTimes, chosen: np.ndarray | slice
) -> dict[str, dict]:
    """Skill of losses `a` against `b` at the last horizon, for `chosen` origins."""
    parts = [{name: loss[chosen] for name, loss in one.items()} for one in (a, b)]
    return compare_losses(*parts, times.select(chosen), [a["crps"].shape[1]])


def _survivors(
    judged: dict[str, _Judged], references: dict, test: Panel, clean: np.ndarray | slice, settings: EvaluationSettings
) -> dict | None:
    """The joint test of two or more models and the references, by CRPS of the close at the last horizon."""
    models = [name for name, one in judged.items() if one.role == "model"]
    if len(models) < 2:
        return None
    spread = [name for name, one in judged.items() if one.role == "model" or one.num_paths > 1]
    losses = {name: judged[name].losses["crps"][clean, -1, CLOSE] for name in spread}
    reference = references.get("close", {}).get("name")
    return surviving_models(losses, models, reference, test.times().select(clean), test.horizon, settings.seed)


def _by_regime(judged: dict[str, _Judged], times: OriginTimes, regime: np.ndarray, regimes: Regimes | None) -> dict:
    if regimes is None:
        return {}
    found: dict[str, object] = {"borders": regimes.borders, "pooled_borders": regimes.pooled}
    for position, name in enumerate(REGIMES):
        chosen = np.flatnonzero(regime == position)
        found[name] = {
            "origins": len(chosen),
            "scores": {who: one.by_regime[name] for who, one in judged.items()},
            "skill": _skills(judged, times, chosen),
        }
    return found


def _by_symbol(judged: dict[str, _Judged], test: Panel) -> dict:
    """Scores and skill of each symbol; empty for a single symbol, whose scores equal the pooled ones."""
    if len(test.series) < 2:
        return {}
    times = test.times()
    return {
        one.symbol: {
            "origins": row.stop - row.start,
            "scores": {who: found.by_symbol[one.symbol] for who, found in judged.items()},
            "skill": _skills(judged, times, row),
        }
        for one, row in zip(test.series, test.rows, strict=True)
    }


def _across_symbols(judged: dict[str, _Judged], test: Panel, settings: EvaluationSettings) -> dict[str, dict]:
    """RankIC and portfolio of each forecaster; empty with too few symbols."""
    if sum(len(found) > 0 for found in test.origins) < LEAST_SYMBOLS:
        return {}
    truth, first = test.truth[:, -1, CLOSE], test.truth[:, 0, OPEN]
    facts = np.expm1(truth - first), test.symbols(), test.times(), test.horizon
    cost = (settings.fee_bps + settings.slippage_bps) / 1e4
    return {name: panel_scores(one.expected, truth, *facts, cost) for name, one in judged.items()}


def _backtests(judged: dict[str, _Judged], test: Panel, settings: EvaluationSettings) -> dict:
    found: dict[str, object] = {"warning": WARNING, "symbols": {}}
    for one, origins, row in zip(test.series, test.origins, test.rows, strict=True):
        if not len(origins):
            continue
        runs = {
            name: backtest(one, origins.indices, who.close[row], test.horizon, **_costs(settings)).to_dict()
            for name, who in judged.items()
        }
        first = next(iter(runs.values()))
        found["symbols"][one.symbol] = {
            **{key: first[key] for key in ("first", "last", "bars", "horizon", "fee_bps", "slippage_bps")},
            "buy_and_hold": first["buy_and_hold"],
            "strategies": {name: run["strategy"] for name, run in runs.items()},
        }
    return found
