"""The quantile head against the volatility-scaled cone and against context features alone, out of sample.

`python -m benchmarks.quantiles FILE [FILE ...] --size tiny --seeds 1 2 3` trains, for each file and seed, a tokenizer
and a predictor from random weights, then a head on its body (trained too, and frozen) and one without a body. Each is
judged on the same test origins (every 4 bars): CRPS of the close and QLIKE of volatility with Diebold-Mariano tests
against each reference and against the features alone, and coverage of the 90 % interval. Results go to
`benchmarks/results/quantiles.json`, after every file and seed.

`python -m benchmarks.quantiles --table` prints the tables of docs/quantiles.md and README.md from the results.

`python -m benchmarks.quantiles --speed` times a forecast of the head and 30 sampled paths of the same body, one after
the other, on random weights, and 5,000 series in one batch job.
"""

import argparse
import contextlib
import io
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from ft_core.io.files import write_json
from ft_core.io.formats import read_json
from ft_core.runs.folder import LOG_FILE
from kronos_ft.cli.main import main as kronos_ft
from kronos_ft.data.sources import load_source
from kronos_ft.data.timestamps import calendar_features
from kronos_ft.evaluation.arguments import EvaluateArguments
from kronos_ft.evaluation.run import run_evaluation
from kronos_ft.evaluation.verdict import verdict
from kronos_ft.forecasting.direct import QuantilePredictor
from kronos_ft.forecasting.predictor import KronosPredictor
from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
from kronos_ft.models.modeling_quantiles import KronosForQuantiles, KronosQuantilesConfig
from kronos_ft.windows.quantile_windows import CONTEXT_FEATURES

RESULTS = Path(__file__).parent / "results" / "quantiles.json"
SPEED = RESULTS.with_name("quantile_speed.json")
LOOKBACK, HORIZON, STEP, PATHS, MOST_ORIGINS = 90, 24, 4, 99, 3000
DONE = "training_metrics.json"  # of a run that has ended; it is not trained again
NAMES = {
    "none": "features alone",
    "none-regularised": "features alone, regularised",
    "frozen": "frozen body",
    "regularised": "frozen body, regularised",
    "full": "trained body",
    "full-regularised": "trained body, regularised",
}
REGULARISED = ("--preset", "regularised")
HEADS = {
    "none": ("--body", "none"),
    "none-regularised": ("--body", "none", *REGULARISED),
    "frozen": ("--body", "frozen"),
    "regularised": ("--body", "frozen", *REGULARISED),
    "full": ("--body", "full"),
    "full-regularised": ("--body", "full", *REGULARISED),
}
MARKETS = {
    "btcusdt_1h_binance_2017_2024": "BTC/USDT, 1 h",
    "gbpusd_1h_2012_2022": "GBP/USD, 1 h",
    "us_cpay_5m_2024": "CPAY (US stock), 5 min",
}
CONE, VARIANCE = "scaled cone", "HAR-RV"


def _run(*words: object) -> None:
    """A command of the library, without its output."""
    with contextlib.redirect_stdout(io.StringIO()):
        if kronos_ft([str(word) for word in words]):
            raise SystemExit(f"failed: kronos-ft {' '.join(map(str, words))}")


def _timed(words: tuple[object, ...]) -> float:
    """Processor seconds of a command in this process."""
    started = time.process_time()
    _run(*words)
    return time.process_time() - started


