"""Whether one forecaster's losses are lower than another's by more than chance: the test of Diebold and Mariano.

Notable:
- The variance of the mean difference is Newey and West's, with Bartlett weights w_j = 1 - j / (lag + 1): forecasts h
  bars ahead every few bars share bars, and their losses are correlated.
- lag is twice the overlap, and at least 4 (N / 100)^(2/9). Bartlett weights at the overlap itself leave out a third of
  the variance that overlapping forecasts have: simulated with 1,000 origins and an overlap of 23, a true null was
  rejected at the 5 % level in 11 % of runs, and with twice the overlap in 7 %. What remains (9 % with 200 origins and
  an overlap of 3) is a reason to distrust p-values close to 0.05.
- The statistic is shrunk by the factor of Harvey, Leybourne and Newbold (1997) for the lags used, and compared with
  Student's t with N - 1 degrees of freedom.

Losses of log returns ([`kronos_ft.scoring.targets`]) mean the same for every symbol, so symbols may be pooled.

Shapes: N origins.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

LEAST_ORIGINS = 8


@dataclass(frozen=True)
class DieboldMariano:
    """Outcome of [`diebold_mariano`].

    Attributes:
        statistic (`float`, *optional*): negative when a is better.
        p_value (`float`, *optional*): two-sided.
        mean_difference (`float`, *optional*): mean of loss a - loss b; negative when a is better.
        observations (`int`): origins compared, or distinct times when times were given.
        lag (`int`): autocovariances used.
        note (`str`, *optional*): why the test is not defined.
    """

    statistic: float | None
    p_value: float | None
    mean_difference: float | None
    observations: int
    lag: int
    note: str | None = None


def _kept_labels(labels: np.ndarray, number: int, name: str) -> np.ndarray:
    found = np.asarray(labels)
    if found.shape != (number,):
        raise ValueError(f"{name} of shape {found.shape} must hold one value for each of the {number} losses")
    return found


def _long_run_sum(scores: np.ndarray, groups: np.ndarray, lag: int) -> float:
    """Estimated variance of the sum of scores; products of two scores count within a group only."""
    total = scores @ scores
    for j in range(1, min(lag, len(scores) - 1) + 1):
        same = groups[j:] == groups[:-j]
        total += 2 * (1 - j / (lag + 1)) * (scores[j:] @ (scores[:-j] * same))
    return float(total)


def diebold_mariano(
    loss_a: np.ndarray,
    loss_b: np.ndarray,
    horizon_overlap: int,
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
) -> DieboldMariano:
    """Tests that two forecasters have the same expected loss.

    Args:
        loss_a, loss_b (`np.ndarray` of shape `(N,)`): losses at the same origins, in time order within each symbol.
        horizon_overlap (`int`): later origins whose forecasts share bars with an origin's: (h - 1) // step.
        groups (`np.ndarray` of shape `(N,)`, *optional*): symbol of each origin; autocovariances do not cross symbols.
            Symbols count as independent, which assets of one market are not: p-values come out too small.
        times (`np.ndarray` of shape `(N,)`, *optional*): time of each origin, when symbols share their origins' times.
            Differences of one time are then added up over symbols first (Driscoll and Kraay 1998), so that what moves
            all symbols together counts once. Groups are not needed with it.

    Returns:
        [`DieboldMariano`]; statistic and p-value are None, with a note, where the test is not defined.

    Raises:
        ValueError: losses that are not paired, not flat or not finite; a negative overlap.
    """
    a, b = np.asarray(loss_a, dtype=np.float64), np.asarray(loss_b, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"losses of shapes {a.shape} and {b.shape} must be flat and come from the same origins")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("losses hold values that are no numbers; drop these origins from both")
    if horizon_overlap < 0:
        raise ValueError(f"horizon_overlap={horizon_overlap} is negative; use (horizon - 1) // step")
    if not len(a):
        return DieboldMariano(None, None, None, 0, 0, "there are no origins")
    difference = a - b
    mean = float(difference.mean())
    scores, labels = difference - mean, np.zeros(len(a), dtype=np.int64)
    if times is not None:
        _, position = np.unique(_kept_labels(times, len(a), "times"), return_inverse=True)
        scores, labels = np.bincount(position, weights=scores), np.zeros(position.max() + 1, dtype=np.int64)
    elif groups is not None:
        _, labels = np.unique(_kept_labels(groups, len(a), "groups"), return_inverse=True)
        order = np.argsort(labels, kind="stable")
        scores, labels = scores[order], labels[order]
    number = len(scores)
    lag = max(2 * horizon_overlap, int(4 * (number / 100) ** (2 / 9)))
    least = max(LEAST_ORIGINS, 2 * (horizon_overlap + 1) + 1)
    if not difference.any():
        return DieboldMariano(None, None, 0.0, number, lag, "the losses are identical")
    if number < least:
        why = f"{number} origins are too few for forecasts that overlap {horizon_overlap} others; at least {least}"
        return DieboldMariano(None, None, mean, number, lag, why)
    # what is left of a constant difference after subtracting its mean is rounding
    if np.abs(scores).max() <= 1e-12 * np.abs(difference).max():
        return DieboldMariano(None, None, mean, number, lag, "the losses differ by the same amount at every origin")
    variance = _long_run_sum(scores, labels, lag) / len(a) ** 2
    h = lag + 1
    shrink = np.sqrt((number + 1 - 2 * h + h * (h - 1) / number) / number)
    statistic = shrink * mean / np.sqrt(variance)
    return DieboldMariano(float(statistic), float(2 * stdtr(number - 1, -abs(statistic))), mean, number, lag)
