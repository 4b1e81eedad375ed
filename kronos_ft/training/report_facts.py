"""Statistics of the training windows, computed before the first step for the run record.

A report uses them to check whether and how inputs were scaled, and whether validation overlaps with training.

Shapes: B probed windows, L bars of a window, F features.
"""

import math

import numpy as np
import torch

from ..windows.dataset import WindowDataset
from ..windows.tokens import TokenWindowDataset

PROBED = 256  # windows, evenly spaced


def _six_digits(value: float) -> float:
    return float(f"{float(value):.6g}")


def _probe(dataset: WindowDataset | TokenWindowDataset) -> list[int]:
    return [int(row) for row in np.unique(np.linspace(0, len(dataset) - 1, PROBED).astype(np.int64))]


def input_figures(windows: WindowDataset) -> dict[str, float]:
    """Statistics of the model inputs, over at most 256 evenly spaced windows.

    Args:
        windows ([`WindowDataset`]): the windows of one split.

    Returns:
        `dict`: mean, std and largest magnitude of all values; `clipped_share`, the share of clipped values;
        `lookback_offset` and `window_offset`, the mean size of a window's mean over its lookback and over all its bars
        (the first is near 0 if the lookback alone sets the scale, the second if the whole window does);
        `mean_square` of the target, which is the error of always predicting 0.
    """
    batch = windows.__getitems__(_probe(windows))
    target = batch["target"].double()
    candles, lookback = batch["candles"].double(), windows.shape.lookback
    return {
        "windows": len(target),
        "mean": _six_digits(candles.mean()),
        "std": _six_digits(candles.std()),
        "largest": _six_digits(candles.abs().max()),
        "clipped_share": _six_digits((target.abs() >= windows.shape.clip).double().mean()),
        "lookback_offset": _six_digits(target[:, :lookback].mean(dim=1).abs().mean()),
        "window_offset": _six_digits(target.mean(dim=1).abs().mean()),
        "mean_square": _six_digits(target.square().mean()),
    }


def token_entropies(tokens: TokenWindowDataset) -> dict[str, float]:
    """Entropy of the coarse and of the fine tokens, in nats: the cross-entropy of a forecast that knows the token
    frequencies and nothing else.

    Args:
        tokens ([`TokenWindowDataset`]): the token windows of one split.

    Returns:
        `dict`: the entropy of `s1` and of `s2`.
    """
    found = {}
    for name in ("s1", "s2"):
        share = torch.bincount(getattr(tokens, name)[_probe(tokens)].long().flatten()).double()
        share = share[share > 0] / share.sum()
        found[name] = _six_digits(-(share * share.log()).sum())
    return found


def _windows_of(dataset: WindowDataset | TokenWindowDataset) -> WindowDataset:
    return dataset.windows if isinstance(dataset, TokenWindowDataset) else dataset


def _split_figures(windows: WindowDataset) -> dict[str, object]:
    return {
        "windows": len(windows),
        "bars": sum(end - first for first, end in windows.bounds.values()),
        "across_gaps": windows.windows_across_gaps,
        "spans": windows.spans(),
        "inputs": input_figures(windows),
    }


def candle_figures(windows: WindowDataset) -> dict[str, object]:
    """What reading the candles found, over all symbols: rows, defects by kind, missing bars, kinds of markets."""
    defects: dict[str, int] = {}
    for report in windows.reports():
        for kind, defect in report.quality.defects.items():
            defects[kind] = defects.get(kind, 0) + defect.count
    return {
        "rows": sum(report.quality.rows_read for report in windows.reports()),
        "defects": defects,
        "missing_bars": sum(report.missing_bars for report in windows.reports()),
        "markets": sorted({report.market for report in windows.reports()}),
    }


def shared_share(training: dict[str, list], validation: dict[str, list]) -> float:
    """Share of the validation period that overlaps with training, for the same symbols.

    Args:
        training, validation: first and last time of each symbol (ISO, UTC).

    Returns:
        `float`: from 0 to 1; 0 if validation spans no time.
    """
    shared = total = 0.0
    for symbol, (first, last) in validation.items():
        start, end = np.datetime64(first), np.datetime64(last)
        total += float((end - start) / np.timedelta64(1, "s"))
        if symbol in training:
            known = [np.datetime64(time) for time in training[symbol]]
            common = (min(end, known[1]) - max(start, known[0])) / np.timedelta64(1, "s")
            shared += max(float(common), 0.0)
    return _six_digits(shared / total) if total else 0.0


def observed_windows(
    train: WindowDataset | TokenWindowDataset, validation: WindowDataset | TokenWindowDataset | None
) -> dict[str, object]:
    """Facts on both splits, and their overlap.

    Args:
        train, validation: the windows, or token windows, of each split; validation may be None.

    Returns:
        `dict`: `shape`, `candles`, `train`, and with validation also `validation`, `shared_share` (from 0 to 1) and,
        for token windows, `token_entropy` (in nats).
    """
    found: dict[str, object] = {
        "shape": {
            "lookback": train.shape.lookback,
            "horizon": train.shape.horizon,
            "stride": train.shape.stride,
            "clip": train.shape.clip if math.isfinite(train.shape.clip) else None,
        },
        "candles": candle_figures(_windows_of(train)),
        "train": _split_figures(_windows_of(train)),
    }
    if validation is None:
        return found
    found["validation"] = _split_figures(_windows_of(validation))
    spans = [found[name]["spans"] for name in ("train", "validation")]
    found["shared_share"] = shared_share(*spans)
    if isinstance(validation, TokenWindowDataset) and hasattr(validation, "s1"):
        found["token_entropy"] = token_entropies(validation)
    return found
