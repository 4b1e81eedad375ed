"""Sliding windows over candles: splits in time, per-window normalisation, batched gathering.

Notable:
- A window has lookback + horizon + 1 bars. Its mean and standard deviation come only from the lookback part, so no bar
  after the forecast origin affects the scale. (The published CSV scripts normalise over the full window.)
- A window is inside one split and contains no gap longer than `max_gap`. A batch is gathered from one contiguous array.
- Index n * len + i means window i in pass n over the data: this tells augmentation the epoch in every worker.

Shapes: B windows, L bars of a window, N bars, F = 6 features.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from torch import Tensor
from torch.utils.data import Dataset

from ..data.candle_table import PIECE, joined
from ..data.candles import CandleReport
from ..data.sources import Source, loaded_series
from .augmentation import AugmentationArguments, WindowAugmenter
from .splits import SPLITS, split_bounds, too_long_gaps

PUBLISHED_EPS = 1e-5
LEAST_EPS_LEVEL = 1e-100  # squares of smaller values are 0 in float64
PROBED_WINDOWS = 64


@dataclass(frozen=True)
class WindowShape:
    """Size and spacing of windows.

    Attributes:
        lookback (`int`): bars whose statistics normalise the window.
        horizon (`int`): bars to predict; one more bar follows as the last target.
        stride (`int`): bars between the starts of two windows.
        max_gap (`int`, *optional*): maximum number of missing bars at one gap inside a window. Default: 0 in a
            continuous market, four times the long gaps (weekends) in a session market.
        clip (`float`): maximum absolute normalised value.
    """

    lookback: int = 90
    horizon: int = 10
    stride: int = 1
    max_gap: int | None = None
    clip: float = 5.0

    def __post_init__(self):
        for name, least in (("lookback", 2), ("horizon", 0), ("stride", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is too small; use at least {least}")
        if self.max_gap is not None and self.max_gap < 0:
            raise ValueError(f"max_gap={self.max_gap} is negative; use 0 or more missing bars")
        if not self.clip > 0:
            raise ValueError(f"clip={self.clip} is not positive; use e.g. 5")

    @property
    def length(self) -> int:
        """Bars of a window: lookback + horizon + 1."""
        return self.lookback + self.horizon + 1

    def words(self) -> str:
        """The size and spacing as text."""
        return f"L = {self.lookback} + {self.horizon} + 1 = {self.length} bars, one window every {self.stride} bars"


def scale_of(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """The divisor of a feature: its standard deviation plus an epsilon.

    The epsilon is the published 1e-5 if the feature is around 1 or above, varies by 0.01 or more, or is always 0.
    Otherwise it is proportional to the feature: 1e-5 would be too large for an asset priced near 1e-5.
    """
    level = np.maximum(np.abs(mean), 100 * std)
    level = np.where(level > 0, np.clip(level, LEAST_EPS_LEVEL, 1.0), 1.0).astype(level.dtype)
    return std + PUBLISHED_EPS * level


def normalise(windows: np.ndarray, lookback: int, clip: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalises each window and feature by the mean and scale ([`scale_of`]) of its lookback part, then clips.

    Args:
        windows (`np.ndarray` of float64, shape `(B, L, F)`): raw candles.

    Returns:
        float32 windows of the same shape, means and scales of shape `(B, 1, F)`, float64.
    """
    weights = np.full((1, lookback), 1.0 / lookback)
    past = windows[:, :lookback]
    # means as matrix products: a reduction over the middle axis is much slower
    mean = weights @ past
    centred = windows - mean
    past = centred[:, :lookback]
    shift = weights @ past  # rounding error of the mean
    scale = scale_of(mean, np.sqrt(np.maximum(weights @ np.square(past) - np.square(shift), 0.0)))
    values = np.divide(centred, scale, out=centred).astype(np.float32)
    return np.clip(values, -clip, clip, out=values), mean, scale


