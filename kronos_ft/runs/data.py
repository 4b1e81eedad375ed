"""Candles and windows of a run, and the lines that describe them."""

from dataclasses import dataclass

from ..data.candles import CandleSeries
from ..data.sources import load_source
from ..training.arguments import DataArguments
from ..windows.augmentation import AugmentationArguments
from ..windows.dataset import WindowDataset
from ..windows.splits import SPLITS, crossing_splits, split_bounds
from ..windows.tokens import TokenWindowDataset

FEW_WINDOWS = 50


@dataclass
class WindowSplits:
    """Windows of a run, or their tokens; `test` is None if its split has no windows."""

    train: WindowDataset | TokenWindowDataset
    validation: WindowDataset | TokenWindowDataset
    test: WindowDataset | TokenWindowDataset | None

    def counts(self) -> dict[str, int]:
        """Windows of each split."""
        return {name: len(getattr(self, name) or ()) for name in SPLITS}


def load_series(data: DataArguments) -> list[CandleSeries]:
    """Candles named by the settings; `sample` is the embedded one.

    Raises:
        ValueError: no data named, or data that cannot be used.
    """
    return load_source(data.data, data.policy, data.timezone, data.columns)


def build_splits(
    series: list[CandleSeries], data: DataArguments, augmentation: AugmentationArguments, seed: int
) -> WindowSplits:
    """Windows of the three splits.

    Raises:
        ValueError: train or validation has no window.
    """
    places = {"ratios": data.split_ratios, "dates": data.split_dates, "embargo": data.embargo_bars}
    held_out = data.window_shape(data.validation_stride)
    train = WindowDataset(
        series, "train", data.window_shape(data.stride), augmentation=augmentation, seed=seed, **places
    )
    validation = WindowDataset(series, "validation", held_out, **places)
    has_test = any(
        end - first >= held_out.length for first, end in (split_bounds(one, **places)["test"] for one in series)
    )
    try:
        test = WindowDataset(series, "test", held_out, **places) if has_test else None
    except ValueError:  # bars enough, but none between the gaps
        test = None
    return WindowSplits(train, validation, test)


def describe_data(series: list[CandleSeries], splits: WindowSplits) -> list[str]:
    """Describes bars and windows of each split."""
    bars = sum(len(one) for one in series)
    symbols = series[0].symbol if len(series) == 1 else f"{len(series)} symbols"
    lines = [f"data        {symbols}, {bars:,} bars"]
    for name in SPLITS:
        windows: WindowDataset | None = getattr(splits, name)
        if windows is None:
            lines.append(f"{name:12}no windows")
            continue
        across = f", {windows.windows_across_gaps:,} span a gap" if windows.windows_across_gaps else ""
        without = windows.symbols_without_windows
        none = f", none of {', '.join(without[:5])}{', ...' * (len(without) > 5)}" if without else ""
        first = min(str(one.timestamps[windows.bounds[one.symbol][0]])[:10] for one in series)
        last = max(str(one.timestamps[windows.bounds[one.symbol][1] - 1])[:10] for one in series)
        lines.append(
            f"{name:12}{len(windows):,} windows of {windows.shape.length} bars, {first} to {last}{across}{none}"
        )
    left_out = splits.validation.embargo
    if left_out:
        lines.append(f"embargo     {left_out} bars left out at the start of validation and of test")
    bounds = {
        one.symbol: {
            name: windows.bounds[one.symbol] if (windows := getattr(splits, name)) is not None else (0, 0)
            for name in SPLITS
        }
        for one in series
    }
    crossing = crossing_splits(series, bounds)
    if crossing:
        lines.append(f"WARNING     {crossing}")
    if len(splits.validation) < FEW_WINDOWS:
        lines.append(
            f"WARNING     {len(splits.validation)} validation windows are few for checkpoint selection; lower "
            "validation_stride or give validation a larger share"
        )
    return lines
