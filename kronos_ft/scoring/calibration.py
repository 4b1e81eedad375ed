"""Conformal calibration of prediction intervals: fitted on the validation split, measured on the test split.

A symbol with enough validation origins is calibrated separately: offsets are log returns, and pooling would give a calm
symbol the intervals of a volatile one. The other symbols are calibrated together.

Shapes: N origins, P paths, H horizon, 7 targets in the order of `TARGETS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .figures import Figures, plain
from .metrics import BAND_LEVELS, band_figures, checked, path_bands
from .targets import TARGETS, VOLUME

POSITIVE = ("volatility", "range")
LEAST_OWN = 50  # minimum validation origins for a symbol's own offsets


def calibrate(
    truth_before: np.ndarray,
    paths_before: np.ndarray,
    rows_before: Sequence[slice],
    truth: np.ndarray,
    paths: np.ndarray,
    rows: Sequence[slice],
    known: Sequence[np.ndarray] | None = None,
) -> dict | None:
    """Coverage and width of every target's prediction intervals on the test split, before and after calibration.

    Args:
        truth_before (`np.ndarray` of shape `(M, H, 7)`), paths_before (`(M, P, H, 7)`): validation split.
        rows_before (`Sequence[slice]`): validation rows of each symbol.
        truth (`np.ndarray` of shape `(N, H, 7)`), paths (`(N, P, H, 7)`): test split.
        rows (`Sequence[slice]`): test rows of each symbol.
        known (`Sequence` of `np.ndarray` of bool, shape `(M,)`, *optional*): for each symbol, the validation origins
            before its test split, which may be pooled for it; by default all. A symbol without any is excluded, with a
            note.

    Returns:
        `dict` of `origins`, `own` (number of symbols calibrated separately) and `targets`: by target and level `before`
        (None for a point forecast) and `after`, each with `coverage` and `width`, and the `offsets` by level and
        horizon of the first calibration; without volume if it is not defined or not forecast. None without validation
        origins.
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
    excluded = len(truth) - len(scored)
    if excluded:
        notes.add(f"{excluded} test origins have no validation origin before them and are excluded here")
    for position, target in enumerate(TARGETS):
        before = truth_before[..., position], paths_before[..., position]
        test = truth[..., position], paths[..., position]
        pairs = _defined_pairs(chosen, before, test) if position == VOLUME else chosen
        if pairs:
            targets[target], fitted = _calibrated(pairs, before, test, 0.0 if target in POSITIVE else None)
            notes |= {bands.note for bands in fitted if bands.note}
    return plain({"origins": len(truth_before), "own": sum(own), "notes": sorted(notes), "targets": targets})


def _defined_pairs(
    pairs: Sequence[tuple[np.ndarray, slice]],
    before: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
) -> list[tuple[np.ndarray, slice]]:
    """The pairs of symbols that have a target, without the validation origins that lack it."""
    known_before, known = (np.isfinite(y).all(axis=1) & np.isfinite(x).all(axis=(1, 2)) for y, x in (before, test))
    kept = [(fit_on[known_before[fit_on]], row) for fit_on, row in pairs if known[row].all()]
    return [(fit_on, row) for fit_on, row in kept if len(fit_on)]


def _calibrated(
    pairs: Sequence[tuple[np.ndarray, slice]],
    before: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    minimum: float | None,
) -> tuple[dict, list["ConformalBands"]]:
    """Coverage and width of one target, and the calibration of each symbol.

    Args:
        pairs (`Sequence` of validation rows and test rows): one per symbol.
        before, test (`tuple` of `(N, H)` and `(N, P, H)`): truth and samples of both splits.
        minimum (`float`, *optional*): lower limit of the target.
    """
    pools: dict[bytes, ConformalBands] = {}
    fitted = []
    for fit_on, _ in pairs:
        key = fit_on.tobytes()
        if key not in pools:
            pools[key] = ConformalBands.fit(before[0][fit_on], before[1][fit_on], BAND_LEVELS, minimum)
        fitted.append(pools[key])
    scored = np.concatenate([np.r_[row] for _, row in pairs])
    y, x = (values[scored] for values in test)
    ends = [bands.bands(test[1][row]) for bands, (_, row) in zip(fitted, pairs, strict=True)]
    after = [np.concatenate([end[side] for end in ends], axis=1) for side in (0, 1)]
    uncalibrated = path_bands(x, BAND_LEVELS) if x.shape[1] > 1 else None
    levels = {
        level: {
            "before": uncalibrated and band_figures(y, uncalibrated[0][i], uncalibrated[1][i]),
            "after": band_figures(y, after[0][i], after[1][i]),
        }
        for i, level in enumerate(BAND_LEVELS)
    }
    return {"levels": levels, "offsets": fitted[0].offsets}, fitted


