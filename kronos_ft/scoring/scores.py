"""All scores of one forecaster on a set of origins, and the comparison of its losses with another forecaster's.

Volume is NaN at origins that do not define it, and for forecasters that do not forecast it; these are left out of its
scores and comparisons. Every other target is defined everywhere.

Shapes: N origins, P paths, H horizon, 7 targets in the order of `TARGETS`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .figures import plain
from .metrics import (
    BAND_LEVELS,
    absolute_loss,
    coverage_and_width,
    crps,
    crps_loss,
    directional_accuracy,
    energy_figures,
    energy_loss,
    information_coefficient,
    pinball,
    pit,
    point_errors,
    rank_ic,
    skill_score,
    wql,
)
from .probability import brier_loss, log_loss, probability_scores
from .significance import diebold_mariano
from .targets import CLOSE, RANGE, TARGETS, VOLATILITY, VOLUME
from .volatility import qlike_loss, variance_loss, variance_scores

LOSSES = ("absolute", "crps")
TARGET_LOSSES = {"close": ("brier", "log"), "volatility": ("qlike", "variance")}


@dataclass(frozen=True)
class OriginTimes:
    """Times of the origins, for significance tests.

    Attributes:
        step (`int`): minimum number of bars between two origins of a symbol, at least 1.
        clock (`np.ndarray` of int64, shape `(N,)`): time index; equal for simultaneous origins, increasing in time.
        symbols (`int`): number of symbols.
    """

    step: int
    clock: np.ndarray
    symbols: int = 1

    def overlap(self, horizon: int) -> int:
        """Number of later origins whose forecasts of `horizon` bars overlap with an origin's.

        One more with several symbols, whose origins may interleave.
        """
        return (horizon - 1) // self.step + (self.symbols > 1 and horizon > 1)

    def select(self, chosen: np.ndarray) -> "OriginTimes":
        """The times of a subset of the origins."""
        return OriginTimes(self.step, self.clock[chosen], self.symbols)


def defined_origins(position: int, *arrays: np.ndarray) -> np.ndarray | slice:
    """The origins with a target, by its position in `TARGETS`: all of them, or those without NaN for volume.

    Args:
        arrays (`np.ndarray` of shapes `(N, ...)`): values of the target.
    """
    if position != VOLUME:
        return slice(None)
    known = [np.isfinite(values).all(axis=tuple(range(1, values.ndim))) for values in arrays]
    return np.flatnonzero(np.logical_and.reduce(known))


def sorted_samples(paths: np.ndarray) -> np.ndarray:
    """The samples of each target and bar in increasing order, for scores that do not depend on the order.

    They lie side by side in memory, so that the scores take less than half of the time.

    Args:
        paths (`np.ndarray` of shape `(N, P, H, 7)`): targets of the forecast paths.

    Returns:
        `np.ndarray` of shape `(N, P, H, 7)`, a view of an array whose last axis are the samples.
    """
    samples = np.array(paths.transpose(3, 0, 2, 1), order="C")
    samples.sort(axis=-1)
    return samples.transpose(1, 3, 2, 0)


def score_targets(
    truth: np.ndarray,
    paths: np.ndarray,
    scale: np.ndarray | None,
    times: OriginTimes,
    seed: int = 0,
    exact: Collection[str] = (),
    energy: np.ndarray | None = None,
) -> dict[str, dict]:
    """All scores by target, as plain values.

    Args:
        truth (`np.ndarray` of shape `(N, H, 7)`): true targets.
        paths (`np.ndarray` of shape `(N, P, H, 7)`): targets of the forecast paths.
        scale (`np.ndarray` of shape `(N, H, 7)`, *optional*): in-sample naive errors that scale MASE.
        times ([`OriginTimes`]): times of the origins.
        seed (`int`): seed of the random part of PIT values.
        exact (`Collection[str]`): targets whose samples are quantiles of the distribution, not draws ([`crps_loss`]).
        energy (`np.ndarray` of shape `(N,)`, *optional*): energy losses of the closes of the paths; by default those of
            `paths`, which must then be joint samples.

    Returns:
        `dict` of target to `dict` of `mae`, `rmse`, `mase`, `pinball`, `wql`, `crps`, `bands`, `pit`, `direction` (None
        for volatility and range), `ic`, `rank_ic`; each with `by_horizon`, `overall` and `note`. Also `qlike` and `mse`
        of volatility ([`variance_scores`]), and `probability_up` ([`probability_scores`]) and `energy`
        ([`energy_figures`]) of the close. Without volume if it is not defined or not forecast.
    """
    overlap = [-(-h // times.step) for h in range(1, truth.shape[1] + 1)]
    scores = {}
    for position, target in enumerate(TARGETS):
        y, x = truth[..., position], paths[..., position]
        chosen = defined_origins(position, y, x)
        y, x = y[chosen], x[chosen]
        if position == VOLUME and not len(y):
            continue
        scores[target] = {
            **point_errors(y, x, None if scale is None else scale[chosen, :, position]),
            "pinball": pinball(y, x),
            "wql": wql(y, x),
            "crps": crps(y, x, target in exact),
            "bands": coverage_and_width(y, x, BAND_LEVELS, overlap),
            "pit": shorten(plain(pit(y, x, seed=seed))),
            "direction": None if position in (VOLATILITY, RANGE) else directional_accuracy(y, x, overlap),
            "ic": information_coefficient(y, x),
            "rank_ic": rank_ic(y, x),
        }
        if target == "close":
            scores[target]["probability_up"] = probability_scores(y, x, overlap[-1], target in exact)
            scores[target]["energy"] = energy_figures(energy_loss(y, x, target in exact) if energy is None else energy)
        if target == "volatility":
            scores[target] |= variance_scores(y, x)
    return plain(scores)


def shorten(scores: object) -> object:
    """Replaces the values of all horizons (`by_horizon`) by that of the last horizon (`last`)."""
    if isinstance(scores, dict):
        short = {name: shorten(value) for name, value in scores.items() if name != "by_horizon"}
        if scores.get("by_horizon"):
            short["last"] = scores["by_horizon"][-1]
        return short
    return scores


def losses_of(truth: np.ndarray, paths: np.ndarray, exact: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Losses at each origin and horizon.

    Args:
        truth (`np.ndarray` of shape `(N, H, 7)`), paths (`np.ndarray` of shape `(N, P, H, 7)`): targets.
        exact (`Collection[str]`): as in [`score_targets`].

    Returns:
        `dict` of `absolute` (error of the median) and `crps`, each `(N, H, 7)`; of `brier` and `log` of the close's
        probability to rise, `variance` (squared error) and, where it is finite, `qlike` of volatility, each `(N, H)`.
    """
    columns = [(truth[..., i], paths[..., i]) for i in range(len(TARGETS))]
    absolute, crps_losses = np.full(truth.shape, np.nan), np.full(truth.shape, np.nan)
    for position, (y, x) in enumerate(columns):
        chosen = defined_origins(position, y, x)
        absolute[chosen, :, position] = absolute_loss(y[chosen], x[chosen])
        crps_losses[chosen, :, position] = crps_loss(y[chosen], x[chosen], TARGETS[position] in exact)
    qlike = qlike_loss(*columns[VOLATILITY])
    return {
        "absolute": absolute,
        "crps": crps_losses,
        "brier": brier_loss(*columns[CLOSE], "close" in exact),
        "log": log_loss(*columns[CLOSE]),
        "variance": variance_loss(*columns[VOLATILITY]),
        **({} if qlike is None else {"qlike": qlike}),
    }


