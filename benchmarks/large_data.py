"""Millions of candles or records: peak memory of a training run, and the cost of data as they grow.

    python -m benchmarks.large_data [--bars 10000000] [--output benchmarks/results/large_data.json]
    python -m benchmarks.large_data --panel    # 5,000 symbols, partitioned; writes panel.json
    python -m benchmarks.large_data --records 20000 1000000 [--before FOLDER]    # texts; writes large_records.json

A separate process reads files of simulated candles, one per symbol, and trains a tiny tokenizer for three steps. Rows:
peak resident memory with 10 million bars; processor seconds per bar of reading with 10x and 100x as much data; windows
per second with more data, and with the same bars in more symbols. `--panel`: a predictor is trained on tokens of 5,000
symbols of 2,000 bars. `--records`: a small mT5 from random weights is trained for three steps on records of 200
characters; `--before FOLDER` compares reading with an earlier checkout in pairs. Exits 1 if the memory exceeds its
limit. Not part of `make bench`, because it takes some minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.comparison import RESULTS, Row, print_rows, write_rows
from kronos_ft.data.sources import simulate_candles

GIB = 2**30
BOUND = 2.0  # GiB
BARS, SYMBOLS = 10_000_000, 8
PANEL, PANEL_BARS, PANEL_BOUND = 5_000, 2_000, 1.5  # symbols, bars of each, GiB
BATCH, BATCHES = 64, 400
RECORDS_BOUND, HELD_OUT = 1.5, 2000  # GiB; of as many records, one is for validation
SOURCE_CHARACTERS, TARGET_CHARACTERS = 150, 50
PAIRS = 7
READ = """
import sys, time
from mt5_ft.runs.data import read_splits
from mt5_ft.training.arguments import MT5DataArguments
fields = {"source_fields": ["text"], "target_fields": ["summary"]}
read_splits(MT5DataArguments(data="sample"), 1)
started = time.process_time()
read_splits(MT5DataArguments(data=sys.argv[1], **fields), 1)
print(time.process_time() - started)
"""
STEPS = (
    *("--from_scratch", "--max_steps", "3", "--per_device_train_batch_size", "8", "--eval_strategy", "steps"),
    *("--eval_steps", "3", "--save_strategy", "steps", "--save_steps", "3", "--logging_steps", "1"),
    *("--disable_tqdm", "true", "--report_to", "none", "--use_cpu", "true"),
)
SETTINGS = ("--model", "tiny", "--validation_stride", "50000", *STEPS)


def write_candles(folder: Path, bars: int, symbols: int, kind: str = "parquet") -> None:
    """Writes one file of one-minute bars per symbol, of the same market, each starting a day later."""
    folder.mkdir(parents=True)
    frame = simulate_candles(bars // symbols, step="1min", start="2000-01-01")
    for symbol in range(symbols):
        path = folder / f"S{symbol:04}.{kind}"
        frame.to_parquet(path) if kind == "parquet" else frame.to_csv(path, index=False, float_format="%.6g")


def peak_bytes() -> int:
    """Peak resident memory of this process; only on Linux."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def train(folder: Path, output: Path) -> dict[str, float]:
    """A complete run of `kronos-ft tokenizer`, in this process."""
    from kronos_ft.cli.main import main

    started = time.perf_counter()
    words = ["tokenizer", "--data", str(folder), "--output_dir", str(output), *SETTINGS]
    if main(words):
        raise RuntimeError("the run failed; see its message above")
    return {"seconds": time.perf_counter() - started, "peak_gib": peak_bytes() / GIB}


