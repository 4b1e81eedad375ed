"""Scores of forecast paths: point errors, CRPS and pinball loss, prediction intervals, direction, correlation.

Each function takes one target, truth `(N, H)` and paths `(N, P, H)`, in log returns ([`path_targets`]), and returns
[`Figures`] by horizon. The origins of several symbols can be pooled, because log returns are comparable. A function
named `..._loss` returns one number per origin and horizon, for significance tests.

Each score uses the point forecast that is optimal for it: the median for absolute errors and direction, the mean for
squared errors and correlation (Gneiting 2011, Making and evaluating point forecasts). With one path both are equal.

Shapes: N origins, P paths, H bars of the horizon.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import ndtri
from scipy.stats import rankdata
from scoringrules import crps_ensemble

from .figures import Figures

BAND_LEVELS = (0.5, 0.8, 0.9)
QUANTILE_LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
WQL_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PIT_BINS = 10
NO_ORIGINS = "no origins"
ONE_PATH = "one path is a point forecast, without a distribution"
BLOCK_PATHS = 256  # rows of the distances between paths that are held at once
LEAST_CORRELATED = 3  # two points are always perfectly correlated


def checked(truth: np.ndarray, paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Validates shapes and finite values; returns both as float64."""
    truth, paths = np.asarray(truth, dtype=np.float64), np.asarray(paths, dtype=np.float64)
    if truth.ndim != 2 or paths.ndim != 3 or truth.shape != (paths.shape[0], paths.shape[2]) or 0 in paths.shape[1:]:
        raise ValueError(
            f"truth of shape {truth.shape} and paths of shape {paths.shape} must be (origins, horizon) and "
            "(origins, paths, horizon), with at least one path and one bar"
        )
    for name, values in (("truth", truth), ("paths", paths)):
        if not np.isfinite(values).all():
            raise ValueError(
                f"{name} contains {int((~np.isfinite(values)).sum())} values that are NaN or infinite; remove them"
            )
    return truth, paths


def _checked_levels(levels: Sequence[float]) -> np.ndarray:
    found = np.asarray(levels, dtype=np.float64)
    if found.ndim != 1 or not len(found) or not ((found > 0) & (found < 1)).all() or (np.diff(found) <= 0).any():
        raise ValueError(f"levels={list(levels)} must be increasing values in (0, 1); use e.g. 0.5 0.8 0.9")
    return found


def mean_figures(values: np.ndarray) -> Figures:
    """Means over origins of an array `(N, H)`; overall is the mean over origins and horizons."""
    if not len(values):
        return Figures.undefined(values.shape[1], NO_ORIGINS)
    return Figures.of(values.mean(axis=0), NO_ORIGINS)


