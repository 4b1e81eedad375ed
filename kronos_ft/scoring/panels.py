"""Scores across symbols at one time: does a forecast rank them, and what does a portfolio of the best earn after costs?

Notable:
- RankIC is the Spearman correlation over symbols of forecast and true log return of the close at the last horizon, at
  each date; its mean has a t statistic with Newey-West variance, because overlapping forecasts are correlated.
- The portfolio holds the best fifth of the symbols in equal parts, from the open of the first forecast bar to the close
  of the last, on dates that do not overlap. It is compared with all symbols in equal parts, without costs.

Shapes: N origins of all symbols, D dates.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr
from scipy.stats import rankdata

from .scores import OriginTimes
from .significance import long_run_sum

LEAST_SYMBOLS = 5
LEAST_DATES = 8
TOP_SHARE = 0.2
FEW_DATES = "{dates} dates with at least {symbols} symbols are too few; {least} are needed"


@dataclass(frozen=True)
class MeanTest:
    """A mean over dates and its Newey-West test against zero.

    Attributes:
        mean, t, p_value (`float`, *optional*): None if undefined, with a note. The test is two-sided.
        dates (`int`): number of dates.
        lag (`int`): number of autocovariances.
        note (`str`, *optional*): why values are None.
    """

    mean: float | None
    t: float | None
    p_value: float | None
    dates: int
    lag: int
    note: str | None = None


def mean_test(values: np.ndarray, overlap: int) -> MeanTest:
    """Tests that the mean of a series is zero.

    Args:
        values (`np.ndarray` of shape `(D,)`): in time order.
        overlap (`int`): number of later dates whose forecasts overlap with a date's; the lag is twice as long.
    """
    number = len(values)
    lag = max(2 * overlap, int(4 * (number / 100) ** (2 / 9)))
    if number < max(LEAST_DATES, 2 * (overlap + 1) + 1):
        least = max(LEAST_DATES, 2 * (overlap + 1) + 1)
        note = FEW_DATES.format(dates=number, symbols=LEAST_SYMBOLS, least=least)
        return MeanTest(float(values.mean()) if number else None, None, None, number, lag, note)
    mean = float(values.mean())
    variance = long_run_sum(values - mean, np.zeros(number, dtype=np.int64), lag) / number**2
    if variance <= 1e-24 * max(mean**2, 1e-300):
        return MeanTest(mean, None, None, number, lag, "the value is the same on all dates")
    t = mean / float(np.sqrt(variance))
    return MeanTest(mean, t, float(2 * stdtr(number - 1, -abs(t))), number, lag)


def _dates(clock: np.ndarray) -> list[np.ndarray]:
    """Rows of each date with enough symbols, in time order."""
    order = np.argsort(clock, kind="stable")
    _, starts = np.unique(clock[order], return_index=True)
    return [rows for rows in np.split(order, starts[1:]) if len(rows) >= LEAST_SYMBOLS]


def rank_correlation(forecast: np.ndarray, truth: np.ndarray) -> float | None:
    """Spearman correlation, with average ranks for ties; None if one side is constant."""
    if np.ptp(forecast) == 0 or np.ptp(truth) == 0:
        return None
    return float(np.corrcoef(rankdata(forecast), rankdata(truth))[0, 1])


def panel_scores(
    forecast: np.ndarray,
    truth: np.ndarray,
    returns: np.ndarray,
    symbols: np.ndarray,
    times: OriginTimes,
    horizon: int,
    cost: float,
) -> dict:
    """RankIC and the portfolio of one forecaster.

    Args:
        forecast, truth (`np.ndarray` of shape `(N,)`): forecast and true log return of the close at the last horizon.
        returns (`np.ndarray` of shape `(N,)`): simple return from the open of the first bar to the close of the last.
        symbols (`np.ndarray` of int, shape `(N,)`): number of the symbol of each origin.
        times ([`OriginTimes`]): times of the origins; equal clocks are one date.
        horizon (`int`): bars of the forecasts.
        cost (`float`): cost per side, as a share of the traded value.

    Returns:
        `dict` of `rank_ic` ([`MeanTest`]), `excess` ([`MeanTest`] of the portfolio's return less that of all symbols,
        per period), `portfolio_return` and `universe_return` (mean per period), `turnover` (mean share of the portfolio
        that is bought anew), `size` (mean number of symbols held), `periods`. A forecast that is the same for all
        symbols has no RankIC and no portfolio.
    """
    dates = _dates(times.clock)
    overlap = (horizon - 1) // times.step
    correlations = [rank_correlation(forecast[rows], truth[rows]) for rows in dates]
    defined = np.array([one for one in correlations if one is not None])
    names = ("portfolio_return", "universe_return", "turnover", "size")
    rank_ic = mean_test(defined, overlap)
    if not len(defined) and dates:
        nothing = MeanTest(None, None, None, len(dates), rank_ic.lag, "the forecast is the same for all symbols")
        return {"rank_ic": nothing, "excess": nothing, **dict.fromkeys(names), "periods": 0}
    held: dict[int, float] = {}
    earned, universe, bought, sizes = [], [], [], []
    apart = overlap + 1
    last = None
    for rows in dates:
        clock = int(times.clock[rows[0]])
        if last is not None and clock - last < apart:
            continue
        last = clock
        size = max(1, round(TOP_SHARE * len(rows)))
        best = rows[np.argsort(-forecast[rows], kind="stable")[:size]]
        weights = {int(symbols[row]): 1 / size for row in best}
        new = sum(max(weight - held.get(symbol, 0.0), 0.0) for symbol, weight in weights.items())
        sold = sum(max(weight - weights.get(symbol, 0.0), 0.0) for symbol, weight in held.items())
        earned.append(float(returns[best].mean()) - cost * (new + sold))
        universe.append(float(returns[rows].mean()))
        bought.append(new)
        sizes.append(size)
        held = weights
    excess = mean_test(np.array(earned) - np.array(universe), 0)
    means = [float(np.mean(values)) if values else None for values in (earned, universe, bought, sizes)]
    return {"rank_ic": rank_ic, "excess": excess, **dict(zip(names, means, strict=True)), "periods": len(earned)}
