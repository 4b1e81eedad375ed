"""Forecasts compared with the published predictor: same weights, context and random numbers, alternating runs.

    python -m benchmarks.forecast [--repeats 3] [--size small] [--output benchmarks/results/forecast.json]

Rows: 1 and 32 paths over 24 and 112 bars after 400. Each checks that the forecasts with the same seed are equal, to a
relative difference of 1e-4; exits 1 otherwise. Of 32 paths, the published predictor runs 8 (24 bars) or 2 (112 bars),
and its time is extrapolated: it computes each path separately, and the cost per path of 1, 8 and 32 paths is equal to
6 %. These paths are also compared.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.comparison import RESULTS, Row, alternate, print_rows, ratio_figures, write_rows
from benchmarks.rivals import REFERENCE, bars, predictors

GOALS = {(24, 1): 12, (24, 32): 60, (112, 1): 20, (112, 32): 80}
LOOKBACK = 400
TOLERANCE = 1e-4
MOST = 2 * 112  # bars of all paths that the published predictor is given
QUICK = 24


def compare(rivals: dict[str, object], size: str, horizon: int, num_paths: int, repeats: int) -> Row:
    """The row of one case."""
    inputs, found = bars(LOOKBACK, horizon), {}
    fewer = next(one for one in (1, 4, 16, num_paths) if horizon * num_paths <= one * MOST)

    def forecast(name: str, repeat: int, paths: int) -> np.ndarray:
        torch.manual_seed(repeat)
        return rivals[name].predict(*inputs, horizon, sample_count=paths, verbose=False).to_numpy()

    def run(name: str, paths: int) -> Callable[[int], None]:
        return lambda repeat: found.update({name: forecast(name, repeat, paths)})

    repeats = repeats if horizon * num_paths <= QUICK else 1
    runs = {"published": run("published", num_paths // fewer), "ours": run("ours", num_paths)}
    seconds = alternate(runs, repeats, warm_up=0)
    if fewer > 1:
        found["ours"] = forecast("ours", repeats - 1, num_paths // fewer)
    difference = float(np.abs(found["ours"] / found["published"] - 1).max())
    extrapolated = f"published: {num_paths // fewer} paths x {fewer}; " if fewer > 1 else ""
    row = Row(
        f"forecast {size}, {LOOKBACK} -> {horizon} bars, {num_paths} path{'s' * (num_paths > 1)}",
        REFERENCE,
        GOALS.get((horizon, num_paths)) if size == "small" else None,
        correct=difference < TOLERANCE,
        note=f"{extrapolated}largest relative difference {difference:.0e}; {repeats} pair{'s' * (repeats > 1)}",
        **ratio_figures([fewer * one for one in seconds["published"]], seconds["ours"]),
    )
    row.details |= {"seconds": seconds, "largest_relative_difference": difference}
    print(f"{row.work}: {row.ratio:.1f} ({row.note})", file=sys.stderr, flush=True)
    return row


def rows(
    size: str = "small",
    cases: tuple[tuple[int, int], ...] = tuple(GOALS),
    repeats: int = 3,
) -> list[Row]:
    """A row for each (horizon, paths)."""
    rivals = predictors(size)
    for rival in rivals.values():
        rival.predict(*bars(50, 2), 2, verbose=False)
    return [compare(rivals, size, horizon, num_paths, repeats) for horizon, num_paths in cases]


def main() -> int:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", default="small", choices=["mini", "small", "base"])
    parser.add_argument("--horizons", type=int, nargs="+", default=[24, 112])
    parser.add_argument("--paths", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--output", type=Path, default=RESULTS / "forecast.json")
    options = parser.parse_args()
    cases = tuple(case for case in GOALS if case[0] in options.horizons and case[1] in options.paths)
    found = rows(options.size, cases, options.repeats)
    print_rows(found)
    write_rows(options.output, found)
    return 0 if all(row.correct for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
