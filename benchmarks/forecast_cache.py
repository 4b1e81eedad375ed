"""Forecasts beside the published predictor: same weights, same context, same random numbers, alternating runs.

    python benchmarks/forecast_cache.py [--repeats 3] [--size small] [--output benchmarks/results/forecast_cache.json]

Prints the ratio of medians (published / ours) for 1 and 32 paths over 24 and 112 bars after 400, and checks that the
forecasts are the same; exits 1 when they are not.
"""

import argparse
import platform
import statistics
import sys
import time
from pathlib import Path

import model as published
import numpy as np
import torch

from ft_core.files import write_json
from ft_core.run_record import versions
from kronos_ft import Kronos, KronosConfig, KronosPredictor, KronosTokenizer, KronosTokenizerConfig, load_sample

CASES = ((24, 1), (24, 32), (112, 1), (112, 32))
GOALS = {(24, 1): 12, (24, 32): 60, (112, 1): 20, (112, 32): 80}
LOOKBACK = 400
TOLERANCE = 1e-4


def predictors(size: str) -> dict[str, object]:
    """The published predictor and ours, with the same random weights."""
    tokenizer_config = KronosTokenizerConfig.from_size("2k" if size == "mini" else "base")
    config = KronosConfig.from_size(size)
    torch.manual_seed(0)
    their_tokenizer = published.KronosTokenizer(
        **{key: getattr(tokenizer_config, key) for key in tokenizer_config.published_keys()}
    )
    their_model = published.Kronos(**{key: getattr(config, key) for key in config.published_keys()})
    tokenizer, model = KronosTokenizer(tokenizer_config), Kronos(config)
    tokenizer.load_state_dict(their_tokenizer.state_dict())
    model.load_state_dict(their_model.state_dict())
    return {
        "published": published.KronosPredictor(their_model.eval(), their_tokenizer.eval(), device="cpu"),
        "ours": KronosPredictor(model, tokenizer, device="cpu"),
    }


def compare(rivals: dict[str, object], horizon: int, num_paths: int, repeats: int) -> dict:
    """Seconds of each and the largest relative difference of the forecasts."""
    frame = load_sample()[0].to_frame().iloc[1000 : 1000 + LOOKBACK + horizon]
    inputs = (frame.iloc[:LOOKBACK], frame.timestamps[:LOOKBACK], frame.timestamps[LOOKBACK:])
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    found = {}
    for repeat in range(repeats):
        for name in list(rivals)[:: 1 if repeat % 2 else -1]:
            torch.manual_seed(repeat)
            started = time.perf_counter()
            found[name] = rivals[name].predict(*inputs, horizon, sample_count=num_paths, verbose=False).to_numpy()
            seconds[name].append(time.perf_counter() - started)
    pairs = [a / b for a, b in zip(seconds["published"], seconds["ours"], strict=True)]
    return {
        "horizon": horizon,
        "paths": num_paths,
        "repeats": repeats,
        "ratio_of_medians": statistics.median(seconds["published"]) / statistics.median(seconds["ours"]),
        "ratio_pairs": {"min": min(pairs), "max": max(pairs)},
        "goal": GOALS[horizon, num_paths],
        "largest_relative_difference": float(np.abs(found["ours"] / found["published"] - 1).max()),
    }


def main() -> int:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", default="small", choices=["mini", "small", "base"])
    parser.add_argument("--horizons", type=int, nargs="+", default=[24, 112])
    parser.add_argument("--paths", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "forecast_cache.json")
    options = parser.parse_args()

    rivals = predictors(options.size)
    rivals["ours"].predict(*_warm_up(), 2, verbose=False)
    cases = [case for case in CASES if case[0] in options.horizons and case[1] in options.paths]
    results = []
    for horizon, num_paths in cases:
        results.append(compare(rivals, horizon, num_paths, options.repeats))
        one = results[-1]
        print(
            f"{options.size}, {LOOKBACK} -> {horizon} bars, {num_paths} paths: published / ours = "
            f"{one['ratio_of_medians']:.1f} (pairs {one['ratio_pairs']['min']:.1f}..{one['ratio_pairs']['max']:.1f}, "
            f"goal {one['goal']}), largest relative difference {one['largest_relative_difference']:.1e}"
        )
    write_json(
        options.output,
        {
            "work": f"forecast, {options.size}, {LOOKBACK} bars of context, top_p 0.9, fp32, CPU",
            "cases": results,
            "machine": {"processor": platform.machine(), "threads": torch.get_num_threads(), **versions()},
        },
    )
    return 0 if all(one["largest_relative_difference"] < TOLERANCE for one in results) else 1


def _warm_up() -> tuple:
    frame = load_sample()[0].to_frame().iloc[:52]
    return frame.iloc[:50], frame.timestamps[:50], frame.timestamps[50:]


if __name__ == "__main__":
    sys.exit(main())
