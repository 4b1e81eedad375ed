"""Walk-forward forecasts compared with a loop over the published `predict_batch`: 200 origins x 30 paths.

    python -m benchmarks.walk_forward [--size mini] [--origins 200] [--output benchmarks/results/walk_forward.json]

Ours forecasts all origins, in batches of eight, as `kronos-ft evaluate` does. The published loop calls `predict_batch`
for one origin at a time, with all its paths; it is timed on a few origins and extrapolated (larger batches have the
same cost per origin, because every path is computed in full). The closing prices of the most likely paths (top_k=1) of
two origins are compared; exits 1 if they differ.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.comparison import RESULTS, Row, print_rows, ratio_figures, write_rows
from benchmarks.rivals import REFERENCE, predictors
from kronos_ft import load_sample
from kronos_ft.evaluation.models import EvaluatedModel

GOAL = 20
LOOKBACK, HORIZON, STEP, FIRST = 400, 24, 24, 1000
ORIGINS, PATHS, BATCH = 200, 30, 8
TOLERANCE = 1e-4
CLOSE = 3


def published_loop(predictor: object, origins: np.ndarray, num_paths: int, **options: float) -> list[np.ndarray]:
    """Forecasts of the published predictor: one `predict_batch` for several origins."""
    frame = load_sample()[0].to_frame()
    pieces = [frame.iloc[origin - LOOKBACK : origin + HORIZON].reset_index(drop=True) for origin in origins]
    found = predictor.predict_batch(
        [one.iloc[:LOOKBACK] for one in pieces],
        [one.timestamps[:LOOKBACK] for one in pieces],
        [one.timestamps[LOOKBACK:] for one in pieces],
        HORIZON,
        sample_count=num_paths,
        verbose=False,
        **options,
    )
    return [one.to_numpy() for one in found]


def rows(size: str = "mini", origins: int = ORIGINS, num_paths: int = PATHS, timed: int = 1) -> list[Row]:
    """One row; the published loop is timed on `timed` origins, twice."""
    rivals, series = predictors(size), load_sample()[0]
    places = FIRST + STEP * np.arange(origins)
    forecaster = EvaluatedModel("ours", rivals["ours"], LOOKBACK, num_paths)
    expected = np.stack(published_loop(rivals["published"], places[:2], 1, top_k=1))[..., CLOSE]
    found = EvaluatedModel("likeliest", rivals["ours"], LOOKBACK, 1, top_k=1).paths(series, places[:2], HORIZON)
    difference = float(np.abs(found[:, 0, :, CLOSE] / expected - 1).max())
    ours, theirs = 0.0, []
    halves = np.array_split(places, 2)
    for half in halves:  # the published loop before each half of ours, so that both meet the same machine
        torch.manual_seed(0)
        started = time.perf_counter()
        published_loop(rivals["published"], half[:timed], num_paths)
        theirs.append((time.perf_counter() - started) * origins / timed)
        started = time.perf_counter()
        for first in range(0, len(half), BATCH):
            forecaster.paths(series, half[first : first + BATCH], HORIZON)
        ours += time.perf_counter() - started
    return [
        Row(
            f"walk-forward {size}, {origins} origins x {num_paths} paths, {LOOKBACK} -> {HORIZON} bars",
            f"{REFERENCE}, loop over predict_batch",
            GOAL,
            correct=difference < TOLERANCE,
            note=f"published: {len(theirs)} x {timed} origins timed, extrapolated; largest relative difference "
            f"of the likeliest paths {difference:.0e}",
            **ratio_figures(theirs, [ours] * len(theirs)),
        )
    ]


def main() -> int:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="mini", choices=["mini", "small", "base"])
    parser.add_argument("--origins", type=int, default=ORIGINS)
    parser.add_argument("--paths", type=int, default=PATHS)
    parser.add_argument("--output", type=Path, default=RESULTS / "walk_forward.json")
    options = parser.parse_args()
    found = rows(options.size, options.origins, options.paths)
    print_rows(found)
    write_rows(options.output, found)
    return 0 if all(row.correct for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
