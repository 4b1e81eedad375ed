"""A forecast: paths, their mean, quantiles and prediction intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..data.columns import FEATURES


@dataclass(frozen=True)
class Forecast:
    """Forecast paths of one series.

    Attributes:
        paths (`np.ndarray` of float64, shape `(num_paths, horizon, 6)`): raw units, in the order of `FEATURES`.
        projected_share (`float`): share of bars that are not valid candles; with projection they were corrected.
        spike_share (`float`): share of bars far outside the context's range; reported, never changed.
    """

    paths: np.ndarray
    projected_share: float
    spike_share: float

    @property
    def num_paths(self) -> int:
        """Number of paths."""
        return self.paths.shape[0]

    @property
    def horizon(self) -> int:
        """Number of bars."""
        return self.paths.shape[1]

    def mean(self, index: pd.Index | None = None) -> pd.DataFrame:
        """The mean over paths, as the published code returns; smoother than any single path."""
        return pd.DataFrame(self.paths.mean(axis=0), columns=list(FEATURES), index=index)

    def quantiles(self, levels: Sequence[float], index: pd.Index | None = None) -> dict[float, pd.DataFrame]:
        """Quantiles over paths of each bar and feature, one table per level.

        Raises:
            ValueError: a level outside [0, 1].
        """
        for level in levels:
            if not 0 <= level <= 1:
                raise ValueError(f"level={level} is outside [0, 1]; use e.g. 0.05")
        found = np.quantile(self.paths, list(levels), axis=0)
        return {
            level: pd.DataFrame(values, columns=list(FEATURES), index=index)
            for level, values in zip(levels, found, strict=True)
        }

    def band(self, coverage: float, index: pd.Index | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Bounds of the central prediction interval that contains this share of the paths at each bar."""
        if not 0 < coverage < 1:
            raise ValueError(f"coverage={coverage} is outside (0, 1); use e.g. 0.8")
        levels = ((1 - coverage) / 2, (1 + coverage) / 2)
        found = self.quantiles(levels, index)
        return found[levels[0]], found[levels[1]]

    def to_frame(self, timestamps: Sequence) -> pd.DataFrame:
        """All paths as one long table: path, timestamps, open, high, low, close, volume, amount."""
        frame = pd.DataFrame(self.paths.reshape(-1, len(FEATURES)), columns=list(FEATURES))
        frame.insert(0, "timestamps", np.tile(np.asarray(timestamps), self.num_paths))
        frame.insert(0, "path", np.repeat(np.arange(self.num_paths), self.horizon))
        return frame
