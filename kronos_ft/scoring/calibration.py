"""Calibrates bands on the validation split and shows what that changes on the test split.

A symbol with enough validation origins is calibrated on its own, because offsets are in log returns and a calm symbol
would be given the bands of a wild one; the others on all symbols together.

Shapes: N origins, P paths, H horizon, 5 targets in the order of `TARGETS`.
"""

from collections.abc import Sequence

import numpy as np

from .conformal import ConformalBands
from .figures import plain
from .metrics import BAND_LEVELS, band_figures, path_bands
from .targets import TARGETS

LEAST_OWN = 50  # validation origins from which a symbol's own offsets are fitted


def calibrate(
    truth_before: np.ndarray,
    paths_before: np.ndarray,
    rows_before: Sequence[slice],
    truth: np.ndarray,
    paths: np.ndarray,
    rows: Sequence[slice],
    known: Sequence[np.ndarray] | None = None,
) -> dict | None:
    """Coverage and width of every target's bands on test origins, as forecast and calibrated.

    Args:
        truth_before (`np.ndarray` of shape `(M, H, 5)`), paths_before (`(M, P, H, 5)`): validation split.
        rows_before (`Sequence[slice]`): where each symbol's origins lie in it.
        truth (`np.ndarray` of shape `(N, H, 5)`), paths (`(N, P, H, 5)`): test split.
        rows (`Sequence[slice]`): where each symbol's origins lie in it.
        known (`Sequence` of `np.ndarray` of bool, shape `(M,)`, *optional*): for each symbol, which validation origins
            lie before its test and may be pooled for it; all when not given. A symbol that none is left for is left
            out of the figures, with a note.

    Returns:
        `dict` of `origins`, `own` (symbols calibrated on their own) and `targets`: by target and level `before` (None
        for a point forecast, which has no bands) and `after`, each with `coverage` and `width`, and the `offsets` by
        level and horizon of the first calibration. None without validation origins.
    """
    if not len(truth_before) or not len(truth):
        return None
    known = [np.ones(len(truth_before), dtype=bool)] * len(rows) if known is None else known
    own = [row.stop - row.start >= LEAST_OWN for row in rows_before]
    chosen = [
        (np.r_[row_before] if enough else np.flatnonzero(mask), row)
        for row_before, row, enough, mask in zip(rows_before, rows, own, known, strict=True)
        if enough or mask.any()
    ]
    scored = np.concatenate([np.r_[row] for _, row in chosen]) if chosen else np.empty(0, dtype=np.int64)
    if not len(scored):
        return None
    targets, notes = {}, set()
    left_out = len(truth) - len(scored)
    if left_out:
        notes.add(f"{left_out} test origins have no band calibrated before them and are left out of these figures")
    for position, target in enumerate(TARGETS):
        y_before, x_before = truth_before[..., position], paths_before[..., position]
        minimum = 0.0 if target == "volatility" else None
        pools: dict[bytes, ConformalBands] = {}
        fitted = []
        for fit_on, _ in chosen:
            key = fit_on.tobytes()
            if key not in pools:
                pools[key] = ConformalBands.fit(y_before[fit_on], x_before[fit_on], BAND_LEVELS, minimum)
            fitted.append(pools[key])
        y, x = truth[..., position], paths[..., position]
        ends = [bands.bands(x[row]) for bands, (_, row) in zip(fitted, chosen, strict=True)]
        after = [np.concatenate([end[side] for end in ends], axis=1) for side in (0, 1)]
        y, x = y[scored], x[scored]
        before = path_bands(x, BAND_LEVELS) if x.shape[1] > 1 else None
        targets[target] = {
            "levels": {
                level: {
                    "before": before and band_figures(y, before[0][i], before[1][i]),
                    "after": band_figures(y, after[0][i], after[1][i]),
                }
                for i, level in enumerate(BAND_LEVELS)
            },
            "offsets": fitted[0].offsets,
        }
        notes |= {bands.note for bands in fitted if bands.note}
    return plain({"origins": len(truth_before), "own": sum(own), "notes": sorted(notes), "targets": targets})