def target_losses(losses: Mapping[str, np.ndarray], target: str) -> dict[str, np.ndarray]:
    """The losses of one target, each `(N, H)`, from [`losses_of`]."""
    position = TARGETS.index(target)
    found = {name: losses[name][..., position] for name in LOSSES}
    return found | {name: losses[name] for name in TARGET_LOSSES.get(target, ()) if name in losses}


def compare_losses(
    losses: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    times: OriginTimes,
    horizons: Sequence[int] | None = None,
) -> dict[str, dict]:
    """Skill against a reference with Diebold-Mariano tests, by target and loss.

    The test at a horizon uses the losses there; the overall test uses the mean over horizons of each origin.

    Args:
        losses, reference: losses of two forecasters at the same origins, from [`losses_of`].
        times ([`OriginTimes`]): times of the origins.
        horizons (`Sequence[int]`, *optional*): horizons to test; by default all.

    Returns:
        `dict` of target to loss (those that both forecasters have) to `skill`, `p_value`, `statistic`, each with
        `by_horizon` and `overall`, `origins` (number of them compared), and `observations` (distinct times) and `note`
        of the test at the last horizon.
    """
    length = next(iter(losses.values())).shape[1]
    chosen = list(horizons or range(1, length + 1))
    found: dict[str, dict] = {}
    for position, target in enumerate(TARGETS):
        found[target] = {}
        own, theirs = target_losses(losses, target), target_losses(reference, target)
        for loss in (name for name in own if name in theirs):
            a, b = own[loss], theirs[loss]
            rows = defined_origins(position, a, b)
            a, b = a[rows], b[rows]
            if position == VOLUME and not len(a):
                continue
            clock = times.clock[rows] if times.symbols > 1 else None
            skill = skill_score(a, b)
            at = [diebold_mariano(a[:, h - 1], b[:, h - 1], times.overlap(h), times=clock) for h in chosen]
            overall = diebold_mariano(a.mean(axis=1), b.mean(axis=1), times.overlap(length), times=clock)
            found[target][loss] = {
                "horizons": chosen,
                "skill": {"by_horizon": [skill.by_horizon[h - 1] for h in chosen], "overall": skill.overall},
                "p_value": {"by_horizon": [one.p_value for one in at], "overall": overall.p_value},
                "statistic": {"by_horizon": [one.statistic for one in at], "overall": overall.statistic},
                "origins": len(a),
                "observations": at[-1].observations,
                "lag": at[-1].lag,
                "note": at[-1].note,
            }
    return plain(found)
