"""Which of several forecasters survive a joint test: the model confidence set, and the test of superior ability.

Both use the stationary bootstrap of the package `arch` (extra `garch`), which preserves the correlation of overlapping
forecasts:

- Model confidence set (Hansen, Lunde and Nason 2011, Econometrica 79): contains the best forecaster with 90 %
  probability; the others are significantly worse.
- Superior predictive ability (Hansen 2005, Journal of Business and Economic Statistics 23): the p-value that no model
  is better than the reference, corrected for the number of models.

Shapes: N origins.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .scores import OriginTimes
from .significance import LEAST_ORIGINS

SIZE = 0.1
DRAWS = 1000
MISSING = "the model confidence set and the SPA test need the package arch; pip install 'kronos-ft[garch]'"


def _by_time(losses: Mapping[str, np.ndarray], times: OriginTimes) -> np.ndarray:
    """Mean loss of each forecaster at each distinct time, shape `(times, forecasters)`."""
    columns = np.stack([np.asarray(loss, dtype=np.float64) for loss in losses.values()], axis=1)
    if times.symbols < 2:
        return columns
    _, place = np.unique(times.clock, return_inverse=True)
    sums = np.stack([np.bincount(place, weights=column) for column in columns.T], axis=1)
    return sums / np.bincount(place)[:, None]


def surviving_models(
    losses: Mapping[str, np.ndarray],
    models: Sequence[str],
    reference: str | None,
    times: OriginTimes,
    horizon: int,
    seed: int = 0,
) -> dict:
    """Model confidence set of all forecasters, and SPA test of the models against a reference.

    Args:
        losses (`Mapping` of name to `np.ndarray` of shape `(N,)`): losses of every forecaster at the same origins.
        models (`Sequence[str]`): the forecasters that are not references.
        reference (`str`, *optional*): the benchmark of the SPA test.
        times ([`OriginTimes`]): times of the origins.
        horizon (`int`): bars of the forecasts, for the block length.
        seed (`int`): seed of the bootstrap.

    Returns:
        `dict` of `size`, `survivors`, `p_values` (of leaving the set, by forecaster), `spa` (`reference` and `p_value`;
        None without a reference), and `note` (why there is no result, else None).
    """
    empty = {"size": SIZE, "survivors": None, "p_values": None, "spa": None}
    try:
        from arch.bootstrap import MCS, SPA
    except ImportError:
        return {**empty, "note": MISSING}
    names, table = list(losses), _by_time(losses, times)
    block = times.overlap(horizon) + 1
    if len(table) < max(LEAST_ORIGINS, 4 * block):
        return {**empty, "note": f"{len(table)} origins are too few for the model confidence set; {4 * block} needed"}
    # the difference of equal columns has no variance: one of them stands for all
    same = [next(j for j in range(len(names)) if np.array_equal(table[:, i], table[:, j])) for i in range(len(names))]
    kept = sorted(set(same))
    if len(kept) < 2:
        return {**empty, "note": "all forecasters have the same losses"}
    scale = np.abs(table).mean() or 1.0
    test = MCS(table[:, kept] / scale, SIZE, reps=DRAWS, block_size=block, seed=seed)
    test.compute()
    by_column = {kept[int(i)]: float(p) for i, p in test.pvalues["Pvalue"].items()}
    p_values = {name: by_column[column] for name, column in zip(names, same, strict=True)}
    found = {**empty, "survivors": [name for name, p in p_values.items() if p > SIZE], "p_values": p_values}
    challengers = [names.index(one) for one in models if one in names]
    if reference in names and challengers:
        spa = SPA(
            table[:, names.index(reference)] / scale, table[:, challengers] / scale, block_size=block, reps=DRAWS,
            seed=seed,
        )  # fmt: skip
        spa.compute()
        found["spa"] = {"reference": reference, "p_value": float(spa.pvalues["consistent"])}
    return {**found, "note": None}
