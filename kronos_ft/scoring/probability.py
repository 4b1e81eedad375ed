"""Scores of the probability that the price rises: Brier score, log score and reliability.

The probability is the share of samples above 0, where ties count half; so persistence says 0.5. The truth is 1, 0, or
0.5 if the price is the same.

Shapes: N origins, P paths, H bars of the horizon; truth and paths are log returns.
"""

import numpy as np

from .figures import Figures
from .metrics import checked, mean_figures, wilson_interval

RELIABILITY_BINS = 10


def probability_up(paths: np.ndarray) -> np.ndarray:
    """Share of paths above 0, ties half, shape `(N, H)`.

    Args:
        paths (`np.ndarray` of shape `(N, P, H)`): log returns against the last known close.
    """
    return (paths > 0).mean(axis=1) + (paths == 0).mean(axis=1) / 2


def _outcome(truth: np.ndarray) -> np.ndarray:
    return (1 + np.sign(truth)) / 2


def brier_loss(truth: np.ndarray, paths: np.ndarray, exact: bool = False) -> np.ndarray:
    """(p - y)^2, shape `(N, H)`; for drawn paths less p (1 - p) / (P - 1).

    The difference makes the expectation independent of the number of paths (Ferro 2014, Fair scores for ensemble
    forecasts). The loss of a single origin may then be negative.

    Args:
        truth (`np.ndarray` of shape `(N, H)`), paths (`np.ndarray` of shape `(N, P, H)`): log returns.
        exact (`bool`): the samples are quantiles of the distribution, not draws.
    """
    truth, paths = checked(truth, paths)
    number, up = paths.shape[1], probability_up(paths)
    loss = np.square(up - _outcome(truth))
    return loss if exact or number == 1 else loss - _sampling_variance(paths) / (number - 1)


def _sampling_variance(paths: np.ndarray) -> np.ndarray:
    """Variance of one draw's 1, 0.5 or 0."""
    return _outcome(paths).var(axis=1)


def log_loss(truth: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """-log of the probability of the outcome, shape `(N, H)`, with p = (samples above 0 + 0.5) / (P + 1).

    The added half keeps p between 0 and 1, so that the loss is finite if all paths go the same way.
    """
    truth, paths = checked(truth, paths)
    number, outcome = paths.shape[1], _outcome(truth)
    up = (probability_up(paths) * number + 0.5) / (number + 1)
    return -(outcome * np.log(up) + (1 - outcome) * np.log(1 - up))


def reliability(truth: np.ndarray, paths: np.ndarray, overlap: float = 1.0, bins: int = RELIABILITY_BINS) -> dict:
    """How often the price rose, by forecast probability, at the last bar of the horizon.

    Args:
        truth (`np.ndarray` of shape `(N, H)`), paths (`np.ndarray` of shape `(N, P, H)`): log returns.
        overlap (`float`): number of origins that share bars with a forecast, including its own; intervals assume
            count / overlap independent origins.
        bins (`int`): number of bins of equal width.

    Returns:
        `dict` of `edges` and, by bin, `count`, `forecast` (mean probability), `observed` (share that rose), `lower` and
        `upper` (95 % Wilson interval of it); None in empty bins.
    """
    truth, paths = checked(truth, paths)
    edges = np.linspace(0, 1, bins + 1)
    up = probability_up(paths)[:, -1] if len(truth) else np.empty(0)
    outcome = _outcome(truth[:, -1])
    place = np.minimum((up * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    rose = np.bincount(place, weights=outcome, minlength=bins)
    with np.errstate(divide="ignore", invalid="ignore"):
        forecast, observed = np.bincount(place, weights=up, minlength=bins) / count, rose / count
        lower, upper = wilson_interval(rose / overlap, count / overlap)
    columns = {"forecast": forecast, "observed": observed, "lower": lower, "upper": upper}
    shown = {name: [value if n else None for value, n in zip(v.tolist(), count.tolist(), strict=True)] for name, v in
             columns.items()}  # fmt: skip
    return {"edges": edges.tolist(), "count": count.tolist(), **shown}


def probability_scores(
    truth: np.ndarray, paths: np.ndarray, overlap: float = 1.0, exact: bool = False
) -> dict[str, Figures | dict]:
    """`brier`, `log` and `reliability` of the probability that the price rises.

    Args:
        truth (`np.ndarray` of shape `(N, H)`), paths (`np.ndarray` of shape `(N, P, H)`): log returns.
        overlap (`float`): as in [`reliability`], at the last bar.
        exact (`bool`): as in [`brier_loss`].
    """
    return {
        "brier": mean_figures(brier_loss(truth, paths, exact)),
        "log": mean_figures(log_loss(truth, paths)),
        "reliability": reliability(truth, paths, overlap),
    }