def _figures_of(run: Path) -> dict[str, float]:
    """Step and loss of the best evaluation, and the test metrics, of a finished run."""
    metrics = read_json(run / DONE, "train again", dict)
    lines = (run / LOG_FILE).read_text(encoding="utf-8").splitlines()
    best = min(
        (entry for entry in map(json.loads, lines) if "eval_loss" in entry), key=lambda entry: entry["eval_loss"]
    )
    test = {name: metrics["test"][name] for name in ("loss", "pinball_close", "pinball_volatility", "coverage_90")}
    return {"epoch": best["epoch"], "validation": best["eval_loss"], **test}


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def judge(file: str, heads: dict[str, Path], tokenizer: Path, folder: Path) -> dict[str, dict]:
    """Figures of each head on the test split, from one evaluation on the same origins.

    Args:
        file (`str`): the candles.
        heads (`dict` of name to `Path`): folders of their runs; the first is the one that the others are compared with.
        tokenizer (`Path`): of their body.
        folder (`Path`): for the evaluation.
    """
    args = EvaluateArguments(
        data=file,
        compare=[f"{name}={path}" for name, path in heads.items()],
        tokenizer=str(tokenizer),
        step=STEP,
        num_paths=PATHS,
        max_origins=MOST_ORIGINS,
        batch_size=64,
        output_dir=str(folder),
        overwrite=True,
    )
    found = run_evaluation(args, lambda line: None)
    scores, skill = found["scores"], found["skill"]

    def against(name: str, reference: str, target: str, loss: str) -> dict[str, float | None]:
        one = skill[name][reference][target][loss]
        return {
            part: {
                "skill": one["skill"][key] if key == "overall" else one["skill"][key][-1],
                "p": one["p_value"][key] if key == "overall" else one["p_value"][key][-1],
            }
            for part, key in (("all horizons", "overall"), ("last", "by_horizon"))
        }

    outcome = {}
    for name in heads:
        close = scores[name]["close"]
        outcome[name] = {
            "origins": found["origins"]["test"],
            "crps_bp": 1e4 * close["crps"]["overall"],
            "coverage_90": close["bands"]["0.9"]["coverage"]["overall"],
            "coverage_90_last": close["bands"]["0.9"]["coverage"]["by_horizon"][-1],
            "crps": {one: against(name, one, "close", "crps") for one in skill[name]},
            "qlike": {
                one: against(name, one, "volatility", "qlike")
                for one in skill[name]
                if "qlike" in skill[name][one]["volatility"]
            },
        }
    outcome["references"] = {
        name: {
            "crps_bp": 1e4 * scores[name]["close"]["crps"]["overall"],
            "coverage_90": scores[name]["close"]["bands"]["0.9"]["coverage"]["overall"],
        }
        for name in ("scaled cone", "HAR-RV", "EWMA", "volatility cone")
    }
    outcome["verdict"] = verdict(found)
    return outcome


def speed(size: str, repeats: int = 5, series: int = 5_000) -> dict[str, float]:
    """Processor seconds of one forecast each way (medians of alternating runs), and of a batch job."""
    torch.manual_seed(0)
    body, tokenizer = Kronos(KronosConfig.from_size(size)), KronosTokenizer(KronosTokenizerConfig.from_size("tiny"))
    if size != "tiny":
        tokenizer = KronosTokenizer(KronosTokenizerConfig.from_size("2k"))
    config = KronosQuantilesConfig.on_body(body.config, num_features=len(CONTEXT_FEATURES))
    head = QuantilePredictor(KronosForQuantiles.on_body(body, config), tokenizer, "cpu")
    head.model.head.cone.copy_(torch.arange(13.0).expand(5, HORIZON, 13) / 10 - 0.6)
    sampled = KronosPredictor(body, tokenizer, "cpu")
    one = load_source("sample", "error", "UTC")[0]
    values, stamps = one.values[:LOOKBACK], calendar_features(one.timestamps[: LOOKBACK + HORIZON])
    times: dict[str, list[float]] = {"head": [], "paths": []}
    for _ in range(repeats + 1):
        started = time.process_time()
        head.predict([values], [stamps[:LOOKBACK]])
        times["head"].append(time.process_time() - started)
        started = time.process_time()
        sampled.predict_paths([values], [stamps[:LOOKBACK]], [stamps[LOOKBACK:]], HORIZON, 30, seed=1)
        times["paths"].append(time.process_time() - started)
    found = {name: float(np.median(one[1:])) for name, one in times.items()}
    starts = np.linspace(0, len(one) - LOOKBACK, series).astype(int)
    contexts = [one.values[start : start + LOOKBACK] for start in starts]
    clocks = [calendar_features(one.timestamps[start : start + LOOKBACK]) for start in starts]
    started = time.process_time()
    head.predict(contexts, clocks)
    batch = time.process_time() - started
    return {
        "cpu_seconds_head": found["head"],
        "cpu_seconds_30_paths": found["paths"],
        "ratio": found["paths"] / found["head"],
        "series": series,
        "cpu_seconds_batch": batch,
    }


