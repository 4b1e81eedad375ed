"""Scores of a quantile log: coverage, quantile losses against a reference, probability of a rise, drift.

Notable:
- Bars of one forecast are not independent, and neither are forecasts whose horizons overlap. Confidence intervals
  therefore count each forecast of a largest set without overlaps as one observation; over several symbols, the set is
  without overlaps in time, as markets move together.
- Drift is tested on the last bar of the newest complete forecasts of a symbol, chosen backwards in time so that no two
  overlap. The error probability of 1 % is shared by all tests (symbols and intervals) of a model.

Shapes: N rows of the log, Q levels.
"""

import numpy as np
import pandas as pd
from scipy.stats import binom

from ..forecasting.forecast import LEVELS
from ..scoring.metrics import BAND_LEVELS, wilson_interval
from ..scoring.significance import diebold_mariano
from .joined import REFERENCE, SCORED, STATES, actual_returns, forecast_quantiles, reference_quantiles
from .quantile_log import KEY

DEFAULT_WINDOW, LEAST_WINDOW = 50, 20
DRIFT_ERROR = 0.01
BASIS_POINTS = 1e4


def quantile_losses(actual: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Pinball loss of each level, `(N, Q)`: max(a (y - q), (a - 1) (y - q)).

    Args:
        actual (`np.ndarray` of shape `(N,)`), quantiles (`np.ndarray` of shape `(N, Q)`): log returns.
    """
    errors, levels = actual[:, None] - quantiles, np.asarray(LEVELS)
    return np.maximum(levels * errors, (levels - 1) * errors)


def crps_of_quantiles(losses: np.ndarray) -> np.ndarray:
    """CRPS from pinball losses, `(N,)`: 2 x their integral over the level, by the trapezoidal rule.

    The loss is taken as 0 at the levels 0 and 1. With seven levels this is an approximation, the same for forecast and
    reference.
    """
    levels = np.concatenate(([0.0], LEVELS, [1.0]))
    return 2 * np.trapezoid(np.pad(losses, ((0, 0), (1, 1))), levels, axis=1)


def apart(spans: pd.DataFrame) -> np.ndarray:
    """Positions of a largest set of forecasts without overlaps, in time order.

    Args:
        spans (`pd.DataFrame`): `origin` and `end` (time of the last bar) of each forecast; two do not overlap if the
            later origin is not before the earlier end.
    """
    chosen, free = [], None
    order = np.lexsort((spans["origin"].to_numpy(), spans["end"].to_numpy()))
    origins, ends = spans["origin"].to_numpy(), spans["end"].to_numpy()
    for position in order:
        if free is None or origins[position] >= free:
            chosen.append(position)
            free = ends[position]
    return np.array(chosen, dtype=np.int64)


def newest_apart(spans: pd.DataFrame, most: int) -> np.ndarray:
    """Positions of the newest forecasts without overlaps, chosen backwards in time; at most `most`."""
    chosen, free = [], None
    origins, ends = spans["origin"].to_numpy(), spans["end"].to_numpy()
    for position in np.argsort(origins, kind="stable")[::-1]:
        if len(chosen) == most:
            break
        if free is None or ends[position] <= free:
            chosen.append(position)
            free = origins[position]
    return np.array(chosen, dtype=np.int64)


def _covered(rows: pd.DataFrame) -> dict[float, np.ndarray]:
    """Whether each actual close is in the central intervals, ends included, by level."""
    actual = rows["actual"].to_numpy()
    found = {}
    for level in BAND_LEVELS:
        low, high = (rows[f"{round(end, 9):g}"].to_numpy() for end in ((1 - level) / 2, (1 + level) / 2))
        found[level] = (actual >= low) & (actual <= high)
    return found


def _spans(rows: pd.DataFrame) -> pd.DataFrame:
    """Origin, last bar and whether all bars are known, of each forecast."""
    groups = rows.groupby(list(KEY), sort=False)
    return pd.DataFrame(
        {
            "origin": groups["origin"].first(),
            "end": groups["timestamps"].max(),
            "complete": groups["state"].agg(lambda states: bool((states == SCORED).all())),
        }
    ).reset_index(drop=True)


def figures_of(rows: pd.DataFrame) -> dict[str, object]:
    """Figures of the forecasts of a model, of one symbol or of several.

    Args:
        rows (`pd.DataFrame`): rows of [`~kronos_ft.daily.joined.join_log`] in any state.

    Returns:
        `dict`: `forecasts`, `bars` and `independent` (forecasts without overlaps) that are scored; `coverage` by level,
        with a 95 % Wilson interval; `crps_bp` and `reference_crps_bp` in basis points of the log return, `skill`
        (1 - crps / reference), `p_value` (Diebold-Mariano), `wql` and `reference_wql` (2 x quantile loss / mean
        absolute return), of the bars that have a reference; `brier`, of `probability_up`. None where undefined.
    """
    scored = rows[rows["state"] == SCORED]
    found: dict[str, object] = {"forecasts": len(scored[list(KEY)].drop_duplicates()), "bars": len(scored)}
    independent = len(apart(_spans(scored))) if len(scored) else 0
    found |= {"independent": independent, "coverage": {}}
    for level, inside in _covered(scored).items():
        share = float(inside.mean()) if len(scored) else None
        low, high = wilson_interval(np.array((share or 0.0) * independent), np.array(float(independent)))
        ends = {"low": float(low), "high": float(high)} if independent else {"low": None, "high": None}
        found["coverage"][level] = {"share": share, **ends}
    found |= _losses(scored)
    rises = np.sign(actual_returns(scored)) / 2 + 0.5
    chances = scored["probability_up"].to_numpy()
    found["brier"] = float(np.square(chances - rises).mean()) if len(scored) else None
    return found


def _losses(scored: pd.DataFrame) -> dict[str, float | None]:
    """CRPS and WQL of forecast and reference, on the bars that have a reference."""
    rows = scored[scored["volatility"].notna()]
    names = ("crps_bp", "reference_crps_bp", "skill", "p_value", "wql", "reference_wql")
    if not len(rows):
        return dict.fromkeys(names)
    actual = actual_returns(rows)
    losses = [quantile_losses(actual, quantiles) for quantiles in (forecast_quantiles(rows), reference_quantiles(rows))]
    ours, theirs = (crps_of_quantiles(one) for one in losses)
    moved = np.abs(actual).mean()
    weighted = [float(2 * one.mean() / moved) if moved > 0 else None for one in losses]
    skill = float(1 - ours.mean() / theirs.mean()) if theirs.mean() > 0 else None
    means = [BASIS_POINTS * float(one.mean()) for one in (ours, theirs)]
    return dict(zip(names, (*means, skill, _p_value(rows, ours, theirs), *weighted), strict=True))


def _p_value(rows: pd.DataFrame, ours: np.ndarray, theirs: np.ndarray) -> float | None:
    """Diebold-Mariano test of the mean losses of forecasts; None with too few of them."""
    groups = rows.assign(ours=ours, theirs=theirs).groupby(list(KEY), sort=False)
    table = groups.agg(ours=("ours", "mean"), theirs=("theirs", "mean"), end=("timestamps", "max")).reset_index()
    table = table.sort_values("origin", kind="stable")
    origins = np.unique(table["origin"].to_numpy())
    ends = table.groupby("origin")["end"].max().to_numpy()
    overlap = int(np.median(np.searchsorted(origins, ends) - np.arange(len(origins)) - 1))
    losses = table["ours"].to_numpy(), table["theirs"].to_numpy()
    return diebold_mariano(*losses, max(overlap, 0), times=table["origin"].to_numpy().astype("int64")).p_value


def drift_of(rows: pd.DataFrame, window: int, tests: int) -> list[dict[str, object]]:
    """Intervals of one symbol whose recent coverage leaves its binomial band.

    Args:
        rows (`pd.DataFrame`): rows of one symbol and one model.
        window (`int`): number of newest forecasts without overlaps.
        tests (`int`): number of tests that share the error probability.

    Returns:
        one `dict` per interval outside of its band: `level`, `forecasts`, `covered` (how many), and the band from `low`
        to `high`. Empty with fewer than 20 such forecasts.
    """
    if rows["origin"].nunique() < LEAST_WINDOW:
        return []
    spans = _spans(rows)
    complete = spans[spans["complete"]].reset_index(drop=True)
    chosen = complete.iloc[newest_apart(complete, window)]
    if len(chosen) < LEAST_WINDOW:
        return []
    last = rows.groupby(list(KEY), sort=False).tail(1)  # rows are sorted by step
    last = last[last["origin"].isin(chosen["origin"])]
    found = []
    for level, inside in _covered(last).items():
        low, high = (int(end) for end in binom.interval(1 - DRIFT_ERROR / tests, len(last), level))
        covered = int(inside.sum())
        if not low <= covered <= high:
            found.append({"level": level, "forecasts": len(last), "covered": covered, "low": low, "high": high})
    return found


def score_log(joined: pd.DataFrame, window: int = DEFAULT_WINDOW) -> dict[str, object]:
    """Scores a log, by model and symbol.

    Args:
        joined (`pd.DataFrame`): from [`~kronos_ft.daily.joined.join_log`].
        window (`int`): number of newest forecasts without overlaps that are tested for drift.

    Returns:
        `dict` of plain values: `reference`, `window`, `rows` (number by state), and `models`: by hash, `symbols` (each
        [`figures_of`]), `all` of several symbols, `drift` (each [`drift_of`], with its symbol), and the numbers of
        `revised` and `late` forecasts.

    Raises:
        ValueError: a window below 20.
    """
    if window < LEAST_WINDOW:
        raise ValueError(f"window={window} forecasts are too few for a test of drift; use {LEAST_WINDOW} or more")
    states = joined["state"].value_counts()
    found: dict[str, object] = {"reference": REFERENCE, "window": window}
    found |= {"rows": {state: int(states.get(state, 0)) for state in STATES}, "models": {}}
    for model, rows in joined.groupby("model", sort=True):
        symbols = dict(iter(rows.groupby("symbol", sort=True)))
        tests = len(symbols) * len(BAND_LEVELS)
        firsts = rows.drop_duplicates(list(KEY))
        found["models"][model] = {
            "symbols": {symbol: figures_of(part) for symbol, part in symbols.items()},
            "all": figures_of(rows) if len(symbols) > 1 else None,
            "drift": [
                {"symbol": symbol, **one} for symbol, part in symbols.items() for one in drift_of(part, window, tests)
            ],
            "revised": int(firsts["is_revised"].sum()),
            "late": int(firsts["is_late"].sum()),
        }
    return found