@dataclass(frozen=True)
class ConformalBands:
    """Calibrated prediction intervals of one target.

    Attributes:
        levels (`tuple` of `float`): levels of the central intervals, increasing.
        offsets (`np.ndarray` of shape `(levels, H)`): added at both ends; negative if intervals were too wide.
        origins (`int`): number of validation origins.
        minimum (`float`, *optional*): lower limit of the target, such as 0 for volatility.
        note (`str`, *optional*): levels with too few validation origins for the coverage guarantee.
    """

    levels: tuple[float, ...]
    offsets: np.ndarray
    origins: int
    minimum: float | None = None
    note: str | None = None

    @classmethod
    def fit(
        cls,
        truth: np.ndarray,
        paths: np.ndarray,
        levels: Sequence[float] = BAND_LEVELS,
        minimum: float | None = None,
    ) -> "ConformalBands":
        """Fits the offsets on validation origins. A single path gives intervals around a point forecast.

        Args:
            truth (`np.ndarray` of shape `(N, H)`), paths (`np.ndarray` of shape `(N, P, H)`): validation split.
            levels (`Sequence[float]`): levels of the central intervals, increasing.
            minimum (`float`, *optional*): lower limit of the target.

        Raises:
            ValueError: no origins, inconsistent shapes, or levels that are not increasing within (0, 1).
        """
        truth, paths = checked(truth, paths)
        if not len(truth):
            raise ValueError("no validation origins to calibrate on; enlarge the validation split")
        lower, upper = path_bands(paths, levels)
        scores = np.sort(np.maximum(lower - truth, truth - upper), axis=1)
        number = len(truth)
        # the small term corrects rounding errors: (99 + 1) 0.9 must not become 91
        ranks = [int(np.ceil((number + 1) * level - 1e-9)) for level in levels]
        short = [f"{level:.0%}" for level, rank in zip(levels, ranks, strict=True) if rank > number]
        note = None
        if short:
            note = (
                f"{number} validation origins are too few for the {', '.join(short)} interval: it uses the largest "
                "error, without a coverage guarantee"
            )
        offsets = np.stack([score[min(rank, number) - 1] for score, rank in zip(scores, ranks, strict=True)])
        return cls(tuple(float(level) for level in levels), offsets, number, minimum, note)

    def bands(self, paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Calibrated lower and upper ends, each of shape `(levels, N, H)`.

        An interval narrowed past its centre becomes a point. Each interval contains those of lower levels.

        Raises:
            ValueError: paths with another horizon.
        """
        if paths.ndim != 3 or paths.shape[2] != self.offsets.shape[1]:
            raise ValueError(
                f"paths of shape {paths.shape} do not have the {self.offsets.shape[1]} bars of the calibration; use "
                "the same horizon"
            )
        lower, upper = path_bands(paths, self.levels)
        middle = (lower + upper) / 2
        offsets = self.offsets[:, None]
        lower, upper = np.minimum(lower - offsets, middle), np.maximum(upper + offsets, middle)
        lower, upper = np.minimum.accumulate(lower, axis=0), np.maximum.accumulate(upper, axis=0)
        if self.minimum is not None:
            lower, upper = np.maximum(lower, self.minimum), np.maximum(upper, self.minimum)
        return lower, upper

    def coverage(self, truth: np.ndarray, paths: np.ndarray) -> dict[float, dict[str, dict[str, Figures]]]:
        """Coverage and width on other origins, before and after calibration.

        Returns:
            `dict` of level to `{"before": {"coverage": Figures, "width": Figures}, "after": {...}}`.
        """
        truth, paths = checked(truth, paths)
        before, after = path_bands(paths, self.levels), self.bands(paths)
        return {
            level: {
                "before": band_figures(truth, before[0][i], before[1][i]),
                "after": band_figures(truth, after[0][i], after[1][i]),
            }
            for i, level in enumerate(self.levels)
        }