def _by_market(known: dict, size: str = "tiny", steps: int = 600) -> dict[str, list[dict]]:
    """Outcomes of the seeds of each market, for bodies of a size that were trained for so many steps."""
    start = f"{size} {steps} seed"
    names = {market: [key for key in sorted(known) if key.startswith(f"{market} {start}")] for market in MARKETS}
    return {market: [known[key] for key in keys] for market, keys in names.items() if keys}


def _seeds(values: list[float], form: str) -> str:
    return " / ".join(format(value, form) for value in values)


def _p(values: list[float]) -> str:
    return " / ".join("< 0.001" if value < 0.001 else f"{value:.2g}" for value in values)


def full_table(known: dict) -> list[str]:
    """Markdown: every forecaster on every market, one figure for each seed."""
    lines = [
        "| market, test origins | forecaster | CRPS bp | skill against the scaled cone, % | p | "
        "90 % interval covers, % | QLIKE against HAR-RV, % | p |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for market, found in _by_market(known).items():
        origins = found[0][NAMES["none"]]["origins"]
        for name in (CONE, VARIANCE):
            one = found[0]["references"][name]
            figures = f"{one['crps_bp']:.1f} | | | {100 * one['coverage_90']:.1f} | |"
            lines.append(f"| {MARKETS[market]}, {origins:,} | {name} | {figures} |")
        for name in (name for name in NAMES.values() if all(name in one for one in found)):
            seeds = [one[name] for one in found]
            crps = [one["crps"][CONE]["all horizons"] for one in seeds]
            qlike = [one["qlike"][VARIANCE]["all horizons"] for one in seeds]
            cells = (
                *(name, _seeds([one["crps_bp"] for one in seeds], ".1f")),
                *(_seeds([100 * one["skill"] for one in crps], "+.1f"), _p([one["p"] for one in crps])),
                _seeds([100 * one["coverage_90"] for one in seeds], ".1f"),
                *(_seeds([100 * one["skill"] for one in qlike], "+.1f"), _p([one["p"] for one in qlike])),
            )
            lines.append(f"| {MARKETS[market]} | {' | '.join(cells)} |")
    return lines


def run_table(known: dict, size: str, steps: int) -> list[str]:
    """Markdown: losses of every head of bodies of one size, one figure for each seed."""
    lines = [
        "| market | head | best validation loss, after passes | test loss | test, close | test, volatility |",
        "|---|---|---|---|---|---|",
    ]
    for market, found in _by_market(known, size, steps).items():
        for name in NAMES.values():
            runs = [one["runs"][name] for one in found if name in one.get("runs", {})]
            if runs:
                best = " / ".join(f"{one['validation']:.4f} ({one['epoch']:.0f})" for one in runs)
                columns = ("loss", "pinball_close", "pinball_volatility")
                cells = [_seeds([one[column] for one in runs], ".4f") for column in columns]
                lines.append(f"| {MARKETS[market]} | {name} | {best} | {' | '.join(cells)} |")
    return lines


def short_table(known: dict) -> list[str]:
    """Markdown: the regularised head on a frozen body beside the references, one figure for each seed."""
    lines = [
        "| market | scaled cone, HAR-RV: CRPS bp | quantile head: CRPS bp | better than the scaled cone by, % (p) | "
        "90 % interval covers, % |",
        "|---|---|---|---|---|",
    ]
    for market, found in _by_market(known).items():
        seeds = [one[NAMES["regularised"]] for one in found]
        references = [found[0]["references"][name]["crps_bp"] for name in (CONE, VARIANCE)]
        against = [one["crps"][CONE]["all horizons"] for one in seeds]
        skill, p = _seeds([100 * one["skill"] for one in against], "+.1f"), _p([one["p"] for one in against])
        crps, covers = ([factor * one[key] for one in seeds] for factor, key in ((1, "crps_bp"), (100, "coverage_90")))
        cells = (", ".join(f"{one:.1f}" for one in references), _seeds(crps, ".1f"), f"{skill} ({p})")
        lines.append(f"| {MARKETS[market]} | {' | '.join(cells)} | {_seeds(covers, '.1f')} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--tokenizer", default="tiny")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=600, help="of the tokenizer; the predictor takes twice as many")
    parser.add_argument("--work", type=Path, default=Path("runs/quantile-benchmark"))
    parser.add_argument("--heads", nargs="+", choices=tuple(HEADS), default=list(HEADS))
    parser.add_argument("--full-epochs", type=int, help="of the heads whose body is trained (default: the preset's)")
    parser.add_argument("--workers", type=int, default=1, help="heads trained at the same time")
    parser.add_argument("--no-judge", action="store_true", help="train only")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.table:
        known = read_json(RESULTS, "run the benchmark", dict)
        tables = (full_table(known), short_table(known), run_table(known, "tiny", 600), run_table(known, "mini", 800))
        print("\n\n".join("\n".join(table) for table in tables))
    if options.speed:
        write_json(SPEED, {size: speed(size) for size in ("tiny", "mini")})
    for file in options.files:
        for seed in options.seeds:
            one(options, file, seed)


