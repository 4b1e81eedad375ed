"""Conformal calibration of bands: widened or narrowed by what the validation split shows.

Conformalised quantile regression (Romano, Patterson and Candes 2019). With lower and upper end of the paths' central
band, the score of a validation origin is max(lower - y, y - upper): how far the truth lies outside, negative inside.
The band is moved on both sides by the k-th smallest score, k = ceil((n + 1) level). If test origins were exchangeable
with validation origins, the share covered would be at least `level`. Markets are not: regimes change and forecasts
overlap, so coverage is reported before and after, on origins that were not calibrated on.

Offsets are in log returns, so that symbols may be pooled; a market calmer than the others is then given wide bands.

Shapes: N origins, P paths, H bars of the horizon.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .figures import Figures
from .metrics import BAND_LEVELS, band_figures, checked, path_bands


@dataclass(frozen=True)
class ConformalBands:
    """Calibrated bands of one target.

    Attributes:
        levels (`tuple` of `float`): central bands, in rising order.
        offsets (`np.ndarray` of shape `(levels, H)`): added above and below; negative where bands were too wide.
        origins (`int`): validation origins that they were fitted on.
        minimum (`float`, *optional*): value that no target goes below, such as 0 for volatility.
        note (`str`, *optional*): which levels have too few validation origins for the guarantee.
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
        """Finds the offsets on validation origins. One path is widened into bands around a point forecast.

        Args:
            truth (`np.ndarray` of shape `(N, H)`), paths (`np.ndarray` of shape `(N, P, H)`): validation split.
            levels (`Sequence[float]`): central bands, in rising order.
            minimum (`float`, *optional*): value that no target goes below.

        Raises:
            ValueError: no origins, shapes that do not agree, or levels that are no rising shares.
        """
        truth, paths = checked(truth, paths)
        if not len(truth):
            raise ValueError("there are no validation origins to calibrate on; enlarge the validation split")
        lower, upper = path_bands(paths, levels)
        scores = np.sort(np.maximum(lower - truth, truth - upper), axis=1)
        number = len(truth)
        # the small term undoes rounding: (99 + 1) 0.9 must not become 91
        ranks = [int(np.ceil((number + 1) * level - 1e-9)) for level in levels]
        short = [f"{level:.0%}" for level, rank in zip(levels, ranks, strict=True) if rank > number]
        note = None
        if short:
            note = (
                f"{number} validation origins are too few for the {', '.join(short)} band: the largest score stands in"
            )
        offsets = np.stack([score[min(rank, number) - 1] for score, rank in zip(scores, ranks, strict=True)])
        return cls(tuple(float(level) for level in levels), offsets, number, minimum, note)

    def bands(self, paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Calibrated lower and upper ends, each of shape `(levels, N, H)`.

        A band narrowed past its middle becomes a point there, and a band contains those of lower levels.

        Raises:
            ValueError: paths of another horizon.
        """
        if paths.ndim != 3 or paths.shape[2] != self.offsets.shape[1]:
            raise ValueError(
                f"paths of shape {paths.shape} do not have the {self.offsets.shape[1]} bars that the bands were "
                "calibrated for; use the same horizon"
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
        """Coverage and width on other origins, of the paths' own bands and of the calibrated ones.

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
