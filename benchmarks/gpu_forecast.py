"""Forecasts of 32 series x 30 paths on one GPU compared with the published predictor, small size, 400 bars -> 24.

    python -m benchmarks.gpu_forecast [--output benchmarks/results/gpu_forecast.json]

Without a GPU, the row is marked as not measured, and the exit code is 0.
"""

import sys

import numpy as np
import torch

from benchmarks.comparison import Row, alternate, command, ratio_figures
from benchmarks.gpu_training import NO_GPU
from benchmarks.rivals import predictors
from kronos_ft import load_sample

SERIES, PATHS, CONTEXT, HORIZON = 32, 30, 400, 24
TOLERANCE = 1e-3


def rows() -> list[Row]:
    """One row; forecasts must agree at the same seed for one path."""
    row = Row(f"GPU: forecast small, {CONTEXT} -> {HORIZON}, {SERIES} x {PATHS} paths", "published predict_batch", 15.0)
    if not torch.cuda.is_available():
        row.note = NO_GPU
        return [row]
    rivals = predictors("small", "cuda:0")
    frame = load_sample()[0].to_frame()
    parts = [frame.iloc[start : start + CONTEXT + HORIZON] for start in range(0, SERIES * 100, 100)]
    inputs = (
        [part.iloc[:CONTEXT] for part in parts],
        [part.timestamps[:CONTEXT] for part in parts],
        [part.timestamps[CONTEXT:] for part in parts],
    )

    def forecast(name: str, repeat: int, paths: int = PATHS) -> np.ndarray:
        torch.manual_seed(repeat)
        found = rivals[name].predict_batch(*inputs, HORIZON, sample_count=paths, verbose=False)
        torch.cuda.synchronize()
        return np.stack([one.to_numpy() for one in found])

    # the likeliest tokens, so that both draw the same ones
    found = {}
    for name in rivals:
        torch.manual_seed(0)
        frames = rivals[name].predict_batch(*inputs, HORIZON, top_k=1, sample_count=1, verbose=False)
        found[name] = np.stack([one.to_numpy() for one in frames])
    difference = float(np.abs(found["ours"] / found["published"] - 1).max())
    seconds = alternate({name: (lambda repeat, name=name: forecast(name, repeat)) for name in rivals}, 3)
    figures = ratio_figures(seconds["published"], seconds["ours"])
    figures["details"] |= {"largest_relative_difference": difference}
    return [Row(row.work, row.reference, row.goal, **figures, correct=difference < TOLERANCE)]


if __name__ == "__main__":
    sys.exit(command(__doc__, "gpu_forecast", rows))
