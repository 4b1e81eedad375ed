"""All scores of one forecaster on one set of origins, and its losses against another forecaster's.

Shapes: N origins, P paths, H horizon, 5 targets in the order of `TARGETS`.
"""

from collections.abc import Mapping, Sequence
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
    information_coefficient,
    pinball,
    pit,
    point_errors,
    rank_ic,
    skill_score,
)
from .significance import diebold_mariano
from .targets import TARGETS

LOSSES = ("absolute", "crps")
VOLATILITY = TARGETS.index("volatility")


@dataclass(frozen=True)
class OriginTimes:
    """When origins lie, as far as tests between forecasters need it.

    Attributes:
        step (`int`): fewest bars between two origins of a symbol; those of one bar or more.
        clock (`np.ndarray` of int64, shape `(N,)`): a number that origins of the same time share, increasing in time.
        symbols (`int`): how many symbols the origins are of.
    """

    step: int
    clock: np.ndarray
    symbols: int = 1

    def overlap(self, horizon: int) -> int:
        """Later origins whose forecasts of `horizon` bars share bars with an origin's.

        One more for several symbols, whose origins may lie between each other's.
        """
        return (horizon - 1) // self.step + (self.symbols > 1 and horizon > 1)

    def select(self, chosen: np.ndarray) -> "OriginTimes":
        """The same for some of the origins."""
        return OriginTimes(self.step, self.clock[chosen], self.symbols)


def score_targets(
    truth: np.ndarray, paths: np.ndarray, scale: np.ndarray | None, times: OriginTimes, seed: int = 0
) -> dict[str, dict]:
    """Every score by target, with plain values.

    Args:
        truth (`np.ndarray` of shape `(N, H, 5)`): targets that came true.
        paths (`np.ndarray` of shape `(N, P, H, 5)`): targets of the forecast paths.
        scale (`np.ndarray` of shape `(N, H, 5)`, *optional*): in-sample naive errors that scale MASE.
        times ([`OriginTimes`]): of the origins.
        seed (`int`): of the random part of PIT ranks.

    Returns:
        `dict` of target to `dict` of `mae`, `rmse`, `mase`, `pinball`, `crps`, `bands`, `pit`, `direction` (not for
        volatility, which has one sign), `ic`, `rank_ic`; figures as `by_horizon`, `overall` and `note`.
    """
    overlap = [-(-h // times.step) for h in range(1, truth.shape[1] + 1)]
    scores = {}
    for position, target in enumerate(TARGETS):
        y, x = truth[..., position], paths[..., position]
        scores[target] = {
            **point_errors(y, x, None if scale is None else scale[..., position]),
            "pinball": pinball(y, x),
            "crps": crps(y, x),
            "bands": coverage_and_width(y, x, BAND_LEVELS),
            "pit": shorten(plain(pit(y, x, seed=seed))),
            "direction": None if position == VOLATILITY else directional_accuracy(y, x, overlap),
            "ic": information_coefficient(y, x),
            "rank_ic": rank_ic(y, x),
        }
    return plain(scores)


def shorten(scores: object) -> object:
    """The same scores with the last horizon (`last`) in place of the figures of all horizons."""
    if isinstance(scores, dict):
        short = {name: shorten(value) for name, value in scores.items() if name != "by_horizon"}
        if scores.get("by_horizon"):
            short["last"] = scores["by_horizon"][-1]
        return short
    return scores


def losses_of(truth: np.ndarray, paths: np.ndarray) -> dict[str, np.ndarray]:
    """Absolute error of the median and CRPS at each origin, horizon and target, each `(N, H, 5)`."""
    return {
        name: np.stack([loss(truth[..., i], paths[..., i]) for i in range(len(TARGETS))], axis=-1)
        for name, loss in (("absolute", absolute_loss), ("crps", crps_loss))
    }


def compare_losses(
    losses: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    times: OriginTimes,
    horizons: Sequence[int] | None = None,
) -> dict[str, dict]:
    """Skill against a reference with Diebold-Mariano tests, by target and loss.

    The test at a horizon takes the losses there; the overall test the mean over horizons of each origin.

    Args:
        losses, reference: of two forecasters at the same origins, from [`losses_of`].
        times ([`OriginTimes`]): of the origins.
        horizons (`Sequence[int]`, *optional*): bars ahead to test at; all when not given.

    Returns:
        `dict` of target to loss to `skill`, `p_value`, `statistic`, each with `by_horizon` and `overall`, and
        `observations` (distinct times) and `note` of the test at the last horizon.
    """
    length = next(iter(losses.values())).shape[1]
    chosen = list(horizons or range(1, length + 1))
    clock = times.clock if times.symbols > 1 else None
    found: dict[str, dict] = {}
    for position, target in enumerate(TARGETS):
        found[target] = {}
        for loss in LOSSES:
            a, b = losses[loss][..., position], reference[loss][..., position]
            skill = skill_score(a, b)
            at = [diebold_mariano(a[:, h - 1], b[:, h - 1], times.overlap(h), times=clock) for h in chosen]
            whole = diebold_mariano(a.mean(axis=1), b.mean(axis=1), times.overlap(length), times=clock)
            found[target][loss] = {
                "horizons": chosen,
                "skill": {"by_horizon": [skill.by_horizon[h - 1] for h in chosen], "overall": skill.overall},
                "p_value": {"by_horizon": [one.p_value for one in at], "overall": whole.p_value},
                "statistic": {"by_horizon": [one.statistic for one in at], "overall": whole.statistic},
                "observations": at[-1].observations,
                "lag": at[-1].lag,
                "note": at[-1].note,
            }
    return plain(found)
