"""The quantile head against the volatility-scaled cone and against context features alone, out of sample.

`python -m benchmarks.quantiles FILE [FILE ...] --size tiny --seeds 1 2 3` trains, for each file and seed, a tokenizer
and a predictor from random weights, then a head on its body (trained too, and frozen) and one without a body. Each is
judged on the test split: CRPS of the close (99 quantiles), its skill and Diebold-Mariano test against the cone that the
head starts from, and coverage of the 90 % interval. Results go to `benchmarks/results/quantiles.json`, after every run.

`python -m benchmarks.quantiles --speed` times a forecast of the head and 30 sampled paths of the same body, one after
the other, on random weights, and 5,000 series in one batch job.
"""

import argparse
import contextlib
import io
import time
from pathlib import Path

import numpy as np
import torch

from ft_core.io.files import write_json
from ft_core.io.formats import read_json
from kronos_ft.cli.main import main as kronos_ft
from kronos_ft.data.sources import load_source
from kronos_ft.data.timestamps import calendar_features
from kronos_ft.forecasting.direct import QuantilePredictor
from kronos_ft.forecasting.forecast import DirectQuantiles
from kronos_ft.forecasting.predictor import KronosPredictor
from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
from kronos_ft.models.modeling_quantiles import KronosForQuantiles, KronosQuantilesConfig
from kronos_ft.scoring.metrics import crps_loss
from kronos_ft.scoring.significance import diebold_mariano
from kronos_ft.windows.dataset import WindowDataset, WindowShape
from kronos_ft.windows.quantile_windows import CONTEXT_FEATURES

RESULTS = Path(__file__).parent / "results" / "quantiles.json"
SPEED = RESULTS.with_name("quantile_speed.json")
LOOKBACK, HORIZON, STEP, PATHS = 90, 24, 4, 99
BODIES = ("none", "frozen", "full")


def _run(*words: object) -> None:
    """A command of the library, without its output."""
    with contextlib.redirect_stdout(io.StringIO()):
        if kronos_ft([str(word) for word in words]):
            raise SystemExit(f"failed: kronos-ft {' '.join(map(str, words))}")


def _returns(quantiles: list[DirectQuantiles], last: np.ndarray) -> np.ndarray:
    """Equally likely log returns of the close, shape `(N, P, H)`."""
    found = np.stack([one.samples("close", PATHS) for one in quantiles])
    return np.log(found / last[:, None, None]).transpose(0, 2, 1)


def judge(file: str, run: Path, tokenizer: Path) -> dict[str, object]:
    """Figures of one head on the test split."""
    series = load_source(file, "error", "UTC")
    windows = WindowDataset(series, "test", WindowShape(LOOKBACK, HORIZON, STEP), embargo=LOOKBACK + HORIZON + 1)
    rows = range(len(windows))
    raw, stamps = windows.raw(rows), windows.stamps_of(rows).numpy()
    past, future = raw[:, :LOOKBACK], raw[:, LOOKBACK : LOOKBACK + HORIZON]
    last = past[:, -1, 3]
    truth = np.log(future[..., 3] / last[:, None])
    model = KronosForQuantiles.from_pretrained(run)
    predictor = QuantilePredictor(model, KronosTokenizer.from_pretrained(tokenizer) if model.config.use_body else None)
    started = time.process_time()
    found = predictor.predict(list(past), list(stamps[:, :LOOKBACK]))
    seconds = (time.process_time() - started) / len(past)
    cone = QuantilePredictor(KronosForQuantiles.from_pretrained(run), predictor.tokenizer)
    for layer in (cone.model.head.out,):  # with a last layer of zero the head is the cone
        layer.weight.data.zero_()
        layer.bias.data.zero_()
    ours, theirs = (
        crps_loss(truth, _returns(one, last)) for one in (found, cone.predict(list(past), list(stamps[:, :LOOKBACK])))
    )
    overlap = (HORIZON - 1) // STEP
    tests = {"all horizons": (ours.mean(axis=1), theirs.mean(axis=1)), "last": (ours[:, -1], theirs[:, -1])}
    bounds = np.log(np.stack([one.at("close", np.array([0.05, 0.95])) for one in found]) / last[:, None, None])
    inside = (truth >= bounds[..., 0]) & (truth <= bounds[..., 1])
    outcome: dict[str, object] = {
        "origins": len(past),
        "crps_bp": float(1e4 * ours.mean()),
        "cone_crps_bp": float(1e4 * theirs.mean()),
        "coverage_90": float(inside.mean()),
        "coverage_90_last": float(inside[:, -1].mean()),
        "cpu_seconds_per_forecast": seconds,
    }
    for name, (a, b) in tests.items():
        test = diebold_mariano(a, b, overlap)
        outcome[name] = {"skill": float(1 - a.mean() / b.mean()), "t": -test.statistic, "p": test.p_value}
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--tokenizer", default="tiny")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=600, help="of the tokenizer; the predictor takes twice as many")
    parser.add_argument("--work", type=Path, default=Path("runs/quantile-benchmark"))
    options = parser.parse_args()
    if options.speed:
        write_json(SPEED, {size: speed(size) for size in ("tiny", "mini")})
    for file in options.files:
        for seed in options.seeds:
            one(options, file, seed)


def one(options: argparse.Namespace, file: str, seed: int) -> None:
    """Trains and judges the heads of one file and seed."""
    key = f"{Path(file).stem} {options.size} {options.steps} seed {seed}"
    known = read_json(RESULTS, "remove it", dict) if RESULTS.is_file() else {}
    if key in known:
        return
    work, found = options.work / key.replace(" ", "-"), {}
    shared = ("--data", file, "--seed", seed, "--lookback_window", LOOKBACK, "--overwrite", "--report_to", "none")
    short = ("--eval_strategy", "steps", "--save_strategy", "steps", "--save_steps", 200, "--eval_steps", 200)
    started = time.process_time()
    _run(
        *("finetune", *shared, *short, "--from_scratch", "--tokenizer", options.tokenizer, "--model", options.size),
        *("--output_dir", work, "--tokenizer_max_steps", options.steps, "--predictor_max_steps", 2 * options.steps),
        *("--tokenizer_learning_rate", 2e-3, "--predictor_learning_rate", 1e-3),
    )
    body_seconds = time.process_time() - started
    tokenizer = work / "tokenizer" / "best_model"
    for body in BODIES:
        run = work / f"head-{body}"
        started = time.process_time()
        _run("quantiles", *shared, "--model", work, "--body", body, "--output_dir", run)
        seconds = time.process_time() - started
        found[body] = judge(file, run / "best_model", tokenizer) | {"cpu_seconds_training": seconds}
        print(key, body, {name: found[body][name] for name in ("crps_bp", "coverage_90", "all horizons", "last")})
    known = read_json(RESULTS, "remove it", dict) if RESULTS.is_file() else {}
    write_json(RESULTS, known | {key: {"cpu_seconds_body": body_seconds, **found}})


if __name__ == "__main__":
    main()
