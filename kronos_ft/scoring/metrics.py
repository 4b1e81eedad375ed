"""Scores of forecast paths: point errors, distributions, bands, direction, correlation.

Each function takes one target, truth `(N, H)` and paths `(N, P, H)`, in log returns ([`path_targets`]), and returns
[`Figures`] by horizon. Several symbols are pooled by concatenating their origins, which log returns make meaningful.
A function called `..._loss` returns one number for each origin and horizon, for tests between two forecasters.

Each score meets the point forecast that it rewards: the median for absolute errors and direction, the mean for squared
errors and correlation (Gneiting 2011, Making and evaluating point forecasts). With one path they are the same.

Shapes: N origins, P paths, H bars of the horizon.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata
from scoringrules import crps_ensemble

from .figures import Figures

BAND_LEVELS = (0.5, 0.8, 0.9)
QUANTILE_LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
PIT_BINS = 10
NO_ORIGINS = "there are no origins"
ONE_PATH = "one path is a point forecast and has no distribution"
LEAST_CORRELATED = 3  # two points always lie on a line


def checked(truth: np.ndarray, paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64, after checking that their shapes agree and that all values are finite."""
    truth, paths = np.asarray(truth, dtype=np.float64), np.asarray(paths, dtype=np.float64)
    if truth.ndim != 2 or paths.ndim != 3 or truth.shape != (paths.shape[0], paths.shape[2]) or 0 in paths.shape[1:]:
        raise ValueError(
            f"truth of shape {truth.shape} and paths of shape {paths.shape} must be (origins, horizon) and "
            "(origins, paths, horizon), with a path and a horizon at least"
        )
    for name, values in (("truth", truth), ("paths", paths)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds {int((~np.isfinite(values)).sum())} values that are no numbers; drop them")
    return truth, paths


def _checked_levels(levels: Sequence[float]) -> np.ndarray:
    found = np.asarray(levels, dtype=np.float64)
    if found.ndim != 1 or not len(found) or not ((found > 0) & (found < 1)).all() or (np.diff(found) <= 0).any():
        raise ValueError(f"levels={list(levels)} must be shares between 0 and 1 in rising order, e.g. 0.5 0.8 0.9")
    return found


def mean_figures(values: np.ndarray) -> Figures:
    """Means over origins of an array of shape `(N, H)`; overall is the mean over origins and horizons."""
    if not len(values):
        return Figures.undefined(values.shape[1], NO_ORIGINS)
    return Figures.of(values.mean(axis=0), NO_ORIGINS)


def path_quantiles(paths: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Quantiles of the paths, shape `(levels, N, H)`.

    The k-th smallest of P paths is the quantile k / (P + 1): a truth drawn from where the paths come from falls below
    it with just that probability. (numpy's default, (k - 1) / (P - 1), draws bands that are too narrow for few paths.)
    Below 1 / (P + 1) and above P / (P + 1) the outermost paths stand in.
    """
    if not len(paths):
        return np.empty((len(levels), 0, paths.shape[2]))
    return np.quantile(paths, levels, axis=1, method="weibull")


def path_bands(paths: np.ndarray, levels: Sequence[float] = BAND_LEVELS) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends of central bands, each of shape `(levels, N, H)`."""
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


def crps_loss(truth: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score, shape `(N, H)`, in log returns.

    mean_i |x_i - y| - sum_{i, j} |x_i - x_j| / (2 P (P - 1)): the fair estimator, in the form of probability weighted
    moments, which takes P log P and not P^2. In expectation it is the score of the distribution that the paths were
    drawn from, whatever their number, so that 100 paths compare with 20. One path is a point forecast, and its score
    the absolute error. A single origin's score may be slightly negative; the price of an unbiased mean.
    """
    truth, paths = checked(truth, paths)
    if paths.shape[1] == 1 or not len(truth):
        return np.abs(truth - paths[:, 0])
    return crps_ensemble(truth, paths, m_axis=1, estimator="pwm", backend="numpy")


def point_errors(truth: np.ndarray, paths: np.ndarray, scale: np.ndarray | None = None) -> dict[str, Figures]:
    """Mean absolute error of the median, root mean squared error of the mean, and with a scale MASE.

    Args:
        truth (`np.ndarray` of shape `(N, H)`), paths (`np.ndarray` of shape `(N, P, H)`): one target in log returns.
        scale (`np.ndarray` of shape `(H,)` or `(1,)`, or `(N, H)`, *optional*):
            In-sample naive error of the target ([`naive_scale`]); a row for each origin when symbols are pooled.

    Returns:
        `dict` of `mae`, `rmse` and, with a scale, `mase`, each [`Figures`]. Overall RMSE is the root over all errors.
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
    """Mean of errors in units of the naive one's; horizons at which that made none are left out."""
    horizon, measurable = absolute.shape[1], (scale > 0).all(axis=0)
    bars = ", ".join(str(bar + 1) for bar in np.flatnonzero(~measurable))
    why = f"the naive forecast made no error in training at bar {bars}, so that nothing can be measured in it"
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
    """Pinball loss of each quantile level, and under `mean` their mean."""
    losses = pinball_loss(truth, paths, levels)
    figures: dict[float | str, Figures] = {
        float(level): mean_figures(loss) for level, loss in zip(levels, losses, strict=True)
    }
    return {**figures, "mean": mean_figures(losses.mean(axis=0))}


def crps(truth: np.ndarray, paths: np.ndarray) -> Figures:
    """Mean continuous ranked probability score; see [`crps_loss`] for the estimator. One path gives the MAE."""
    return mean_figures(crps_loss(truth, paths))


def skill_score(loss: np.ndarray, reference: np.ndarray) -> Figures:
    """1 - mean loss / mean loss of the reference: above 0 is better than the reference.

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
    return Figures.of(skills, "the reference makes no error", overall)


def band_figures(truth: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> dict[str, Figures]:
    """`coverage` (share of truths within the band, ends included) and `width` of one band, arrays `(N, H)`."""
    covered = (truth >= lower) & (truth <= upper)
    return {"coverage": mean_figures(covered.astype(np.float64)), "width": mean_figures(upper - lower)}


def coverage_and_width(
    truth: np.ndarray, paths: np.ndarray, levels: Sequence[float] = BAND_LEVELS
) -> dict[float, dict[str, Figures]]:
    """Coverage and mean width of the paths' central bands.

    A band of level a needs 2 / (1 - a) - 1 paths (19 for 90 %); fewer cannot reach it, and the note says what they can.

    Returns:
        `dict` of level to `dict` of `coverage` and `width`, each [`Figures`]; None for one path.
    """
    truth, paths = checked(truth, paths)
    levels, (_, num_paths, horizon) = _checked_levels(levels), paths.shape
    if num_paths == 1:
        return {
            float(level): dict.fromkeys(("coverage", "width"), Figures.undefined(horizon, ONE_PATH)) for level in levels
        }
    figures = {}
    reach = (num_paths - 1) / (num_paths + 1)
    for level, lower, upper in zip(levels, *path_bands(paths, levels), strict=True):
        figures[float(level)] = band_figures(truth, lower, upper)
        if level > reach + 1e-9 and len(truth):
            note = f"{num_paths} paths span {reach:.0%} at most"
            for name, found in figures[float(level)].items():
                figures[float(level)][name] = Figures(found.by_horizon, found.overall, note)
    return figures


@dataclass(frozen=True)
class PitHistogram:
    """Where the truth ranks among the paths: flat when the forecast distribution is right.

    Attributes:
        edges (`list` of `float`): ends of the bins, from 0 to 1.
        by_horizon (`list` of `list` of `float`, *optional*): shares of origins in each bin, one list a horizon.
        overall (`list` of `float`, *optional*): shares over all horizons.
        note (`str`, *optional*): why they are None.
    """

    edges: list[float]
    by_horizon: list[list[float]] | None
    overall: list[float] | None
    note: str | None = None


def pit_values(truth: np.ndarray, paths: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(paths below + V (ties + 1)) / (P + 1) with V uniform in (0, 1), shape `(N, H)`.

    Exactly uniform when truth and paths are drawn alike, also with ties and with few paths; hence the random part.
    """
    truth, paths = checked(truth, paths)
    below, ties = (paths < truth[:, None]).sum(axis=1), (paths == truth[:, None]).sum(axis=1)
    return (below + generator.random(truth.shape) * (ties + 1)) / (paths.shape[1] + 1)


def pit(truth: np.ndarray, paths: np.ndarray, bins: int = PIT_BINS, seed: int = 0) -> PitHistogram:
    """Histogram of [`pit_values`]: U-shaped for bands too narrow, a hill for bands too wide, a slope for a bias.

    Args:
        bins (`int`): bins of equal width.
        seed (`int`): of the ranks' random part.
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
    """Wilson's score interval of a binomial share; NaN where there are no trials. Trials need not be whole."""
    z = ndtri((1 + confidence) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = hits / trials
        centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
        reach = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return np.clip(centre - reach, 0, 1), np.clip(centre + reach, 0, 1)


@dataclass(frozen=True)
class DirectionalAccuracy:
    """How often the median path goes where the truth goes.

    Attributes:
        accuracy ([`Figures`]): share of counted origins with the right sign; overall is over all that were counted.
        lower, upper ([`Figures`]): ends of the 95 % interval at each horizon; overall is None, as horizons of one
            origin are anything but independent.
        counted (`list` of `int`): origins at each horizon that have a true and a forecast direction.
        no_move (`list` of `int`): origins left out because the truth did not move.
        no_call (`list` of `int`): origins left out because the forecast is 0, as persistence's always is.
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
    """Directional accuracy with Wilson's interval. For returns only: volatility has one sign.

    Args:
        truth (`np.ndarray` of shape `(N, H)`), paths (`np.ndarray` of shape `(N, P, H)`): one target in log returns.
        overlap (`int` or one a horizon): origins that share bars with an origin's forecast, itself included: ceil(h /
            step). The interval is that of counted / overlap independent origins; 1 is the plain binomial.
        confidence (`float`): of the interval.
    """
    truth, paths = checked(truth, paths)
    horizon = truth.shape[1]
    overlaps = np.broadcast_to(np.asarray(overlap, dtype=np.float64), (horizon,))
    if not (overlaps >= 1).all():
        raise ValueError(f"overlap={overlap} must be 1 (none) or more origins")
    called, moved = np.sign(np.median(paths, axis=1)) if len(truth) else truth, np.sign(truth)
    usable = (moved != 0) & (called != 0)
    hits, counted = ((called == moved) & usable).sum(axis=0), usable.sum(axis=0)
    why = "no origin at which both truth and forecast move" if len(truth) else NO_ORIGINS
    with np.errstate(divide="ignore", invalid="ignore"):
        accuracy = Figures.of(hits / counted, why, np.divide(hits.sum(), counted.sum()))
    note = "origins overlap: counted as fewer independent ones" if (overlaps > 1).any() else None
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
    # constancy is judged before subtracting the mean, whose rounding would leave noise to correlate
    constant = {
        name: np.ptp(v, axis=0) <= 1e-12 * np.abs(v).max(axis=0)
        for name, v in (("truth", truth), ("forecast", forecast))
    }
    left, right = (v - v.mean(axis=0) for v in (transform(truth), transform(forecast)))
    with np.errstate(divide="ignore", invalid="ignore"):
        # each side scaled first: squares of tiny returns must not underflow
        left, right = left / np.abs(left).max(axis=0), right / np.abs(right).max(axis=0)
        values = (left * right).sum(axis=0) / np.sqrt(np.square(left).sum(axis=0) * np.square(right).sum(axis=0))
    values = np.where(constant["truth"] | constant["forecast"], np.nan, np.clip(values, -1, 1))
    names = " and ".join(f"the {name}" for name, found in constant.items() if found.any())
    return Figures.of(values, f"{names or 'a side'} is the same at every origin: no correlation")


def information_coefficient(truth: np.ndarray, paths: np.ndarray) -> Figures:
    """Pearson correlation of truth and the paths' mean over origins, at each horizon; overall is their mean."""
    return _correlation(truth, paths, lambda values: values)


def rank_ic(truth: np.ndarray, paths: np.ndarray) -> Figures:
    """Spearman correlation (mean ranks for ties) of truth and the paths' mean over origins; overall is their mean."""
    return _correlation(truth, paths, lambda values: rankdata(values, axis=0))