class WindowDataset(Dataset):
    """Normalised windows of one split of several symbols.

    Each item is a dict of `candles` (the model's input, augmented if enabled) and `target` (the clean window), both
    `(L, 6)` float32, `stamps` `(L, 5)` int64 (minute, hour, weekday, day, month), and `window`, its index. A list of
    indices gives a batch.

    Args:
        series: the symbols, a `list` of [`CandleSeries`]; or one, a DataFrame, a file or `sample`, which are read as by
            [`load_candles`].
        split (`str`): `train`, `validation` or `test`.
        shape ([`WindowShape`]): size and spacing of windows.
        ratios, dates, embargo: as in [`split_bounds`], applied to each symbol separately.
        augmentation ([`AugmentationArguments`], *optional*): only for the train split.
        seed (`int`): seed of the augmentation.

    Raises:
        ValueError: no window fits into the split, or augmentation of another split than train.
    """

    def __init__(
        self,
        series: Source,
        split: str,
        shape: WindowShape | None = None,
        *,
        ratios: Sequence[float] = (0.7, 0.15, 0.15),
        dates: Sequence[str] | None = None,
        embargo: int = 0,
        augmentation: AugmentationArguments | None = None,
        seed: int = 0,
    ):
        if split not in SPLITS:
            raise ValueError(f"split={split!r} is not known; use one of {', '.join(SPLITS)}")
        augment = augmentation is not None and augmentation.enabled
        if augment and split != "train":
            raise ValueError(f"augmentation is enabled for split={split}, but only the train split can be augmented")
        series = loaded_series(series)
        self.split = split
        self.shape = shape or WindowShape()
        self.symbols = [one.symbol for one in series]
        bounds = {one.symbol: split_bounds(one, ratios, dates, embargo) for one in series}
        self.bounds = {symbol: own[split] for symbol, own in bounds.items()}
        self.embargo = embargo if split != "train" else 0
        self._augmenter = WindowAugmenter(augmentation, seed) if augment else None
        table = joined(series, series[0].table if series else None)
        self._values, self._stamps = table.values, table.stamps
        self._series = series
        self._ends = np.cumsum([len(one) for one in series])
        self._locate({symbol: own["train"][1] for symbol, own in bounds.items()})
        if not len(self):
            whole = {one.symbol: split_bounds(one, ratios, dates)[split] for one in series}
            raise ValueError(self._no_window_message(whole))

    def _locate(self, train_ends: dict[str, int]) -> None:
        parts, self.windows_across_gaps = [], 0
        for one, end in zip(self._series, self._ends, strict=True):
            too_long = too_long_gaps(one, self.shape.max_gap, train_ends[one.symbol])
            edges = stretch_edges(*self.bounds[one.symbol], too_long)
            parts.append(edges + end - len(one))
            gap_ends = np.cumsum(one.missing_before() > 0, dtype=np.int32)
            for starts in WindowPlaces([edges], self.shape.length, self.shape.stride).pieces():
                spanning = gap_ends[starts + self.shape.length - 1] > gap_ends[starts]
                self.windows_across_gaps += int(spanning.sum())
        self._places = WindowPlaces(parts, self.shape.length, self.shape.stride)
        self.windows_per_symbol = self._places.per_symbol

    @property
    def _starts(self) -> np.ndarray:
        """The first row of each window."""
        return self._places.starts(np.arange(len(self)))

    def _no_window_message(self, whole: dict[str, tuple[int, int]]) -> str:
        bars = sum(end - first for first, end in self.bounds.values())
        longest = max((end - first for first, end in self.bounds.values()), default=0)
        after = f" after an embargo of {self.embargo}" if self.embargo else ""
        if longest < self.shape.length:
            share = max((end - first for first, end in whole.values()), default=0)
            most = (share // 2 if self.embargo == self.shape.length else longest) - 1  # the default embargo is a window
            fits = f" (lookback_window + predict_window of at most {most})" if most > 2 else ""
            return (
                f"the {self.split} split has {bars} bars{after}, too few for a window of {self.shape.length} "
                f"(lookback {self.shape.lookback} + horizon {self.shape.horizon} + 1); use more data, a larger share "
                f"or a shorter lookback_window{fits}"
            )
        return (
            f"no window of {self.shape.length} bars fits between the gaps of the {self.split} split ({bars} bars); "
            f"raise max_gap or shorten lookback_window"
        )

    def __repr__(self) -> str:
        symbols = self.symbols[0] if len(self.symbols) == 1 else f"{len(self.symbols)} symbols"
        dates = [day[:10] for span in self.spans().values() for day in span]
        augmented = ", augmented" if self.augmented else ""
        return (
            f"WindowDataset of {symbols}, {self.split} split: {len(self):,} windows, {min(dates)} to {max(dates)}\n"
            f"{self.shape.words()}{augmented}; candles and target (L, 6), stamps (L, 5)"
        )

    def reports(self) -> list[CandleReport]:
        """The report about the candles of each symbol."""
        return [one.report for one in self._series]

    def spans(self) -> dict[str, list[str]]:
        """UTC times of the first and last bar of the split, by symbol; symbols without a bar are omitted."""
        return {
            one.symbol: [str(one.timestamps[row].astype("datetime64[s]")) for row in (first, end - 1)]
            for one in self._series
            for first, end in (self.bounds[one.symbol],)
            if first < end
        }

    @property
    def symbols_without_windows(self) -> list[str]:
        """Symbols without a window in this split: too short, or too many gaps."""
        return [symbol for symbol, count in zip(self.symbols, self.windows_per_symbol, strict=True) if not count]

    @property
    def augmented(self) -> bool:
        """Whether the model's input is augmented, differently in each epoch."""
        return self._augmenter is not None

    def fingerprint(self) -> str:
        """SHA-256 of the clean windows: the candles, the starts of windows, and a sample of normalised windows."""
        digest = hashlib.sha256(repr((self.shape.lookback, self.shape.length, self.shape.clip)).encode())
        bars = int(self._ends[-1])
        digest.update(np.ascontiguousarray(self._values[:bars]).data)
        for first in range(0, bars, PIECE):
            digest.update(self._stamps[first : min(first + PIECE, bars)].astype(np.int64).data)
        for starts in self._places.pieces():
            digest.update(starts.data)
        # the sample detects a change of the normalisation
        probe = np.unique(np.linspace(0, len(self) - 1, PROBED_WINDOWS).astype(np.int64))
        clean, _, _ = normalise(
            self._gather(self._values, self._places.starts(probe)), self.shape.lookback, self.shape.clip
        )
        digest.update(clean.tobytes())
        return digest.hexdigest()

    def name_of(self, window: int) -> str:
        """Symbol and time of the first bar of a window, without augmentation."""
        if not 0 <= window < len(self):
            raise IndexError(f"window {window} of {len(self)}")
        start = int(self._places.starts(np.array([window]))[0])
        position = int(np.searchsorted(self._ends, start, side="right"))
        one = self._series[position]
        return f"{one.symbol} from {one.timestamps[start - self._ends[position]].astype('datetime64[s]')}"

    def stamps_of(self, indices: Sequence[int]) -> Tensor:
        """Calendar features of windows, without augmentation, int64 of shape `(B, L, 5)`."""
        starts = self._places.starts(np.asarray(indices, dtype=np.int64) % len(self))
        return torch.from_numpy(self._gather(self._stamps, starts).astype(np.int64))

    def raw(self, indices: Sequence[int]) -> np.ndarray:
        """Candles of windows in raw units, without augmentation, float64 of shape `(B, L, F)`."""
        starts = self._places.starts(np.asarray(indices, dtype=np.int64) % len(self))
        return self._gather(self._values, starts)

    def _gather(self, rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """`L` rows from each start, shape `(B, L, ...)`.

        The bars of a window are contiguous in memory: in an overlapping view, each window is one row, which is copied
        in one piece instead of bar by bar.
        """
        length, width = self.shape.length, rows.shape[1]
        overlapping = as_strided(rows, (len(rows) - length + 1, length * width), (rows.strides[0], rows.itemsize))
        return overlapping[starts].reshape(len(starts), length, width)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """A batch: `candles` and `target` of shape `(B, L, 6)`, `stamps` of shape `(B, L, 5)`."""
        epoch, window = np.divmod(np.asarray(indices, dtype=np.int64), len(self))
        if self._augmenter is None:
            starts = self._places.starts(window)
        else:
            generators = self._augmenter.generators(epoch, window)
            starts = self._places.shifted(window, self._augmenter.shifts(generators))
        clean, _, _ = normalise(self._gather(self._values, starts), self.shape.lookback, self.shape.clip)
        target = torch.from_numpy(clean)
        candles = target
        if self._augmenter is not None:
            candles = torch.from_numpy(self._augmenter.distort(clean, generators, self.shape.clip))
        stamps = torch.from_numpy(self._gather(self._stamps, starts).astype(np.int64))
        return {"candles": candles, "target": target, "stamps": stamps, "window": torch.from_numpy(window)}


def keep_batch(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Collator for [`WindowDataset`], whose `__getitems__` already returns a batch."""
    return batch


def stretch_edges(first: int, end: int, too_long: np.ndarray) -> np.ndarray:
    """Edges of the gap-free stretches within bars `first` to `end - 1`; `too_long` marks bars after a long gap."""
    breaks = first + 1 + np.flatnonzero(too_long[first + 1 : end])
    return np.concatenate(([first], breaks, [end])).astype(np.int64)


class WindowPlaces:
    """Numbers the windows of all stretches and maps window numbers to rows.

    Args:
        edges (`Sequence` of `np.ndarray`): edges of each symbol's stretches, as rows of one table.
        length (`int`): bars of a window.
        stride (`int`): bars between the starts of two windows.
    """

    def __init__(self, edges: Sequence[np.ndarray], length: int, stride: int):
        first = np.concatenate([one[:-1] for one in edges])
        last = np.concatenate([one[1:] for one in edges]) - length
        counts = np.maximum((last - first) // stride + 1, 0)
        per_symbol = np.split(counts, np.cumsum([len(one) - 1 for one in edges])[:-1])
        self.per_symbol = [int(one.sum()) for one in per_symbol]
        held = counts > 0
        self._first, self._last, self._stride = first[held], last[held], stride
        self._ends = np.cumsum(counts[held])
        self._before = self._ends - counts[held]

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def starts(self, windows: np.ndarray) -> np.ndarray:
        """First rows of windows, int64 of shape `(B,)`."""
        stretch = np.searchsorted(self._ends, windows, side="right")
        return self._first[stretch] + (windows - self._before[stretch]) * self._stride

    def shifted(self, windows: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        """[`~WindowPlaces.starts`] plus shifts, limited to the window's stretch."""
        stretch = np.searchsorted(self._ends, windows, side="right")
        starts = self._first[stretch] + (windows - self._before[stretch]) * self._stride
        return np.clip(starts + shifts, self._first[stretch], self._last[stretch])

    def pieces(self) -> Iterator[np.ndarray]:
        """Yields the starts of all windows in pieces."""
        return (self.starts(np.arange(first, min(first + PIECE, len(self)))) for first in range(0, len(self), PIECE))
