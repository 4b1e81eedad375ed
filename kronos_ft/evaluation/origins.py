"""Chooses forecast origins: every `step` bars of a split, outside the training split, none across a long gap.

Notable:
- An origin o is the first bar to forecast. Its context is the bars [o - lookback, o), its truth [o, o + horizon).
- The embargo skips one window (lookback + horizon + 1 bars) at the start of validation and of test. Contexts may reach
  into the embargo (or, if it is shorter, into the bars before), but never into the training split: no target of a
  training window is in the context of an origin.
- Origins with a long gap in their horizon are excluded: its bars would not be 1, 2, ... steps after the origin.

Shapes: N origins.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..data.candles import CandleSeries
from ..data.columns import PRICES
from ..forecasting.context import unresolved_moves
from ..windows.dataset import normalise
from ..windows.splits import split_bounds, too_long_gaps
from .settings import OriginPlan


@dataclass(frozen=True)
class Origins:
    """Origins of one symbol in one split.

    Attributes:
        indices (`np.ndarray` of int64, shape `(N,)`): first bar to forecast, increasing.
        found (`int`): number of origins before thinning.
        across_gaps (`int`): number excluded because of a gap in context or horizon.
        constant (`int`): number excluded because the prices of the context are equal, or vary less than a model can
            resolve.
        untold (`int`): number excluded because the future times cannot be inferred.
    """

    indices: np.ndarray
    found: int
    across_gaps: int
    constant: int = 0
    untold: int = 0

    def __len__(self) -> int:
        return len(self.indices)

    def spacing(self) -> int | None:
        """Minimum number of bars between two neighbours, or None with fewer than two origins."""
        return int(np.diff(self.indices).min()) if len(self) > 1 else None


AUTOMATIC_ORIGINS = 200
LEAST_SHARE = 4  # an automatic step is at least this part of the horizon: more overlap adds little information


def _range_of(series: CandleSeries, split: str, plan: OriginPlan) -> tuple[int, int, int]:
    """First bar after training, and first and last (excluded) possible origin of a split."""
    train_end = split_bounds(series, plan.ratios, plan.dates)["train"][1]
    start, end = split_bounds(series, plan.ratios, plan.dates, plan.embargo_bars)[split]
    # baselines use `lookback` returns, which need one more bar
    return train_end, max(start, train_end + plan.lookback, plan.lookback + 1), end - plan.horizon + 1


def _gapless(series: CandleSeries, candidates: np.ndarray, plan: OriginPlan, train_end: int) -> np.ndarray:
    """Whether context and horizon of each candidate have no long gap, shape `(N,)`."""
    gaps = np.cumsum(too_long_gaps(series, plan.max_gap, train_end))
    return gaps[candidates + plan.horizon - 1] == gaps[candidates - plan.lookback]


def with_step(series: Sequence[CandleSeries], plan: OriginPlan) -> OriginPlan:
    """The plan with its step, chosen if it is None.

    The largest step up to the horizon that gives at least 200 test origins over all symbols; if there is none, a
    quarter of the horizon, rounded down, but at least 1.
    """
    if plan.step is not None:
        return plan
    usable = []
    for one in series:
        train_end, first, last = _range_of(one, "test", plan)
        candidates = np.arange(first, last, dtype=np.int64)
        usable.append(_gapless(one, candidates, plan, train_end) if len(candidates) else candidates.astype(bool))
    least = max(plan.horizon // LEAST_SHARE, 1)
    for step in range(plan.horizon, least, -1):
        if sum(int(found[::step].sum()) for found in usable) >= AUTOMATIC_ORIGINS:
            return replace(plan, step=step)
    return replace(plan, step=least)


def find_origins(series: CandleSeries, split: str, plan: OriginPlan) -> Origins:
    """All origins of one symbol in a split, every `step` bars.

    Args:
        series ([`CandleSeries`]): one symbol's candles.
        split (`str`): `validation` or `test`.
        plan ([`OriginPlan`]): sizes and splits. If its step is None, it is chosen for this symbol alone.
    """
    train_end, first, last = _range_of(series, split, plan)
    candidates = np.arange(first, last, with_step([series], plan).step, dtype=np.int64)
    gapless = _gapless(series, candidates, plan, train_end)
    constant = gapless & _constant_contexts(series, candidates, plan.lookback)
    kept = candidates[gapless & ~constant]
    return Origins(kept, len(kept), int((~gapless).sum()), int(constant.sum()))


def _constant_contexts(series: CandleSeries, origins: np.ndarray, lookback: int) -> np.ndarray:
    """Whether the prices of each context are equal or vary less than a model can resolve, shape `(N,)`."""
    values = series.values
    prices = pd.DataFrame(values[:, : len(PRICES)])
    top, bottom = prices.max(axis=1).rolling(lookback).max(), prices.min(axis=1).rolling(lookback).min()
    # the standard deviation of L values is at least their range / sqrt(2 L): larger ranges need no closer look
    small = (top - bottom < 1e-5 * np.sqrt(2 * lookback) * top).to_numpy()[origins - 1]
    found = np.zeros(len(origins), dtype=bool)
    for position in np.flatnonzero(small).tolist():
        context = values[origins[position] - lookback : origins[position]]
        _, _, scale = normalise(context[None], lookback, clip=5.0)
        found[position] = unresolved_moves(context[:, : len(PRICES)], scale[0, 0, : len(PRICES)]) is not None
    return found


def thin_origins(origins: list[Origins], most: int | None) -> list[Origins]:
    """Thins the origins of several symbols to at most `most` in total, but at least one per symbol, evenly in time.

    If a symbol has fewer origins than its share, the other symbols get the remainder.
    """
    if most is None or sum(map(len, origins)) <= most:
        return origins
    shares = np.zeros(len(origins), dtype=np.int64)
    left = most
    for rank, position in enumerate(np.argsort([len(one) for one in origins], kind="stable")):
        shares[position] = min(len(origins[position]), max(1, left // (len(origins) - rank)))
        left -= shares[position]
    return [
        replace(one, indices=one.indices[np.linspace(0, len(one) - 1, share).round().astype(np.int64)])
        for one, share in zip(origins, shares.tolist(), strict=True)
    ]


def plan_origins(series: list[CandleSeries], split: str, plan: OriginPlan) -> list[Origins]:
    """Origins of every symbol in a split, thinned to `plan.max_origins`.

    Raises:
        ValueError: the test split contains no origin of any symbol.
    """
    plan = with_step(series, plan)
    found = [find_origins(one, split, plan) for one in series]
    if split == "test" and not any(map(len, found)):
        raise ValueError(_no_origin_message(series, plan, found))
    return thin_origins(found, plan.max_origins)


def _no_origin_message(series: list[CandleSeries], plan: OriginPlan, found: list[Origins]) -> str:
    longest = max(series, key=len)
    across_gaps, constant = (sum(getattr(one, name) for one in found) for name in ("across_gaps", "constant"))
    if len(longest) < plan.lookback + plan.horizon:
        return (
            f"lookback={plan.lookback} and horizon={plan.horizon} need {plan.lookback + plan.horizon} bars, but "
            f"{longest.symbol} has {len(longest)}; use a shorter lookback or more data"
        )
    if across_gaps:
        return (
            f"all {across_gaps} origins of the test split have a gap in their context or horizon; shorten lookback "
            f"(now {plan.lookback}) or raise max_gap"
        )
    if constant:
        return (
            f"the price is constant in the context of all {constant} origins of the test split; pass data in which "
            f"the price changes, or a longer lookback (now {plan.lookback})"
        )
    start, end = split_bounds(longest, plan.ratios, plan.dates)["test"]
    return (
        f"the test split of {longest.symbol} has {end - start} bars: too few for one origin with embargo="
        f"{plan.embargo_bars} (default lookback + horizon + 1) and horizon={plan.horizon}; use a shorter lookback, "
        "more data or a larger test share"
    )