def one(options: argparse.Namespace, file: str, seed: int) -> None:
    """Trains the heads of one file and seed that are not there yet, and judges all of them."""
    key = f"{Path(file).stem} {options.size} {options.steps} seed {seed}"
    known = read_json(options.results, "remove it", dict) if options.results.is_file() else {}
    names = {head: NAMES[head] for head in HEADS if head in options.heads}
    if set(names.values()) <= set(known.get(key, {})):
        return
    work, times = options.work / key.replace(" ", "-"), known.get(key, {}).get("cpu_seconds", {})
    shared = ("--data", file, "--seed", seed, "--lookback_window", LOOKBACK, "--overwrite", "--report_to", "none")
    short = ("--eval_strategy", "steps", "--save_strategy", "steps", "--save_steps", 200, "--eval_steps", 200)
    started = time.process_time()
    if not (work / "predictor" / DONE).is_file():
        _run(
            *("finetune", *shared, *short, "--from_scratch", "--tokenizer", options.tokenizer, "--model", options.size),
            *("--output_dir", work, "--tokenizer_max_steps", options.steps, "--predictor_max_steps", 2 * options.steps),
            *("--tokenizer_learning_rate", 2e-3, "--predictor_learning_rate", 1e-3),
        )
        times["body"] = time.process_time() - started
    passes = ("--num_train_epochs", options.full_epochs) if options.full_epochs else ()
    missing = [head for head in names if not (work / f"head-{head}" / DONE).is_file()]
    words = [
        (
            *("quantiles", *shared, "--model", work, *HEADS[head], "--output_dir", work / f"head-{head}"),
            *(passes if "full" in HEADS[head] else ()),
        )
        for head in missing
    ]
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as workers:
        times |= dict(zip(missing, workers.map(_timed, words), strict=True))
    known = read_json(options.results, "remove it", dict) if options.results.is_file() else {}
    found = known.get(key, {}) | {"cpu_seconds": times, "full_epochs": options.full_epochs, "device": _device()}
    found["runs"] = found.get("runs", {}) | {name: _figures_of(work / f"head-{head}") for head, name in names.items()}
    write_json(options.results, known | {key: found})
    if options.no_judge:
        return
    heads = {name: work / f"head-{head}" for head, name in names.items()}
    found |= judge(file, heads, work / "tokenizer" / "best_model", work / "evaluation")
    for name in heads:
        print(key, name, {part: found[name][part] for part in ("crps_bp", "coverage_90")}, found[name]["crps"])
    print(key, found["references"], found["verdict"])
    known = read_json(options.results, "remove it", dict) if options.results.is_file() else {}
    write_json(options.results, known | {key: found})


if __name__ == "__main__":
    main()