def path_quantiles(paths: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Quantiles of the paths, shape `(levels, N, H)`.

    The k-th smallest of P paths is the quantile k / (P + 1): a truth from the same distribution is below it with
    exactly this probability. (numpy's default, (k - 1) / (P - 1), gives too narrow intervals for few paths.) Below
    1 / (P + 1) and above P / (P + 1), the outermost path is used.
    """
    if not len(paths):
        return np.empty((len(levels), 0, paths.shape[2]))
    return np.quantile(paths, levels, axis=1, method="weibull")


def path_bands(paths: np.ndarray, levels: Sequence[float] = BAND_LEVELS) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends of central prediction intervals, each of shape `(levels, N, H)`."""
    levels = _checked_levels(levels)
    ends = path_quantiles(paths, np.concatenate(((1 - levels) / 2, (1 + levels) / 2)))
    return ends[: len(levels)], ends[len(levels) :]


def absolute_loss(truth: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """|y - median of the paths|, shape `(N, H)`."""
    truth, paths = checked(truth, paths)
    return np.abs(truth - np.median(paths, axis=1))


def squared_loss(truth: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """(y - mean of the paths)^2, shape `(N, H)`."""
    truth, paths = checked(truth, paths)
    return np.square(truth - paths.mean(axis=1))


def pinball_loss(truth: np.ndarray, paths: np.ndarray, levels: Sequence[float] = QUANTILE_LEVELS) -> np.ndarray:
    """max(a (y - q_a), (a - 1) (y - q_a)) for each level a, shape `(levels, N, H)`."""
    truth, paths = checked(truth, paths)
    levels = _checked_levels(levels)
    errors = truth - path_quantiles(paths, levels)
    weights = levels[:, None, None]
    return np.maximum(weights * errors, (weights - 1) * errors)


def crps_loss(truth: np.ndarray, paths: np.ndarray, exact: bool = False) -> np.ndarray:
    """Continuous ranked probability score, shape `(N, H)`, in log returns.

    mean_i |x_i - y| - sum_{i, j} |x_i - x_j| / (2 P (P - 1)): the fair estimator, computed by probability-weighted
    moments in P log P instead of P^2 operations. Its expectation does not depend on the number of paths, so 100 paths
    can be compared with 20. For one path, the score is the absolute error. The score of a single origin may be slightly
    negative, because the estimator is unbiased.

    The fair estimator is fair to draws. Samples that are the quantiles k / (P + 1) themselves would score about 1 / P
    too well (1 % with 100 samples, 3 % with 30); for these, the divisor is P^2 instead of P (P - 1), which is within
    0.1 % of the CRPS of the distribution with 100 samples (normal, uniform and t with 3 degrees of freedom).

    Args:
        truth (`np.ndarray` of shape `(N, H)`), paths (`np.ndarray` of shape `(N, P, H)`): one target.
        exact (`bool`): the samples are quantiles of the distribution, not draws.
    """
    truth, paths = checked(truth, paths)
    if paths.shape[1] == 1 or not len(truth):
        return np.abs(truth - paths[:, 0])
    return crps_ensemble(truth, paths, m_axis=1, estimator="qd" if exact else "pwm", backend="numpy")


def point_errors(truth: np.ndarray, paths: np.ndarray, scale: np.ndarray | None = None) -> dict[str, Figures]:
    """Mean absolute error of the median, root mean squared error of the mean, and, with a scale, MASE.

    Args:
        truth (`np.ndarray` of shape `(N, H)`), paths (`np.ndarray` of shape `(N, P, H)`): one target in log returns.
        scale (`np.ndarray` of shape `(H,)` or `(1,)`, or `(N, H)`, *optional*):
            In-sample naive error of the target ([`naive_scale`]); one row per origin if symbols are pooled.

    Returns:
        `dict` of `mae`, `rmse` and, with a scale, `mase`, each [`Figures`]. Overall RMSE pools all squared errors.
    """
    absolute, squared = absolute_loss(truth, paths), squared_loss(truth, paths)
    mean_squares = mean_figures(squared)
    roots = [None if value is None else float(np.sqrt(value)) for value in mean_squares.by_horizon]
    overall = None if mean_squares.overall is None else float(np.sqrt(mean_squares.overall))
    figures = {"mae": mean_figures(absolute), "rmse": Figures(roots, overall, mean_squares.note)}
    if scale is not None:
        scale = np.broadcast_to(np.asarray(scale, dtype=np.float64), absolute.shape)
        figures["mase"] = _scaled(absolute, scale)
    return figures


def _scaled(absolute: np.ndarray, scale: np.ndarray) -> Figures:
    """Mean of scaled errors; undefined at horizons with a naive error of zero."""
    horizon, measurable = absolute.shape[1], (scale > 0).all(axis=0)
    bars = ", ".join(str(bar + 1) for bar in np.flatnonzero(~measurable))
    cause = "undefined" if np.isnan(scale[:, ~measurable]).any() else "zero"
    why = f"the naive error in training is {cause} at bar {bars}: MASE is undefined"
    if not len(absolute):
        return mean_figures(absolute)
    if not measurable.any():
        return Figures.undefined(horizon, why)
    values = np.full(horizon, np.nan)
    values[measurable] = (absolute[:, measurable] / scale[:, measurable]).mean(axis=0)
    return Figures.of(values, why)


def pinball(
    truth: np.ndarray, paths: np.ndarray, levels: Sequence[float] = QUANTILE_LEVELS
) -> dict[float | str, Figures]:
    """Pinball loss of each quantile level, and their mean as `mean`."""
    losses = pinball_loss(truth, paths, levels)
    figures: dict[float | str, Figures] = {
        float(level): mean_figures(loss) for level, loss in zip(levels, losses, strict=True)
    }
    return {**figures, "mean": mean_figures(losses.mean(axis=0))}


def wql(truth: np.ndarray, paths: np.ndarray, levels: Sequence[float] = WQL_LEVELS) -> Figures:
    """Weighted quantile loss: mean over levels of 2 sum(pinball loss) / sum(|y|); overall sums over all horizons.

    As GluonTS and Chronos (arXiv 2403.07815) report it; here of log returns, so that its size is near 1 for a forecast
    of no change.
    """
    truth, paths = checked(truth, paths)
    if not len(truth):
        return Figures.undefined(truth.shape[1], NO_ORIGINS)
    losses, sizes = 2 * pinball_loss(truth, paths, levels).mean(axis=0).sum(axis=0), np.abs(truth).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Figures.of(losses / sizes, "every true value is zero", np.divide(losses.sum(), sizes.sum()))


def crps(truth: np.ndarray, paths: np.ndarray, exact: bool = False) -> Figures:
    """Mean continuous ranked probability score, see [`crps_loss`]; for one path, the MAE."""
    return mean_figures(crps_loss(truth, paths, exact))


def energy_loss(truth: np.ndarray, paths: np.ndarray, exact: bool = False) -> np.ndarray:
    """Energy score of all H values of an origin as one vector, shape `(N,)`, in log returns.

    mean_i |x_i - y| - sum_{i, j} |x_i - x_j| / (2 P (P - 1)), with Euclidean norms: the fair estimator of
    E |X - y| - E |X - X'| / 2 (Gneiting and Raftery 2007, Strictly proper scoring rules, prediction, and estimation,
    Journal of the American Statistical Association 102, equation 22). It depends on the dependence of the paths over
    time, which scores of single horizons do not see. For one bar it is the CRPS; for one path, the distance |x - y|.

    Args:
        truth (`np.ndarray` of shape `(N, H)`), paths (`np.ndarray` of shape `(N, P, H)`): one target; the paths are
            joint samples, not sorted at each horizon.
        exact (`bool`): at each horizon, the samples are quantiles of the distribution; the divisor is then 2 P^2, as in
            [`crps_loss`]. For a Gaussian random walk of 24 bars with 100 such paths this is 0.3 % too high, and the
            fair estimator 0.7 % too low.
    """
    truth, paths = checked(truth, paths)
    number = paths.shape[1]
    pairs = 2 * number * (number if exact or number == 1 else number - 1)
    found = np.empty(len(truth))
    for row, (y, x) in enumerate(zip(truth, paths, strict=True)):
        apart = sum(cdist(x[at : at + BLOCK_PATHS], x).sum() for at in range(0, number, BLOCK_PATHS))
        found[row] = np.sqrt(np.square(x - y).sum(axis=1)).mean() - apart / pairs
    return found


def energy_figures(losses: np.ndarray) -> Figures:
    """The mean of [`energy_loss`] over origins as `overall`; `by_horizon` is empty: all horizons are one vector."""
    return Figures([], float(losses.mean()) if len(losses) else None, None if len(losses) else NO_ORIGINS)


def energy_score(truth: np.ndarray, paths: np.ndarray, exact: bool = False) -> Figures:
    """Mean energy score, see [`energy_loss`]."""
    return energy_figures(energy_loss(truth, paths, exact))


def skill_score(loss: np.ndarray, reference: np.ndarray) -> Figures:
    """1 - mean loss / mean loss of the reference; above 0: better than the reference.

    Args:
        loss, reference (`np.ndarray` of shape `(N, H)`): losses at the same origins.
    """
    if loss.shape != reference.shape:
        raise ValueError(f"losses of shapes {loss.shape} and {reference.shape} must come from the same origins")
    if not len(loss):
        return Figures.undefined(loss.shape[1], NO_ORIGINS)
    means, references = loss.mean(axis=0), reference.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        skills, overall = 1 - means / references, 1 - means.mean() / references.mean()
    return Figures.of(skills, "the error of the reference is zero", overall)


def band_figures(truth: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> dict[str, Figures]:
    """`coverage` (share of truths inside, ends included) and `width` of one prediction interval, arrays `(N, H)`."""
    covered = (truth >= lower) & (truth <= upper)
    return {"coverage": mean_figures(covered.astype(np.float64)), "width": mean_figures(upper - lower)}


def _coverage_interval(covered: np.ndarray, overlaps: np.ndarray) -> dict[str, Figures]:
    """95 % Wilson interval of the coverage at each horizon, and the number of independent origins that it assumes."""
    effective = len(covered) / overlaps
    found = {}
    for name, ends in zip(("lower", "upper"), wilson_interval(covered.sum(axis=0) / overlaps, effective), strict=True):
        found[name] = Figures(Figures.of(ends, NO_ORIGINS).by_horizon, None, None if len(covered) else NO_ORIGINS)
    return {**found, "effective": Figures(effective.tolist(), None)}


def coverage_and_width(
    truth: np.ndarray,
    paths: np.ndarray,
    levels: Sequence[float] = BAND_LEVELS,
    overlap: int | Sequence[int] = 1,
) -> dict[float, dict[str, Figures]]:
    """Coverage and mean width of the paths' central prediction intervals.

    An interval of level a needs 2 / (1 - a) - 1 paths (19 for 90 %). With fewer paths, a note contains the level that
    they can reach.

    Args:
        truth (`np.ndarray` of shape `(N, H)`), paths (`np.ndarray` of shape `(N, P, H)`): one target in log returns.
        levels (`Sequence[float]`): levels of the intervals.
        overlap (`int` or one per horizon): as in [`directional_accuracy`].

    Returns:
        `dict` of level to `dict` of `coverage`, `width`, `lower` and `upper` (95 % Wilson interval of the coverage) and
        `effective` (independent origins: N / overlap), each [`Figures`]; None for one path.
    """
    truth, paths = checked(truth, paths)
    levels, (_, num_paths, horizon) = _checked_levels(levels), paths.shape
    if num_paths == 1:
        names = ("coverage", "width", "lower", "upper", "effective")
        return {float(level): dict.fromkeys(names, Figures.undefined(horizon, ONE_PATH)) for level in levels}
    overlaps = np.broadcast_to(np.asarray(overlap, dtype=np.float64), (horizon,))
    figures = {}
    reach = (num_paths - 1) / (num_paths + 1)
    for level, lower, upper in zip(levels, *path_bands(paths, levels), strict=True):
        covered = (truth >= lower) & (truth <= upper)
        figures[float(level)] = {**band_figures(truth, lower, upper), **_coverage_interval(covered, overlaps)}
        if level > reach + 1e-9 and len(truth):
            note = f"{num_paths} paths give intervals of at most {reach:.0%}"
            for name in ("coverage", "width"):
                found = figures[float(level)][name]
                figures[float(level)][name] = Figures(found.by_horizon, found.overall, note)
    return figures


@dataclass(frozen=True)
class PitHistogram:
    """Histogram of the truth's rank among the paths (PIT): flat for a calibrated distribution.

    Attributes:
        edges (`list` of `float`): bin edges, from 0 to 1.
        by_horizon (`list` of `list` of `float`, *optional*): share of origins in each bin, one list per horizon.
        overall (`list` of `float`, *optional*): shares over all horizons.
        note (`str`, *optional*): why they are None.
    """

    edges: list[float]
    by_horizon: list[list[float]] | None
    overall: list[float] | None
    note: str | None = None


def pit_values(truth: np.ndarray, paths: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(paths below + V (ties + 1)) / (P + 1) with V uniform in (0, 1), shape `(N, H)`.

    The random part makes the values exactly uniform if truth and paths have the same distribution, also with ties and
    few paths.
    """
    truth, paths = checked(truth, paths)
    below, ties = (paths < truth[:, None]).sum(axis=1), (paths == truth[:, None]).sum(axis=1)
    return (below + generator.random(truth.shape) * (ties + 1)) / (paths.shape[1] + 1)


def pit(truth: np.ndarray, paths: np.ndarray, bins: int = PIT_BINS, seed: int = 0) -> PitHistogram:
    """Histogram of [`pit_values`]. U shape: intervals too narrow; hill: intervals too wide; slope: bias.

    Args:
        bins (`int`): number of bins of equal width.
        seed (`int`): seed of the random part.
    """
    truth, paths = checked(truth, paths)
    edges = np.linspace(0, 1, bins + 1)
    why = NO_ORIGINS if not len(truth) else ONE_PATH if paths.shape[1] == 1 else None
    if why:
        return PitHistogram(edges.tolist(), None, None, why)
    values = pit_values(truth, paths, np.random.default_rng(seed))
    shares = np.stack([np.histogram(column, edges)[0] for column in values.T]) / len(truth)
    return PitHistogram(edges.tolist(), shares.tolist(), shares.mean(axis=0).tolist())


def wilson_interval(hits: np.ndarray, trials: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Wilson score interval of a binomial proportion; NaN without trials. `trials` may be fractional."""
    z = ndtri((1 + confidence) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = hits / trials
        centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
        reach = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return np.clip(centre - reach, 0, 1), np.clip(centre + reach, 0, 1)


@dataclass(frozen=True)
class DirectionalAccuracy:
    """How often the median path has the sign of the truth.

    Attributes:
        accuracy ([`Figures`]): share of counted origins with the correct sign; overall pools all horizons.
        lower, upper ([`Figures`]): ends of the 95 % confidence interval at each horizon; overall is None, because the
            horizons of one origin are not independent.
        counted (`list` of `int`): origins at each horizon with a true and a forecast direction.
        no_move (`list` of `int`): origins excluded because the true return is 0.
        no_call (`list` of `int`): origins excluded because the forecast return is 0, as always for persistence.
    """

    accuracy: Figures
    lower: Figures
    upper: Figures
    counted: list[int]
    no_move: list[int]
    no_call: list[int]


def directional_accuracy(
    truth: np.ndarray, paths: np.ndarray, overlap: int | Sequence[int] = 1, confidence: float = 0.95
) -> DirectionalAccuracy:
    """Directional accuracy with a Wilson interval; only for returns, since volatility is never negative.

    Args:
        truth (`np.ndarray` of shape `(N, H)`), paths (`np.ndarray` of shape `(N, P, H)`): one target in log returns.
        overlap (`int` or one per horizon): number of origins that share bars with an origin's forecast, including
            itself: ceil(h / step). The interval assumes counted / overlap independent origins.
        confidence (`float`): confidence level of the interval.
    """
    truth, paths = checked(truth, paths)
    horizon = truth.shape[1]
    overlaps = np.broadcast_to(np.asarray(overlap, dtype=np.float64), (horizon,))
    if not (overlaps >= 1).all():
        raise ValueError(f"overlap={overlap} must be 1 (no overlap) or more")
    called, moved = np.sign(np.median(paths, axis=1)) if len(truth) else truth, np.sign(truth)
    usable = (moved != 0) & (called != 0)
    hits, counted = ((called == moved) & usable).sum(axis=0), usable.sum(axis=0)
    why = "no origin with a true and a forecast direction" if len(truth) else NO_ORIGINS
    with np.errstate(divide="ignore", invalid="ignore"):
        accuracy = Figures.of(hits / counted, why, np.divide(hits.sum(), counted.sum()))
    note = "forecasts overlap: counted as fewer independent origins" if (overlaps > 1).any() else None
    lower, upper = wilson_interval(hits / overlaps, counted / overlaps, confidence)
    return DirectionalAccuracy(
        accuracy=accuracy,
        lower=Figures(Figures.of(lower, why).by_horizon, None, note if counted.all() else why),
        upper=Figures(Figures.of(upper, why).by_horizon, None, note if counted.all() else why),
        counted=counted.tolist(),
        no_move=(moved == 0).sum(axis=0).tolist(),
        no_call=((moved != 0) & (called == 0)).sum(axis=0).tolist(),
    )


def _correlation(truth: np.ndarray, paths: np.ndarray, transform: Callable[[np.ndarray], np.ndarray]) -> Figures:
    truth, paths = checked(truth, paths)
    number, horizon = truth.shape
    if number < LEAST_CORRELATED:
        return Figures.undefined(
            horizon, f"{number} origins are too few for a correlation; at least {LEAST_CORRELATED}"
        )
    forecast = paths.mean(axis=1)
    # check for constant values before subtracting the mean, which leaves rounding errors
    constant = {
        name: np.ptp(v, axis=0) <= 1e-12 * np.abs(v).max(axis=0)
        for name, v in (("truth", truth), ("forecast", forecast))
    }
    left, right = (v - v.mean(axis=0) for v in (transform(truth), transform(forecast)))
    with np.errstate(divide="ignore", invalid="ignore"):
        # scale each side first, so that squares of tiny returns do not underflow
        left, right = left / np.abs(left).max(axis=0), right / np.abs(right).max(axis=0)
        values = (left * right).sum(axis=0) / np.sqrt(np.square(left).sum(axis=0) * np.square(right).sum(axis=0))
    values = np.where(constant["truth"] | constant["forecast"], np.nan, np.clip(values, -1, 1))
    names = " and ".join(f"the {name}" for name, found in constant.items() if found.any())
    return Figures.of(values, f"{names or 'truth or forecast'} is constant over the origins: no correlation")


def information_coefficient(truth: np.ndarray, paths: np.ndarray) -> Figures:
    """Pearson correlation over origins of truth and mean path, at each horizon; overall is the mean over horizons."""
    return _correlation(truth, paths, lambda values: values)


def rank_ic(truth: np.ndarray, paths: np.ndarray) -> Figures:
    """Spearman correlation over origins of truth and mean path (average ranks for ties); overall as in the IC."""
    return _correlation(truth, paths, lambda values: rankdata(values, axis=0))