def write_records(path: Path, count: int) -> None:
    """Writes records of about 200 characters, cut from the texts of the embedded ones."""
    from mt5_ft.data.records import EMOTION_SUMMARY, read_records
    from mt5_ft.runs.data import sample_path

    text = "".join(record.source + record.target for record in read_records(sample_path(), EMOTION_SUMMARY)[0])
    places = np.random.default_rng(0).integers(0, len(text) - SOURCE_CHARACTERS, (count, 2)).tolist()
    with path.open("w", encoding="utf-8") as file:
        for number, (first, second) in enumerate(places):
            row = {"id": number, "text": f"{number} {text[first : first + SOURCE_CHARACTERS]}"}
            row["summary"] = text[second : second + TARGET_CHARACTERS]
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def train_on_records(path: Path, output: Path) -> dict[str, float]:
    """A complete run of `mt5-ft train`, in this process; processor seconds."""
    from mt5_ft.cli.main import main
    from mt5_ft.runs import run
    from mt5_ft.training.trainer import MT5Trainer

    moments: dict[str, float] = {}
    step, read_splits = MT5Trainer.training_step, run.read_splits

    def noted_step(*arguments: object, **options: object) -> object:
        if "first_step" not in moments:
            moments.update(first_step=time.process_time(), first_step_peak=peak_bytes(), clock=time.perf_counter())
        return step(*arguments, **options)

    def noted_read(*arguments: object) -> object:
        started = time.process_time()
        splits = read_splits(*arguments)
        moments.update(reading=time.process_time() - started, reading_peak=peak_bytes())
        return splits

    MT5Trainer.training_step, run.read_splits = noted_step, noted_read
    started, clock = time.process_time(), time.perf_counter()
    words = ["train", "--data", str(path), "--output_dir", str(output), "--model", "small", *STEPS]
    words += ["--source_fields", "text", "--target_fields", "summary", "--validation_share", str(1 / HELD_OUT)]
    if main(words):
        raise RuntimeError("the run failed; see its message above")
    return {
        "cpu_seconds_to_the_first_step": moments["first_step"] - started,
        "seconds_to_the_first_step": moments["clock"] - clock,
        "cpu_seconds_of_reading": moments["reading"],
        "peak_gib_of_reading": moments["reading_peak"] / GIB,
        "peak_gib_at_the_first_step": moments["first_step_peak"] / GIB,
        "peak_gib": peak_bytes() / GIB,
    }


def train_on_tokens(folder: Path, output: Path) -> dict[str, float]:
    """A complete run of `kronos-ft predictor`, in this process; processor seconds."""
    import torch

    from kronos_ft import KronosTokenizer, KronosTokenizerConfig
    from kronos_ft.cli.main import main
    from kronos_ft.training.predictor_trainer import KronosTrainer
    from kronos_ft.windows.tokens import TokenWindowDataset

    torch.manual_seed(0)
    KronosTokenizer(KronosTokenizerConfig.from_size("tiny")).save_pretrained(output.with_name("tokenizer"))
    moments: dict[str, float] = {}
    step, make = KronosTrainer.training_step, TokenWindowDataset._load_or_make

    def noted_step(*arguments: object, **options: object) -> object:
        moments.setdefault("first_step", time.process_time())
        return step(*arguments, **options)

    def noted_make(*arguments: object) -> object:
        started = time.process_time()
        found = make(*arguments)
        moments["tokens"] = moments.get("tokens", 0.0) + time.process_time() - started
        return found

    KronosTrainer.training_step, TokenWindowDataset._load_or_make = noted_step, noted_make
    started = time.process_time()
    words = ["predictor", "--data", str(folder), "--output_dir", str(output), *SETTINGS, "--stride", "10"]
    if main([*words, "--tokenizer", str(output.with_name("tokenizer"))]):
        raise RuntimeError("the run failed; see its message above")
    return {
        "cpu_seconds_to_the_first_step": moments["first_step"] - started,
        "cpu_seconds_of_the_tokens": moments["tokens"],
        "peak_gib": peak_bytes() / GIB,
    }


def read(folder: Path) -> dict[str, float]:
    """Reading, making windows, and delivering them in random order, in this process; processor seconds."""
    from kronos_ft.data.candles import load_candles
    from kronos_ft.windows.dataset import WindowDataset

    started = time.process_time()
    series = load_candles(folder)
    loaded = time.process_time()
    windows = WindowDataset(series, "train")
    made = time.process_time()
    indices = np.random.default_rng(0).integers(0, len(windows), (BATCHES, BATCH)).tolist()
    for batch in indices[: BATCHES // 4]:
        windows.__getitems__(batch)
    drawn = time.process_time()
    for batch in indices:
        windows.__getitems__(batch)
    return {
        "bars": sum(len(one) for one in series),
        "load_seconds": loaded - started,
        "windows_seconds": made - loaded,
        "windows_per_second": BATCH * BATCHES / (time.process_time() - drawn),
        "peak_gib": peak_bytes() / GIB,
    }


def in_own_process(work: str, folder: Path, output: Path) -> dict[str, float]:
    """Runs `train` or `read` in a separate process and returns the measurements."""
    words = [sys.executable, "-m", "benchmarks.large_data", "--work", work, str(folder), str(output)]
    environment = {**os.environ, "KRONOS_FT_CACHE": str(output.parent / "cache")}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def rows(bars: int = BARS, folder: Path | None = None) -> list[Row]:
    """Peak memory at `bars`, and costs at a hundredth, a tenth and all of them."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        found: dict[tuple[int, int], dict[str, float]] = {}
        cases = [(bars // 100, SYMBOLS), (bars // 10, SYMBOLS), (bars // 10, 25 * SYMBOLS), (bars, SYMBOLS)]
        for count, symbols in cases:
            write_candles(place / f"{count}-{symbols}", count, symbols)
            found[count, symbols] = in_own_process("read", place / f"{count}-{symbols}", place / f"r{count}-{symbols}")
        run = in_own_process("train", place / f"{bars}-{SYMBOLS}", place / "run")
    peak = run["peak_gib"]
    result = [
        Row(
            f"peak memory, training on {bars / 1e6:g} million bars x 6 features",
            "bound",
            BOUND,
            ratio=peak,
            correct=peak <= BOUND,
            note=f"{SYMBOLS} Parquet files; ratio: GiB resident at most, reading included",
            unit="GiB",
            our_value=peak,
            at_most=True,
            details={**run, "reading_and_windows_alone": found[bars, SYMBOLS]},
        )
    ]
    small, many = found[bars // 10, SYMBOLS], found[bars // 10, 25 * SYMBOLS]
    for growth, base in ((10, bars // 10), (100, bars // 100)):
        before, after = found[base, SYMBOLS], found[bars, SYMBOLS]
        for name, cost in (("reading", "load_seconds"), ("making windows", "windows_seconds")):
            each = [one[cost] / one["bars"] * 1e6 for one in (before, after)]
            result.append(_growth(f"{name}, seconds a million bars, data x {growth}", each, "s"))
        each = [1e6 / one["windows_per_second"] for one in (before, after)]
        result.append(_growth(f"delivering a window, data x {growth}", each, "us"))
    each = [1e6 / one["windows_per_second"] for one in (small, many)]
    result.append(_growth(f"delivering a window, {SYMBOLS} symbols -> {25 * SYMBOLS}", each, "us"))
    return result


def panel_rows(folder: Path | None = None) -> list[Row]:
    """Training on the tokens of a large panel, and its windows against those of as many bars in 8 symbols."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        write_candles(place / "few", PANEL * PANEL_BARS, SYMBOLS)
        write_candles(place / "panel", PANEL * PANEL_BARS, PANEL)
        for path in list((place / "panel").iterdir()):
            (place / "panel" / f"symbol={path.stem}").mkdir()
            path.rename(place / "panel" / f"symbol={path.stem}" / "part-0.parquet")
        few = in_own_process("read", place / "few", place / "r-few")
        many = in_own_process("read", place / "panel", place / "r-panel")
        run = in_own_process("tokens", place / "panel", place / "run")
    work = f"{PANEL:,} symbols x {PANEL_BARS:,} bars, partitioned Parquet, predictor on tokens"
    peak, first = run["peak_gib"], run["cpu_seconds_to_the_first_step"]
    each = [1e6 / one["windows_per_second"] for one in (few, many)]
    return [
        Row(
            f"peak memory, {work}",
            "bound",
            PANEL_BOUND,
            ratio=peak,
            correct=peak <= PANEL_BOUND,
            note="ratio: GiB resident at most, pages of mapped files included; one window in 10",
            unit="GiB",
            our_value=peak,
            at_most=True,
            details=run,
        ),
        Row(
            f"processor seconds to the first step, {work}",
            "-",
            None,
            note="reading and tokens included",
            our_value=first,
        ),
        _growth(f"delivering a window, {SYMBOLS} symbols -> {PANEL:,}, equal bars", each, "us"),
    ]


def record_rows(counts: list[int], before: Path | None, folder: Path | None = None) -> list[Row]:
    """Peak memory and time to the first step for numbers of records, and reading them against an earlier checkout."""
    result = []
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        for count in counts:
            write_records(place / f"{count}.jsonl", count)
            run = in_own_process("records", place / f"{count}.jsonl", place / f"run-{count}" / "run")
            peak, work = run["peak_gib"], f"{count:,} records of {SOURCE_CHARACTERS + TARGET_CHARACTERS} characters"
            note = f"ratio: GiB resident at most, pages of mapped files included; 1 of {HELD_OUT:,} held out"
            fits = peak <= RECORDS_BOUND
            row = Row(f"peak memory, mT5 on {work}", "bound", RECORDS_BOUND, peak, fits, note, "GiB", our_value=peak)
            row.at_most, row.details = True, run
            first = run["cpu_seconds_to_the_first_step"]
            note = "reading, vocabulary and tokens included"
            result += [row, Row(f"processor seconds to the first step, {work}", "-", None, note=note, our_value=first)]
        if before is not None:
            result.append(_reading_row(place / f"{counts[0]}.jsonl", counts[0], before))
    return result


def _reading_row(path: Path, count: int, before: Path) -> Row:
    """Reading and splitting a file against an earlier checkout: alternating processes, processor seconds."""
    trees = {"before": before.resolve(), "now": Path(__file__).parents[1]}
    seconds: dict[str, list[float]] = {name: [] for name in trees}
    for pair in range(PAIRS):
        for name in sorted(trees, reverse=bool(pair % 2)):
            words, environment = [sys.executable, "-c", READ, str(path)], {**os.environ, "PYTHONPATH": str(trees[name])}
            done = subprocess.run(words, env=environment, cwd=trees[name], capture_output=True, text=True, check=True)
            seconds[name].append(float(done.stdout.splitlines()[-1]))
    old, new = (float(np.median(seconds[name])) for name in trees)
    note = f"{PAIRS} alternating pairs, processor seconds; ratio: before / now"
    row = Row(f"reading and splitting {count:,} records", "before", 0.9, old / new, None, note, "s", old, new)
    row.details = {"seconds": seconds}
    return row


def _growth(work: str, each: list[float], unit: str) -> Row:
    """A row without a goal: unit cost before and after; 1 means constant."""
    note = "ratio: cost of one before / after; 1 is flat"
    return Row(work, "less data", None, each[0] / each[1], None, note, unit, each[0], each[1])


def main() -> int:
    """Runs the comparison, or one measurement in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bars", type=int, default=BARS)
    parser.add_argument("--panel", action="store_true")
    parser.add_argument("--records", type=int, nargs="+", metavar="N")
    parser.add_argument("--before", type=Path, help="an earlier checkout to compare reading with")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--folder", type=Path, help="where the candles are written; about 1 GiB")
    parser.add_argument("--work", nargs=3, metavar=("WORK", "DATA", "OUTPUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work, data, output = options.work
        works = {"train": train, "tokens": train_on_tokens, "records": train_on_records}
        works["read"] = lambda folder, _: read(folder)
        print(json.dumps(works[work](Path(data), Path(output))))
        return 0
    if options.records:
        name, found = "large_records", record_rows(options.records, options.before, options.folder)
    elif options.panel:
        name, found = "panel", panel_rows(options.folder)
    else:
        name, found = "large_data", rows(options.bars, options.folder)
    print_rows(found)
    write_rows(options.output or RESULTS / f"{name}.json", found)
    return 1 if any(row.correct is False for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
